"""The hand-over to a second model: which model takes the last steps, and from where. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pinxit.models.contract import LatentSpec
from pinxit.sampling.dialect import Handover
from pinxit.sampling.process import NoiseProcess
from pinxit.schema.errors import ModelError

if TYPE_CHECKING:
    from pinxit.engine.plan import Resolved

WITHOUT = ("vae",)
"""Parts that a refiner can do without: the first model's are used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refiner:
    """A second model with everything that the first one was asked for, and the share after which it takes over.

    `process` is the first model's, in whose training time a hand-over by time is counted.
    """

    resolved: Resolved
    switch: float
    by: Handover
    process: NoiseProcess
    steps: int

    def takes(self, sigma: float, index: int) -> bool:
        """Whether the step `index` at the level `sigma` is the refiner's.

        By time: of the model's levels the nearest is looked up, and its place counted from the noisy end, as A1111 does
        (0.8 is timestep 199 and below of 1000). By step: `index` out of all steps, as ComfyUI's users do.
        """
        if self.by == "step":
            return index >= self.switch * self.steps - 1e-9
        levels = self.process.levels
        nearest = min(range(len(levels)), key=lambda place: abs(levels[place] - sigma))
        return (len(levels) - 1 - nearest) / len(levels) >= self.switch - 1e-9

    def first(self, sigmas: tuple[float, ...]) -> int:
        """The index of the first step that is the refiner's; the number of steps where none is."""
        return next((at for at, sigma in enumerate(sigmas[:-1]) if self.takes(sigma, at)), len(sigmas) - 1)


def check_same_latents(first: Resolved, second: Resolved) -> None:
    """Raise ModelError for a model that cannot continue the other's latents."""
    ours, theirs = first.facts.latent, second.facts.latent
    if not _agree(ours, theirs):
        raise ModelError(
            f"{second.entry.name} cannot take over from {first.entry.name}: their latents differ "
            f"({_spelt(theirs)}, not {_spelt(ours)}).",
            hint="A refiner must have been trained with the same autoencoder.",
        )
    if first.facts.process.alpha(1.0) != second.facts.process.alpha(1.0):
        raise ModelError(
            f"{second.entry.name} cannot take over from {first.entry.name}: one is a flow model and the other is not.",
            hint="Choose a refiner of the same line.",
        )


def _agree(ours: LatentSpec, theirs: LatentSpec) -> bool:
    return ours == replace(theirs, scale=ours.scale) and abs(ours.scale - theirs.scale) < 1e-4


def _spelt(latent: LatentSpec) -> str:
    return f"{latent.channels} channels, scale {latent.scale:g}"
