"""What an evaluation found: as JSON with fixed names, and as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pinxit.evaluate.asks import LANGUAGES, TASKS, Domain
from pinxit.evaluate.autoencoder import Loss
from pinxit.evaluate.copying import copied
from pinxit.evaluate.independent import LABEL, Graph, inception_features
from pinxit.evaluate.references import Marks, References
from pinxit.evaluate.run import (
    Painted,
    features,
    noise_like,
    picture_statistics,
    retrieved,
    scores,
    shuffled,
)
from pinxit.evaluate.statistics import Interval, frechet_distance, kernel_distance, paired_difference, wilson
from pinxit.train.data.bank import Bank

FEWEST_FEATURES = 24
"""Pictures of one thing below which distances of distributions are not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The share of right answers with its 95 % interval, out of `count`."""

    share: float
    interval: Interval
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that is told about one model. `domain` is None for a foreign one, `method` how it painted."""

    model: str
    method: Mapping[str, Any]
    domain: Domain | None
    pictures: int
    tasks: Mapping[str, Score]
    languages: Mapping[str, Mapping[str, Score]]
    shuffled: Mapping[str, Score]
    noise: Mapping[str, Score]
    ceilings: Mapping[str, Score]
    retrieval: Mapping[str, Mapping[str, float]]
    distances: Mapping[str, float]
    copying: Mapping[str, float]
    statistics: Mapping[str, float]
    independent: Mapping[str, float]
    autoencoder: Mapping[str, Loss]

    def to_json(self) -> dict[str, Any]:
        """The names that other programs rely on come first; a task that was not asked is left out."""
        following: dict[str, Any] = {}
        for task, score in self.tasks.items():
            following[task] = round(score.share, 4)
            following[f"{task}_interval"] = [round(edge, 4) for edge in score.interval]
            following[f"{task}_count"] = score.count
            if task in self.ceilings:
                following[f"{task}_ceiling"] = round(self.ceilings[task].share, 4)
            if task in self.shuffled:
                following[f"{task}_chance"] = round(self.shuffled[task].share, 4)
        known = self.retrieval.get("known", {})
        return {
            "model": self.model,
            "method": self.method,
            "foreign": self.domain is None,
            "pictures": self.pictures,
            "prompt_following": following,
            "languages": {name: _shares(tasks) for name, tasks in self.languages.items()},
            "retrieval": known.get("first"),
            "retrieval_groups": self.retrieval,
            "kid": self.distances.get("kid"),
            "distances": self.distances,
            "copying": self.copying,
            "statistics": self.statistics,
            "independent": {"network": LABEL, **self.independent} if self.independent else None,
            "autoencoder": {style: asdict(loss) for style, loss in self.autoencoder.items()} or None,
            "checks": {"shuffled": _shares(self.shuffled), "noise": _shares(self.noise)},
        }


def _shares(tasks: Mapping[str, Score]) -> dict[str, float]:
    return {task: round(score.share, 4) for task, score in tasks.items()}


def make_report(
    model: str,
    painted: Painted,
    references: References,
    domain: Domain | None,
    *,
    method: Mapping[str, Any] | None = None,
    graph: Graph | None = None,
    losses: Mapping[str, Loss] | None = None,
    bank: Bank | None = None,
) -> Report:
    """Score a model's pictures. Of a foreign model (no domain) only what needs no knowledge of its training.

    `graph` is the independent network, if it is at hand, `losses` those of the model's autoencoder, if measured, and
    `bank` the drawings it learned from, with which pictures are compared pixel by pixel.
    """
    foreign = domain is None
    known = domain is not None
    return Report(
        model=model,
        method=method or {},
        domain=domain,
        pictures=len(painted.asks),
        tasks=_scored(scores(painted, references, foreign=foreign)),
        languages={
            language: _scored(scores(painted, references, foreign=foreign, language=language))
            for language in LANGUAGES
            if any(ask.language == language for ask in painted.asks)
        },
        shuffled=_scored(scores(shuffled(painted), references, foreign=foreign)),
        noise=_scored(scores(noise_like(painted, references), references, foreign=foreign)),
        ceilings=_marked(references.ceilings["train"]),
        retrieval={group: asdict(found) for group, found in retrieved(painted, references, domain).items()}
        if domain
        else {},
        distances=_distances(painted, references, domain),
        copying=copied(painted, references, bank) if known else {},
        statistics=picture_statistics(painted),
        independent=_independent(painted, references, domain, graph),
        autoencoder=losses or {},
    )


def _scored(found: Mapping[str, Sequence[bool]]) -> dict[str, Score]:
    return _marked({task: (sum(right), len(right)) for task, right in found.items()})


def _marked(marks: Marks) -> dict[str, Score]:
    return {
        task: Score(share=right / count if count else 0.0, interval=wilson(right, count), count=count)
        for task, (right, count) in marks.items()
    }


def _distances(painted: Painted, references: References, domain: Domain | None) -> dict[str, float]:
    """KID and FID on the judge's own features against the stored real pictures; only of the domain that those show."""
    if not _is_domain(domain, references):
        return {}
    own = features(painted)
    if len(own) < FEWEST_FEATURES:
        return {}
    real = references.arrays["features"].astype("float64")
    kid, error = kernel_distance(own, real)
    return {"kid": kid, "kid_error": error, "fid": frechet_distance(own, real)}


def _is_domain(domain: Domain | None, references: References) -> bool:
    """Are the stored real pictures those that a model of this domain should paint?"""
    return domain is not None and set(domain.concepts) == set(references.domain.concepts)


def _independent(
    painted: Painted, references: References, domain: Domain | None, graph: Graph | None
) -> dict[str, float]:
    """KID and FID on the independent network; beside them the KID of real halves (about 0) and of noise."""
    real = references.independent
    if graph is None or real is None or painted.sharp is None or not _is_domain(domain, references):
        return {}
    own = inception_features(graph, painted.sharp)
    if len(own) < FEWEST_FEATURES:
        return {}
    kid, error = kernel_distance(own, real.features)
    fid = frechet_distance(own, real.features)
    return {"kid": kid, "kid_error": error, "fid": fid, "kid_real": real.real, "kid_noise": real.noise}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models on the same asks: by task the second's share less the first's, with its interval."""

    first: str
    second: str
    differences: Mapping[str, tuple[float, Interval]]

    def to_json(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "second": self.second,
            "differences": {
                task: {"difference": round(change, 4), "interval": [round(edge, 4) for edge in interval]}
                for task, (change, interval) in self.differences.items()
            },
        }


def compare(first: Report, a: Painted, second: Report, b: Painted, references: References) -> Comparison:
    """The difference of two models that painted the same asks."""
    foreign = first.domain is None or second.domain is None
    ours, theirs = (scores(painted, references, foreign=foreign) for painted in (a, b))
    return Comparison(
        first=first.model,
        second=second.model,
        differences={task: paired_difference(ours[task], theirs[task]) for task in TASKS if task in ours},
    )
