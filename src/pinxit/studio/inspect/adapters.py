"""What a LoRA, an embedding or another small addition is for: by its tensors, or by its trainer's word."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pinxit.studio.inspect.metadata import cleaned
from pinxit.weights.header import Header
from pinxit.weights.layout import Shape

WIDTHS: Mapping[int, str] = {768: "sd1", 1024: "sd2", 2048: "sdxl", 1280: "sdxl"}
"""Families by the width of the text that their U-Net takes (1280 is the refiner's)."""

TEXT_INPUT = re.compile(
    r"attn2[._](processor[._])?to_[kv].*(lora_down|lora_A|lora\.down|_lora\.down|hada_w1_b)(\.default)?(\.weight)?$"
)
"""The factor that text goes into first; the last of its two sizes is the text's width."""

MARKS: tuple[tuple[str, str], ...] = (
    (r"joint_blocks|^transformer\.transformer_blocks\.\d+\.attn\.(add_)?[kqv]", "sd3"),
    (r"^lora_te[12]_|^text_encoder_2\.|^clip_g$|^text_encoders_1$", "sdxl"),
)
"""Families by names that only their additions have."""

TRAINERS: tuple[tuple[str, str], ...] = (
    (r"xl", "sdxl"),
    (r"sd_?3|diffusion-v?3", "sd3"),
    (r"sd_v2|diffusion-v?2", "sd2"),
    (r"sd_v1|diffusion-v?1", "sd1"),
)
"""Families by how trainers spell them in `ss_base_model_version` and `modelspec.architecture`."""

ALGORITHMS: tuple[tuple[str, str], ...] = (
    (r"\.hada_[wt]\d", "loha"),
    (r"\.lokr_[wt]\d", "lokr"),
    (r"\.oft_(blocks|diag|R)", "oft"),
    (r"\.[ab][12]\.weight$", "glora"),
    (r"\.on_input$", "ia3"),
    (r"\.(dora_scale|lora_magnitude_vector)", "dora"),
    (r"\.lora_mid\.|resnets[_.]\d+[_.]conv.*\.lora_|_in_layers_2\.lora_", "locon"),
    (r"lora", "lora"),
)
"""How an adapter's factors make up its change of the weights, by the suffixes of their names."""


def algorithm(header: Header) -> str | None:
    """The sort of LoRA or LyCORIS adapter that a file holds."""
    return next((name for pattern, name in ALGORITHMS if any(re.search(pattern, key) for key in header.tensors)), None)


def base_family(header: Header, kind: str) -> tuple[str | None, str]:
    """The name of the family that an addition goes with, and how that is known; its tensors count before its words."""
    shapes = header.shapes
    if own := header.metadata.get("pinxit.family", ""):
        return cleaned(own, 40), "its pinxit.family says so"
    for pattern, family in MARKS:
        if name := next((name for name in shapes if re.search(pattern, name)), None):
            return family, f"only additions to {family} name a tensor {cleaned(name, 80)}"
    width = _text_width(shapes, kind)
    if width in WIDTHS:
        return WIDTHS[width], f"it takes text {width} wide"
    for key in ("ss_base_model_version", "modelspec.architecture"):
        text = header.metadata.get(key, "")
        for pattern, family in TRAINERS:
            if text and re.search(pattern, text[:200].lower()):
                return family, f"its {key} says {cleaned(text, 80)}"
    return None, ""


def _text_width(shapes: Mapping[str, Shape], kind: str) -> int:
    """The width of the text that an addition changes or is made of; 0 where it does not say."""
    if kind == "embedding":
        return next((shape[-1] for shape in shapes.values() if shape), 0)
    if kind == "hypernetwork":
        found = [int(name.split(".")[0]) for name in shapes if re.match(r"^\d{3,4}\.", name)]
        return next((width for width in found if width in (768, 1024)), 0)
    return next((shape[1] for name, shape in shapes.items() if len(shape) >= 2 and TEXT_INPUT.search(name)), 0)
