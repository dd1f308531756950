"""The tables of the VAE and of the CLIP text encoders, in every spelling that files use, and what files hold besides.

Our spelling is the reference repositories'. The right-hand columns below are the diffusers folder's (VAE) and
OpenCLIP's (text); each table's own spelling is derived from it. Sizes that the formulas use:

```
VAE     levels, blocks, attention, quant (0 or 1)
text    layers, projection (0 or 1)
```
"""

from __future__ import annotations

from pinxit.weights.formula import Scope
from pinxit.weights.layout import ITS_WEIGHT, WHOLE, Drop, Leaf, Op, Place, Row, Table, View

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

VAE_SINGLE = (Place(prefix="first_stage_model.", table=VAE_LDM),)
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
