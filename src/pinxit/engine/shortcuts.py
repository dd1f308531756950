"""What a request leaves out of the computing: checked against its model, told in the plan, priced in time. No torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from pinxit.models.contract import AnyFamily, Facts, Shorter
from pinxit.sampling.shortcuts import Caching, Merging
from pinxit.schema.errors import BadInput
from pinxit.schema.request import GenerationRequest

if TYPE_CHECKING:
    from pinxit.engine.plan import Resolved

MEASURED = "shortcuts.json"
"""What each shortcut cost and saved on the built-in model; written by `python -m docs.approximate`."""
USUAL: Mapping[str, Mapping[str, object]] = {
    "deep": {"cache_interval": 3, "cache_branch": 0},
    "block": {"cache_interval": 4, "cache_branch": 1, "cache_threshold": 0.1},
}
"""What each kind of cache gets where the request says nothing. A transformer has no branches."""
OF_A_CACHE = ("cache_interval", "cache_branch", "cache_threshold", "cache_center")
FEW = 8
"""With fewer steps each changes so much that a cache is told to cost quality."""


def caching_of(request: GenerationRequest) -> Caching | None:
    """The cache that a filled request asks for."""
    if request.cache is None or request.cache == "off":
        return None
    return Caching(
        kind=request.cache,
        interval=request.cache_interval or 1,
        branch=request.cache_branch or 0,
        threshold=request.cache_threshold or 0.0,
        center=request.cache_center,
    )


def merging_of(request: GenerationRequest) -> Merging | None:
    """The token merging that a filled request asks for."""
    if not request.token_merging:
        return None
    return Merging(ratio=request.token_merging, levels=request.token_merging_levels or 1)


def with_shortcuts(request: GenerationRequest, family: AnyFamily, facts: Facts) -> GenerationRequest:
    """The request with every number of its shortcuts filled in. Raises BadInput for what the model cannot do."""
    return request.replace(**_cache_fields(request, family, facts), **_merging_fields(request, family, facts))


def _cache_fields(request: GenerationRequest, family: AnyFamily, facts: Facts) -> Mapping[str, object]:
    given = {name: getattr(request, name) for name in OF_A_CACHE if getattr(request, name) is not None}
    if request.cache == "off":
        return {"cache": None, **dict.fromkeys(OF_A_CACHE)}
    if request.cache is None:
        if given:
            name = next(iter(given))
            raise BadInput(
                f"The {name.replace('_', ' ')} belongs to a cache, and none is asked for.",
                hint="Ask for one with cache deep or cache block.",
                field=name,
            )
        return {}
    check_cache(request.cache, family, facts)
    if request.cache == "deep" and request.cache_threshold is not None:
        raise BadInput(
            "The deep cache goes by the step alone, so it has no threshold.",
            hint="Leave the threshold out, or ask for cache block.",
            field="cache_threshold",
        )
    fields = {**USUAL[request.cache], **given}
    if not cast(Shorter, facts.shorter).branches:
        del fields["cache_branch"]
    check_branch(request.cache_branch, family, facts)
    return fields


def check_cache(kind: str, family: AnyFamily, facts: Facts) -> None:
    """Raise BadInput where the family's network can keep no cache of this kind."""
    able = facts.shorter.caches if facts.shorter else ()
    if kind not in able:
        raise BadInput(
            f"{family.title} cannot keep a {kind} cache.",
            hint=f"Ask for cache {' or '.join(able)}." if able else "Leave the cache out.",
            field="cache",
        )


def check_branch(branch: int | None, family: AnyFamily, facts: Facts) -> None:
    """Raise BadInput for a branch that the network does not have."""
    count = facts.shorter.branches if facts.shorter else 0
    if branch is not None and branch >= count:
        raise BadInput(
            f"{family.title} has {f'the branches 0 to {count - 1}' if count else 'no branches'}, not {branch}.",
            hint="0 is the outermost, which saves most." if count else "Leave the branch out.",
            field="cache_branch",
        )


def _merging_fields(request: GenerationRequest, family: AnyFamily, facts: Facts) -> Mapping[str, object]:
    if request.token_merging_levels is not None and request.token_merging is None:
        raise BadInput(
            "The levels of token merging are given, and no share of tokens.",
            hint="Give the share too, such as token merging 0.5.",
            field="token_merging_levels",
        )
    if not request.token_merging:
        return {}
    if facts.shorter is None or not facts.shorter.merges:
        raise BadInput(f"{family.title} cannot merge tokens.", hint="Leave token merging out.", field="token_merging")
    return {"token_merging_levels": request.token_merging_levels or 1}


def check_second(request: GenerationRequest, family: AnyFamily, facts: Facts) -> None:
    """Raise BadInput where a second model cannot leave out what the first one does."""
    if request.cache is not None:
        check_cache(request.cache, family, facts)
        check_branch(request.cache_branch, family, facts)
    _merging_fields(request, family, facts)


def work_of(resolved: Resolved, model: Resolved) -> Callable[[int], float]:
    """What one call of `model` in a step costs, as a share of an exact one. A block cache is taken to reuse as often as
    it did where it was measured.
    """
    request, shorter = resolved.request, model.facts.shorter
    caching, merging = caching_of(request), merging_of(request)
    if shorter is None or (caching is None and merging is None):
        return lambda _: 1.0
    sides = (resolved.size.width, resolved.size.height)
    exact = shorter.flops(*sides, None, None)
    whole = shorter.flops(*sides, None, merging) / exact
    if caching is None:
        return lambda _: whole
    reused, steps = shorter.flops(*sides, caching, merging) / exact, len(resolved.sigmas) - 1
    if caching.kind == "block":
        found = _nearest("block", {"cache_threshold": caching.threshold, "cache_interval": caching.interval})
        often = 0.0 if found is None or not caching.threshold else float(found["reused"])
        reused = often * reused + (1 - often) * whole
    return lambda index: whole if caching.begins_afresh(index, steps) else reused


def shortcut_notes(resolved: Resolved) -> tuple[str, ...]:
    """What people should know of the shortcuts of a request, a sentence or two for each."""
    request, steps = resolved.request, len(resolved.sigmas) - 1
    caching, merging = caching_of(request), merging_of(request)
    if caching is None and merging is None:
        return ()
    notes: list[str] = []
    if caching is not None:
        afresh = sum(caching.begins_afresh(index, steps) for index in range(steps))
        rule = "" if caching.kind == "deep" else ", the others too where the first block changed much"
        notes.append(f"{caching.kind} cache: {afresh} of {steps} steps are computed whole{rule}; {_told(resolved)}")
        if steps < FEW:
            notes.append(f"with fewer than {FEW} steps a cache costs much quality")
    if merging is not None:
        levels = "the largest size" if merging.levels == 1 else f"the {merging.levels} largest sizes"
        found = "" if caching is not None else f"; {_told(resolved)}"
        notes.append(f"token merging: {merging.ratio:.0%} of the tokens at {levels} go into others{found}")
    return tuple(notes)


def _told(resolved: Resolved) -> str:
    """How much work is left, and what the nearest measured settings did to pictures."""
    request, steps = resolved.request, len(resolved.sigmas) - 1
    work = work_of(resolved, resolved)
    left = sum(map(work, range(steps))) / max(steps, 1)
    kind = request.cache or "merge"
    settings = {name: getattr(request, name) for name in (*OF_A_CACHE, "token_merging", "token_merging_levels")}
    found = _nearest(kind, {name: float(value) for name, value in settings.items() if value is not None})
    if found is None:
        return f"about {left:.0%} of the work is left"
    return (
        f"about {left:.0%} of the work is left. With {found['flags']} pictures of the built-in model came out "
        f"{found['psnr']:.1f} dB from exact ones (SSIM {found['ssim']:.2f})"
    )


@cache
def measured() -> tuple[Mapping[str, Any], ...]:
    """The rows of the measurement: `kind`, `flags`, `settings`, `time`, `reused`, `psnr` and `ssim` each."""
    path = files("pinxit.engine") / MEASURED
    return tuple(json.loads(path.read_text(encoding="utf-8"))["rows"]) if path.is_file() else ()


def _nearest(kind: str, settings: Mapping[str, float]) -> Mapping[str, Any] | None:
    """The measured row of this kind whose settings differ least; None where there is none."""
    rows = [row for row in measured() if row["kind"] == kind]

    def apart(row: Mapping[str, Any]) -> float:
        theirs = cast("Mapping[str, float]", row["settings"])
        return sum(abs(theirs.get(name, 0.0) - settings.get(name, 0.0)) for name in {*theirs, *settings})

    return min(rows, key=apart, default=None)
