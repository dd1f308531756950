"""What a refiner is worth where it should be worth most: on small things, pixel by pixel, against the known truth.

Compositions with one small thing each are covered with noise and denoised again by the model alone and with its
refiner, with the same noise. What lies around the small thing is cut out at its own size and compared with the
composition. No prompt has to succeed for that, and with noise up to where the refiner takes over it acts alone. The
same is done with whole pictures of the kind that the model usually paints, which a refiner should not harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pinxit.evaluate.asks import Domain, worded
from pinxit.evaluate.autoencoder import Codec
from pinxit.evaluate.independent import LABEL, Graph, inception_features
from pinxit.evaluate.prepare import domain_pictures
from pinxit.evaluate.references import References
from pinxit.evaluate.statistics import Interval, kernel_distance, paired_difference, paired_kernel_difference
from pinxit.train.data.backgrounds import BackgroundShares
from pinxit.train.data.bank import Bank
from pinxit.train.data.composition import Composer, CompositionSettings, KindShares
from pinxit.train.data.facts import Box
from pinxit.train.judge import SIDE, judged

PART = 4
"""A thing is small when it is at most this part of the picture's side; that is also the side of what is cut out."""
STRENGTHS = (0.2, 0.5)
"""How much noise there is at first: the first is all the refiner's, of the second the model does the beginning."""
SWITCH = 0.8

Verdict = Literal["better", "worse", "undecided"]
Pixels = NDArray[np.uint8]
Repaint = Callable[["Case", float, bool], Image.Image]
"""(case, strength, refined) -> the case's picture, noised by `strength` and denoised again."""

_SMALL = CompositionSettings(
    kinds=KindShares(single=0.6, pair=0, size=0.2, count=0.2, colour=0),
    backgrounds=BackgroundShares(white=0.3, colour=0.6, gradient=0.1, scene=0),
    scale=(0.12, 0.26),
    jitter=0.9,
    even_concepts=True,
)
_USUAL = 77
_UNSEEN = 1 << 40
"""Training draws its compositions from other keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A composition, uint8 [S, S, 3], what it shows in words, and the square of it that is looked at.

    `corner` is that square's (top, left) and `side` its side.
    """

    picture: Pixels
    prompt: str
    seed: int
    corner: tuple[int, int]
    side: int

    def cut(self, picture: Pixels) -> Pixels:
        """What is looked at of a picture."""
        top, left = self.corner
        return picture[top : top + self.side, left : left + self.side]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """One measure of the model alone and with its refiner; `difference` is the second's less the first's."""

    base: float
    refined: float
    difference: float
    interval: Interval
    higher_is_better: bool = False

    @property
    def verdict(self) -> Verdict:
        """Whether the refiner is better by more than chance, at 95 %."""
        low, high = self.interval if self.higher_is_better else (-self.interval[1], -self.interval[0])
        return "better" if low > 0 else "worse" if high < 0 else "undecided"

    def to_json(self) -> dict[str, Any]:
        numbers = {name: round(getattr(self, name), 6) for name in ("base", "refined", "difference")}
        return {**numbers, "interval": [round(edge, 6) for edge in self.interval], "verdict": self.verdict}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refining:
    """What was measured: by strength and name the gains, and what the autoencoder alone already loses."""

    pictures: int
    crop: int
    network: str
    gains: Mapping[float, Mapping[str, Gain]]
    autoencoder: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return {
            "pictures": self.pictures,
            "crop": self.crop,
            "network": self.network,
            "autoencoder": {name: round(value, 6) for name, value in self.autoencoder.items()},
            "strengths": {
                str(strength): {name: gain.to_json() for name, gain in gains.items()}
                for strength, gains in self.gains.items()
            },
        }


def small_things(bank: Bank, domain: Domain, count: int, *, side: int, seed: int = 0) -> list[Case]:
    """`count` compositions of the domain's drawings, `side` pixels wide, with a small thing in each.

    The smallest one is cut out. Raises BadInput when the bank has none of the domain's drawings.
    """
    composer = Composer(bank, _SMALL, size=side, concepts=domain.concepts, styles=domain.styles)
    rng = np.random.Generator(np.random.Philox(key=[seed, _UNSEEN]))
    cases: list[Case] = []
    while len(cases) < count:
        picture, facts = composer.compose(rng)
        box = min((thing.box for thing in facts.objects), key=_longest)
        if _longest(box) <= 1 / PART:
            prompt = worded(facts, "en", rng)
            corner = _corner((box[1] + box[3]) / 2, side), _corner((box[0] + box[2]) / 2, side)
            cases.append(Case(picture=picture, prompt=prompt, seed=seed + len(cases), corner=corner, side=side // PART))
    return cases


def usual_things(bank: Bank, domain: Domain, count: int, *, side: int, seed: int = 0) -> list[Case]:
    """`count` compositions such as a model of this domain paints, of one large thing each, looked at whole."""
    pictures, facts = domain_pictures(bank, domain, count, seed=_USUAL + seed, size=side)
    rng = np.random.default_rng(seed)
    whole = pictures.permute(0, 2, 3, 1).contiguous().numpy()
    return [
        Case(picture=picture, prompt=worded(shown, "en", rng), seed=seed + at, corner=(0, 0), side=side)
        for at, (picture, shown) in enumerate(zip(whole, facts, strict=True))
    ]


def _longest(box: Box) -> float:
    left, top, right, bottom = box
    return max(right - left, bottom - top)


def _corner(middle: float, side: int) -> int:
    crop = side // PART
    return min(max(round(middle * side - crop / 2), 0), side - crop)


def measure_refiner(
    cases: Sequence[Case],
    repaint: Repaint,
    codec: Codec,
    references: References,
    watch: Callable[[int, int], None],
    *,
    graph: Graph | None = None,
    strengths: Sequence[float] | None = None,
) -> Refining:
    """Denoise every case alone and refined, from every strength, and compare what is looked at of each.

    Features are those of the independent network where `graph` is at hand, else the judge's.
    """
    real = np.stack([case.cut(case.picture) for case in cases])
    features = _features(real, references, graph)
    strengths = STRENGTHS if strengths is None else strengths
    total, at = 2 * len(cases) * len(strengths), 0
    gains: dict[float, Mapping[str, Gain]] = {}
    for strength in strengths:
        made: list[Pixels] = []
        for refined in (False, True):
            cut: list[Pixels] = []
            for case in cases:
                watch(at, total)
                cut.append(case.cut(np.asarray(repaint(case, strength, refined).convert("RGB"))))
                at += 1
            made.append(np.stack(cut))
        gains[strength] = _gains(real, features, (made[0], made[1]), references, graph)
    watch(total, total)
    there_and_back = np.stack([case.cut(_coded(codec, case.picture)) for case in cases])
    distances = _distances(_features(there_and_back, references, graph), features)
    return Refining(
        pictures=len(cases),
        crop=real.shape[1],
        network="judge" if graph is None else LABEL,
        gains=gains,
        autoencoder={"psnr": float(np.mean(_psnr(there_and_back, real))), "feature_distance": float(distances.mean())},
    )


def _gains(
    real: Pixels,
    features: NDArray[np.float64],
    made: tuple[Pixels, Pixels],
    references: References,
    graph: Graph | None,
) -> dict[str, Gain]:
    a, b = (_features(pixels, references, graph) for pixels in made)
    first, second = (_psnr(pixels, real) for pixels in made)
    change, interval = paired_difference(first, second)
    found = {
        "psnr": Gain(
            base=float(np.mean(first)),
            refined=float(np.mean(second)),
            difference=change,
            interval=interval,
            higher_is_better=True,
        )
    }
    near, nearer = _distances(a, features), _distances(b, features)
    change, interval = paired_difference(near.tolist(), nearer.tolist())
    found["feature_distance"] = Gain(
        base=float(near.mean()), refined=float(nearer.mean()), difference=change, interval=interval
    )
    change, interval = paired_kernel_difference(a, b, features)
    kid, refined_kid = (kernel_distance(found, features)[0] for found in (a, b))
    found["kid"] = Gain(base=kid, refined=refined_kid, difference=change, interval=interval)
    return found


def _features(pixels: Pixels, references: References, graph: Graph | None) -> NDArray[np.float64]:
    """Features [N, D] of pictures uint8 [N, H, W, 3]."""
    if graph is not None:
        return inception_features(graph, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    large = [np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in pixels]
    return judged(references.judge, torch.from_numpy(np.stack(large)).permute(0, 3, 1, 2)).features.double().numpy()


def _distances(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.linalg.norm(first - second, axis=1)


def _psnr(made: Pixels, real: Pixels) -> list[float]:
    """The peak signal-to-noise ratio of each picture in dB."""
    error = np.square(made.astype(np.float64) - real).mean(axis=(1, 2, 3))
    return (10 * np.log10(255**2 / np.maximum(error, 1e-6))).tolist()


@torch.inference_mode()
def _coded(codec: Codec, picture: Pixels) -> Pixels:
    """The picture after the autoencoder, there and back."""
    x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    y = codec.decode(codec.encode(x)[0]).clamp(-1, 1)
    return ((y[0] + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
