"""An IP-Adapter's configuration, off its shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from pinxit.models.kinds import About
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match, PartMatch

Form: TypeAlias = Literal["plain", "full", "face", "resampled"]
FORMS: tuple[Form, ...] = ("plain", "full", "face", "resampled")
BASES = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
"""Families by the width of their text."""
ENCODERS = {
    ("plain", 768): "CLIP vision L",
    ("plain", 1024): "CLIP vision H",
    ("plain", 1280): "CLIP vision bigG",
    ("full", 1280): "CLIP vision H, its patches",
    ("resampled", 1280): "CLIP vision H, its patches",
    ("resampled", 1664): "CLIP vision bigG, its patches",
    ("face", 512): "a face's identity",
}
"""Whose output is read, by the form and the width of what it reads."""
HEAD_WIDTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class IpAdapterConfig:
    """One IP-Adapter. `widths` are the channels of each cross-attention, `context` is the width of text and tokens.

    `reads` is the width of the picture's embedding (of each patch's, for the forms that read patches); `tokens` is how
    many tokens it becomes, 0 for one per patch. `tuned` are (channels, context, rank) of the attentions, self-attention
    included, that carry LoRAs. `inner` is the hidden width of the form's layers: 0 for `plain`.
    """

    about: About
    form: Form
    context: int
    reads: int
    tokens: int
    widths: tuple[int, ...]
    tuned: tuple[tuple[int, int, int], ...] = ()
    inner: int = 0
    layers: int = 0
    heads: int = 0
    hidden: int = 0


def config_from(match: Match) -> IpAdapterConfig:
    """The configuration of an IP-Adapter. Raises BadModelFile where its sizes contradict each other."""
    part = match.part("ip-adapter")
    form: Form = next(filter(part.sizes.get, FORMS))
    numbers = range(1, 2 * cast(int, part.sizes["attentions"]), 2)
    contexts = {part.dim(f"ip_adapter.{number}.to_k_ip.weight", 1) for number in numbers}
    context = contexts.pop()
    if contexts or context < 1:
        raise BadModelFile("The attentions of the IP-Adapter read tokens of different widths.")
    reads, tokens = _tokens(part, form, context)
    base = BASES.get(context, "")
    seen = ENCODERS.get((form, reads), f"something {reads} wide")
    resampled = form == "resampled"
    inner = part.dim("image_proj.layers.0.0.to_q.weight", 0) if resampled and part.sizes["layers"] else 0
    return IpAdapterConfig(
        about=About(
            bases=(base,) if base else (),
            variant={"plain": "", "resampled": "plus"}.get(form, form),
            evidence=(f"{len(numbers)} cross-attentions, a text {context} wide", f"reads {seen}"),
        ),
        form=form,
        context=context,
        reads=reads,
        tokens=tokens,
        widths=tuple(part.dim(f"ip_adapter.{number}.to_k_ip.weight", 0) for number in numbers),
        tuned=tuple(_tuned(part, number) for number in range(cast(int, part.sizes["tuned"]))),
        inner=part.dim("image_proj.proj_in.weight", 0) if resampled else _inner(part, form),
        layers=cast(int, part.sizes["layers"]),
        heads=max(1, inner // HEAD_WIDTH),
        hidden=part.dim("image_proj.layers.0.1.1.weight", 0) if inner else 0,
    )


def _inner(part: PartMatch, form: Form) -> int:
    return 0 if form == "plain" else part.dim("image_proj.proj.0.weight", 0)


def _tokens(part: PartMatch, form: Form, context: int) -> tuple[int, int]:
    """Width of what is read, and how many tokens are made of it."""
    if form == "resampled":
        return part.dim("image_proj.proj_in.weight", 1), part.dim("image_proj.latents", 1)
    if form == "full":
        return part.dim("image_proj.proj.0.weight", 1), 0
    first, last = ("image_proj.proj",) * 2 if form == "plain" else ("image_proj.proj.0", "image_proj.proj.2")
    made = part.dim(f"{last}.weight", 0)
    if made % context:
        raise BadModelFile(f"The IP-Adapter makes {made} numbers, no multiple of its {context} per token.")
    return part.dim(f"{first}.weight", 1), made // context


def _tuned(part: PartMatch, number: int) -> tuple[int, int, int]:
    down = f"ip_adapter.{number}.to_k_lora.down.weight"
    return part.dim(f"ip_adapter.{number}.to_q_lora.down.weight", 1), part.dim(down, 1), part.dim(down, 0)
