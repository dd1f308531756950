"""Stages that run out of memory are done again with less of it, as far down the ladder as there are rungs."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, TypeVar

from pinxit.engine.allocator import ran_out
from pinxit.engine.machine import GIB, Machine, this_machine
from pinxit.engine.memory import LADDER, out_of_memory, room_of
from pinxit.sampling.denoiser import Prediction
from pinxit.sampling.samplers import Step
from pinxit.schema.errors import OutOfMemory
from pinxit.schema.events import Noted

if TYPE_CHECKING:
    from pinxit.engine.plan import Plan
    from pinxit.engine.residency import Residency

T = TypeVar("T")
Steps = Callable[[list[Prediction]], Iterator[Step]]


class Careful:
    """Does the stages of one run, saving what the plan says and more where that turns out to be too little."""

    def __init__(self, plan: Plan, residency: Residency, *, look: Callable[[], Machine] = this_machine) -> None:
        self._plan, self._residency, self._look = plan, residency, look
        self._taken = len(plan.rungs)
        residency.save(plan.rungs, compiles=plan.compiles)

    def do(self, stage: Callable[[], T]) -> Generator[Noted, None, T]:
        """Return what `stage` does, after a remark for each rung that had to be taken. Raises OutOfMemory."""
        while True:
            try:
                found = stage()
            except (MemoryError, RuntimeError, OutOfMemory) as error:
                if not ran_out(error):
                    raise
            else:
                yield from self._remarks()
                return found
            # Only here, where the error is gone, has it let go of everything that the stage had in hand.
            yield self._save_more()

    def steps(self, begun: Steps) -> Iterator[Noted | Step]:
        """Take the steps that `begun` gives for a log of predictions; those in the log are not computed again."""
        log: list[Prediction] = []
        taken = 0
        while True:
            steps = begun(log)
            try:
                for step in steps:
                    yield from self._remarks()
                    if step.index >= taken:
                        taken = step.index + 1
                        yield step
                return
            except (MemoryError, RuntimeError, OutOfMemory) as error:
                if not ran_out(error):
                    raise
            del steps
            yield self._save_more()

    def _remarks(self) -> Iterator[Noted]:
        return (Noted(text=text) for text in self._residency.remarks())

    def _save_more(self) -> Noted:
        """Take the next rung, without anything compiled. Raises OutOfMemory after the last."""
        self._residency.clear()
        gc.collect()
        if self._taken == len(LADDER):
            raise self._failure()
        rung = LADDER[self._taken]
        self._taken += 1
        self._residency.save(tuple(one.name for one in LADDER[: self._taken]))
        return Noted(text=f"memory ran out, so {rung.note}")

    def _failure(self) -> OutOfMemory:
        plan, machine = self._plan, self._look()
        room = room_of(machine, plan.way)
        if room is not None and room < plan.bytes:
            return out_of_memory(plan.resolved, plan.way, room)
        return OutOfMemory(
            f"Memory ran out for a picture of {plan.resolved.size}; {plan.bytes / GIB:.1f} GiB were thought enough.",
            hint="Ask for a smaller size, or close other programs.",
            field="size",
        )
