"""The tables of the multimodal transformer of SD 3 and of the T5 encoder, in every spelling that files use.

```
MMDiT   depth, norm (0 or 1), dual[i] (1 for a block with attn2)
T5      layers, shared (1 where the embedding is called so, 0 where it is called encoder.embed_tokens)
```
"""

from __future__ import annotations

from pinxit.weights.formula import Scope
from pinxit.weights.layout import ITS_WEIGHT, WEIGHT, WHOLE, Drop, Leaf, Op, Place, Row, Table, View

X_BLOCK = (
    Leaf("attn.qkv", ("attn.to_q", "attn.to_k", "attn.to_v")),
    Leaf("attn.proj", "attn.to_out.0"),
    Leaf("mlp.fc1", "ff.net.0.proj"),
    Leaf("mlp.fc2", "ff.net.2"),
    Leaf("adaLN_modulation.1", "norm1.linear"),
)
CONTEXT_QKV = (Leaf("attn.qkv", ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")),)
CONTEXT_BLOCK = (
    Leaf("attn.proj", "attn.to_add_out"),
    Leaf("mlp.fc1", "ff_context.net.0.proj"),
    Leaf("mlp.fc2", "ff_context.net.2"),
    Leaf("adaLN_modulation.1", "norm1_context.linear"),
)
SECOND = (Leaf("qkv", ("to_q", "to_k", "to_v")), Leaf("proj", "to_out.0"))
NORMS = (Leaf("ln_q", "norm_q", WEIGHT), Leaf("ln_k", "norm_k", WEIGHT))
CONTEXT_NORMS = (Leaf("ln_q", "norm_added_q", WEIGHT), Leaf("ln_k", "norm_added_k", WEIGHT))
LAST = (Leaf("", "", op=Op.SWAP),)
"""Shift before scale with us, scale before shift in a folder: where both stand alone, without a gate."""

MMDIT_ROWS = (
    Row("t_embedder.mlp.{2*k}", "time_text_embed.timestep_embedder.linear_{k+1}", k=2),
    Row("y_embedder.mlp.{2*k}", "time_text_embed.text_embedder.linear_{k+1}", k=2),
    Row("context_embedder", "context_embedder"),
    Row("joint_blocks.{i}.context_block", "transformer_blocks.{i}", CONTEXT_QKV, i="depth"),
    Row("joint_blocks.{i}.context_block.attn", "transformer_blocks.{i}.attn", CONTEXT_NORMS, i="depth", k="norm"),
    Row("joint_blocks.{i}.context_block", "transformer_blocks.{i}", CONTEXT_BLOCK, i="depth-1"),
    Row(
        "joint_blocks.{depth-1}.context_block.adaLN_modulation.1",
        "transformer_blocks.{depth-1}.norm1_context.linear",
        LAST,
    ),
    Row("joint_blocks.{i}.x_block", "transformer_blocks.{i}", X_BLOCK, i="depth"),
    Row("joint_blocks.{i}.x_block.attn", "transformer_blocks.{i}.attn", NORMS, i="depth", k="norm"),
    Row("joint_blocks.{i}.x_block.attn2", "transformer_blocks.{i}.attn2", SECOND, i="depth", k="dual[i]"),
    Row("joint_blocks.{i}.x_block.attn2", "transformer_blocks.{i}.attn2", NORMS, i="depth", k="dual[i]*norm"),
    Row("", "", (Leaf("pos_embed", "pos_embed.pos_embed", WHOLE),)),
    Row("x_embedder.proj", "pos_embed.proj"),
    Row("final_layer.linear", "proj_out"),
    Row("final_layer.adaLN_modulation.1", "norm_out.linear", LAST),
)


def mmdit_sizes(view: View) -> Scope | None:
    """Sizes of a multimodal transformer in our spelling."""
    depth = view.count("joint_blocks.#")
    if not depth or not view.has("final_layer"):
        return None
    return {
        "depth": depth,
        "norm": int(view.has("joint_blocks.0.x_block.attn.ln_q")),
        "dual": tuple(int(view.has(f"joint_blocks.{i}.x_block.attn2")) for i in range(depth)),
    }


def diffusers_mmdit_sizes(view: View) -> Scope | None:
    """Sizes of a multimodal transformer in the folder's spelling."""
    depth = view.count("transformer_blocks.#")
    if not depth or not all(map(view.has, ("transformer_blocks.0.attn.add_q_proj", "pos_embed", "proj_out"))):
        return None
    return {
        "depth": depth,
        "norm": int(view.has("transformer_blocks.0.attn.norm_q")),
        "dual": tuple(int(view.has(f"transformer_blocks.{i}.attn2")) for i in range(depth)),
    }


MMDIT_DIFFUSERS = Table(
    name="diffusers MMDiT", rows=MMDIT_ROWS, measure=diffusers_mmdit_sizes, measure_ours=mmdit_sizes
)
MMDIT = MMDIT_DIFFUSERS.own("MMDiT")

T5_BLOCK = tuple(
    Leaf(name, name, WEIGHT)
    for name in (
        "layer.0.SelfAttention.q",
        "layer.0.SelfAttention.k",
        "layer.0.SelfAttention.v",
        "layer.0.SelfAttention.o",
        "layer.0.layer_norm",
        "layer.1.DenseReluDense.wi_0",
        "layer.1.DenseReluDense.wi_1",
        "layer.1.DenseReluDense.wo",
        "layer.1.layer_norm",
    )
)
_DISTANCES = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias"


def t5_sizes(view: View) -> Scope | None:
    """Sizes of a T5 encoder whose feed-forward is gated."""
    layers = view.count("encoder.block.#.layer.1.DenseReluDense.wi_1")
    return {"layers": layers, "shared": int(view.has("shared"))} if layers else None


T5 = Table(
    name="T5 encoder",
    rows=(
        Row("shared", "shared", ITS_WEIGHT, k="shared"),
        Row("shared", "encoder.embed_tokens", ITS_WEIGHT, k="1-shared"),
        Row(_DISTANCES, _DISTANCES, ITS_WEIGHT),
        Row("encoder.block.{i}", "encoder.block.{i}", T5_BLOCK, i="layers"),
        Row("encoder.final_layer_norm", "encoder.final_layer_norm", ITS_WEIGHT),
    ),
    measure=t5_sizes,
    measure_ours=t5_sizes,
)

TRANSFORMER_SINGLE = (
    Place(prefix="model.diffusion_model.", table=MMDIT),
    Place(prefix="diffusion_model.", table=MMDIT),
    Place(prefix="", table=MMDIT),
    Place(prefix="", table=MMDIT_DIFFUSERS),
)
TRANSFORMER_FOLDER = (Place(prefix="transformer/", table=MMDIT_DIFFUSERS),)
T5_DROPS = (Drop("*encoder.embed_tokens.weight", "the same numbers as shared.weight"),)


def t5_folder(part: str) -> tuple[Place, ...]:
    """Where a folder keeps the T5 encoder `part`."""
    return (Place(prefix=f"{part}/", table=T5, file="model"),)
