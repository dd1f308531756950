"""What a model family is to the engine: one value, filled by the family's own folder. No torch at import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from pinxit.prompts.chunks import Chunk, Emphasis, Tokenizer
from pinxit.sampling.denoiser import Conditioning, Network
from pinxit.sampling.dialect import EmptyNegative
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.shortcuts import CacheKind, Caching, Merging
from pinxit.weights.identify import Match
from pinxit.weights.layout import Layout

if TYPE_CHECKING:
    from torch import Tensor, nn

C = TypeVar("C")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSpec:
    """Latents as the U-Net sees them: (encoded - shift) * scale, `downscale` pixels to a side.

    Where `mean` and `std` are given, one number for each channel, (encoded - mean) / std * scale instead.
    """

    channels: int
    downscale: int
    scale: float = 1.0
    shift: float = 0.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


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
    spacing: str = "sd1"
    """Whose published noise levels the optimised schedules take: sd1, sdxl or svd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Floating-point operations (2 per multiply-add) and peak bytes of activations of one call."""

    flops: float
    activation_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shorter:
    """What the denoising network can leave out (see `sampling.shortcuts`).

    `branches` is how many branches a cache in a U-Net can choose from, `merges` whether there are tokens to merge.
    `flops` gives the operations of one call for a picture of (width, height), with what is merged in it, that reuses
    what a cache holds, or is whole for None.
    """

    caches: tuple[CacheKind, ...]
    branches: int
    merges: bool
    flops: Callable[[int, int, Caching | None, Merging | None], float]


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
    tells_guidance: bool = False
    """Whether the network is told the guidance, and called once for it instead of twice."""
    notes: tuple[str, ...] = ()
    """What people should know about this checkpoint, a sentence each."""
    shorter: Shorter | None = None
    """What its calls can leave out, where the request asks for it; None where they cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Micro:
    """What some models are told of a picture beside the text (Podell et al. 2023, section 2.2), every choice made.

    Sizes are (width, height) in pixels: of the picture as it was before cropping, and as it is asked for. `crop` is
    (top, left) in pixels of the original; `score` rates beauty from 0 to 10, for models that are told.
    """

    original: tuple[int, int]
    target: tuple[int, int]
    crop: tuple[int, int] = (0, 0)
    score: float = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One prompt as the text encoders take it: its chunks, how emphasis acts, and which layer is read.

    `chunks` and `empty`, the chunk of an empty prompt, are by text encoder, under the names that the family's
    `tokenizers` gave. `skip` counts layers from the end, None is the family's own choice. `negative` is True for what
    the picture should keep away from; `text` is the prompt without its weights.
    """

    chunks: Mapping[str, tuple[Chunk, ...]]
    empty: Mapping[str, Chunk]
    emphasis: Emphasis
    skip: int | None
    micro: Micro
    negative: bool = False
    text: str = ""
    empty_negative: EmptyNegative = "zeros"


class Codec(Protocol):
    """What the component `vae` of every family can do. Latents are unscaled, as the file's own networks have them."""

    def encode(self, x: Tensor, /) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents of pictures [B,3,H,W] in -1..1; sides are multiples of the downscale."""
        ...

    def decode(self, z: Tensor, /) -> Tensor:
        """Pictures, nominally in -1..1, of latents."""
        ...


Networks: TypeAlias = Mapping[str, "nn.Module"]


def _no_metadata(_config: object, _match: Match) -> Mapping[str, str]:
    return {}


def _no_markers(_config: object) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing(Generic[C]):
    """What a family writes beside its tensors, so that other programs understand what we save.

    `files` are the JSON and text files of its diffusers folder by relative path; `left_out` are patterns of our names,
    by component, that the folder does not hold; `identities` are matrices that it holds even where they change nothing,
    by component: our name, and that of a vector as long as its side. A single file gets `metadata`, and for `markers`
    empty tensors whose names say what nothing else in the file does.
    """

    files: Callable[[C], Mapping[str, object]]
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    identities: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    metadata: Callable[[C, Match], Mapping[str, str]] = field(default=_no_metadata)
    markers: Callable[[C], tuple[str, ...]] = field(default=_no_markers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family(Generic[C]):
    """A family of checkpoints.

    `config_from` reads sizes and settings off a matched file; `facts` says what the engine plans with; `build` makes a
    component without weights; `tokenizers` finds the words' numbers, one tokenizer for each text encoder that the file
    brings; `encode` turns words into conditioning with the networks of those encoders; `network` wraps the component
    `denoiser` for a sampler. `encoders` lists every text encoder that the family may have, `optional` those it can
    paint without, `wide` those that are too large for float32 and compute in the denoiser's format. `writing` is None
    where files of the family are only read.
    """

    name: str
    title: str
    layouts: tuple[Layout, ...]
    config_from: Callable[[Match], C]
    facts: Callable[[C], Facts]
    build: Callable[[C, str], nn.Module]
    tokenizers: Callable[[C, Match], Mapping[str, Tokenizer]]
    encoders: tuple[str, ...]
    encode: Callable[[C, Networks, Words], Conditioning]
    network: Callable[[C, nn.Module], Network]
    denoiser: str = "unet"
    optional: tuple[str, ...] = ()
    wide: tuple[str, ...] = ()
    writing: Writing[C] | None = None
    aliases: tuple[str, ...] = ()


AnyFamily: TypeAlias = Family[Any]
