"""The files of an IP-Adapter: keys and values for every cross-attention, and what makes tokens of a picture.

Cross-attentions have the odd numbers of all attentions, in the order of a diffusers U-Net: down, up, middle. What makes
the tokens comes in four forms, each a size that is 0 or 1:

```
plain      image_proj.proj, norm           one linear layer from the picture's embedding (also `light`)
full       image_proj.proj.{0,2,3}         two layers for each of the picture's patches (full face)
face       image_proj.proj.{0,2}, norm     two layers from a face's identity; `tuned` attentions carry LoRAs besides
resampled  image_proj.latents, layers ...  queries that look at the patches (plus)
```
"""

from __future__ import annotations

from pinxit.weights.formula import Scope
from pinxit.weights.layout import ITSELF, WEIGHT, WHOLE, Layout, Leaf, Part, Place, Row, Table, View


def _same(*names: str) -> tuple[Leaf, ...]:
    return tuple(Leaf(name, name, WEIGHT) for name in names)


def _row(name: str, leaves: tuple[Leaf, ...] = ITSELF, **axes: int | str) -> Row:
    """A row that is spelt alike on both sides: there is one way to write these files."""
    return Row(name, name, leaves, **axes)


TUNED = ("to_q_lora", "to_k_lora", "to_v_lora", "to_out_lora")
PERCEIVER = (Leaf("0.norm1", "0.norm1"), Leaf("0.norm2", "0.norm2"), Leaf("1.0", "1.0"))

ROWS = (
    _row("ip_adapter.{2*i+1}", _same("to_k_ip", "to_v_ip"), i="attentions"),
    _row("ip_adapter.{i}", _same(*(f"{name}.{way}" for name in TUNED for way in ("down", "up"))), i="tuned"),
    _row("image_proj.proj", k="plain"),
    _row("image_proj.proj.{2*k}", k="2*full+2*face"),
    _row("image_proj.proj.3", k="full"),
    _row("image_proj.norm", k="plain+face"),
    _row("image_proj", (Leaf("latents", "latents", WHOLE),), k="resampled"),
    _row("image_proj.proj_in", k="resampled"),
    _row("image_proj.layers.{i}", (*PERCEIVER, *_same("0.to_q", "0.to_kv", "0.to_out", "1.1", "1.3")), i="layers"),
    _row("image_proj.proj_out", k="resampled"),
    _row("image_proj.norm_out", k="resampled"),
)


def sizes(view: View) -> Scope | None:
    """How many attentions there are, and which form makes the tokens."""
    attentions = 0
    while view.has(f"ip_adapter.{2 * attentions + 1}"):
        attentions += 1
    if not view.has("ip_adapter.1.to_k_ip"):
        return None
    resampled, full = view.has("image_proj.latents"), view.has("image_proj.proj.3")
    face = view.has("image_proj.proj.0") and not full
    return {
        "attentions": attentions,
        "tuned": view.count("ip_adapter.#.to_q_lora"),
        "plain": int(not (resampled or full or face)),
        "full": int(full),
        "face": int(face),
        "resampled": int(resampled),
        "layers": view.count("image_proj.layers.#"),
    }


TABLE = Table(name="IP-Adapter", rows=ROWS, measure=sizes, measure_ours=sizes)
LAYOUT = Layout(
    name="ip-adapter",
    family="ip-adapter",
    parts=(Part(component="ip-adapter", places=(Place(prefix="", table=TABLE),), required=True),),
)
LAYOUTS = (LAYOUT,)
