"""Noise: the field's own numbers, and what makes resuming and batching exact."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from pinxit.sampling.compat import NOISE_SOURCES, BatchTorchNoise, NoiseSpec, PerImageTorchNoise
from pinxit.sampling.noise import TOP, PhiloxNoise, normals, philox
from pinxit.schema.errors import BadInput
from pinxit.schema.registry import Registry

NV_SEED_0 = [
    (-0.92466259, -0.42534415, -2.6438457, 0.14518388),
    (-0.12086647, -0.57972564, -0.62285122, -0.32838709),
    (-1.07454231, -0.36314407, -1.67105067, 2.26550497),
]
"""The first twelve numbers of the field's CUDA-like generator for seed 0, as it documents them."""


def array(value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(value)


def test_the_start_noise_is_that_of_the_nv_mode() -> None:
    np.testing.assert_allclose(normals(12, 0, draw=0).reshape(3, 4), NV_SEED_0, rtol=0, atol=5e-9)
    noise = array(PhiloxNoise([0], (3, 4)).start())
    assert noise.dtype == np.float32
    np.testing.assert_allclose(noise[0], NV_SEED_0, rtol=1.2e-7, atol=1e-8)


def test_philox_gives_the_known_answers_of_its_authors() -> None:
    """The vectors of Random123's kat file for philox4x32-10."""
    words = np.array([0, 0xFFFFFFFF], dtype=np.uint32)
    first, second = philox((words, words, words, words), 0)
    assert (int(first[0]), int(second[0])) == (0x6627E8D5, 0xE169C58D)
    first, second = philox((words, words, words, words), 2**64 - 1)
    assert (int(first[1]), int(second[1])) == (0x408F276D, 0x41C83B0E)


def test_an_image_of_a_batch_has_the_noise_of_its_own_seed() -> None:
    batch = PhiloxNoise([7, 8, 9], (4, 3, 5))
    alone = PhiloxNoise([8], (4, 3, 5))
    for ask in (lambda n: n.start(), lambda n: n.draw(3), lambda n: n.draw(3, 1), lambda n: n.between(0, 5.0, 2.0)):
        assert np.array_equal(array(ask(batch))[1], array(ask(alone))[0])


def test_draws_depend_on_nothing_but_their_place() -> None:
    one, other = PhiloxNoise([5], (64,)), PhiloxNoise([5], (64,))
    _ = one.draw(0), one.between(0, 3.0, 1.0), one.draw(4)
    assert np.array_equal(array(one.draw(2)), array(other.draw(2)))
    seen = [array(n).tobytes() for n in (one.start(), one.draw(0), one.draw(0, 1), one.draw(1))]
    seen.append(array(PhiloxNoise([5], (64,), part=1).draw(0)).tobytes())
    seen.append(array(PhiloxNoise([5 + 2**32], (64,)).draw(0)).tobytes())
    assert len(set(seen)) == len(seen)


def test_numbers_are_standard_normal() -> None:
    many = array(PhiloxNoise([1], (200_000,)).draw(0)).astype(np.float64)
    assert abs(many.mean()) < 0.01
    assert abs(many.std() - 1) < 0.01
    assert abs((many**4).mean() - 3) < 0.1


def path(noise: PhiloxNoise, high: float, low: float) -> np.ndarray[Any, Any]:
    return array(noise.between(0, high, low)).astype(np.float64) * math.sqrt(high - low)


def test_brownian_increments_add_up_in_any_order() -> None:
    noise = PhiloxNoise([3], (1000,))
    whole = path(noise, 9.0, 1.0)
    parts = path(noise, 9.0, 4.5) + path(noise, 4.5, 1.5) + path(noise, 1.5, 1.0)
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    again = PhiloxNoise([3], (1000,))
    np.testing.assert_array_equal(path(again, 4.5, 1.5), path(noise, 4.5, 1.5))


@pytest.mark.parametrize(("high", "low"), [(14.6, 12.9), (0.5, 0.4), (0.0292, 0.0), (4000.0, 20.0), (14.61, 14.5)])
def test_brownian_increments_have_their_variance(high: float, low: float) -> None:
    noise = PhiloxNoise([11], (100_000,))
    increment = array(noise.between(0, high, low)).astype(np.float64)
    assert abs(increment.var() - 1) < 0.03
    if low > 0:
        before = array(noise.between(0, high * 1.5, high)).astype(np.float64)
        assert abs((increment * before).mean()) < 0.02


def test_levels_above_the_path_are_refused() -> None:
    with pytest.raises(BadInput, match="The Brownian path ends at sigma 16384"):
        PhiloxNoise([1], (2,)).between(0, 2 * TOP, 1.0)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_outside_64_bits_are_refused(seed: int) -> None:
    with pytest.raises(BadInput, match="A seed lies between 0 and 2\\^64 - 1"):
        PhiloxNoise([seed], (2,))


def test_a_converter_makes_tensors() -> None:
    noise = PhiloxNoise([0, 1], (2, 2), convert=torch.from_numpy)
    assert noise.start().shape == (2, 2, 2)
    assert noise.start().dtype == torch.float32


def test_per_image_torch_noise_is_one_generator_per_seed() -> None:
    noise = PerImageTorchNoise([4, 5], (4, 7, 9))
    generator = torch.Generator("cpu").manual_seed(5)
    for drawn in (noise.start(), noise.draw(0), noise.between(1, 2.0, 1.0)):
        assert torch.equal(drawn[1], torch.randn((4, 7, 9), generator=generator))


def test_the_seed_shift_reaches_the_sampler_alone() -> None:
    noise = PerImageTorchNoise([4], (8,), shift=31337, convert=lambda batch: torch.from_numpy(batch * 2))
    assert torch.equal(noise.start()[0], 2 * torch.randn(8, generator=torch.Generator("cpu").manual_seed(4)))
    assert torch.equal(noise.draw(0)[0], 2 * torch.randn(8, generator=torch.Generator("cpu").manual_seed(31341)))


def test_batch_torch_noise_is_one_generator_for_all() -> None:
    noise = BatchTorchNoise(9, 3, (4, 8, 8))
    assert torch.equal(noise.start(), torch.randn((3, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(9)))
    later = torch.Generator("cpu").manual_seed(10)
    assert torch.equal(noise.draw(0), torch.randn((3, 4, 8, 8), generator=later))
    assert torch.equal(noise.between(1, 2.0, 1.0), torch.randn((3, 4, 8, 8), generator=later))
    doubled = BatchTorchNoise(9, 1, (2,), convert=lambda batch: torch.from_numpy(batch * 2))
    assert torch.equal(doubled.draw(0), 2 * torch.randn((1, 2), generator=torch.Generator("cpu").manual_seed(10)))


@pytest.mark.parametrize("spec", NOISE_SOURCES, ids=lambda spec: spec.name)
def test_the_sources_of_the_catalogue(spec: NoiseSpec) -> None:
    """Every source makes tensors of the batch; where it says so, image k is that of its own seed."""
    batch = spec.make((3, 4), (4, 8, 8), convert=torch.from_numpy)
    alone = spec.make((4,), (4, 8, 8), convert=torch.from_numpy)
    assert batch.start().shape == (2, 4, 8, 8)
    assert batch.draw(0).dtype == torch.float32
    alone.start()
    alone.draw(0)
    assert torch.equal(batch.between(1, 2.0, 1.0)[1], alone.between(1, 2.0, 1.0)[0]) == spec.per_image
    assert Registry("noise", NOISE_SOURCES).get("nv").name == "philox"
