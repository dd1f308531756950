"""What an adapter's file says: how its changes are computed, and which family they fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pinxit.models.kinds import About, recognised
from pinxit.weights.header import Header
from pinxit.weights.identify import Match
from pinxit.weights.layout import Shape
from pinxit.weights.lora_names import BUNDLED, Module, read_modules

ENOUGH = 0.5
"""The share of a file's tensors that must be changes of layers."""

FAMILY = "pinxit.family"
"""Metadata in which our own trainer names the family."""
CONTEXT = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
"""Families by the width of the text that their cross-attentions read."""
_CROSS = re.compile(r"attn2[._](processor\.)?to_[kv]$")

MARKS: tuple[tuple[str, str, str], ...] = (
    (r"joint_blocks|transformer_blocks[._]\d+[._]attn[._]add_", "sd3", "layers of SD 3's transformer"),
    (r"double_blocks|single_transformer_blocks", "", "layers of Flux"),
    (r"^lora_te2_|^text_encoder_2\.|^lora_te1_", "sdxl", "two text encoders"),
    (r"attentions_\d_transformer_blocks_[2-9]|input_blocks_\d_1_transformer_blocks_[2-9]", "sdxl", "deep attentions"),
)
"""Families by the names of layers, where no width tells; most particular first."""
_TEXT = re.compile(r"^(lora_te_|text_encoder\.).*(q_proj|k_proj|v_proj|fc1)$")
TEXT = {768: "sd1", 1024: "sd2"}
"""Families by the width of the only text encoder."""

BASES: tuple[tuple[str, str], ...] = (
    (r"refiner", "refiner"),
    (r"xl", "sdxl"),
    (r"sd_?3|diffusion-3", "sd3"),
    (r"sd_?v2|diffusion-v?2", "sd2"),
    (r"sd_?v1|diffusion-v?1", "sd1"),
)
"""Families as trainers spell them in a file's metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraFile:
    """One adapter. `modules` are the layers that it changes, by their trainer's names; `ranks` are those of its
    factors, the most frequent first; `bundled` are the tensors of embeddings that come with it.
    """

    about: About
    modules: Mapping[str, Module]
    bundled: tuple[str, ...]
    ranks: tuple[int, ...]


def recognise(header: Header) -> Match | None:
    """The match of a file whose tensors are changes of layers; None for any other."""
    found, _ = read_modules(header.tensors)
    held = sum(len(module.tensors) for module in found.values())
    if not found or held < ENOUGH * len(header.tensors):
        return None
    return recognised(header, "lora", [f"{len(found)} layers are changed"])


def config_from(match: Match) -> LoraFile:
    """What the file of a recognised adapter says."""
    header = match.header
    shapes = header.shapes
    modules, strangers = read_modules(shapes)
    ranks = Counter(rank for module in modules.values() if (rank := _rank(module, shapes)))
    ordered = tuple(rank for rank, _ in ranks.most_common())
    base, said = _base(modules, header)
    evidence = [f"of rank {', '.join(map(str, ordered[:4]))}"] if ordered else []
    return LoraFile(
        about=About(
            bases=(base,) if base else (),
            variant=_variant(modules, shapes),
            evidence=(*evidence, *([said] if said else [])),
        ),
        modules=modules,
        bundled=tuple(name for name in strangers if name.startswith(BUNDLED)),
        ranks=ordered,
    )


def _variant(modules: Mapping[str, Module], shapes: Mapping[str, Shape]) -> str:
    """The algorithm of most layers; LoRA of convolutions is known as LoCon, BOFT has one axis more than OFT."""
    common = Counter(module.algorithm for module in modules.values() if module.algorithm not in ("norm", "set"))
    name = common.most_common(1)[0][0] if common else "norm"
    down = [shapes[module.tensors["down"]] for module in modules.values() if "down" in module.tensors]
    if name == "lora" and any(len(shape) == 4 and shape[-1] > 1 for shape in down):
        return "locon"
    if name == "oft" and any(len(shapes[m.tensors["blocks"]]) == 4 for m in modules.values() if "blocks" in m.tensors):
        return "boft"
    return name


def _rank(module: Module, shapes: Mapping[str, Shape]) -> int:
    for role in ("down", "w1_b", "w2_b", "a1"):
        if role in module.tensors and shapes[module.tensors[role]]:
            return shapes[module.tensors[role]][0]
    return 0


def _reads(module: Module, shapes: Mapping[str, Shape]) -> int:
    """The number of inputs of the layer that is changed; 0 where the factors do not tell."""
    of = {role: shapes[name] for role, name in module.tensors.items()}
    for role in ("down", "w1_b", "weight"):
        if len(of.get(role, ())) >= 2:
            return of[role][1]
    first, second = of.get("w1", of.get("w1_b", ())), of.get("w2", of.get("w2_b", ()))
    return first[1] * second[1] if len(first) >= 2 and len(second) >= 2 else 0


def _base(modules: Mapping[str, Module], header: Header) -> tuple[str, str]:
    """The family that the changes fit, and the sentence that says how that is known."""
    shapes = header.shapes
    if own := header.metadata.get(FAMILY, "")[:40]:
        return own, f"its {FAMILY} says {own}"
    for mark, base, words in MARKS[:2]:
        if any(re.search(mark, name) for name in modules):
            return base, f"it changes {words}"
    for width in _widths(modules, shapes, _CROSS):
        if width in CONTEXT:
            return CONTEXT[width], f"its cross-attentions read a text {width} wide"
    for mark, base, words in MARKS[2:]:
        if any(re.search(mark, name) for name in modules):
            return base, f"it changes {words}"
    for width in _widths(modules, shapes, _TEXT):
        if width in TEXT:
            return TEXT[width], f"it changes a text encoder {width} wide"
    return trained_for(header.metadata)


def _widths(modules: Mapping[str, Module], shapes: Mapping[str, Shape], pattern: re.Pattern[str]) -> Iterator[int]:
    return (_reads(module, shapes) for name, module in modules.items() if pattern.search(name))


def trained_for(metadata: Mapping[str, str]) -> tuple[str, str]:
    """The family that a file was made for by its trainer's word, and the sentence that says so."""
    if metadata.get("ss_v2", "").lower() == "true":
        return "sd2", "its ss_v2 is true"
    for key in ("ss_base_model_version", "modelspec.architecture"):
        text = metadata.get(key, "").lower()[:200]
        for pattern, base in BASES:
            if text and re.search(pattern, text):
                return base, f"its {key} says {text}"
    return "", ""
