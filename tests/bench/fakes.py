"""Stacks that compute nothing, for tests of the driver. Each notes its turns in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pinxit.bench.cases import Array, Case, Dtype
from pinxit.bench.driver import StackSpec


class Fake:
    """Answers ones times `value`; fails when it is asked to load a case of the kind `broken`."""

    def __init__(self, *, dtype: Dtype, name: str, log: str, value: float = 1.0, broken: str = "") -> None:
        if broken == "start":
            raise RuntimeError("cannot start")
        self.name, self.dtype, self.value, self.broken = name, dtype, value, broken
        self.log = Path(log)

    def versions(self) -> Mapping[str, str]:
        return {self.name: "1.0"}

    def prepare(self, case: Case) -> None:
        if case.kind == self.broken:
            raise RuntimeError(f"cannot load {case.name}")

    def run(self, case: Case) -> Array:
        print("what libraries print must not disturb")
        with self.log.open("a", encoding="ascii") as file:
            file.write(f"{self.name} {self.dtype}\n")
        return np.full((2, 3), self.value, dtype=np.float32)


def fake(name: str, log: Path, dtype: Dtype = "float32", **options: object) -> StackSpec:
    return StackSpec(
        name=name, target="tests.bench.fakes:Fake", dtype=dtype, options={"name": name, "log": str(log), **options}
    )
