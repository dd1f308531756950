"""The latent x2 upscaler: what its files say about the networks (a k-diffusion model, Crowson 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from pinxit.models.common.configs import ClipTextConfig, VaeConfig
from pinxit.models.common.measured import clip_config, settings_of, vae_config
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match, PartMatch

HEAD_WIDTH = 64
LOW_SIGMA, HIGH_SIGMA = 0.0292, 14.6146
"""The ends of the noise levels: those of Stable Diffusion's table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KUNetConfig:
    """The upscaler's U-Net. Tuples have one entry per level, the largest size first.

    `blocks` counts residual blocks, on the way down as on the way up; `own` and `cross` say whether each is followed by
    attention among positions and to the text. `condition` is the width of the vector beside the text, `mapping` that of
    the embedded noise level. The last output channel is a variance that nobody uses.
    """

    in_channels: int = 8
    out_channels: int = 5
    widths: tuple[int, ...] = (384, 384, 768, 768)
    blocks: tuple[int, ...] = (4, 4, 4, 4)
    own: tuple[bool, ...] = (False, False, False, True)
    cross: tuple[bool, ...] = (False, True, True, True)
    context_dim: int = 768
    condition: int = 896
    mapping: int = 768
    head_width: int = HEAD_WIDTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscale2Config:
    """One x2 upscaler. `vae` and `text_encoder` are None where the file lacks them."""

    unet: KUNetConfig
    vae: VaeConfig | None
    text_encoder: ClipTextConfig | None


def config_from(match: Match) -> Upscale2Config:
    """The configuration of an x2 upscaler. Raises BadModelFile where its sizes contradict each other."""
    return Upscale2Config(
        unet=_unet(match),
        vae=vae_config(match),
        text_encoder=clip_config(match, activation="quick_gelu"),
    )


def _unet(match: Match) -> KUNetConfig:
    part = match.part("unet")
    blocks = cast(tuple[int, ...], part.sizes["blocks"])
    own, cross = (tuple(map(bool, cast(tuple[int, ...], part.sizes[name]))) for name in ("own", "cross"))
    if not any(cross):
        raise BadModelFile("The upscaler's U-Net has no cross-attention, so it cannot follow a prompt.")
    widths = tuple(part.dim(f"u_net.d_blocks.{level}.1.main.6.weight", 0) for level in range(len(blocks)))
    head_width = settings_of(match, "unet").integer("attention_head_dim") or HEAD_WIDTH
    attending = [
        width
        for level, has in enumerate(map(max, own, cross))
        if has
        for width in (widths[level], widths[max(0, level - 1)])
    ]
    if any(width % head_width for width in attending):
        raise BadModelFile(f"The upscaler's levels of {attending} channels cannot have heads of {head_width}.")
    return KUNetConfig(
        in_channels=part.dim("proj_in.weight", 1),
        out_channels=part.dim("proj_out.weight", 0),
        widths=widths,
        blocks=blocks,
        own=own,
        cross=cross,
        context_dim=_context(part, cross.index(True), own),
        condition=part.dim("mapping_cond.weight", 1),
        mapping=part.dim("mapping.0.weight", 0),
        head_width=head_width,
    )


def _context(part: PartMatch, level: int, own: tuple[bool, ...]) -> int:
    return part.dim(f"u_net.d_blocks.{level}.{2 + own[level]}.norm_enc.weight", 0)
