"""What a model family is to the engine: one value, filled by the family's own folder. No torch at import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from pinxit.prompts.chunks import Chunk, Emphasis
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.sampling.denoiser import Conditioning, Network
from pinxit.sampling.process import NoiseProcess
from pinxit.weights.identify import Match
from pinxit.weights.layout import Layout

if TYPE_CHECKING:
    from torch import Tensor, nn

C = TypeVar("C")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSpec:
    """Latents as the U-Net sees them: (encoded - shift) * scale, `downscale` pixels to a side."""

    channels: int
    downscale: int
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a request gets where it says nothing. Sizes are in pixels; `interval` bounds guidance in sigma."""

    width: int
    height: int
    steps: int
    sampler: str
    schedule: str | None
    guidance: float
    rescale: float = 0.0
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Floating-point operations (2 per multiply-add) and peak bytes of activations of one call."""

    flops: float
    activation_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything the engine plans with. `evidence` says in words how the prediction type is known.

    `denoise` and `decode` give the cost of one U-Net call and of one decoding for a picture of (width, height).
    """

    process: NoiseProcess
    latent: LatentSpec
    defaults: Defaults
    prediction: str
    evidence: str
    components: tuple[str, ...]
    absent: tuple[str, ...]
    denoise: Callable[[int, int], Cost]
    decode: Callable[[int, int], Cost]
    can_paint: str = ""
    """Empty, or why this checkpoint cannot paint from text alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One prompt as the text encoder takes it: its chunks, how emphasis acts, and which layer is read.

    `empty` is the chunk of an empty prompt; `skip` counts layers from the end, None is the family's own choice. `size`
    is the picture's (width, height), for models that are told.
    """

    chunks: tuple[Chunk, ...]
    empty: Chunk
    emphasis: Emphasis
    skip: int | None
    size: tuple[int, int]


class Codec(Protocol):
    """What the component `vae` of every family can do. Latents are unscaled, as the file's own networks have them."""

    def encode(self, x: Tensor, /) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents of pictures [B,3,H,W] in -1..1; sides are multiples of the downscale."""
        ...

    def decode(self, z: Tensor, /) -> Tensor:
        """Pictures, nominally in -1..1, of latents."""
        ...


Networks: TypeAlias = Mapping[str, "nn.Module"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family(Generic[C]):
    """A family of checkpoints.

    `config_from` reads sizes and settings off a matched file; `facts` says what the engine plans with; `build` makes a
    component without weights; `tokenizer` finds the words' numbers; `encode` turns words into conditioning with the
    networks named in `encoders`; `network` wraps the U-Net for a sampler.
    """

    name: str
    title: str
    layouts: tuple[Layout, ...]
    config_from: Callable[[Match], C]
    facts: Callable[[C], Facts]
    build: Callable[[C, str], nn.Module]
    tokenizer: Callable[[C, Match], ClipTokenizer]
    encoders: tuple[str, ...]
    encode: Callable[[C, Networks, Words], Conditioning]
    network: Callable[[C, nn.Module], Network]
    aliases: tuple[str, ...] = ()


AnyFamily: TypeAlias = Family[Any]
