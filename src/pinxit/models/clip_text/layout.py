"""The files of a CLIP text encoder by itself."""

from __future__ import annotations

from pinxit.models.common.layouts import CLIP_BARE, CLIP_HF, CLIP_OPEN
from pinxit.weights.layout import Drop, Layout, Part, Place, Table

DROPS = (
    Drop("*position_ids", "position numbers 0, 1, 2 ...: counted, not stored"),
    Drop("*logit_scale", "temperature of CLIP's training"),
    Drop("*attn_mask", "causal mask: made when needed"),
)


def _layout(name: str, *places: tuple[str, Table], folder: bool = False) -> Layout:
    return Layout(
        name=name,
        family="clip-text",
        parts=(
            Part(
                component="clip-text",
                places=tuple(Place(prefix=prefix, table=table, file="model") for prefix, table in places),
                required=True,
            ),
        ),
        drops=DROPS,
        folder=folder,
    )


HUGGING_FACE = _layout("clip-text", ("", CLIP_HF), ("", CLIP_BARE), ("transformer.", CLIP_HF), folder=True)
OPEN = _layout("clip-text-openclip", ("", CLIP_OPEN), ("model.", CLIP_OPEN))
LAYOUTS = (HUGGING_FACE, OPEN)
