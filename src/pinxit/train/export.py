"""From a workshop to the folder that the engine (and diffusers) loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from pinxit.models.common.ldm_unet import UNet
from pinxit.models.pinxit.folder import folder_files
from pinxit.models.pinxit.layout import FOLDER
from pinxit.train.diffusion import unet_config
from pinxit.train.recipe import UNetShape
from pinxit.train.words import load_text
from pinxit.train.workshop import load_component, load_vae, read_shapes
from pinxit.weights.save import save_model

SHARD_BYTES = 15 * 2**20


def export(
    workshop: Path, destination: Path, *, extra: Mapping[str, str] | None = None, overwrite: bool = False
) -> tuple[Path, ...]:
    """Write the workshop's model as a diffusers folder in float16, in shards of at most 15 MiB.

    `extra` are further text files by relative path. Raises Missing when a component was never trained.
    """
    vae = load_vae(workshop)
    text, _ = load_text(workshop)
    shapes = read_shapes(workshop)
    shape = UNetShape.model_validate(shapes.get("unet", {}))
    side = int(str(shapes.get("size", 256)))
    unet = UNet(unet_config(shape, z_channels=vae.config.z_channels, text_width=text.config.width))
    load_component(workshop, "unet", unet)
    configs: dict[str, object] = dict(
        folder_files(unet=unet.config, vae=vae.config, text=text.config, side=side, size_embedding=shape.size_embedding)
    )
    for name in ("vocab.json", "merges.txt"):
        configs[f"tokenizer_2/{name}"] = (workshop / "tokenizer" / name).read_text("utf-8")
    return save_model(
        {"unet": unet.state_dict(), "vae": vae.state_dict(), "text_encoder_2": text.state_dict()},
        FOLDER,
        destination,
        dtype=torch.float16,
        configs={**configs, **(extra or {})},
        max_shard_bytes=SHARD_BYTES,
        overwrite=overwrite,
    )
