"""A plan carried out: the order of the stages, and nothing else.

Pictures are painted one by one, so that each is the same as if it had been asked for alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pinxit.engine import stages
from pinxit.engine.careful import Careful
from pinxit.engine.output import check_output, write_picture
from pinxit.engine.plan import Plan, Resolved
from pinxit.engine.preview import Show
from pinxit.engine.residency import Residency
from pinxit.sampling.denoiser import Prediction
from pinxit.sampling.samplers import Step
from pinxit.schema.errors import Interrupted
from pinxit.schema.events import Event, Finished, FinishedImage, ImageReady, Noted, Planned, StageStarted, Stepped
from pinxit.schema.interchange import Labels
from pinxit.schema.picture import encode_image, pixels_sha256

Stop = Callable[[], bool]


def never() -> bool:
    return False


def run(
    plan: Plan, residency: Residency, *, output: Path | None = None, stop: Stop = never, show: Show | None = None
) -> Iterator[Event]:
    """Paint what `plan` says, as a stream of events; pictures are written to `output` unless it is None.

    `stop` is asked between steps; when it says so, Interrupted is raised and nothing half-written stays. `show` makes
    the preview that every step then brings.
    """
    resolved = plan.resolved
    request, started = resolved.request, time.monotonic()
    if output is not None:
        check_output(output, request)
    yield Planned(request=request, stages=tuple(stage.name for stage in plan.stages), notes=plan.notes)
    yield StageStarted(stage="encode")
    careful = Careful(plan, residency)
    encoded = yield from careful.do(lambda: stages.encode(resolved, residency))
    finished: list[FinishedImage] = []
    for index in range(request.count):
        _heed(stop)
        recipe = request.image(index)
        yield StageStarted(stage="prepare")
        seed = recipe.seed or 0
        start = yield from careful.do(partial(stages.prepare, resolved, residency, seed=seed))
        yield StageStarted(stage="denoise")
        clean, total, before = start.x, len(start.sigmas) - 1, time.monotonic()
        turn = total if resolved.refiner is None else resolved.refiner.first(start.sigmas)
        if turn == 0 < total:
            yield StageStarted(stage="refine")
        for step in careful.steps(partial(_denoise, resolved, residency, encoded, start)):
            if isinstance(step, Noted):
                yield step
                continue
            now = time.monotonic()
            total = max(total, step.index + 1)
            yield Stepped(
                index=step.index,
                total=total,
                sigma=step.sigma,
                seconds=now - before,
                image=index,
                preview=None if show is None else show(step.clean),
            )
            clean, before = step.x, time.monotonic()
            _heed(stop)
            if step.index + 1 == turn < total:
                yield StageStarted(stage="refine")
        yield StageStarted(stage="decode")
        image = yield from careful.do(partial(stages.decode, resolved, residency, clean))
        _heed(stop)
        yield StageStarted(stage="finish")
        record = stages.finish(resolved, residency, index=index)
        labels = Labels(sampler=resolved.sampler.title, schedule=resolved.schedule.title)
        path = None if output is None else write_picture(output, encode_image(image, record, labels), recipe)
        yield ImageReady(
            index=index,
            seed=seed,
            record=record,
            pixels_sha256=pixels_sha256(image),
            path=path,
            image=image,
        )
        finished.append(FinishedImage(path=path, seed=seed))
    yield Finished(images=tuple(finished), seconds=time.monotonic() - started)


def _denoise(
    resolved: Resolved, residency: Residency, encoded: stages.Encoded, start: stages.Start, log: list[Prediction]
) -> Iterator[Step]:
    return stages.denoise(resolved, residency, encoded, start, log=log)


def _heed(stop: Stop) -> None:
    if stop():
        raise Interrupted("Stopped.", hint="Pictures that were finished are kept.")
