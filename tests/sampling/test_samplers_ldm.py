"""The original DDIM and PLMS, with guidance. The state is float64, but the peer keeps its coefficients in float32."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.guidance import cfg
from pinxit.sampling.process import Epsilon
from pinxit.sampling.samplers import SAMPLERS
from pinxit.sampling.tables import standard_levels
from pinxit.schema.registry import Registry
from tests.reference import golden_arrays, golden_json
from tests.sampling.mixture import Mixture, Replay, draws, prediction, relative, start

FACTS = golden_json("goldens/samplers/ldm.json")
ARRAYS = golden_arrays("goldens/samplers/ldm.npz")


def preserving(mixture: Mixture) -> Denoiser:
    """The mixture seen in the variance-preserving form: x / sqrt(1 + sigma^2)."""

    def denoise(x: Any, sigma: float, index: int, /) -> Any:
        norm = math.sqrt(1 + sigma**2)
        return prediction(mixture(x / norm, 1 / norm, sigma / norm))

    return denoise


@pytest.mark.parametrize("name", FACTS["cases"])
def test_a_trajectory(name: str) -> None:
    case = FACTS["cases"][name]
    spec = Registry("sampler", SAMPLERS).get("plms" if name.startswith("ldm_plms") else "ddim")
    levels = [standard_levels()[t] for t in (*reversed(case["ddim_timesteps"]), 0)]
    denoise = cfg(preserving(Mixture(FACTS["mixture"])), preserving(Mixture(FACTS["mixture_uncond"])), case["cfg"])
    x: Any = start() * math.sqrt(1 + levels[0] ** 2)
    steps = spec.run(denoise, x, levels, Epsilon(), Replay(draws()), replace(spec.options, eta=case["eta"]))
    ours: list[Any] = [start(), *(np.asarray(step.x) / math.sqrt(1 + step.sigma**2) for step in steps)]
    assert relative(np.stack(ours), ARRAYS[f"{name}/x_inter"]) < 5e-6
