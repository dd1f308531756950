"""A plan carried out: the order of the stages, and nothing else.

Pictures are painted one by one, so that each is the same as if it had been asked for alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pinxit.engine import stages
from pinxit.engine.output import check_output, write_picture
from pinxit.engine.plan import Plan
from pinxit.engine.residency import Residency
from pinxit.schema.errors import Interrupted
from pinxit.schema.events import Event, Finished, FinishedImage, ImageReady, Planned, StageStarted, Stepped
from pinxit.schema.interchange import Labels
from pinxit.schema.picture import encode_image, pixels_sha256

Stop = Callable[[], bool]


def never() -> bool:
    return False


def run(plan: Plan, residency: Residency, *, output: Path | None = None, stop: Stop = never) -> Iterator[Event]:
    """Paint what `plan` says, as a stream of events; pictures are written to `output` unless it is None.

    `stop` is asked between steps; when it says so, Interrupted is raised and nothing half-written stays.
    """
    resolved = plan.resolved
    request, started = resolved.request, time.monotonic()
    if output is not None:
        check_output(output, request)
    yield Planned(request=request, stages=tuple(stage.name for stage in plan.stages), notes=plan.notes)
    yield StageStarted(stage="encode")
    encoded = stages.encode(resolved, residency)
    finished: list[FinishedImage] = []
    for index in range(request.count):
        _heed(stop)
        recipe = request.image(index)
        yield StageStarted(stage="prepare")
        start = stages.prepare(resolved, residency, seed=recipe.seed or 0)
        yield StageStarted(stage="denoise")
        clean, total, before = start.x, len(start.sigmas) - 1, time.monotonic()
        turn = total if resolved.refiner is None else resolved.refiner.first(start.sigmas)
        if turn == 0 < total:
            yield StageStarted(stage="refine")
        for step in stages.denoise(resolved, residency, encoded, start):
            now = time.monotonic()
            total = max(total, step.index + 1)
            yield Stepped(index=step.index, total=total, sigma=step.sigma, seconds=now - before, image=index)
            clean, before = step.x, now
            _heed(stop)
            if step.index + 1 == turn < total:
                yield StageStarted(stage="refine")
        yield StageStarted(stage="decode")
        image = stages.decode(resolved, residency, clean)
        _heed(stop)
        yield StageStarted(stage="finish")
        record = stages.finish(resolved, residency, index=index)
        labels = Labels(sampler=resolved.sampler.title, schedule=resolved.schedule.title)
        path = None if output is None else write_picture(output, encode_image(image, record, labels), recipe)
        yield ImageReady(
            index=index,
            seed=recipe.seed or 0,
            record=record,
            pixels_sha256=pixels_sha256(image),
            path=path,
            image=image,
        )
        finished.append(FinishedImage(path=path, seed=recipe.seed or 0))
    yield Finished(images=tuple(finished), seconds=time.monotonic() - started)


def _heed(stop: Stop) -> None:
    if stop():
        raise Interrupted("Stopped.", hint="Pictures that were finished are kept.")
