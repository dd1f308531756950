"""The files of the latent x2 upscaler: a diffusers folder, or k-diffusion's names in one file.

Sizes that the formulas use: levels; by level, the largest size first, blocks, own and cross (attention of either kind,
0 or 1), stride (layers for each block); upwards up_blocks, up_own, up_cross, up_stride, and up_last (1 where a level's
last block stands apart, because it alone changes the width) with up_plain, the others.
"""

from __future__ import annotations

from pinxit.models.common.layouts import (
    CLIP_BARE,
    CLIP_HF,
    FOLDER_DROPS,
    SINGLE_DROPS,
    VAE_FOLDER,
    VAE_SINGLE,
    text_folder,
)
from pinxit.weights.formula import Scope
from pinxit.weights.layout import ITS_WEIGHT, WEIGHT, WHOLE, Layout, Leaf, Op, Part, Place, Row, Table, View

RESNET = (
    Leaf("main.0.mapper", "norm1.linear"),
    Leaf("main.2", "conv1"),
    Leaf("main.4.mapper", "norm2.linear"),
    Leaf("main.6", "conv2"),
)
PLAIN = (*RESNET, Leaf("skip", "conv_shortcut", WEIGHT, unequal="main.2"))
LAST = (*RESNET, Leaf("skip", "conv_shortcut", WEIGHT, unequal="main.6"))
OWN = (
    Leaf("norm_in.mapper", "norm1.linear"),
    Leaf("qkv_proj", ("attn1.to_q", "attn1.to_k", "attn1.to_v"), op=Op.SQUEEZE),
    Leaf("out_proj", "attn1.to_out.0", op=Op.SQUEEZE),
)
CROSS = (
    Leaf("norm_enc", "attn2.norm_cross"),
    Leaf("norm_dec.mapper", "norm2.linear"),
    Leaf("q_proj", "attn2.to_q", op=Op.SQUEEZE),
    Leaf("kv_proj", ("attn2.to_k", "attn2.to_v")),
    Leaf("out_proj", "attn2.to_out.0", op=Op.SQUEEZE),
)
ROWS = (
    Row("proj_in", "conv_in"),
    Row("", "", (Leaf("timestep_embed.weight", "time_proj.weight", WHOLE, Op.COLUMN),)),
    Row("mapping.{2*k}", "time_embedding.linear_{k+1}", k=2),
    Row("mapping_cond", "time_embedding.cond_proj", ITS_WEIGHT),
    Row("u_net.d_blocks.{i}.{1+stride[i]*j}", "down_blocks.{i}.resnets.{j}", PLAIN, i="levels", j="blocks[i]"),
    Row(
        "u_net.d_blocks.{i}.{2+stride[i]*j}",
        "down_blocks.{i}.attentions.{j}",
        OWN,
        i="levels",
        j="blocks[i]*own[i]",
    ),
    Row(
        "u_net.d_blocks.{i}.{2+own[i]+stride[i]*j}",
        "down_blocks.{i}.attentions.{j}",
        CROSS,
        i="levels",
        j="blocks[i]*cross[i]",
    ),
    Row("u_net.u_blocks.{u}.{up_stride[u]*j}", "up_blocks.{u}.resnets.{j}", PLAIN, u="levels", j="up_plain[u]"),
    Row(
        "u_net.u_blocks.{u}.{up_stride[u]*up_plain[u]}",
        "up_blocks.{u}.resnets.{up_plain[u]}",
        LAST,
        u="levels",
        j="up_last[u]",
    ),
    Row(
        "u_net.u_blocks.{u}.{1+up_stride[u]*j}",
        "up_blocks.{u}.attentions.{j}",
        OWN,
        u="levels",
        j="up_blocks[u]*up_own[u]",
    ),
    Row(
        "u_net.u_blocks.{u}.{1+up_own[u]+up_stride[u]*j}",
        "up_blocks.{u}.attentions.{j}",
        CROSS,
        u="levels",
        j="up_blocks[u]*up_cross[u]",
    ),
    Row("proj_out", "conv_out"),
)


def _sizes(levels: list[tuple[int, bool, bool]]) -> Scope:
    """Every size of the table from (blocks, own, cross) of each level."""
    blocks, own, cross = ([int(level[at]) for level in levels] for at in range(3))
    stride = [1 + a + b for a, b in zip(own, cross, strict=True)]
    return {
        "levels": len(levels),
        "blocks": tuple(blocks),
        "own": tuple(own),
        "cross": tuple(cross),
        "stride": tuple(stride),
        "up_blocks": tuple(reversed(blocks)),
        "up_own": tuple(reversed(own)),
        "up_cross": tuple(reversed(cross)),
        "up_stride": tuple(reversed(stride)),
        "up_last": tuple(int(count > 1) for count in reversed(blocks)),
        "up_plain": tuple(max(1, count - 1) for count in reversed(blocks)),
    }


def k_unet_sizes(view: View) -> Scope | None:
    """Sizes of the U-Net in our spelling, which is k-diffusion's."""
    count = view.count("u_net.d_blocks.#")
    if not count or not view.has("u_net.u_blocks.0"):
        return None
    levels: list[tuple[int, bool, bool]] = []
    for i in range(count):
        stem = f"u_net.d_blocks.{i}"
        blocks, at = 0, 1
        while view.has(f"{stem}.{at}"):
            blocks += view.has(f"{stem}.{at}.main")
            at += 1
        own = view.has(f"{stem}.2.norm_in")
        levels.append((blocks, own, view.has(f"{stem}.{2 + own}.norm_dec")))
    return _sizes(levels)


def diffusers_k_unet_sizes(view: View) -> Scope | None:
    """Sizes of the U-Net in the folder's spelling."""
    count = view.count("down_blocks.#")
    if not count or not view.has("down_blocks.0.resnets.0.norm1.linear"):
        return None
    stems = [f"down_blocks.{i}" for i in range(count)]
    return _sizes(
        [
            (
                view.count(f"{stem}.resnets.#"),
                view.has(f"{stem}.attentions.0.attn1"),
                view.has(f"{stem}.attentions.0.attn2"),
            )
            for stem in stems
        ]
    )


K_UNET_DIFFUSERS = Table(
    name="diffusers U-Net of k-diffusion", rows=ROWS, measure=diffusers_k_unet_sizes, measure_ours=k_unet_sizes
)
K_UNET = K_UNET_DIFFUSERS.own("k-diffusion U-Net")

SINGLE_FILE = Layout(
    name="upscale2",
    family="upscale2",
    parts=(
        Part(component="unet", places=(Place(prefix="inner_model.", table=K_UNET),), required=True),
        Part(component="vae", places=VAE_SINGLE),
        Part(
            component="text_encoder",
            places=(
                Place(prefix="cond_stage_model.transformer.", table=CLIP_HF),
                Place(prefix="cond_stage_model.transformer.", table=CLIP_BARE),
            ),
        ),
    ),
    drops=SINGLE_DROPS,
)

FOLDER = Layout(
    name="upscale2-diffusers",
    family="upscale2",
    parts=(
        Part(component="unet", places=(Place(prefix="unet/", table=K_UNET_DIFFUSERS),), required=True),
        Part(component="vae", places=VAE_FOLDER),
        Part(component="text_encoder", places=text_folder()),
    ),
    drops=FOLDER_DROPS,
    folder=True,
)

LAYOUTS = (SINGLE_FILE, FOLDER)
