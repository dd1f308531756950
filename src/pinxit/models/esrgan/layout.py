"""The files of ESRGAN's upscalers, in the three spellings that people have; ours is the original's later one.

```
later       RRDB_trunk.0.RDB1.conv1      trunk_conv   upconv1      upconv2      HRconv    conv_last
earlier     model.1.sub.0.RDB1.conv1.0   model.1.sub.{blocks}   model.3   model.6   model.8   model.10
Real-ESRGAN body.0.rdb1.conv1            conv_body    conv_up1     conv_up2     conv_hr   conv_last
```
The earlier one numbers the layers of one row, so that its last numbers follow from how often it doubles (`doubles`).
"""

from __future__ import annotations

from pinxit.weights.formula import Scope
from pinxit.weights.layout import Drop, Layout, Leaf, Measure, Part, Place, Row, Table, View

DENSE = tuple(Leaf(f"conv{k}", f"conv{k}") for k in range(1, 6))
DENSE_EARLIER = tuple(Leaf(f"conv{k}", f"conv{k}.0") for k in range(1, 6))


def _rows(block: str, names: tuple[str, str, str, str, str], dense: tuple[Leaf, ...]) -> tuple[Row, ...]:
    """The rows with, on their side, the dense `block` and the names of the first, middle, doubling and last two."""
    first, middle, double, sharp, last = names
    return (
        Row("conv_first", first),
        Row("RRDB_trunk.{i}.RDB{j+1}", block, dense, i="blocks", j=3),
        Row("trunk_conv", middle),
        Row("upconv{k+1}", double, k="doubles"),
        Row("HRconv", sharp),
        Row("conv_last", last),
    )


def later_sizes(view: View) -> Scope | None:
    """Sizes in our own spelling."""
    doubles = 0
    while view.has(f"upconv{doubles + 1}"):
        doubles += 1
    blocks = view.count("RRDB_trunk.#")
    return {"blocks": blocks, "doubles": doubles} if blocks else None


def earlier_sizes(view: View) -> Scope | None:
    """Sizes in the earlier spelling: the last block's number is that of the convolution after them."""
    blocks = 0
    while view.has(f"model.1.sub.{blocks}.RDB1"):
        blocks += 1
    doubles = 0
    while view.has(f"model.{3 + 3 * doubles}"):
        doubles += 1
    return {"blocks": blocks, "doubles": doubles} if blocks else None


def real_sizes(view: View) -> Scope | None:
    """Sizes in Real-ESRGAN's spelling."""
    blocks = 0
    while view.has(f"body.{blocks}.rdb1"):
        blocks += 1
    doubles = 0
    while view.has(f"conv_up{doubles + 1}"):
        doubles += 1
    return {"blocks": blocks, "doubles": doubles} if blocks else None


def _table(name: str, rows: tuple[Row, ...], measure: Measure) -> Table:
    return Table(name=name, rows=rows, measure=measure, measure_ours=later_sizes)


EARLIER = _table(
    "ESRGAN of 2018",
    _rows(
        "model.1.sub.{i}.RDB{j+1}",
        ("model.0", "model.1.sub.{blocks}", "model.{3+3*k}", "model.{2+3*doubles}", "model.{4+3*doubles}"),
        DENSE_EARLIER,
    ),
    earlier_sizes,
)
REAL = _table(
    "Real-ESRGAN",
    _rows("body.{i}.rdb{j+1}", ("conv_first", "conv_body", "conv_up{k+1}", "conv_hr", "conv_last"), DENSE),
    real_sizes,
)
LATER = REAL.own("ESRGAN")

DROPS = (Drop("params.*", "the weights before averaging, beside the averaged ones"),)


def _layout(name: str, table: Table) -> Layout:
    places = tuple(Place(prefix=prefix, table=table) for prefix in ("", "params_ema.", "params.", "module."))
    return Layout(
        name=name, family="esrgan", parts=(Part(component="esrgan", places=places, required=True),), drops=DROPS
    )


LAYOUTS = (_layout("esrgan", LATER), _layout("esrgan-2018", EARLIER), _layout("real-esrgan", REAL))
