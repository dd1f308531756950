"""The files of a T5 encoder by itself."""

from __future__ import annotations

from pinxit.models.common.transformer_layouts import T5, T5_DROPS
from pinxit.weights.layout import Drop, Layout, Part, Place

LAYOUT = Layout(
    name="t5",
    family="t5",
    parts=(
        Part(
            component="t5",
            places=(Place(prefix="", table=T5, file="model"), Place(prefix="transformer.", table=T5)),
            required=True,
        ),
    ),
    drops=(*T5_DROPS, Drop("logit_scale", "temperature of another encoder"), Drop("decoder.*", "writes text")),
    folder=True,
)
LAYOUTS = (LAYOUT,)
