from __future__ import annotations

import pytest
import torch

from pinxit.sampling.process import Velocity
from pinxit.sampling.tables import zero_terminal_levels
from pinxit.train.objective import TERMINAL_ABAR, draw_timesteps, loss_weight, noised, zero_terminal_abar


def test_schedule_is_the_one_that_the_sampler_walks() -> None:
    abar = zero_terminal_abar()
    levels = torch.tensor(zero_terminal_levels(), dtype=torch.float64)
    assert float(abar[-1]) == TERMINAL_ABAR
    torch.testing.assert_close(((1 - abar) / abar).sqrt(), levels, rtol=2e-5, atol=0)


def test_terminal_step_counts_in_the_loss() -> None:
    weights = loss_weight(zero_terminal_abar())
    assert float(weights[-1]) >= 0.5
    assert float(weights[0]) < 0.05
    assert bool((weights.diff() >= 0).all())


def test_velocity_is_what_the_process_reads_back() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4, 3, 2, 2, generator=generator, dtype=torch.float64)
    noise = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    t = torch.tensor([3, 250, 700, 990])
    x, velocity = noised(z, noise, zero_terminal_abar()[t])
    process = Velocity(table=zero_terminal_levels())
    for item, step in enumerate(t.tolist()):
        sigma = process.sigma(step)
        exploding = x[item] * (1 + sigma**2) ** 0.5
        torch.testing.assert_close(process.clean(exploding, velocity[item], sigma), z[item], rtol=1e-3, atol=1e-3)


def test_a_refiners_timesteps_stay_below_its_end() -> None:
    t = draw_timesteps(4000, terminal=0.0, below=200, generator=torch.Generator().manual_seed(1))
    assert (int(t.min()), int(t.max())) == (0, 199)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_timesteps_cover_the_range_and_visit_the_end(share: float) -> None:
    t = draw_timesteps(4000, terminal=share, generator=torch.Generator().manual_seed(1))
    assert int(t.min()) < 5
    assert int(t.max()) == 999
    assert abs(float((t == 999).float().mean()) - share) < 0.03
