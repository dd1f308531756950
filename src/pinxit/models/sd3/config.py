"""Stable Diffusion 3 and 3.5: what their files say about the networks, and which of the models this is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from pinxit.models.common.configs import ClipTextConfig, MmditConfig, T5Config, VaeConfig
from pinxit.models.common.distilled import Distilled, find_distilled
from pinxit.models.common.measured import clip_config, settings_of, t5_config, vae_config
from pinxit.models.sd3.layout import CLIP_G, CLIP_L, T5_XXL, TRANSFORMER
from pinxit.prompts.t5 import FILES, has_tokenizer
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match

HEAD_WIDTH = 64
PAD_ID_G = 0
SHIFT = 3.0
"""How far the schedule leans towards noise, in every published model of the family."""
TOKENIZER_FOLDER = "tokenizer_3"
TOKENIZER_TEXT = "tokenizer_3.json"
"""The key in a single file's metadata under which we keep what is in the folder's tokenizer.json."""

Variant: TypeAlias = Literal["3-medium", "3.5-medium", "3.5-large"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sd3Config:
    """One checkpoint of the family. Parts are None where the file lacks them.

    `speaks` is whether T5 is there with its tokenizer, without which it is left out; `distilled` is for models of few
    steps, such as Turbo; `projects` says whether CLIP-L's pooled vector goes through its projection, as in folders
    (single files are made to leave it out). `evidence` says how all is known, `notes` what else there is.
    """

    variant: Variant
    distilled: Distilled | None
    transformer: MmditConfig
    vae: VaeConfig | None
    text_encoder: ClipTextConfig | None
    text_encoder_2: ClipTextConfig | None
    text_encoder_3: T5Config | None
    speaks: bool
    projects: bool
    shift: float
    evidence: str
    notes: tuple[str, ...] = ()


def config_from(match: Match) -> Sd3Config:
    """The configuration of an SD 3 checkpoint. Raises BadModelFile where its parts contradict each other."""
    transformer = mmdit_config(match)
    clip_l = clip_config(match, activation="quick_gelu", component=CLIP_L)
    clip_g = clip_config(match, activation="gelu", pad_id=PAD_ID_G, component=CLIP_G)
    t5 = t5_config(match, component=T5_XXL)
    _check_widths(transformer, clip_l, clip_g, t5)
    variant, seen = _variant(transformer)
    distilled = find_distilled(match, told=False)
    shift = settings_of(match, "scheduler", "scheduler_config.json").number("shift")
    if shift is not None and not 0 < shift <= 100:
        raise BadModelFile(f"scheduler/scheduler_config.json: shift is {shift:g}, expected a number from 0 to 100.")
    speaks = t5 is not None and _has_tokenizer(match)
    said = (
        f"every SD 3 is a rectified flow; {seen}: SD {variant}",
        f"shift {shift:g} by scheduler_config.json" if shift is not None else f"shift {SHIFT:g}, the family's own",
    )
    mute = f"T5 is left out: the model brings no {' or '.join(FILES)} for it."
    return Sd3Config(
        variant=variant,
        distilled=distilled,
        transformer=transformer,
        vae=vae_config(match),
        text_encoder=clip_l,
        text_encoder_2=clip_g,
        text_encoder_3=t5,
        speaks=speaks,
        projects=match.layout.folder and clip_l is not None and clip_l.projection is not None,
        shift=SHIFT if shift is None else shift,
        evidence="; ".join(text for text in said if text),
        notes=(mute,) if t5 is not None and not speaks else (),
    )


def mmdit_config(match: Match, *, component: str = TRANSFORMER) -> MmditConfig:
    """The transformer's configuration from its shapes. Raises BadModelFile where they fit no network."""
    part = match.part(component)
    width, channels, patch = (part.dim("x_embedder.proj.weight", axis) for axis in (0, 1, 2))
    places, out = part.dim("pos_embed", 1), part.dim("final_layer.linear.weight", 0)
    side, heads = math.isqrt(places), settings_of(match, component).integer("num_attention_heads")
    heads = heads or max(1, width // HEAD_WIDTH)
    dual = cast(tuple[int, ...], part.sizes["dual"])
    if side * side != places or not patch or out % patch**2 or width % heads:
        raise BadModelFile(
            f"The transformer's {places} positions, {heads} heads of {width} channels and {out} numbers for each patch "
            f"of {patch} x {patch} fit no network.",
            hint="Download the file again.",
        )
    return MmditConfig(
        in_channels=channels,
        out_channels=out // patch**2,
        patch=patch,
        width=width,
        depth=cast(int, part.sizes["depth"]),
        heads=heads,
        intermediate=part.dim("joint_blocks.0.x_block.mlp.fc1.weight", 0),
        positions=side,
        context=part.dim("context_embedder.weight", 1),
        pooled=part.dim("y_embedder.mlp.0.weight", 1),
        norm=bool(part.sizes["norm"]),
        dual=tuple(index for index, has in enumerate(dual) if has),
    )


def _has_tokenizer(match: Match) -> bool:
    if match.layout.folder:
        return has_tokenizer(match.header.path / TOKENIZER_FOLDER)
    return TOKENIZER_TEXT in match.header.metadata


def _check_widths(
    transformer: MmditConfig, clip_l: ClipTextConfig | None, clip_g: ClipTextConfig | None, t5: T5Config | None
) -> None:
    clips = [clip.width for clip in (clip_l, clip_g) if clip is not None]
    pooled = [clip.projection or clip.width for clip in (clip_l, clip_g) if clip is not None]
    fits = sum(clips) <= transformer.context and sum(pooled) <= transformer.pooled
    if not fits or (t5 is not None and t5.width != transformer.context):
        widths = ", ".join(map(str, [*clips, *([t5.width] if t5 else [])]))
        raise BadModelFile(
            f"The transformer takes text {transformer.context} wide and a pooled vector of {transformer.pooled}; the "
            f"text encoders give {widths} and {sum(pooled)}.",
            hint="The parts belong to different models.",
        )


def _variant(config: MmditConfig) -> tuple[Variant, str]:
    """Which model of the family this is, and by what."""
    seen = f"{config.positions} x {config.positions} positions, {config.depth} joint blocks"
    if config.dual:
        return "3.5-medium", f"{seen}, a second attention in {len(config.dual)} of them"
    if config.norm:
        return "3.5-large", f"{seen}, normalised queries and keys"
    return "3-medium", seen
