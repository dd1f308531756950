"""Previews: small pictures of a latent in the making, by a tiny decoder that lies beside its model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pinxit.engine.image import to_image
from pinxit.models.kinds import AnyKind
from pinxit.schema.errors import Missing
from pinxit.weights.folder import read_model
from pinxit.weights.identify import identify
from pinxit.weights.load import load_into

if TYPE_CHECKING:
    from PIL import Image

    from pinxit.engine.plan import Resolved

BESIDE = Path("preview") / "preview.safetensors"
"""Where a model's folder holds its tiny decoder."""
TINY = "taesd"

Show = Callable[[Tensor], "Image.Image"]
"""A latent [1,C,h,w] as samplers estimate it, to a picture."""


def preview_of(resolved: Resolved, kind: AnyKind, dtype: torch.dtype = torch.float32) -> Show:
    """What shows this model's latents, on the processor; `kind` is that of tiny autoencoders.

    Raises Missing where the model has no such decoder.
    """
    folder = resolved.match.header.path
    path = folder / BESIDE
    if not path.is_file():
        raise Missing(
            f"{resolved.entry.name} brings no decoder for previews.",
            hint=f"Previews need {BESIDE.as_posix()} in the model's folder; the built-in model has it.",
        )
    match = identify(read_model(path), kind.layouts)
    with torch.device("meta"):
        network = kind.network(kind.config_from(match))
    load_into(network, match, kind.name, dtype=dtype, channels_last=True)
    network.requires_grad_(False).eval()

    @torch.inference_mode()
    def show(clean: Tensor) -> Image.Image:
        return to_image(network.decode(clean.cpu())[0])  # pyright: ignore[reportCallIssue] - a tiny autoencoder's method

    return show
