"""The five stages of a picture: encode, prepare, denoise, decode, finish. The page to read first.

Each is a function of what it is given. Nothing here knows a family, a sampler or a file format by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from pinxit import __version__
from pinxit.engine.image import fitted, open_picture, to_image, to_tensor
from pinxit.engine.plan import Resolved
from pinxit.engine.residency import Residency
from pinxit.models.common.ldm_family import latent_size
from pinxit.models.contract import Codec, Micro, Words
from pinxit.prompts.chunks import Chunking, cut
from pinxit.prompts.editing import Pass
from pinxit.prompts.grammar import read_prompt
from pinxit.sampling.denoiser import Conditioning, Denoiser, Prediction, PredictionLog, logged, precondition
from pinxit.sampling.guidance import GuidanceOptions, composed, guided, interval
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.samplers import Step
from pinxit.schema.errors import NumericError
from pinxit.schema.parts import FromImage
from pinxit.schema.record import ModelFacts, Record, sigmas_sha256

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The prompts as the U-Net takes them: what holds up to which step, counted from 1.

    `prompt` has one (conditioning, weight) for each part that `AND` joins.
    """

    prompt: tuple[tuple[int, tuple[tuple[Conditioning, float], ...]], ...]
    negative: tuple[tuple[int, Conditioning], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a picture begins: the noisy latent float32 [1,C,h,w], the levels to visit, and its noise."""

    x: Tensor
    sigmas: tuple[float, ...]
    noise: NoiseSource


@torch.inference_mode()
def encode(resolved: Resolved, residency: Residency) -> Encoded:
    """Turn both prompts into conditioning, once for every text that prompt editing visits."""
    family, request = resolved.family, resolved.request
    tokenizers = residency.tokenizers(resolved)
    networks = {name: residency.network(resolved, name) for name in tokenizers}
    empty = {name: cut((), tokenizer, Chunking())[0] for name, tokenizer in tokenizers.items()}
    size = (resolved.size.width, resolved.size.height)
    known: dict[tuple[str, str], Conditioning] = {}
    clock = Pass(steps=len(resolved.sigmas) - 1)

    def conditioning(text: str, field: str) -> Conditioning:
        if (text, field) not in known:
            spans = resolved.words.spans(text, field)
            words = Words(
                chunks={
                    name: cut(spans, tokenizer, resolved.words.chunking, field=field)
                    for name, tokenizer in tokenizers.items()
                },
                empty=empty,
                emphasis=resolved.words.emphasis,
                skip=request.clip_skip,
                micro=Micro(original=size, target=size),
                negative=field == "negative",
                text=text,
            )
            known[text, field] = family.encode(resolved.config, networks, words)
        return known[text, field]

    prompt = read_prompt(request.prompt, resolved.words)
    negative = read_prompt(request.negative, resolved.words, field="negative", has_parts=False)
    weights = [part.weight for part in prompt.parts]
    return Encoded(
        prompt=tuple(
            (
                stretch.last_step,
                tuple(
                    (conditioning(text, "prompt"), weight) for text, weight in zip(stretch.texts, weights, strict=True)
                ),
            )
            for stretch in prompt.timeline(clock)
        ),
        negative=tuple(
            (stretch.last_step, conditioning(stretch.texts[0], "negative")) for stretch in negative.timeline(clock)
        ),
    )


@torch.inference_mode()
def prepare(resolved: Resolved, residency: Residency, *, seed: int) -> Start:
    """The noisy latent that the first step sees: pure noise, or the input picture with noise on it."""
    spec, process = resolved.facts.latent, resolved.facts.process
    height, width = latent_size(resolved.size.width, resolved.size.height, spec.downscale)
    shift = resolved.request.eta_noise_seed_delta or 0
    noise = resolved.noise.make((seed,), (spec.channels, height, width), shift=shift, convert=torch.from_numpy)
    sigmas = resolved.sigmas
    source = resolved.request.source
    if not isinstance(source, FromImage):
        return Start(x=noise.start() * process.amplitude(sigmas[0], resolved.amplitude), sigmas=sigmas, noise=noise)
    opened = open_picture(resolved.inputs[source.image.sha256], name=source.image.name or "the input picture")
    picture = to_tensor(fitted(opened, resolved.size, resolved.request.fit))
    padded = torch.nn.functional.pad(
        picture,
        (0, width * spec.downscale - picture.shape[3], 0, height * spec.downscale - picture.shape[2]),
        "replicate",
    )
    clean = _latent(resolved, residency, padded.contiguous(memory_format=torch.channels_last))
    return Start(x=process.add_noise(clean, noise.start(), sigmas[0]), sigmas=sigmas, noise=noise)


def _latent(resolved: Resolved, residency: Residency, picture: Tensor) -> Tensor:
    """The scaled latent of a picture. An encoder that overflows is run again in float32."""
    spec = resolved.facts.latent
    mean, _ = cast(Codec, residency.network(resolved, "vae")).encode(picture)
    if not bool(torch.isfinite(mean).all()):
        mean, _ = cast(Codec, residency.precise(resolved, "vae")).encode(picture)
        _check_finite(mean, "encoding the input picture")
    return (mean.float() - spec.shift) * spec.scale


def denoise(
    resolved: Resolved, residency: Residency, encoded: Encoded, start: Start, *, log: PredictionLog | None = None
) -> Iterator[Step]:
    """Take the steps, one by one as they are asked for. With a `log`, what it holds is not computed again."""
    network = resolved.family.network(resolved.config, residency.network(resolved, resolved.family.denoiser))
    process = resolved.facts.process

    def bound(conditioning: Conditioning) -> Denoiser:
        inner = precondition(network, process, conditioning)

        def ordered(x: Tensor, sigma: float, index: int, /) -> Prediction:
            return inner(x.contiguous(memory_format=torch.channels_last), sigma, index)

        return ordered

    negative = _by_step([(last, bound(conditioning)) for last, conditioning in encoded.negative])
    guide = _by_step([(last, _guide(resolved, parts, negative, bound)) for last, parts in encoded.prompt])
    answer = _checked(guide if log is None else logged(guide, log))
    steps = resolved.sampler.run(answer, start.x, start.sigmas, process, start.noise, resolved.options)
    while True:
        with torch.inference_mode():
            step = next(steps, None)
        if step is None:
            return
        yield step


def _guide(
    resolved: Resolved,
    parts: Sequence[tuple[Conditioning, float]],
    negative: Denoiser,
    bound: Callable[[Conditioning], Denoiser],
) -> Denoiser:
    """Guidance of one stretch of the prompt, inside its interval."""
    request = resolved.request
    low, high = resolved.interval
    scale = 1.0 if request.guidance is None else request.guidance
    if len(parts) == 1 and parts[0][1] == 1:
        options = GuidanceOptions(
            scale=scale,
            phi=request.guidance_rescale or 0.0,
            low=low,
            high=high,
            keep_uncond=resolved.sampler.needs_uncond,
        )
        return guided(bound(parts[0][0]), negative, resolved.facts.process, options)
    prompts = [(bound(conditioning), weight) for conditioning, weight in parts]
    together = composed(prompts, negative, scale)
    plain = composed(prompts, negative, 1.0)
    return together if low <= 0 and high == float("inf") else interval(together, plain, low, high)


def _by_step(stretches: Sequence[tuple[int, Denoiser]]) -> Denoiser:
    """The denoiser whose stretch a step lies in; steps after the last one belong to it."""
    if len(stretches) == 1:
        return stretches[0][1]

    def denoise_step(x: Tensor, sigma: float, index: int, /) -> Prediction:
        chosen = next((one for last, one in stretches if index + 1 <= last), stretches[-1][1])
        return chosen(x, sigma, index)

    return denoise_step


def _checked(inner: Denoiser) -> Denoiser:
    """Stop at the first estimate that is not finite, naming its step."""

    def denoise_step(x: Tensor, sigma: float, index: int, /) -> Prediction:
        prediction = inner(x, sigma, index)
        _check_finite(prediction.clean, f"step {index + 1}")
        return prediction

    return denoise_step


def _check_finite(values: Tensor, where: str) -> None:
    if not bool(torch.isfinite(values).all()):
        raise NumericError(
            f"The network gave numbers that are not finite in {where}.",
            hint="The model file may be damaged; otherwise lower the guidance, or compute in float32.",
        )


@torch.inference_mode()
def decode(resolved: Resolved, residency: Residency, clean: Tensor) -> Image.Image:
    """The picture of a finished latent. A decoder that overflows is run again in float32."""
    spec = resolved.facts.latent
    latent = clean / spec.scale + spec.shift
    picture = cast(Codec, residency.network(resolved, "vae")).decode(latent)
    if not bool(torch.isfinite(picture).all()):
        picture = cast(Codec, residency.precise(resolved, "vae")).decode(latent)
        _check_finite(picture, "the decoder")
    return to_image(picture[0, :, : resolved.size.height, : resolved.size.width])


def finish(resolved: Resolved, residency: Residency, *, index: int) -> Record:
    """The recipe of picture `index`, complete enough to paint it again."""
    return Record(
        engine=f"pinxit {__version__}",
        request=resolved.request.image(index),
        model=ModelFacts(
            name=resolved.entry.name,
            family=resolved.family.name,
            prediction=resolved.facts.prediction,
            files=resolved.files,
        ),
        sigmas_sha256=sigmas_sha256(resolved.sigmas),
        noise=resolved.noise.name,
        dtype=residency.dtype_name,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        numerics=residency.numerics,
    )
