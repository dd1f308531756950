"""Stacks that compute nothing, for tests of the driver. Each notes its turns in a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from pinxit.bench.cases import Array, Case, Numbers, Told
from pinxit.bench.driver import StackSpec


class Fake:
    """Answers ones times `value`; fails when it is asked to load a case of the kind `broken`; with `told` it only says
    how long it took.
    """

    def __init__(
        self,
        *,
        numbers: Numbers,
        name: str,
        log: str,
        value: float = 1.0,
        broken: str = "",
        told: float = 0.0,
        device: str = "cpu",
    ) -> None:
        if broken == "start":
            raise RuntimeError("cannot start")
        self.name, self.numbers, self.value, self.broken, self.told = name, numbers, value, broken, told
        self.log = Path(log)

    def versions(self) -> Mapping[str, str]:
        return {self.name: "1.0"}

    def prepare(self, case: Case) -> None:
        if case.kind == self.broken:
            raise RuntimeError(f"cannot load {case.name}")

    def run(self, case: Case) -> Array | Told:
        print("what libraries print must not disturb")
        with self.log.open("a", encoding="ascii") as file:
            file.write(f"{self.name} {case.name}\n")
        return Told(seconds=self.told) if self.told else np.full((2, 3), self.value, dtype=np.float32)

    def paint(self, case: Case, stepped: Callable[[], None]) -> Array | None:
        stepped()
        return None if self.told else np.zeros((1, 3, 8 * case.height, 8 * case.width), np.float32)


def fake(
    name: str,
    log: Path,
    numbers: Numbers = "float32",
    *,
    compared: bool = True,
    slow: bool = False,
    **options: object,
) -> StackSpec:
    return StackSpec(
        name=name,
        target="tests.bench.fakes:Fake",
        numbers=numbers,
        compared=compared,
        slow=slow,
        options={"numbers": numbers, "name": name, "log": str(log), **options},
    )


def convert(*, weights: str) -> None:
    """A conversion that works where there is something to convert."""
    if not Path(weights).is_dir():
        raise RuntimeError("there are no weights")
    Path(weights).with_name("made").write_text("", "ascii")
