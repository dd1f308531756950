"""Random weights of the real size of Stable Diffusion, written once and read by every stack alike."""

from __future__ import annotations

import hashlib
import json
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from pinxit.bench.cases import MODELS, Model
from pinxit.models.common.clip import ClipText
from pinxit.models.common.configs import ClipTextConfig
from pinxit.models.common.folder import Encoder, pipeline_files
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.prediction import Prediction
from pinxit.models.common.vae import AutoencoderKL
from pinxit.models.contract import LatentSpec
from pinxit.plugins.manager import build_catalog
from pinxit.weights.layout import Layout
from pinxit.weights.save import save_model

Dtype = Literal["float32", "bfloat16"]
DOWNSCALE = 8
TEXT = ClipTextConfig()
TEXT_G = ClipTextConfig(
    width=1280, heads=20, layers=32, intermediate=5120, activation="gelu", projection=1280, pad_id=0
)
PREDICTION = Prediction(kind="epsilon", zero_terminal_snr=False, evidence="random weights")


def write_weights(folder: Path, dtype: Dtype, model: str = "sd15") -> None:
    """Write the model as a diffusers folder, with `fingerprints_of` it beside it, unless it is there."""
    if fingerprints_of(folder).is_file():
        return
    sizes = MODELS[model]
    networks = _networks(sizes)
    states = {name: drawn(network.state_dict(), getattr(torch, dtype)) for name, network in networks.items()}
    written = save_model(states, _layout(sizes, folder=True), folder, configs=_files(sizes), overwrite=True)
    hashes = {str(path.relative_to(folder)): _sha256(path) for path in sorted(written) if path.suffix == ".safetensors"}
    fingerprints_of(folder).write_text(json.dumps(hashes, indent=1), "utf-8")


def write_single_file(*, weights: str, model: str = "sd15") -> None:
    """The same numbers in one file of float16, under the names of the first release."""
    sizes = MODELS[model]
    states = {name: drawn(network.state_dict(), torch.float16) for name, network in _networks(sizes).items()}
    save_model(states, _layout(sizes, folder=False), Path(weights), overwrite=True)


def fingerprints_of(folder: Path) -> Path:
    """Where the SHA-256 of every weights file of `folder` stand."""
    return folder.with_name(f"{folder.name}.sha256.json")


def _networks(sizes: Model) -> Mapping[str, nn.Module]:
    """The networks of a checkpoint, without memory."""
    with torch.device("meta"):
        texts = {"text_encoder": ClipText(TEXT)}
        if sizes.pooled:
            texts["text_encoder_2"] = ClipText(TEXT_G)
        return {"unet": UNet(sizes.unet), "vae": AutoencoderKL(sizes.vae), **texts}


def _layout(sizes: Model, *, folder: bool) -> Layout:
    return next(one for one in build_catalog().families.get(sizes.family).layouts if one.folder is folder)


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


def _files(sizes: Model) -> dict[str, object]:
    """What lies beside the weights, so that every program knows the sizes."""
    encoders = {"text_encoder": Encoder(config=TEXT)}
    if sizes.pooled:
        encoders["text_encoder_2"] = Encoder(config=TEXT_G, pad="zero")
    files = pipeline_files(
        sizes.pipeline,
        unet=sizes.unet,
        vae=sizes.vae,
        encoders=encoders,
        prediction=PREDICTION,
        latent=LatentSpec(channels=sizes.unet.in_channels, downscale=DOWNSCALE, scale=sizes.scale),
        side=sizes.side,
    )
    return dict(files)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    write_weights(Path(sys.argv[1]), "bfloat16" if sys.argv[2] == "bfloat16" else "float32", sys.argv[3])
