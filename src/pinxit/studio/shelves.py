"""Where other programs keep their models: a root that the user names becomes shelves, each holding one kind of file.

A1111, Forge, ComfyUI, Fooocus, InvokeAI and their relatives are recognised by the shape of their folders; whatever is
found is used where it lies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pinxit.engine.library import CHECKPOINT, DIFFUSION_MODEL, OTHER
from pinxit.studio.foreign import comfy_paths, fooocus_paths

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "stable-diffusion": CHECKPOINT,
        "stablediffusion": CHECKPOINT,
        "checkpoints": CHECKPOINT,
        "ckpts": CHECKPOINT,
        "diffusers": CHECKPOINT,
        "main": CHECKPOINT,
        "unet": DIFFUSION_MODEL,
        "diffusion_models": DIFFUSION_MODEL,
        "diffusionmodels": DIFFUSION_MODEL,
        "vae": "vae",
        "vae_approx": "taesd",
        "vae-approx": "taesd",
        "approxvae": "taesd",
        "lora": "lora",
        "loras": "lora",
        "lycoris": "lora",
        "control_lora": "lora",
        "embedding": "embedding",
        "embeddings": "embedding",
        "textualinversion": "embedding",
        "controlnet": "controlnet",
        "controlnets": "controlnet",
        "control": "controlnet",
        "t2i_adapter": "t2i_adapter",
        "t2iadapter": "t2i_adapter",
        "ip_adapter": "ip_adapter",
        "ipadapter": "ip_adapter",
        "ip-adapter": "ip_adapter",
        "esrgan": "upscaler",
        "realesrgan": "upscaler",
        "swinir": "upscaler",
        "bsrgan": "upscaler",
        "scunet": "upscaler",
        "dat": "upscaler",
        "upscale_models": "upscaler",
        "upscalers": "upscaler",
        "spandrel_image_to_image": "upscaler",
        "clip": "text_encoder",
        "text_encoder": "text_encoder",
        "text_encoders": "text_encoder",
        "text-encoder": "text_encoder",
        "textencoders": "text_encoder",
        "clip_embed": "text_encoder",
        "t5_encoder": "text_encoder",
        "clip_vision": "clip_vision",
        "clipvision": "clip_vision",
        "style_models": "style",
        "styles": "style",
        "hypernetwork": "hypernetwork",
        "hypernetworks": "hypernetwork",
        "gligen": "gligen",
    }
)
"""What a folder of this name holds, in lower case; the programs agree on none of them but on their meaning."""

BASES = frozenset({"any", "sd-1", "sd-2", "sd-3", "sdxl", "sdxl-refiner", "flux", "cogview4"})
"""InvokeAI's first level of folders."""
MARKS = ("webui.py", "launch.py", "fooocus_version.py", "extra_model_paths.yaml", "invokeai.yaml", "databases", "comfy")
"""What lies in the folder of such a program beside its models."""
BESIDE_MODELS = (("embeddings",), ("extensions", "sd-webui-controlnet", "models"))
"""Folders of models outside `models`, in A1111 and Forge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A folder whose files are of one kind. `prefix` begins the names of what is on it; `skip` are other shelves'.

    Unless it is `deep`, only its own files count.
    """

    folder: Path
    kind: str
    prefix: str = ""
    skip: frozenset[Path] = frozenset()
    deep: bool = True


def shelves(root: Path) -> Iterator[Shelf]:
    """The shelves below `root`: of the program whose folder or model folder it is, or of every program in it.

    A folder of nobody's is one shelf of checkpoints; sub-folders with names that are known are shelves of their own.
    """
    if models := _models_of(root):
        yield from _program(root, models)
        return
    programs = [child for child in _folders(root) if _models_of(child) is not None]
    for child in programs:
        yield from shelves(child)
    yield from _tree(root, CHECKPOINT, OTHER if _is_foreign(root) else CHECKPOINT, frozenset(programs))


def settings_of(root: Path) -> tuple[Path, ...]:
    """The files that decide what `shelves` finds beside the folders."""
    return (root / "extra_model_paths.yaml", root / "config.txt")


def _models_of(root: Path) -> Path | None:
    """The folder of models in a program's folder; None when `root` is no program's."""
    for child in _folders(root):
        if child.name.casefold() != "models":
            continue
        folders = _folders(child)
        names = {folder.name.casefold() for folder in folders}
        if names & KINDS.keys() or any(map(_is_base, folders)) or any((root / mark).exists() for mark in MARKS):
            return child
    return root if any(path.is_file() for path in settings_of(root)[:1]) else None


def _is_foreign(root: Path) -> bool:
    """Whether `root` is another program's folder of models, where folders of unknown names hold anything at all."""
    folders = _folders(root)
    names = {child.name.casefold() for child in folders}
    return bool(names & {"stable-diffusion", "stablediffusion", "checkpoints"}) or any(map(_is_base, folders))


def _program(root: Path, models: Path) -> Iterator[Shelf]:
    if models == root:
        yield from _tree(root, CHECKPOINT, CHECKPOINT, frozenset())
    else:
        yield from _tree(models, CHECKPOINT, OTHER, frozenset())
        yield Shelf(folder=root, kind=CHECKPOINT, deep=False)
    for parts in BESIDE_MODELS:
        folder = root.joinpath(*parts)
        if _is_folder(folder):
            yield Shelf(folder=folder, kind=KINDS.get(parts[0], "controlnet"))
    yaml, config = settings_of(root)
    for name, folder in (*comfy_paths(yaml), *fooocus_paths(config)):
        if (kind := KINDS.get(name)) and _is_folder(folder):
            yield Shelf(folder=folder, kind=kind)


def _tree(root: Path, kind: str, unknown: str, taken: frozenset[Path]) -> Iterator[Shelf]:
    """Shelves of `root` itself and its sub-folders. Those whose names say nothing are of the kind `unknown`."""
    named: set[Path] = set(taken)
    for child in _folders(root):
        name = child.name.casefold()
        if child in taken:
            continue
        if _is_base(child):
            named.add(child)
            yield from _invoke(child)
        elif name in KINDS:
            named.add(child)
            yield Shelf(folder=child, kind=KINDS[name])
        elif unknown != kind:
            named.add(child)
            yield Shelf(folder=child, kind=unknown, prefix=f"{child.name}/")
    yield Shelf(folder=root, kind=kind, skip=frozenset(named))


def _is_base(folder: Path) -> bool:
    """Whether `folder` is one of InvokeAI's first level; people call folders of their own so, too."""
    return folder.name.casefold() in BASES and any(child.name.casefold() in KINDS for child in _folders(folder))


def _invoke(base: Path) -> Iterator[Shelf]:
    """InvokeAI's `base/type/name`, and what else may lie in such a folder."""
    for child in _folders(base):
        kind = KINDS.get(child.name.casefold())
        prefix = "" if kind else f"{base.name}/{child.name}/"
        yield Shelf(folder=child, kind=kind or OTHER, prefix=prefix)
    yield Shelf(folder=base, kind=CHECKPOINT, prefix=f"{base.name}/", deep=False)


def _folders(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            return sorted(root / entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        return []


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
