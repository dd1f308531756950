"""The five stages of a picture: encode, prepare, denoise, decode, finish. The page to read first.

Each is a function of what it is given. Nothing here knows a family, a sampler or a file format by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from pinxit import __version__
from pinxit.engine.image import fitted, open_picture, to_image, to_tensor
from pinxit.engine.plan import Resolved
from pinxit.engine.refine import Refiner
from pinxit.engine.residency import Residency
from pinxit.engine.shortcuts import caching_of, merging_of
from pinxit.models.common.ldm_family import latent_size
from pinxit.models.contract import Codec, LatentSpec, Micro, Words
from pinxit.prompts.chunks import Chunking, cut
from pinxit.prompts.editing import Pass
from pinxit.prompts.grammar import read_prompt
from pinxit.sampling.denoiser import Conditioning, Denoiser, Network, Prediction, PredictionLog, logged, precondition
from pinxit.sampling.guidance import GuidanceOptions, composed, guided, interval
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.pairs import joined, paired
from pinxit.sampling.samplers import Step
from pinxit.sampling.shortcuts import Notebook
from pinxit.schema.errors import NumericError
from pinxit.schema.parts import FromImage
from pinxit.schema.record import ModelFacts, Record, sigmas_sha256

if TYPE_CHECKING:
    from PIL import Image


SCORE, NEGATIVE_SCORE = 6.0, 2.5
"""The aesthetic scores that refiners are told where the request gives none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The prompts as the U-Net takes them: what holds up to which step, counted from 1.

    `prompt` has one (conditioning, weight) for each part that `AND` joins.
    """

    prompt: tuple[tuple[int, tuple[tuple[Conditioning, float], ...]], ...]
    negative: tuple[tuple[int, Conditioning], ...]
    refined: Encoded | None = None
    """The same for the model that takes the last steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a picture begins: the noisy latent float32 [1,C,h,w], the levels to visit, and its noise."""

    x: Tensor
    sigmas: tuple[float, ...]
    noise: NoiseSource


@torch.inference_mode()
def encode(resolved: Resolved, residency: Residency) -> Encoded:
    """Turn both prompts into conditioning for every model, once for every text that prompt editing visits."""
    residency.keep(resolved.models)
    own = _encode(resolved, residency)
    return own if resolved.refiner is None else replace(own, refined=_encode(resolved.refiner.resolved, residency))


def _encode(resolved: Resolved, residency: Residency) -> Encoded:
    family, request = resolved.family, resolved.request
    tokenizers = residency.tokenizers(resolved)
    empty = {name: cut((), tokenizer, Chunking())[0] for name, tokenizer in tokenizers.items()}
    networks = {name: residency.network(resolved, name) for name in tokenizers}
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
                micro=_micro(resolved, negative=field == "negative"),
                negative=field == "negative",
                text=text,
                empty_negative=request.empty_negative or "zeros",
            )
            found = family.encode(resolved.config, networks, words)
            told = request.guidance if resolved.facts.tells_guidance else None
            known[text, field] = found if told is None else replace(found, guidance=told)
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


def _micro(resolved: Resolved, *, negative: bool) -> Micro:
    """What the model is told of the picture: what the request says, else the picture's own size, uncropped."""
    request, own = resolved.request, (resolved.size.width, resolved.size.height)
    original, target = request.original_size, request.target_size
    score, usual = request.aesthetic_score, SCORE
    if negative:
        score, usual = request.negative_aesthetic_score, NEGATIVE_SCORE
    return Micro(
        original=own if original is None else (original.width, original.height),
        target=own if target is None else (target.width, target.height),
        crop=(request.crop_top or 0, request.crop_left or 0),
        score=usual if score is None else score,
    )


@torch.inference_mode()
def prepare(resolved: Resolved, residency: Residency, *, seed: int) -> Start:
    """The noisy latent that the first step sees: pure noise, or the input picture with noise on it."""
    spec, process = resolved.facts.latent, resolved.facts.process
    height, width = latent_size(resolved.size.width, resolved.size.height, spec.downscale)
    shift = resolved.request.eta_noise_seed_delta or 0
    noise = resolved.noise.make((seed,), (spec.channels, height, width), shift=shift, convert=residency.tensor)
    sigmas = resolved.sigmas
    source = resolved.request.source
    if not isinstance(source, FromImage):
        return Start(x=noise.start() * process.amplitude(sigmas[0], resolved.amplitude), sigmas=sigmas, noise=noise)
    opened = open_picture(resolved.inputs[source.image.sha256], name=source.image.name or "the input picture")
    picture = to_tensor(fitted(opened, resolved.size, resolved.request.fit)).to(residency.device)
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
    if not _is_finite(mean):
        mean, _ = cast(Codec, residency.precise(resolved, "vae")).encode(picture)
        _check_finite(mean, "encoding the input picture")
    return _scaled(mean.float(), spec)


def _scaled(latent: Tensor, spec: LatentSpec) -> Tensor:
    """An encoded picture as the denoising network sees it."""
    if spec.mean:
        mean, std = (latent.new_tensor(values).view(1, -1, 1, 1) for values in (spec.mean, spec.std))
        return (latent - mean) / std * spec.scale
    return (latent - spec.shift) * spec.scale


def _unscaled(latent: Tensor, spec: LatentSpec) -> Tensor:
    """The opposite of `_scaled`."""
    if spec.mean:
        mean, std = (latent.new_tensor(values).view(1, -1, 1, 1) for values in (spec.mean, spec.std))
        return latent / spec.scale * std + mean
    return latent / spec.scale + spec.shift


def denoise(
    resolved: Resolved, residency: Residency, encoded: Encoded, start: Start, *, log: PredictionLog | None = None
) -> Iterator[Step]:
    """Take the steps, one by one as they are asked for. With a `log`, what it holds is not computed again."""
    working, request = _Working(residency), resolved.request
    notebook = Notebook(caching_of(request), merging_of(request), steps=len(start.sigmas) - 1)
    guide = _guided_by_text(resolved, encoded, working, notebook)
    if resolved.refiner is not None and encoded.refined is not None:
        second = _guided_by_text(resolved.refiner.resolved, encoded.refined, working, notebook)
        guide = _handed_over(guide, second, resolved.refiner)
    guide = notebook.kept_by(guide)
    answer = _checked(guide if log is None else logged(guide, log, begins_afresh=notebook.begins_afresh))
    steps = resolved.sampler.run(answer, start.x, start.sigmas, resolved.facts.process, start.noise, resolved.options)
    while True:
        with torch.inference_mode():
            step = next(steps, None)
        if step is None:
            return
        yield step


class _Working:
    """The network that is at work: one at a time, so that the one before it need not stay in memory."""

    def __init__(self, residency: Residency) -> None:
        self._residency = residency
        self._model: Resolved | None = None
        self._network: Network | None = None
        self.on_gpu = residency.way.gpu is not None

    def __call__(self, model: Resolved) -> Network:
        if self._network is None or self._model is not model:
            self._model = self._network = None
            denoiser = self._residency.denoiser(model)
            self._model, self._network = model, model.family.network(model.config, denoiser)
        return self._network


def _guided_by_text(resolved: Resolved, encoded: Encoded, working: _Working, notebook: Notebook) -> Denoiser:
    """One model's denoiser, following its prompts."""

    def bound(conditioning: Conditioning) -> Denoiser:
        shortcut = notebook.shortcut(conditioning)

        def ordered(x: Tensor, sigma: float, index: int, /) -> Prediction:
            denoise = precondition(working(resolved), resolved.facts.process, conditioning, shortcut)
            return denoise(x.contiguous(memory_format=torch.channels_last), sigma, index)

        return ordered

    alone = _only(encoded) if working.on_gpu and notebook.is_empty else None
    both = None if alone is None else joined(alone[0], alone[1][0])
    if alone is not None and both is not None:
        negative, prompted = paired(bound(both), bound(alone[1][0]))
        return _guide(resolved, [alone[1]], negative, lambda _: prompted)
    negative = _by_step([(last, bound(conditioning)) for last, conditioning in encoded.negative])
    return _by_step([(last, _guide(resolved, parts, negative, bound)) for last, parts in encoded.prompt])


def _only(encoded: Encoded) -> tuple[Conditioning, tuple[Conditioning, float]] | None:
    """The negative prompt, and the prompt with its weight, where there is one of each from first to last."""
    match encoded.negative, encoded.prompt:
        case ((_, negative),), ((_, (part,)),):
            return negative, part
        case _:
            return None


def _handed_over(first: Denoiser, second: Denoiser, refiner: Refiner) -> Denoiser:
    """The first model down to the switch, then the second, within one run of the sampler."""

    def denoise_step(x: Tensor, sigma: float, index: int, /) -> Prediction:
        return (second if refiner.takes(sigma, index) else first)(x, sigma, index)

    return denoise_step


def _guide(
    resolved: Resolved,
    parts: Sequence[tuple[Conditioning, float]],
    negative: Denoiser,
    bound: Callable[[Conditioning], Denoiser],
) -> Denoiser:
    """Guidance of one stretch of the prompt, inside its interval."""
    request = resolved.request
    low, high = resolved.interval
    scale = 1.0 if request.guidance is None or resolved.facts.tells_guidance else request.guidance
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


def _is_finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())


def _check_finite(values: Tensor, where: str) -> None:
    if not _is_finite(values):
        raise NumericError(
            f"The network gave numbers that are not finite in {where}.",
            hint="The model file may be damaged; otherwise lower the guidance, or compute in float32.",
        )


@torch.inference_mode()
def decode(resolved: Resolved, residency: Residency, clean: Tensor) -> Image.Image:
    """The picture of a finished latent. A decoder that overflows is run again in float32."""
    spec = resolved.facts.latent
    latent = _unscaled(clean, spec)
    picture = residency.decoder(resolved)(latent)
    if not _is_finite(picture):
        picture = cast(Codec, residency.precise(resolved, "vae")).decode(latent)
        _check_finite(picture, "the decoder")
    return to_image(picture[0, :, : resolved.size.height, : resolved.size.width])


def finish(resolved: Resolved, residency: Residency, *, index: int) -> Record:
    """The recipe of picture `index`, complete enough to paint it again."""
    first, *further = (
        ModelFacts(
            name=model.entry.name,
            family=model.family.name,
            prediction=model.facts.prediction,
            files=model.files,
        )
        for model in resolved.models
    )
    return Record(
        engine=f"pinxit {__version__}",
        request=resolved.request.image(index),
        model=first,
        passes=tuple(further),
        adapters=tuple(one.facts for one in resolved.adapters),
        sigmas_sha256=sigmas_sha256(resolved.sigmas),
        noise=resolved.noise.name,
        dtype=residency.dtype_name,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        numerics=residency.numerics,
    )
