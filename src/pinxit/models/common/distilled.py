"""Models distilled to few steps (Turbo, Lightning, LCM, Hyper, DMD): how they are known, and how they are run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from pinxit.models.contract import Defaults
from pinxit.weights.identify import Match

Method: TypeAlias = Literal["turbo", "lightning", "lcm", "hyper", "dmd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the models of one method are run; `steps` where their name gives none. Guidance 1 is none."""

    title: str
    steps: int
    sampler: str
    schedule: str
    most: int
    """Steps beyond which a number in a name means something else."""


WAYS: dict[Method, Way] = {
    "turbo": Way(title="Turbo", steps=4, sampler="euler_ancestral", schedule="turbo", most=10),
    "lightning": Way(title="Lightning", steps=4, sampler="euler", schedule="sgm_uniform", most=8),
    "lcm": Way(title="LCM", steps=4, sampler="lcm", schedule="sgm_uniform", most=8),
    "hyper": Way(title="Hyper-SD", steps=8, sampler="ddim", schedule="sgm_uniform", most=16),
    "dmd": Way(title="DMD2", steps=4, sampler="lcm", schedule="sgm_uniform", most=4),
}
"""Sauer et al. 2023; Lin et al. 2024; Luo et al. 2023; Ren et al. 2024; Yin et al. 2024."""
TOLD_GUIDANCE = 8.0
"""The usual scale for models that are told it (Luo et al. 2023, section 5.1)."""
TURBO_SIDE = 512
"""Stability's own Turbo models paint small pictures, whatever they were distilled from."""

_WORDS = re.compile(r"(?<![a-z])(turbo|lightning|lcm|hyper(?:[-_ ]?sdx?l?)?|dmd2?)(?![a-z])", re.IGNORECASE)
_STEPS = re.compile(r"(?<![0-9])([1-9][0-9]?)[-_ ]?steps?(?![a-z])", re.IGNORECASE)
_OFFICIAL = re.compile(r"^sd[-_]?(xl)?[-_]?turbo", re.IGNORECASE)
_SCHEDULERS: dict[str, Method] = {"LCMScheduler": "lcm", "TCDScheduler": "hyper"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Distilled:
    """That a checkpoint was distilled: by which method, to how many steps, and how that is known.

    `told` is whether its network is told the guidance; `side` the side of its pictures in pixels where it is its own.
    """

    method: Method
    steps: int
    evidence: str
    told: bool = False
    side: int | None = None

    def over(self, usual: Defaults) -> Defaults:
        """The defaults of the undistilled model with what this one needs instead."""
        way = WAYS[self.method]
        changed = replace(
            usual,
            steps=self.steps,
            sampler=way.sampler,
            schedule=way.schedule,
            guidance=TOLD_GUIDANCE if self.told else 1.0,
            rescale=0.0,
            interval=None,
        )
        return changed if self.side is None else replace(changed, width=self.side, height=self.side)

    @property
    def note(self) -> str:
        guidance = "told the guidance" if self.told else "without guidance"
        return f"{WAYS[self.method].title} model, {self.steps} steps, {guidance}: {self.evidence}"


def find_distilled(match: Match, *, told: bool) -> Distilled | None:
    """Whether a checkpoint was distilled. The network's own tensors count most, then what lies in its folder or its
    metadata, then its name. `told` is whether its U-Net has an embedding for the guidance.
    """
    if told:
        steps = next((_steps(text, "lcm") for _, text in _names(match) if _STEPS.search(text)), WAYS["lcm"].steps)
        return Distilled(method="lcm", steps=steps, evidence="the U-Net is told the guidance (cond_proj)", told=True)
    scheduler = str(match.header.configs.get("scheduler/scheduler_config.json", {}).get("_class_name", ""))
    if method := _SCHEDULERS.get(scheduler):
        evidence = f"scheduler/scheduler_config.json names {scheduler}"
        return Distilled(method=method, steps=WAYS[method].steps, evidence=evidence)
    for source, text in _names(match):
        if found := _WORDS.search(text):
            method = _method(found[1])
            official = method == "turbo" and _OFFICIAL.match(text) is not None
            return Distilled(
                method=method,
                steps=_steps(text, method),
                evidence=f"{source} says {found[1]!r}",
                side=TURBO_SIDE if official else None,
            )
    return None


def _names(match: Match) -> Iterator[tuple[str, str]]:
    """Where a model may be called something, and what."""
    metadata = match.header.metadata
    for key in ("modelspec.title", "ss_output_name"):
        if text := metadata.get(key):
            yield f"the metadata's {key}", text
    name = match.header.configs.get("model_index.json", {}).get("_name_or_path")
    if isinstance(name, str):
        yield "model_index.json", name.rpartition("/")[2]
    yield "only its name", match.header.path.name


def _method(word: str) -> Method:
    word = word.lower()
    if word.startswith("hyper"):
        return "hyper"
    if word.startswith("dmd"):
        return "dmd"
    return next(method for method in WAYS if method == word)


def _steps(text: str, method: Method) -> int:
    """The number of steps that a name gives, where it can be meant."""
    found = _STEPS.search(text)
    way = WAYS[method]
    return int(found[1]) if found and int(found[1]) <= way.most else way.steps
