"""Folders as other programs make them, with files that hold no numbers."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def touch(path: Path, content: bytes | None = None) -> Path:
    """A file that can be told from every other by its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(str(path).encode() if content is None else content)
    return path


def diffusers(folder: Path) -> Path:
    touch(folder / "model_index.json", b"{}")
    touch(folder / "unet" / "config.json", b"{}")
    touch(folder / "unet" / "diffusion_pytorch_model.safetensors")
    return folder


def a1111(root: Path) -> Path:
    """A1111 or Forge."""
    touch(root / "webui.py", b"import this")
    touch(root / "venv" / "lib" / "junk.safetensors")
    for name in (
        "models/Stable-diffusion/dream.safetensors",
        "models/Stable-diffusion/sdxl/juggernaut.safetensors",
        "models/Stable-diffusion/old.ckpt",
        "models/VAE/kl-f8.safetensors",
        "models/VAE-approx/taesd.safetensors",
        "models/Lora/style/ink.safetensors",
        "models/LyCORIS/loha.safetensors",
        "models/ControlNet/canny.safetensors",
        "models/ESRGAN/x4.pth",
        "models/hypernetworks/hyper.safetensors",
        "models/adetailer/face.safetensors",
        "models/text_encoder/t5.safetensors",
        "embeddings/easynegative.safetensors",
        "extensions/sd-webui-controlnet/models/depth.safetensors",
        "outputs/txt2img/pictures.safetensors",
    ):
        touch(root / name)
    return root


def comfyui(root: Path, extra: str = "") -> Path:
    for name in (
        "models/checkpoints/dream.safetensors",
        "models/checkpoints/ünï cödé 模型.safetensors",
        "models/diffusion_models/sd3-alone.safetensors",
        "models/unet/flux.gguf",
        "models/vae/sdxl.safetensors",
        "models/clip/l.safetensors",
        "models/text_encoders/g.safetensors",
        "models/loras/anime/ghibli.safetensors",
        "models/embeddings/bad.safetensors",
        "models/controlnet/canny.safetensors",
        "models/upscale_models/x2.safetensors",
        "models/style_models/redux.safetensors",
        "models/clip_vision/h.safetensors",
        "models/configs/v1.yaml",
        "custom_nodes/evil/weights.safetensors",
        "output/latent.safetensors",
    ):
        touch(root / name)
    diffusers(root / "models" / "diffusers" / "sd15")
    if extra:
        (root / "extra_model_paths.yaml").write_text(extra, "utf-8")
    return root


def fooocus(root: Path, **paths: Any) -> Path:
    touch(root / "fooocus_version.py")
    touch(root / "models/checkpoints/realistic.safetensors")
    touch(root / "models/loras/offset.safetensors")
    touch(root / "models/inpaint/head.safetensors")
    (root / "config.txt").write_text(json.dumps({"default_steps": 30, **paths}), "utf-8")
    return root


def invokeai(root: Path, rows: list[dict[str, Any]] | None = None) -> Path:
    touch(root / "models/sd-1/main/dream.safetensors")
    diffusers(root / "models/sdxl/main/juggernaut-xl")
    touch(root / "models/any/clip_vision/h.safetensors")
    touch(root / "models/sd-1/lora/ink.safetensors")
    touch(root / "models/sd-1/embedding/bad.safetensors")
    touch(root / "models/0b9d4f1e-1111/custom.safetensors")
    touch(root / "invokeai.yaml", b"")
    if rows is not None:
        (root / "databases").mkdir(exist_ok=True)
        with closing(sqlite3.connect(root / "databases" / "invokeai.db")) as connection, connection:
            connection.execute(
                "CREATE TABLE models (id TEXT PRIMARY KEY, name TEXT GENERATED ALWAYS AS "
                "(json_extract(config, '$.name')) VIRTUAL, config TEXT NOT NULL)"
            )
            for number, row in enumerate(rows):
                connection.execute("INSERT INTO models (id, config) VALUES (?, ?)", (str(number), json.dumps(row)))
    return root


def hub_cache(root: Path, owner: str, name: str, commits: dict[str, dict[str, bytes]], main: str) -> Path:
    """A repository in a hub's cache: contents under `blobs`, links to them under each commit."""
    repo = root / f"models--{owner}--{name}"
    touch(repo / "refs" / "main", main.encode())
    for commit, files in commits.items():
        for file, content in files.items():
            blob = touch(repo / "blobs" / str(abs(hash(content))), content)
            link = repo / "snapshots" / commit / file
            link.parent.mkdir(parents=True, exist_ok=True)
            depth = len(link.relative_to(repo).parts) - 1
            link.symlink_to(Path(*[".."] * depth) / blob.relative_to(repo))
    return repo
