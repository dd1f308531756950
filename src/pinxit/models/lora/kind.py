"""LoRA (Hu et al. 2021) and its relatives: LoCon, LoHa, LoKr, DoRA, OFT, IA3, GLoRA and plain differences."""

from __future__ import annotations

from pinxit.models.kinds import Kind
from pinxit.models.lora.config import config_from, recognise

KIND = Kind(
    name="lora",
    title="LoRA",
    hint="It changes a model of its family; it is no model by itself.",
    config_from=config_from,
    recognise=recognise,
    aliases=("lycoris",),
)
