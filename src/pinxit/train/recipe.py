"""Recipes: everything that decides what a training run computes, as values read from a TOML file.

A run is a function of its recipe, its data and the step number: the loop draws nothing from a global generator.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from pinxit.schema.errors import BadInput, Missing

LARGEST_RECIPE = 64 * 1024


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Optimisation(Part):
    """AdamW with a warm-up, a constant stretch and a linear decay to zero over the last `decay` of `steps`."""

    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0, le=1)
    warmup: int = Field(default=100, ge=0)
    decay: int = Field(default=0, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.99, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0)
    ema: float = Field(default=0.999, ge=0, lt=1)
    seed: int = Field(default=0, ge=0)

    def learning_rate_at(self, step: int) -> float:
        """The rate for step `step`, counted from 0."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        fall = min(1.0, (self.steps - step) / self.decay) if self.decay else 1.0
        return self.learning_rate * rise * max(0.0, fall)

    def ema_at(self, step: int) -> float:
        """The share of the old average that is kept at `step`; small at first, so that the start is forgotten."""
        return min(self.ema, (1 + step) / (10 + step))


class Selection(Part):
    """Which drawings and which kinds of picture a run sees."""

    concepts: int | None = Field(
        default=None, ge=1, description="how many of the curriculum's concepts; None is all drawings"
    )
    only: tuple[str, ...] = Field(default=(), description="English names of the concepts, in place of a count")
    styles: tuple[str, ...] = ()
    plain: float = Field(default=0.0, ge=0, le=1, description="share of drawings taken from outside the curriculum")


class Composing(Part):
    """How pictures are composed; the shares are relative. See `data.composition.CompositionSettings`."""

    kinds: dict[Literal["single", "pair", "size", "count", "colour"], float] = {"single": 1.0}
    backgrounds: dict[Literal["white", "colour", "gradient", "scene"], float] = {
        "white": 0.35,
        "colour": 0.5,
        "gradient": 0.15,
    }
    scale: tuple[float, float] = (0.78, 0.92)
    jitter: float = Field(default=0.3, ge=0, le=1)


class VaeShape(Part):
    channels: int = Field(default=32, ge=32, multiple_of=32)
    channel_mult: tuple[int, ...] = (1, 1, 1, 2, 4)
    num_res_blocks: int = Field(default=1, ge=1)
    z_channels: int = Field(default=8, ge=1)

    @property
    def norm_groups(self) -> int:
        """Groups of four channels at the outermost level: groups of one would erase a plain ground's colour."""
        return self.channels // 4


class VaeRecipe(Part):
    """Train an autoencoder: `inner` all but the outermost level at half size, `outer` that level alone, or `whole`."""

    kind: Literal["vae"]
    stage: Literal["inner", "outer", "whole"]
    shape: VaeShape = VaeShape()
    data: Selection = Selection()
    size: int = Field(ge=32, multiple_of=16, description="side of a training crop in pixels, in the stage's own scale")
    pyramid: float = Field(default=0.5, ge=0)
    kl: float = Field(default=3e-4, ge=0)
    equivariance: float = Field(default=0.25, ge=0, le=1)
    optimisation: Optimisation


class TextShape(Part):
    vocabulary: int = Field(default=6000, ge=600)
    width: int = Field(default=192, ge=16)
    layers: int = Field(default=4, ge=2)
    heads: int = Field(default=3, ge=1)


class TextRecipe(Part):
    """Warm the text encoder up: name the facts of a picture (concept, style, background ...) from its caption."""

    kind: Literal["text"]
    shape: TextShape = TextShape()
    data: Selection = Selection()
    composing: Composing = Composing()
    vocabulary_captions: int = Field(default=40_000, ge=100, description="captions that the vocabulary is learned from")
    optimisation: Optimisation


class UNetShape(Part):
    model_channels: int = Field(default=64, ge=32, multiple_of=32)
    channel_mult: tuple[int | float, ...] = (1, 2, 3)
    num_res_blocks: int = Field(default=1, ge=1)
    transformer_depth: tuple[int, ...] = (0, 1, 1)
    head_width: int = Field(default=32, ge=8)
    size_embedding: int = Field(default=32, ge=2, multiple_of=2)


class Bucket(Part):
    """A size of pictures that whole steps are made of, in pixels; `share` is relative."""

    width: int = Field(ge=32, le=4096, multiple_of=16)
    height: int = Field(ge=32, le=4096, multiple_of=16)
    share: float = Field(default=1.0, gt=0)


class OnLatents(Part):
    """What every recipe says that trains a U-Net on latents of composed pictures."""

    shape: UNetShape = UNetShape()
    data: Selection = Selection()
    composing: Composing = Composing()
    size: int = Field(default=256, ge=32, multiple_of=16, description="side of the model's usual picture in pixels")
    buckets: tuple[Bucket, ...] = Field(default=(), description="sizes to train at; none: squares of `size`")
    crop: float = Field(default=0.0, ge=0, le=1, description="share of pictures that are cut out of a larger one")
    pool: int = Field(default=16384, ge=16, description="composed pictures held as latents at a time")
    refresh: int = Field(default=1500, ge=1, description="steps after which the pool is composed anew")
    dropout: float = Field(default=0.0, ge=0, lt=1)
    drop_caption: float = Field(default=0.1, ge=0, le=1)
    lean: float = Field(default=1.0, gt=0, le=4, description="below 1, more samples are drawn at high noise")
    terminal: float = Field(default=0.02, ge=0, le=1, description="share of samples drawn at the last timestep")
    freeze_text: int | None = Field(default=None, ge=0)
    text_rate: float = Field(default=0.3, ge=0, le=1, description="the text encoder's learning rate, relative")
    estimate: float | None = Field(default=None, gt=0, description="samples a second that a GPU is expected to do")
    optimisation: Optimisation

    @property
    def sizes(self) -> tuple[Bucket, ...]:
        """The buckets, or the one there is without any."""
        return self.buckets or (Bucket(width=self.size, height=self.size),)


class DiffusionRecipe(OnLatents):
    """Train the U-Net (and the text encoder, until `freeze_text`) on latents of composed pictures."""

    kind: Literal["diffusion"]


class RefinerRecipe(OnLatents):
    """Train a second U-Net for the last steps alone, at timesteps under `below`; it begins as the workshop's first."""

    kind: Literal["refiner"]
    below: int = Field(default=200, ge=1, le=1000)


class Guidance(Part):
    """How the teacher is guided: see `sampling.guidance.GuidanceOptions`."""

    scale: float = Field(default=4.0, ge=1)
    rescale: float = Field(default=0.2, ge=0, le=1)
    low: float = Field(default=0.3, ge=0)
    high: float = Field(default=6.0, gt=0)


class AdapterShape(Part):
    rank: int = Field(default=40, ge=1)


class DistillationRecipe(Part):
    """Teach a low-rank change of the U-Net to paint in `steps` plain steps: see `train.distillation`.

    `after` names the workshop's adapter that the student begins as. With `halving` that adapter's model, unguided, is
    the teacher as well; without, the teacher is the guided model.
    """

    kind: Literal["distillation"]
    shape: AdapterShape = AdapterShape()
    data: Selection = Selection()
    composing: Composing = Composing()
    writes: str = Field(default="few-step", pattern=r"^[a-z0-9-]+$", description="the adapter's name in the workshop")
    after: str | None = Field(default=None, pattern=r"^[a-z0-9-]+$")
    halving: bool = False
    steps: int = Field(default=4, ge=1)
    teacher_steps: int = Field(default=16, ge=1, description="a multiple of `steps`")
    guidance: Guidance = Guidance()
    own: float = Field(default=0.0, ge=0, le=1, description="share of the paths that follow `after` itself")
    pool: int = Field(default=512, ge=1, description="paths held at a time")
    refresh: int = Field(default=256, ge=1, description="steps after which the paths are made anew")
    optimisation: Optimisation

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.teacher_steps % self.steps:
            raise ValueError(f"{self.teacher_steps} teacher steps are no multiple of {self.steps}")
        if self.after is None and (self.halving or self.own):
            raise ValueError("halving and own need the adapter that after names")
        if self.after == self.writes:
            raise ValueError(f"after and writes are both {self.writes}; a stage cannot replace what it begins with")
        return self


class PreviewShape(Part):
    channels: int = Field(default=48, ge=4)
    blocks: tuple[int, ...] = Field(default=(3, 3, 1, 1), min_length=2)


class PreviewRecipe(Part):
    """Teach a tiny decoder to show the workshop's latents at half size: see `train.preview`."""

    kind: Literal["preview"]
    shape: PreviewShape = PreviewShape()
    data: Selection = Selection()
    size: int = Field(default=128, ge=32, multiple_of=16, description="side of a preview in pixels")
    pyramid: float = Field(default=0.5, ge=0)
    mixed: float = Field(default=0.3, ge=0, le=1, description="share of latents that lie between two pictures")
    pool: int = Field(default=512, ge=1, description="decoded latents held at a time")
    refresh: int = Field(default=200, ge=1, description="steps after which they are made anew")
    optimisation: Optimisation


class JudgeShape(Part):
    widths: tuple[int, int, int, int] = (32, 64, 96, 128)
    embedding: int = Field(default=64, ge=8)


class JudgeRecipe(Part):
    """Train a judge, which scores pictures: see `train.judge`. No styles means all."""

    kind: Literal["judge"]
    shape: JudgeShape = JudgeShape()
    styles: tuple[str, ...] = ()
    harm: float = Field(default=0.7, ge=0, le=1, description="share of pictures that are blurred, tinted or made noisy")
    optimisation: Optimisation


AnyRecipe: TypeAlias = (
    VaeRecipe | TextRecipe | DiffusionRecipe | RefinerRecipe | DistillationRecipe | PreviewRecipe | JudgeRecipe
)


def identity(recipe: AnyRecipe) -> str:
    """What two recipes share when one can go on from the other's state: the kind, the stage and the shape."""
    parts = (recipe.kind, getattr(recipe, "stage", ""), recipe.shape.model_dump_json())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


_ADAPTER: TypeAdapter[AnyRecipe] = TypeAdapter(Annotated[AnyRecipe, Field(discriminator="kind")])


def read_recipe(path: Path, *, changes: dict[str, int] | None = None) -> AnyRecipe:
    """The recipe in a TOML file; `changes` replaces values of its `optimisation` part.

    Raises Missing when the file is not there and BadInput, naming the entry, when its content is not a recipe.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Missing(f"The recipe {path.name} cannot be read: {error.strerror}.", hint="Name a .toml file.") from error
    if len(raw) > LARGEST_RECIPE:
        raise BadInput(f"{path.name} is {len(raw)} bytes long; a recipe has at most {LARGEST_RECIPE}.")
    try:
        data = tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path.name} is not a TOML file: {error}.") from error
    if changes:
        data["optimisation"] = {**data.get("optimisation", {}), **changes}
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{path.name}: {where}: {first['msg']}.", hint="See the recipes shipped with pinxit.") from error
