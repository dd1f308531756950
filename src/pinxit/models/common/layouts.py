"""The tables of the shared networks: U-Net, VAE and CLIP text encoders, in every spelling that files use.

Our spelling is the reference repositories'. The right-hand columns below are the diffusers folder's (U-Net, VAE) and
OpenCLIP's (text); each table's own spelling is derived from it. Sizes that the formulas use:

```
U-Net   levels, blocks[i], heads_at[i] (blocks with attention), depth[i]   downwards, i = 0 is the largest size
        first[i]   number of the level's first input block
        up_blocks[u], up_heads_at[u], up_depth[u], up_first[u], up_has[u]  upwards, u = 0 is the smallest size
        middle (depth there), mid (0 or 1), added, projected, classes (which class embedding there is, 0 or 1)
VAE     levels, blocks, attention, quant (0 or 1)
text    layers, projection (0 or 1)
```
"""

from __future__ import annotations

from itertools import accumulate

from pinxit.weights.formula import Scope
from pinxit.weights.layout import ITS_WEIGHT, WEIGHT, WHOLE, Drop, Layout, Leaf, Op, Part, Place, Row, Table, View

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
    Row("label_emb.0.{2*k}", "add_embedding.linear_{k+1}", k="2*added"),
    Row("label_emb.0.{2*k}", "class_embedding.linear_{k+1}", k="2*projected"),
    Row("label_emb", "class_embedding", ITS_WEIGHT, k="classes"),
    Row("input_blocks.0.0", "conv_in"),
    Row("input_blocks.{first[i]+j}.0", "down_blocks.{i}.resnets.{j}", RESNET, i="levels", j="blocks[i]"),
    Row("input_blocks.{first[i]+j}.1", "down_blocks.{i}.attentions.{j}", TRANSFORMER, i="levels", j="heads_at[i]"),
    Row(
        "input_blocks.{first[i]+j}.1.transformer_blocks.{k}",
        "down_blocks.{i}.attentions.{j}.transformer_blocks.{k}",
        BLOCK,
        i="levels",
        j="heads_at[i]",
        k="depth[i]",
    ),
    Row("input_blocks.{first[i]+blocks[i]}.0.op", "down_blocks.{i}.downsamplers.0.conv", i="levels-1"),
    Row("middle_block.{(1+mid)*k}", "mid_block.resnets.{k}", RESNET, k=2),
    Row("middle_block.1", "mid_block.attentions.0", TRANSFORMER, k="mid"),
    Row("middle_block.1.transformer_blocks.{k}", "mid_block.attentions.0.transformer_blocks.{k}", BLOCK, k="middle"),
    Row("output_blocks.{up_first[u]+j}.0", "up_blocks.{u}.resnets.{j}", RESNET, u="levels", j="up_blocks[u]"),
    Row("output_blocks.{up_first[u]+j}.1", "up_blocks.{u}.attentions.{j}", TRANSFORMER, u="levels", j="up_heads_at[u]"),
    Row(
        "output_blocks.{up_first[u]+j}.1.transformer_blocks.{k}",
        "up_blocks.{u}.attentions.{j}.transformer_blocks.{k}",
        BLOCK,
        u="levels",
        j="up_heads_at[u]",
        k="up_depth[u]",
    ),
    Row(
        "output_blocks.{up_first[u]+up_blocks[u]-1}.{1+up_has[u]}.conv",
        "up_blocks.{u}.upsamplers.0.conv",
        u="levels-1",
    ),
    Row("out.0", "conv_norm_out"),
    Row("out.2", "conv_out"),
)


def unet_sizes(
    *, blocks: list[int], depth: list[int], up_depth: list[int], middle: int, label: tuple[int, int, int]
) -> Scope:
    """Every size of the U-Net's table. `up_depth` counts upwards; `label` is (added, projected, classes)."""
    up_blocks = [count + 1 for count in reversed(blocks)]
    added, projected, classes = label
    return {
        "levels": len(blocks),
        "blocks": tuple(blocks),
        "depth": tuple(depth),
        "heads_at": tuple(count if d else 0 for count, d in zip(blocks, depth, strict=True)),
        "first": tuple(accumulate(blocks[:-1], lambda at, count: at + count + 1, initial=1)),
        "up_blocks": tuple(up_blocks),
        "up_depth": tuple(up_depth),
        "up_heads_at": tuple(count if d else 0 for count, d in zip(up_blocks, up_depth, strict=True)),
        "up_has": tuple(min(d, 1) for d in up_depth),
        "up_first": tuple(accumulate(up_blocks[:-1], initial=0)),
        "middle": middle,
        "mid": min(middle, 1),
        "added": added,
        "projected": projected,
        "classes": classes,
    }


def ldm_unet_sizes(view: View) -> Scope | None:
    """Sizes of a U-Net in our spelling: a level ends where its last input block is a downsampler.

    A projected class embedding has the name of an added one here, and counts as `added`.
    """
    blocks: list[int] = []
    depth: list[int] = []
    at = 1
    while view.has(f"input_blocks.{at}.0.in_layers"):
        depth.append(view.count(f"input_blocks.{at}.1.transformer_blocks.#"))
        count = 0
        while view.has(f"input_blocks.{at + count}.0.in_layers"):
            count += 1
        blocks.append(count)
        at += count
        if not view.has(f"input_blocks.{at}.0.op"):
            break
        at += 1
    if not blocks:
        return None
    up_first = accumulate((count + 1 for count in reversed(blocks[1:])), initial=0)
    return unet_sizes(
        blocks=blocks,
        depth=depth,
        up_depth=[view.count(f"output_blocks.{first}.1.transformer_blocks.#") for first in up_first],
        middle=view.count("middle_block.1.transformer_blocks.#"),
        label=(int(view.has("label_emb.0")), 0, int(view.has("label_emb.weight"))),
    )


def diffusers_unet_sizes(view: View) -> Scope | None:
    """Sizes of a U-Net in the folder's spelling."""
    levels = view.count("down_blocks.#")
    if not levels or not view.has("mid_block"):
        return None
    return unet_sizes(
        blocks=[view.count(f"down_blocks.{i}.resnets.#") for i in range(levels)],
        depth=[view.count(f"down_blocks.{i}.attentions.0.transformer_blocks.#") for i in range(levels)],
        up_depth=[view.count(f"up_blocks.{u}.attentions.0.transformer_blocks.#") for u in range(levels)],
        middle=view.count("mid_block.attentions.0.transformer_blocks.#"),
        label=(
            int(view.has("add_embedding.linear_1")),
            int(view.has("class_embedding.linear_1")),
            int(view.has("class_embedding.weight")),
        ),
    )


UNET_DIFFUSERS = Table(
    name="diffusers U-Net", rows=UNET_ROWS, measure=diffusers_unet_sizes, measure_ours=ldm_unet_sizes
)
UNET_LDM = UNET_DIFFUSERS.own("LDM U-Net")

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

UNET_SINGLE = (Place(prefix="model.diffusion_model.", table=UNET_LDM),)
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
    Drop("v_pred", "marker: the model predicts velocity"),
    Drop("ztsnr", "marker: the noise schedule ends at zero signal"),
)
FOLDER_DROPS = (
    Drop("*.position_ids", "position numbers 0, 1, 2 ...: counted, not stored"),
    Drop("safety_checker/*", "judges finished pictures; not part of painting"),
    Drop("depth_estimator/*", "belongs to the depth annotator"),
)

VAE_FILE = Layout(
    name="vae",
    family="vae",
    parts=(
        Part(
            component="vae",
            places=(
                Place(prefix="", table=VAE_LDM),
                Place(prefix="first_stage_model.", table=VAE_LDM),
                Place(prefix="", table=VAE_DIFFUSERS),
                Place(prefix="", table=VAE_DIFFUSERS_OLD),
            ),
            required=True,
        ),
    ),
    drops=(
        Drop("loss.*", "network of the training's loss"),
        Drop("model_ema.*", "average of the training, beside the weights"),
    ),
)
"""A VAE by itself, to be used in place of a model's own."""
