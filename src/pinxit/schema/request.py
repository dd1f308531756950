"""The request: one validated value that says which pictures to paint.

None means "let the model's family decide" and is never confused with zero. Names of models, samplers and the like are
checked later, against the engine's catalogue; everything else is checked here.
"""

# A table, as long as it must be.
from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias, cast

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, model_validator

from pinxit.schema.complaints import as_bad_input
from pinxit.schema.errors import BadInput
from pinxit.schema.field import Part, knob
from pinxit.schema.parts import (
    EXACT_MAX,
    EXTENT_MAX,
    SEED_MAX,
    SIGMA_MAX,
    STEPS_MAX,
    AdapterUse,
    Blank,
    Extent,
    FromImage,
    ImageRef,
    Interval,
    Name,
    Number,
    Refine,
    Seed,
    Sigmas,
    Size,
    Text,
    Whole,
    YesNo,
)
from pinxit.schema.strict_json import canonical_json, load_json
from pinxit.schema.text import shown

__all__ = [
    "AdapterUse",
    "Blank",
    "Extent",
    "Fit",
    "FromImage",
    "GenerationRequest",
    "ImageFormat",
    "ImageRef",
    "Interval",
    "Pass",
    "Prediction",
    "Refine",
    "Size",
    "Source",
    "validated",
]

PASSES_MAX = 8
ADAPTERS_MAX = 32
Source = Annotated[Blank | FromImage, Field(discriminator="kind")]
"""Where the first step begins. The union is open to further starts; each is a Part with its own `kind`."""
Pass: TypeAlias = Refine
"""What another model does while a picture is painted. It is open to further passes; each is a Part with its `kind`."""
Passes = Annotated[tuple[Pass, ...], Field(max_length=PASSES_MAX)]
Adapters = Annotated[tuple[AdapterUse, ...], Field(max_length=ADAPTERS_MAX)]
Prediction = Literal["epsilon", "velocity", "edm", "edm_velocity", "flow"]
Fit = Literal["crop", "resize", "pad"]
ImageFormat = Literal["png", "jpeg", "webp"]
Cache = Literal["off", "deep", "block"]
Rules = Literal["pinxit", "a1111", "comfyui", "diffusers"]
"""Whose numbers to follow where the field's programs disagree."""

COUNT_MAX = 64


class GenerationRequest(Part):
    """What to paint. Immutable; build changed copies with `replace`. Raises BadInput for anything it cannot accept."""

    text_prefix: ClassVar[str] = "request"

    prompt: Text = knob("", "Prompt", "What the picture should show.", group="prompt", widget="textarea")
    negative: Text = knob(
        "", "Negative prompt", "What the picture should keep away from.", group="prompt", widget="textarea"
    )
    model: Name | None = knob(
        None,
        "Model",
        "Name of the model that paints. Left out, the built-in one is used.",
        group="picture",
        widget="model",
        names="model",
    )
    adapters: Adapters = knob(
        (),
        "Adapters",
        "LoRAs and their relatives, which change what the model paints, such as dreamy@0.8: a name and how strongly "
        "it acts. Several act in their order.",
        group="picture",
        widget="adapters",
        names="adapter",
        flag="adapter",
    )
    size: Size | None = knob(
        None,
        "Size",
        "Width and height in pixels, such as 512x768; each a multiple of 8. Left out, the model's own size is used.",
        group="picture",
        widget="size",
    )
    seed: Seed | None = knob(
        None,
        "Seed",
        "Number from 0 to 2^64 - 1 that the noise grows from: the same seed and settings give the same picture. "
        "Left out, it is random.",
        group="picture",
        widget="seed",
    )
    count: Whole = knob(
        1,
        "Count",
        "How many pictures to paint. The first uses the seed, each further one the next number.",
        ge=1,
        le=COUNT_MAX,
        group="picture",
        widget="number",
    )
    steps: Whole | None = knob(
        None,
        "Steps",
        "How many steps lead from noise to picture. More take longer and show finer detail, up to a point.",
        ge=1,
        le=STEPS_MAX,
        group="sampling",
        widget="slider",
    )
    sampler: Name | None = knob(
        None, "Sampler", "The method that takes the steps.", group="sampling", widget="choice", names="sampler"
    )
    schedule: Name | None = knob(
        None,
        "Schedule",
        "How the noise levels are spaced over the steps. Left out, it is chosen to suit the sampler and the model.",
        group="sampling",
        widget="choice",
        names="schedule",
    )
    guidance: Number | None = knob(
        None,
        "Guidance",
        "How strongly the picture follows the prompt. 1 switches guidance off; high values look harsh.",
        ge=0,
        le=100,
        group="guidance",
        widget="slider",
    )
    guidance_rescale: Number | None = knob(
        None,
        "Guidance rescale",
        "Takes back the extra contrast of strong guidance: 0 not at all, 1 fully.",
        ge=0,
        le=1,
        group="guidance",
        widget="slider",
        advanced=True,
    )
    guidance_interval: Interval | None = knob(
        None,
        "Guidance interval",
        "Noise levels between which guidance acts, such as 0.3,6. The word all means everywhere.",
        group="guidance",
        widget="interval",
        advanced=True,
    )
    cache: Cache | None = knob(
        None,
        "Cache",
        "Computes fewer steps whole and reuses parts of earlier ones, which changes the picture a little: deep by the "
        "step, block by how much the first block changed.",
        group="shortcuts",
        widget="choice",
        advanced=True,
    )
    cache_interval: Whole | None = knob(
        None,
        "Cache interval",
        "Every so many steps one is computed whole: 2 changes little, 5 much. Left out, 3 for deep and 4 for block.",
        ge=1,
        le=10,
        group="shortcuts",
        widget="slider",
        advanced=True,
    )
    cache_branch: Whole | None = knob(
        None,
        "Cache branch",
        "How much of a U-Net the other steps compute: 0 the outermost blocks alone, higher numbers more.",
        ge=0,
        le=31,
        group="shortcuts",
        widget="number",
        advanced=True,
    )
    cache_threshold: Number | None = knob(
        None,
        "Cache threshold",
        "How much the first block may change, as a share, before the block cache computes a step whole. Left out, 0.1.",
        ge=0,
        le=1,
        group="shortcuts",
        widget="slider",
        advanced=True,
    )
    cache_center: Number | None = knob(
        None,
        "Cache center",
        "The share of the run around which whole steps crowd, such as 0.3. Left out, they are spaced evenly.",
        ge=0,
        le=1,
        group="shortcuts",
        widget="slider",
        advanced=True,
    )
    token_merging: Number | None = knob(
        None,
        "Token merging",
        "The share of like places that attend together, which is faster in large pictures and loses detail: 0 none.",
        ge=0,
        le=0.75,
        group="shortcuts",
        widget="slider",
        advanced=True,
    )
    token_merging_levels: Whole | None = knob(
        None,
        "Token merging levels",
        "At how many of a U-Net's sizes tokens are merged, from the largest that attends to itself. Left out, 1.",
        ge=1,
        le=8,
        group="shortcuts",
        widget="number",
        advanced=True,
    )
    source: Source = knob(
        Blank(), "Start from", "Noise alone, or a picture to repaint.", group="source", widget="image"
    )
    fit: Fit = knob(
        "crop",
        "Fit",
        "How an input picture of another shape is brought to size: cut its edges, stretch it, or add borders.",
        group="source",
        widget="choice",
    )
    passes: Passes = knob(
        (),
        "Passes",
        "What other models do to the picture while it is painted, in order.",
        group="passes",
        widget="passes",
    )
    format: ImageFormat = knob(
        "png",
        "Format",
        "File format. PNG keeps every pixel exactly, and so does WebP at quality 100.",
        group="output",
        widget="choice",
    )
    quality: Whole = knob(
        95,
        "Quality",
        "Quality of JPEG and WebP files, from 1 to 100. PNG does not use it.",
        ge=1,
        le=100,
        group="output",
        widget="slider",
    )
    eta: Number | None = knob(
        None,
        "Eta",
        "Share of fresh noise in the samplers that add some at each step; 0 makes them deterministic.",
        ge=0,
        le=10,
        group="sampler_options",
        advanced=True,
    )
    s_churn: Number | None = knob(
        None,
        "Churn",
        "Noise that Euler, Heun and DPM2 add before each step and then remove again.",
        ge=0,
        le=1000,
        group="sampler_options",
        advanced=True,
    )
    s_tmin: Number | None = knob(
        None,
        "Churn from",
        "Lowest noise level at which churn acts.",
        ge=0,
        le=SIGMA_MAX,
        group="sampler_options",
        advanced=True,
    )
    s_tmax: Number | None = knob(
        None,
        "Churn up to",
        "Highest noise level at which churn acts. Left out, there is no upper end.",
        ge=0,
        le=SIGMA_MAX,
        group="sampler_options",
        advanced=True,
    )
    s_noise: Number | None = knob(
        None,
        "Noise factor",
        "Scales the noise that a sampler adds. Slightly above 1 keeps more detail.",
        ge=0,
        le=10,
        group="sampler_options",
        advanced=True,
    )
    sigma_min: Number | None = knob(
        None,
        "Lowest noise level",
        "Where the schedule ends before its last step to 0. Left out, it is the model's own.",
        ge=0,
        le=SIGMA_MAX,
        group="sampler_options",
        advanced=True,
    )
    sigma_max: Number | None = knob(
        None,
        "Highest noise level",
        "Where the schedule begins. Left out, it is the model's own.",
        ge=0,
        le=SIGMA_MAX,
        group="sampler_options",
        advanced=True,
    )
    rho: Number | None = knob(
        None,
        "Rho",
        "How strongly the karras and polyexponential schedules crowd their steps at one end: 7 and 1 are usual.",
        ge=0.01,
        le=100,
        group="sampler_options",
        advanced=True,
    )
    sigmas: Sigmas | None = knob(
        None,
        "Noise levels",
        "Exactly these noise levels in place of a schedule, falling, such as 14.6,7,3,1,0.3,0.",
        group="sampler_options",
        advanced=True,
    )
    discard_next_to_last: YesNo | None = knob(
        None,
        "Discard next-to-last",
        "Whether the schedule leaves out its lowest noise level above 0. Left out, the sampler decides.",
        group="sampler_options",
        widget="choice",
        advanced=True,
    )
    original_size: Extent | None = knob(
        None,
        "Original size",
        "The size that SDXL models are told the picture had before it was cropped, such as 4096x4096. Left out, the "
        "picture's own.",
        group="told",
        widget="size",
        advanced=True,
    )
    crop_top: Whole | None = knob(
        None,
        "Crop from the top",
        "How many pixels SDXL models are told were cut off at the top. Left out, 0: nothing is cut off.",
        ge=0,
        le=EXTENT_MAX,
        group="told",
        widget="number",
        advanced=True,
    )
    crop_left: Whole | None = knob(
        None,
        "Crop from the left",
        "How many pixels SDXL models are told were cut off at the left. Left out, 0: nothing is cut off.",
        ge=0,
        le=EXTENT_MAX,
        group="told",
        widget="number",
        advanced=True,
    )
    target_size: Extent | None = knob(
        None,
        "Target size",
        "The size that SDXL models are told the picture should have. Left out, the picture's own.",
        group="told",
        widget="size",
        advanced=True,
    )
    aesthetic_score: Number | None = knob(
        None,
        "Aesthetic score",
        "How beautiful SDXL's refiner is told the picture is. Left out, 6.",
        ge=0,
        le=10,
        group="told",
        widget="slider",
        advanced=True,
    )
    negative_aesthetic_score: Number | None = knob(
        None,
        "Negative aesthetic score",
        "How beautiful SDXL's refiner is told that is which the picture should keep away from. Left out, 2.5.",
        ge=0,
        le=10,
        group="told",
        widget="slider",
        advanced=True,
    )
    prediction: Prediction | None = knob(
        None,
        "Prediction",
        "What the model was trained to predict, where its file says it wrongly or not at all. Left out, the file "
        "decides.",
        group="training",
        widget="choice",
        advanced=True,
    )
    zero_terminal_snr: YesNo | None = knob(
        None,
        "Zero terminal SNR",
        "Whether the model was trained down to pure noise. Left out, the file decides.",
        group="training",
        widget="choice",
        advanced=True,
    )
    shift: Number | None = knob(
        None,
        "Shift",
        "How far the steps of a flow model, such as SD3, lean towards noise: 3 is usual. Left out, the file decides.",
        ge=0.01,
        le=100,
        group="training",
        advanced=True,
    )
    sigma_data: Number | None = knob(
        None,
        "Sigma data",
        "The spread of the pictures that an EDM model was trained on: 0.5 is usual. Left out, the file decides.",
        ge=0.01,
        le=100,
        group="training",
        advanced=True,
    )
    dialect: Name | None = knob(
        None,
        "Dialect",
        "The program whose pictures to match: sets the fields of this group that are left out. Ours is pinxit.",
        group="dialect",
        widget="choice",
        advanced=True,
        names="dialect",
    )
    clip_skip: Whole | None = knob(
        None,
        "CLIP skip",
        "Which of the text encoder's layers is read, counted from the end: 1 is the last.",
        ge=1,
        le=12,
        group="dialect",
        widget="number",
        advanced=True,
    )
    emphasis: Name | None = knob(
        None,
        "Emphasis",
        "The rules by which (brackets:1.2) in a prompt become weights, to match other programs.",
        group="dialect",
        widget="choice",
        advanced=True,
        names="emphasis",
    )
    noise: Name | None = knob(
        None,
        "Noise source",
        "How noise is drawn from the seed, to match other programs. Left out, it is the same on every machine.",
        group="dialect",
        widget="choice",
        advanced=True,
        names="noise",
    )

    eta_noise_seed_delta: Whole | None = knob(
        None,
        "Eta noise seed delta",
        "Added to the seed for the noise that samplers draw after the first (ENSD). Some shared recipes use 31337.",
        ge=0,
        le=EXACT_MAX,
        group="dialect",
        widget="number",
        advanced=True,
    )
    timestep_rounding: Literal["interpolated", "nearest"] | None = knob(
        None,
        "Timestep rounding",
        "How a noise level becomes one of the steps that the model was trained on: a fraction between two, or the "
        "nearest.",
        group="dialect",
        widget="choice",
        advanced=True,
    )
    sampler_rules: Rules | None = knob(
        None,
        "Sampler rules",
        "Whose form of a sampler to take where programs differ, such as the last step of LMS or the draws of churn.",
        group="dialect",
        widget="choice",
        advanced=True,
    )
    schedule_rules: Rules | None = knob(
        None,
        "Schedule rules",
        "Whose form of a schedule to take where programs differ: beta, KL optimal, align your steps, and strength.",
        group="dialect",
        widget="choice",
        advanced=True,
    )
    start_noise: Literal["sigma", "root", "root_at_top"] | None = knob(
        None,
        "Start noise",
        "How strong the first noise is: sigma, the root of 1 + sigma squared, or that only from the highest level.",
        group="dialect",
        widget="choice",
        advanced=True,
    )
    empty_negative: Literal["zeros", "model", "encode"] | None = knob(
        None,
        "Empty negative prompt",
        "What SDXL models are told when there is no negative prompt: zeros, what the model's folder says, or the "
        "encoded empty text.",
        group="dialect",
        widget="choice",
        advanced=True,
    )
    handover: Literal["time", "step"] | None = knob(
        None,
        "Hand-over",
        "How the share after which a refiner takes over is counted: in the model's training time, or in steps.",
        group="dialect",
        widget="choice",
        advanced=True,
    )
    zero_snr_end: Literal["a1111", "diffusers"] | None = knob(
        None,
        "Zero-SNR end",
        "Where the noise of models trained down to pure noise ends: at sigma 4518.76 (a1111) or 4096 (diffusers).",
        group="dialect",
        widget="choice",
        advanced=True,
    )

    @model_validator(mode="wrap")
    @classmethod
    def _typed(cls, data: object, handler: ModelWrapValidatorHandler[GenerationRequest]) -> GenerationRequest:
        try:
            return handler(data)
        except ValidationError as error:
            # BadInput is no ValueError, so pydantic lets it through unchanged: constructor and doors raise the same.
            raise as_bad_input(error, cls, what="request") from None

    def replace(self, **changes: object) -> GenerationRequest:
        """A copy with `changes`, validated like any request."""
        return validated({name: getattr(self, name) for name in type(self).model_fields} | changes)

    def image(self, index: int) -> GenerationRequest:
        """The one-image recipe of picture `index` of this request: seed + index (modulo 2^64) and count 1.

        Raises ValueError when the seed is not drawn yet or there is no such picture.
        """
        if self.seed is None or not 0 <= index < self.count:
            raise ValueError(f"no picture {index} of {self.count} with seed {self.seed}")
        return self.replace(seed=(self.seed + index) % (SEED_MAX + 1), count=1)

    def inputs(self) -> tuple[ImageRef, ...]:
        """Every picture that this request reads."""
        return (self.source.image,) if isinstance(self.source, FromImage) else ()

    def to_dict(self) -> dict[str, object]:
        """The request as plain JSON values; fields that are None are left out, and lists that are empty."""
        empty = {name for name in ("adapters", "passes") if not getattr(self, name)}
        return self.model_dump(mode="json", exclude_none=True, exclude=empty)

    def to_json(self) -> str:
        """The canonical JSON text of the request."""
        return canonical_json(self.to_dict())

    @classmethod
    def from_json(cls, data: str | bytes) -> GenerationRequest:
        """Read a request from JSON of at most 1 MiB. Raises BadInput."""
        return validated(load_json(data, what="The request"))


def validated(data: object) -> GenerationRequest:
    """The request that `data`, a mapping from field names to values, describes.

    Raises BadInput with one line that names the field, what was expected and what was given; UnknownName, with the
    nearest field's name, for a field that does not exist.
    """
    if isinstance(data, GenerationRequest):
        return data
    if not isinstance(data, Mapping):
        raise BadInput(
            f"A request is an object with named fields, not {shown(data)}.", hint='For example {"prompt": "a cat"}.'
        )
    fields = cast("Mapping[object, object]", data)
    return GenerationRequest.model_validate({str(name): value for name, value in fields.items()})
