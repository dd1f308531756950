"""Random weights of the real size of Stable Diffusion 1.5, written once and read by every stack alike."""

from __future__ import annotations

import hashlib
import json
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from pinxit.bench.cases import LATENT_SCALE, UNET, VAE, Dtype
from pinxit.models.common.clip import ClipText
from pinxit.models.common.configs import ClipTextConfig
from pinxit.models.common.diffusers_json import VERSION, clip_json, scheduler_json, unet_json, vae_json
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.prediction import Prediction
from pinxit.models.common.vae import AutoencoderKL
from pinxit.plugins.manager import build_catalog
from pinxit.weights.save import save_model

TEXT = ClipTextConfig()


def write_weights(folder: Path, dtype: Dtype) -> None:
    """Write the model as a diffusers folder, with `fingerprints.json` beside it, unless it is there."""
    if fingerprints_of(folder).is_file():
        return
    layout = next(one for one in build_catalog().families.get("sd1").layouts if one.folder)
    with torch.device("meta"):
        networks: Mapping[str, nn.Module] = {
            "unet": UNet(UNET),
            "vae": AutoencoderKL(VAE),
            "text_encoder": ClipText(TEXT),
        }
    states = {name: drawn(network.state_dict(), getattr(torch, dtype)) for name, network in networks.items()}
    written = save_model(states, layout, folder, configs=_configs(), overwrite=True)
    hashes = {str(path.relative_to(folder)): _sha256(path) for path in sorted(written) if path.suffix == ".safetensors"}
    fingerprints_of(folder).write_text(json.dumps(hashes, indent=1), "utf-8")


def fingerprints_of(folder: Path) -> Path:
    """Where the SHA-256 of every weights file of `folder` stand."""
    return folder.with_name(f"{folder.name}.sha256.json")


def drawn(state: Mapping[str, Tensor], dtype: torch.dtype, seed: int = 0) -> dict[str, Tensor]:
    """A value for every tensor, from its name alone: the same in every number format but for rounding.

    Weights are uniform with the variance that keeps activations at their size, norms near one, biases small.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) + seed)
        values = torch.rand(tensor.shape, generator=generator).mul_(2).sub_(1)
        if tensor.ndim >= 2:
            values *= (3 / tensor[0].numel()) ** 0.5
        else:
            values = values * 0.05 + (0.0 if name.endswith("bias") else 1.0)
        found[name] = values.to(dtype)
    return found


def _configs() -> dict[str, object]:
    return {
        "model_index.json": {
            "_class_name": "StableDiffusionPipeline",
            "_diffusers_version": VERSION,
            "scheduler": ["diffusers", "DDIMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
        "unet/config.json": unet_json(UNET, sample_size=64),
        "vae/config.json": vae_json(VAE, sample_size=512, scale=LATENT_SCALE),
        "text_encoder/config.json": clip_json(TEXT),
        "scheduler/scheduler_config.json": scheduler_json(
            Prediction(kind="epsilon", zero_terminal_snr=False, evidence="random weights")
        ),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    write_weights(Path(sys.argv[1]), "bfloat16" if sys.argv[2] == "bfloat16" else "float32")
