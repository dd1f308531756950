"""The tables of the shared networks: U-Net, VAE and CLIP text encoders, in every spelling that files use.

Our spelling is the reference repositories'. The right-hand columns below are the diffusers folder's (U-Net, VAE) and
OpenCLIP's (text); each table's own spelling is derived from it. Sizes that the formulas use:

```
U-Net   levels, blocks[i], first[i] (number of the level's first input block)   downwards, i = 0 is the largest size
        up_blocks[u], up_first[u]                                               upwards, u = 0 is the smallest size
        depth[n], has[n]         transformer layers in the attention of input block n, and whether it has one (0 or 1)
        up_depth[n], up_has[n]   the same for output block n
        middle (depth there), mid (0 or 1), middles (residual blocks there: 2, 1 or 0)
        added, projected, classes (which class embedding there is, 0 or 1), guided (guidance embedding, 0 or 1)
        outer (transformer layers at the largest size), linear (transformers begin with a linear layer, 0 or 1)
        context (width of the text)
VAE     levels, blocks, attention, quant (0 or 1)
text    layers, projection (0 or 1)
```
"""

# A table, as long as it must be.
from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TypeAlias

from pinxit.weights.formula import Scope, Template
from pinxit.weights.layout import ITS_WEIGHT, WEIGHT, WHOLE, Drop, Leaf, Op, Place, Row, Shape, Table, View

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

VAE_BLOCK = (
    Leaf("norm1", "norm1"),
    Leaf("conv1", "conv1"),
    Leaf("norm2", "norm2"),
    Leaf("conv2", "conv2"),
    Leaf("nin_shortcut", "conv_shortcut", unequal="conv1"),
)


def _vae_rows(attention: tuple[Leaf, ...]) -> tuple[Row, ...]:
    coder = [
        row
        for side in ("encoder", "decoder")
        for row in (
            Row(f"{side}.conv_in", f"{side}.conv_in"),
            Row(f"{side}.mid.block_{{k+1}}", f"{side}.mid_block.resnets.{{k}}", VAE_BLOCK, k=2),
            Row(f"{side}.mid.attn_1", f"{side}.mid_block.attentions.0", attention, k="attention"),
            Row(f"{side}.norm_out", f"{side}.conv_norm_out"),
            Row(f"{side}.conv_out", f"{side}.conv_out"),
        )
    ]
    return (
        *coder,
        Row("encoder.down.{i}.block.{j}", "encoder.down_blocks.{i}.resnets.{j}", VAE_BLOCK, i="levels", j="blocks"),
        Row("encoder.down.{i}.downsample.conv", "encoder.down_blocks.{i}.downsamplers.0.conv", i="levels-1"),
        Row(
            "decoder.up.{levels-1-u}.block.{j}",
            "decoder.up_blocks.{u}.resnets.{j}",
            VAE_BLOCK,
            u="levels",
            j="blocks+1",
        ),
        Row("decoder.up.{levels-1-u}.upsample.conv", "decoder.up_blocks.{u}.upsamplers.0.conv", u="levels-1"),
        Row("quant_conv", "quant_conv", k="quant"),
        Row("post_quant_conv", "post_quant_conv", k="quant"),
    )


def _vae_attention(q: str, k: str, v: str, out: str) -> tuple[Leaf, ...]:
    """The middle's attention: our 1x1 convolutions are linear layers in a folder."""
    return (
        Leaf("norm", "group_norm"),
        *(Leaf(ours, theirs, op=Op.SQUEEZE) for ours, theirs in (("q", q), ("k", k), ("v", v), ("proj_out", out))),
    )


def ldm_vae_sizes(view: View) -> Scope | None:
    """Sizes of a VAE in our spelling."""
    levels = view.count("encoder.down.#")
    if not levels or not view.has("decoder.up.0"):
        return None
    return {
        "levels": levels,
        "blocks": view.count("encoder.down.0.block.#"),
        "attention": int(view.has("encoder.mid.attn_1")),
        "quant": int(view.has("quant_conv")),
    }


def diffusers_vae_sizes(view: View) -> Scope | None:
    """Sizes of a VAE in the folder's spelling."""
    levels = view.count("encoder.down_blocks.#")
    if not levels or not view.has("decoder.up_blocks.0"):
        return None
    return {
        "levels": levels,
        "blocks": view.count("encoder.down_blocks.0.resnets.#"),
        "attention": int(view.has("encoder.mid_block.attentions.0")),
        "quant": int(view.has("quant_conv")),
    }


VAE_DIFFUSERS = Table(
    name="diffusers VAE",
    rows=_vae_rows(_vae_attention("to_q", "to_k", "to_v", "to_out.0")),
    measure=diffusers_vae_sizes,
    measure_ours=ldm_vae_sizes,
)
VAE_DIFFUSERS_OLD = Table(
    name="diffusers VAE with the attention names of 2022",
    rows=_vae_rows(_vae_attention("query", "key", "value", "proj_attn")),
    measure=diffusers_vae_sizes,
    measure_ours=ldm_vae_sizes,
)
VAE_LDM = VAE_DIFFUSERS.own("LDM VAE")

CLIP_LAYER = (
    Leaf(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "attn.in_proj_*"),
    Leaf("self_attn.out_proj", "attn.out_proj"),
    Leaf("layer_norm1", "ln_1"),
    Leaf("layer_norm2", "ln_2"),
    Leaf("mlp.fc1", "mlp.c_fc"),
    Leaf("mlp.fc2", "mlp.c_proj"),
)
CLIP_ROWS = (
    Row("text_model.embeddings.token_embedding", "token_embedding", ITS_WEIGHT),
    Row("", "", (Leaf("text_model.embeddings.position_embedding.weight", "positional_embedding", WHOLE),)),
    Row("text_model.encoder.layers.{i}", "transformer.resblocks.{i}", CLIP_LAYER, i="layers"),
    Row("text_model.final_layer_norm", "ln_final"),
    Row("", "", (Leaf("text_projection.weight", "text_projection", WHOLE, Op.TRANSPOSE),), k="projection"),
)


def clip_sizes(view: View) -> Scope | None:
    """Sizes of a text encoder in our spelling."""
    layers = view.count("text_model.encoder.layers.#")
    return {"layers": layers, "projection": int(view.has("text_projection.weight"))} if layers else None


def openclip_sizes(view: View) -> Scope | None:
    """Sizes of a text encoder in OpenCLIP's spelling."""
    layers = view.count("transformer.resblocks.#")
    return {"layers": layers, "projection": int(view.has("text_projection"))} if layers else None


def bare_clip_sizes(view: View) -> Scope | None:
    """Sizes of a text encoder whose names lack `text_model.`, as the earliest and the latest writers spell them."""
    layers = view.count("encoder.layers.#")
    return {"layers": layers, "projection": int(view.has("text_projection.weight"))} if layers else None


CLIP_OPEN = Table(name="OpenCLIP text encoder", rows=CLIP_ROWS, measure=openclip_sizes, measure_ours=clip_sizes)
CLIP_HF = CLIP_OPEN.own("CLIP text encoder")
CLIP_BARE = Table(
    name="CLIP text encoder without text_model",
    rows=(
        Row("text_model.embeddings.token_embedding", "embeddings.token_embedding", ITS_WEIGHT),
        Row("text_model.embeddings.position_embedding", "embeddings.position_embedding", ITS_WEIGHT),
        Row(
            "text_model.encoder.layers.{i}",
            "encoder.layers.{i}",
            tuple(
                Leaf(name, name)
                for leaf in CLIP_LAYER
                for name in (leaf.ours if isinstance(leaf.ours, tuple) else (leaf.ours,))
            ),
            i="layers",
        ),
        Row("text_model.final_layer_norm", "final_layer_norm"),
        Row("text_projection", "text_projection", ITS_WEIGHT, k="projection"),
    ),
    measure=bare_clip_sizes,
    measure_ours=clip_sizes,
)

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
VAE_SINGLE = (Place(prefix="first_stage_model.", table=VAE_LDM),)
UNET_FOLDER = (Place(prefix="unet/", table=UNET_DIFFUSERS),)
VAE_FOLDER = (Place(prefix="vae/", table=VAE_DIFFUSERS), Place(prefix="vae/", table=VAE_DIFFUSERS_OLD))


def text_folder(part: str = "text_encoder") -> tuple[Place, ...]:
    """Where a folder keeps the text encoder `part`."""
    return (
        Place(prefix=f"{part}/", table=CLIP_HF, file="model"),
        Place(prefix=f"{part}/", table=CLIP_BARE, file="model"),
    )


SCHEDULE_BUFFERS = (
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "lvlb_weights",
    "denoiser.sigmas",
)
SINGLE_DROPS = (
    *(Drop(name, "noise schedule: computed from the family's betas") for name in SCHEDULE_BUFFERS),
    Drop("*.position_ids", "position numbers 0, 1, 2 ...: counted, not stored"),
    Drop("*logit_scale", "temperature of CLIP's training"),
    Drop("*.attn_mask", "causal mask: made when needed"),
    Drop("model_ema.decay", "state of the training's moving average"),
    Drop("model_ema.num_updates", "state of the training's moving average"),
    Drop("loss.*", "network of the training's loss"),
    Drop("first_stage_model.loss.*", "network of the training's loss"),
    Drop("embedding_manager.*", "training state of textual inversion"),
    Drop("global_step", "training state"),
    Drop("logvar", "weight of the training's loss"),
    Drop("v_pred", "marker: the model predicts velocity"),
    Drop("ztsnr", "marker: the noise schedule ends at zero signal"),
)
FOLDER_DROPS = (
    Drop("*.position_ids", "position numbers 0, 1, 2 ...: counted, not stored"),
    Drop("safety_checker/*", "judges finished pictures; not part of painting"),
    Drop("depth_estimator/*", "belongs to the depth annotator"),
)
