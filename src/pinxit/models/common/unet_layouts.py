"""The tables of the U-Net, in every spelling that files use.

Our spelling is the reference repositories'. The right-hand column below is the diffusers folder's; our own table is
derived from it. Sizes that the formulas use:

```
levels, blocks[i], first[i] (number of the level's first input block)   downwards, i = 0 is the largest size
up_blocks[u], up_first[u]                                               upwards, u = 0 is the smallest size
depth[n], has[n]         transformer layers in the attention of input block n, and whether it has one (0 or 1)
up_depth[n], up_has[n]   the same for output block n
middle (depth there), mid (0 or 1), middles (residual blocks there: 2, 1 or 0)
added, projected, classes (which class embedding there is, 0 or 1), guided (guidance embedding, 0 or 1)
outer (transformer layers at the largest size), linear (transformers begin with a linear layer, 0 or 1)
context (width of the text)
```
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TypeAlias

from pinxit.weights.formula import Scope, Template
from pinxit.weights.layout import ITS_WEIGHT, WEIGHT, Leaf, Place, Row, Shape, Table, View

RESNET = (
    Leaf("in_layers.0", "norm1"),
    Leaf("in_layers.2", "conv1"),
    Leaf("emb_layers.1", "time_emb_proj"),
    Leaf("out_layers.0", "norm2"),
    Leaf("out_layers.3", "conv2"),
    Leaf("skip_connection", "conv_shortcut", unequal="in_layers.2"),
)
TRANSFORMER = (Leaf("norm", "norm"), Leaf("proj_in", "proj_in"), Leaf("proj_out", "proj_out"))
BLOCK = (
    Leaf("attn1.to_q", "attn1.to_q", WEIGHT),
    Leaf("attn1.to_k", "attn1.to_k", WEIGHT),
    Leaf("attn1.to_v", "attn1.to_v", WEIGHT),
    Leaf("attn1.to_out.0", "attn1.to_out.0"),
    Leaf("attn2.to_q", "attn2.to_q", WEIGHT),
    Leaf("attn2.to_k", "attn2.to_k", WEIGHT),
    Leaf("attn2.to_v", "attn2.to_v", WEIGHT),
    Leaf("attn2.to_out.0", "attn2.to_out.0"),
    Leaf("ff.net.0.proj", "ff.net.0.proj"),
    Leaf("ff.net.2", "ff.net.2"),
    Leaf("norm1", "norm1"),
    Leaf("norm2", "norm2"),
    Leaf("norm3", "norm3"),
)

UNET_ROWS = (
    Row("time_embed.{2*k}", "time_embedding.linear_{k+1}", k=2),
    Row("time_embed.cond_proj", "time_embedding.cond_proj", ITS_WEIGHT, k="guided"),
    Row("label_emb.0.{2*k}", "add_embedding.linear_{k+1}", k="2*added"),
    Row("label_emb.0.{2*k}", "class_embedding.linear_{k+1}", k="2*projected"),
    Row("label_emb", "class_embedding", ITS_WEIGHT, k="classes"),
    Row("input_blocks.0.0", "conv_in"),
    Row("input_blocks.{first[i]+j}.0", "down_blocks.{i}.resnets.{j}", RESNET, i="levels", j="blocks[i]"),
    Row(
        "input_blocks.{first[i]+j}.1",
        "down_blocks.{i}.attentions.{j}",
        TRANSFORMER,
        i="levels",
        j="blocks[i]",
        k="has[first[i]+j]",
    ),
    Row(
        "input_blocks.{first[i]+j}.1.transformer_blocks.{k}",
        "down_blocks.{i}.attentions.{j}.transformer_blocks.{k}",
        BLOCK,
        i="levels",
        j="blocks[i]",
        k="depth[first[i]+j]",
    ),
    Row("input_blocks.{first[i]+blocks[i]}.0.op", "down_blocks.{i}.downsamplers.0.conv", i="levels-1"),
    Row("middle_block.{(1+mid)*k}", "mid_block.resnets.{k}", RESNET, k="middles"),
    Row("middle_block.1", "mid_block.attentions.0", TRANSFORMER, k="mid"),
    Row("middle_block.1.transformer_blocks.{k}", "mid_block.attentions.0.transformer_blocks.{k}", BLOCK, k="middle"),
    Row("output_blocks.{up_first[u]+j}.0", "up_blocks.{u}.resnets.{j}", RESNET, u="levels", j="up_blocks[u]"),
    Row(
        "output_blocks.{up_first[u]+j}.1",
        "up_blocks.{u}.attentions.{j}",
        TRANSFORMER,
        u="levels",
        j="up_blocks[u]",
        k="up_has[up_first[u]+j]",
    ),
    Row(
        "output_blocks.{up_first[u]+j}.1.transformer_blocks.{k}",
        "up_blocks.{u}.attentions.{j}.transformer_blocks.{k}",
        BLOCK,
        u="levels",
        j="up_blocks[u]",
        k="up_depth[up_first[u]+j]",
    ),
    Row(
        "output_blocks.{up_first[u]+up_blocks[u]-1}.{1+up_has[up_first[u]+up_blocks[u]-1]}.conv",
        "up_blocks.{u}.upsamplers.0.conv",
        u="levels-1",
    ),
    Row("out.0", "conv_norm_out"),
    Row("out.2", "conv_out"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Middle:
    """The U-Net's middle: transformer layers in its attention (0 where there is none), and residual blocks."""

    depth: int
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """What a U-Net is told beside the time: which of these embeddings it has, and the width of the text (0 unknown).

    `linear` is whether its transformers begin with a linear layer instead of a convolution.
    """

    added: bool = False
    projected: bool = False
    classes: bool = False
    guided: bool = False
    linear: bool = False
    context: int = 0


Depths: TypeAlias = list[list[int]]
"""Transformer layers by level and block; 0 where a block has no attention."""


def unet_sizes(*, down: Depths, up: Depths, middle: Middle, extra: Extra) -> Scope:
    """Every size of the U-Net's table. `up` begins with the smallest size."""
    blocks, up_blocks = [len(level) for level in down], [len(level) for level in up]
    at_input = [0, *(depth for level in down for depth in (*level, 0))]
    at_output = [depth for level in up for depth in level]
    return {
        "levels": len(down),
        "blocks": tuple(blocks),
        "first": tuple(accumulate(blocks[:-1], lambda at, count: at + count + 1, initial=1)),
        "depth": tuple(at_input),
        "has": tuple(min(depth, 1) for depth in at_input),
        "up_blocks": tuple(up_blocks),
        "up_first": tuple(accumulate(up_blocks[:-1], initial=0)),
        "up_depth": tuple(at_output),
        "up_has": tuple(min(depth, 1) for depth in at_output),
        "middle": middle.depth,
        "mid": min(middle.depth, 1),
        "middles": middle.blocks,
        "added": int(extra.added),
        "projected": int(extra.projected),
        "classes": int(extra.classes),
        "guided": int(extra.guided),
        "outer": at_input[1] if len(at_input) > 1 else 0,
        "linear": int(extra.linear),
        "context": extra.context,
    }


PROJECTION, TEXT_KEYS = ".proj_in.weight", ".attn2.to_k.weight"


def _last(shape: Shape) -> int:
    return shape[-1] if shape else 0


def ldm_unet_sizes(view: View) -> Scope | None:
    """Sizes of a U-Net in our spelling: a level ends where its last input block is a downsampler.

    A projected class embedding has the name of an added one here, and counts as `added`.
    """
    down: Depths = []
    at = 1
    while view.has(f"input_blocks.{at}.0.in_layers"):
        level: list[int] = []
        while view.has(f"input_blocks.{at}.0.in_layers"):
            level.append(view.count(f"input_blocks.{at}.1.transformer_blocks.#"))
            at += 1
        down.append(level)
        if not view.has(f"input_blocks.{at}.0.op"):
            break
        at += 1
    if not down:
        return None
    up_first = accumulate((len(level) + 1 for level in reversed(down[1:])), initial=0)
    return unet_sizes(
        down=down,
        up=[
            [view.count(f"output_blocks.{at}.1.transformer_blocks.#") for at in range(first, first + len(level) + 1)]
            for first, level in zip(up_first, reversed(down), strict=True)
        ],
        middle=Middle(
            depth=view.count("middle_block.1.transformer_blocks.#"),
            blocks=sum(view.has(f"middle_block.{at}.in_layers") for at in range(3)),
        ),
        extra=Extra(
            added=view.has("label_emb.0"),
            classes=view.has("label_emb.weight"),
            guided=view.has("time_embed.cond_proj"),
            linear=len(view.shape_of(PROJECTION)) == 2,
            context=_last(view.shape_of(TEXT_KEYS)),
        ),
    )


def diffusers_unet_sizes(view: View) -> Scope | None:
    """Sizes of a U-Net in the folder's spelling."""
    levels = view.count("down_blocks.#")
    if not levels or not view.has("up_blocks.0"):
        return None
    down = [
        [
            view.count(f"down_blocks.{i}.attentions.{j}.transformer_blocks.#")
            for j in range(view.count(f"down_blocks.{i}.resnets.#"))
        ]
        for i in range(levels)
    ]
    return unet_sizes(
        down=down,
        up=[
            [view.count(f"up_blocks.{u}.attentions.{j}.transformer_blocks.#") for j in range(len(level) + 1)]
            for u, level in enumerate(reversed(down))
        ],
        middle=Middle(
            depth=view.count("mid_block.attentions.0.transformer_blocks.#"),
            blocks=view.count("mid_block.resnets.#"),
        ),
        extra=Extra(
            added=view.has("add_embedding.linear_1"),
            projected=view.has("class_embedding.linear_1"),
            classes=view.has("class_embedding.weight"),
            guided=view.has("time_embedding.cond_proj"),
            linear=len(view.shape_of(PROJECTION)) == 2,
            context=_last(view.shape_of(TEXT_KEYS)),
        ),
    )


UNET_DIFFUSERS = Table(
    name="diffusers U-Net", rows=UNET_ROWS, measure=diffusers_unet_sizes, measure_ours=ldm_unet_sizes
)
UNET_LDM = UNET_DIFFUSERS.own("LDM U-Net")
_GUIDANCE = {"time_embed.cond_proj": "time_embedding.cond_proj"}


def distilled_unet_sizes(view: View) -> Scope | None:
    """Sizes of a U-Net in our spelling, but for the embedded guidance, which has the folder's name."""
    sizes = ldm_unet_sizes(view) if view.has(_GUIDANCE["time_embed.cond_proj"]) else None
    return None if sizes is None else {**sizes, "guided": 1}


UNET_LDM_DISTILLED = replace(
    UNET_LDM,
    name="LDM U-Net with the folder's name for the guidance",
    rows=tuple(
        row.copy(theirs=Template(_GUIDANCE.get(row.ours.text, row.theirs.text)), leaves=row.leaves)
        for row in UNET_LDM.rows
    ),
    measure=distilled_unet_sizes,
)
"""As converters write LCM in one file that know no other name for this layer."""

UNET_SINGLE = (
    Place(prefix="model.diffusion_model.", table=UNET_LDM),
    Place(prefix="model.diffusion_model.", table=UNET_LDM_DISTILLED),
    Place(prefix="diffusion_model.", table=UNET_LDM, note="without what the original programs put before its name"),
    Place(prefix="", table=UNET_LDM, note="the U-Net alone"),
    Place(prefix="", table=UNET_DIFFUSERS, note="the U-Net alone, out of a diffusers folder"),
    Place(
        prefix="model_ema.diffusion_model",
        table=UNET_LDM,
        squash=True,
        note="only the moving average of its training is there",
    ),
)
UNET_AVERAGE = (Place(prefix="model_ema.diffusion_model", table=UNET_LDM, squash=True),)
UNET_FOLDER = (Place(prefix="unet/", table=UNET_DIFFUSERS),)
