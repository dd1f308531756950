"""stable-diffusion.cpp, through its Python binding. It takes a prompt and a seed of its own, so nothing is compared."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from pinxit.bench.cases import GUIDANCE, Case, Numbers, Told
from pinxit.bench.cold import PROMPT
from pinxit.bench.stacks.compute import Stepped, threads


class StableDiffusionCpp:
    """One guided step is a picture of one step, of which it tells the step's own seconds; the rest is not counted."""

    def __init__(self, *, numbers: Numbers, weights: str, kept: str, flash: bool = False) -> None:
        del numbers
        self._options = {
            "model_path": weights,
            "wtype": kept,
            "n_threads": threads(),
            "vae_decode_only": True,
            "enable_mmap": True,
            "diffusion_flash_attn": flash,
            "verbose": False,
        }
        self._model: Any = None

    def versions(self) -> Mapping[str, str]:
        return {"stable-diffusion.cpp": f"{version('stable_diffusion_cpp_python')} (binding)"}

    def prepare(self, case: Case) -> None:
        del case
        if self._model is None:
            self._model = importlib.import_module("stable_diffusion_cpp").StableDiffusion(**self._options)

    def run(self, case: Case) -> Told:
        took: list[float] = []
        self._paint(case, 1, took.append)
        return Told(seconds=took[-1])

    def paint(self, case: Case, stepped: Stepped) -> Any:
        self.prepare(case)
        (picture,) = self._paint(case, case.steps, lambda _: stepped())
        numpy: Any = importlib.import_module("numpy")
        return numpy.asarray(picture, dtype=numpy.float32).transpose(2, 0, 1)[None] / 127.5 - 1

    def _paint(self, case: Case, steps: int, heard: Any) -> Any:
        def progress(step: int, steps: int, seconds: float) -> None:
            if 0 < step <= steps:
                heard(seconds)

        return self._model.generate_image(
            prompt=PROMPT,
            width=8 * case.width,
            height=8 * case.height,
            cfg_scale=GUIDANCE,
            sample_steps=steps,
            sample_method="euler",
            seed=1,
            progress_callback=progress,
        )
