"""The files of a CLIP image encoder by itself, or of a whole CLIP, whose text half is left out."""

from __future__ import annotations

from pinxit.models.common.vision import VISION_BARE, VISION_HF, VISION_OPEN
from pinxit.weights.layout import Drop, Layout, Part, Place, Table

TEXT_HALF = "text half of a whole CLIP"
DROPS = (
    Drop("*.position_ids", "position numbers 0, 1, 2 ...: counted, not stored"),
    Drop("position_ids", "position numbers 0, 1, 2 ...: counted, not stored"),
    Drop("*logit_scale", "temperature of CLIP's training"),
    *(
        Drop(name, TEXT_HALF)
        for name in (
            "text_model.*",
            "text_projection*",
            "token_embedding.weight",
            "positional_embedding",
            "transformer.resblocks.*",
            "ln_final.*",
            "attn_mask",
        )
    ),
)


def _layout(name: str, *places: tuple[str, Table], folder: bool = False) -> Layout:
    return Layout(
        name=name,
        family="clip-vision",
        parts=(
            Part(
                component="clip-vision",
                places=tuple(Place(prefix=prefix, table=table, file="model") for prefix, table in places),
                required=True,
            ),
        ),
        drops=DROPS,
        folder=folder,
    )


HUGGING_FACE = _layout("clip-vision", ("", VISION_HF), ("", VISION_BARE), folder=True)
OPEN = _layout("clip-vision-openclip", ("visual.", VISION_OPEN))
LAYOUTS = (HUGGING_FACE, OPEN)
