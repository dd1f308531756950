"""The algebra of every algorithm: against reference numbers, and against the papers' formulas written out."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pinxit.adapters.factors import complete, fits, rank
from pinxit.adapters.merge import changed
from pinxit.weights.lora_names import read_modules
from tests.reference import golden_arrays, golden_json

CLOSE = 1e-6
PEERS_ALONE = {
    "oft_diag": "merged_lycoris",
    "oft_diag_constraint": "merged_lycoris",
    "boft": "merged_lycoris",
    "set_weight": "merged_comfy",
}
"""Algorithms without a closed form in the reference: the peer that applies the strength once."""


@cache
def cases() -> dict[str, Any]:
    return golden_json("goldens/lora/merge.json")["cases"]


@cache
def arrays() -> dict[str, np.ndarray[Any, Any]]:
    return golden_arrays("goldens/lora/merge.npz")


@pytest.mark.parametrize("strength", ["1.0", "0.6", "-0.5"])
@pytest.mark.parametrize("case", cases())
def test_every_algorithm_gives_the_reference_numbers(case: str, strength: str) -> None:
    [module] = read_modules([f"x.{name}" for name in cases()[case]["tensors"]])[0].values()
    factors = {
        role: torch.from_numpy(arrays()[f"{case}/{name.removeprefix('x.')}"]).float()
        for role, name in module.tensors.items()
    }
    [algorithm] = module.parts - {"dora"}
    weight = torch.from_numpy(arrays()[f"{case}/base"])
    shapes = {role: tuple(tensor.shape) for role, tensor in factors.items()}
    assert complete(algorithm, factors)
    assert fits(algorithm, shapes, tuple(weight.shape))
    expected = arrays()[f"{case}/{PEERS_ALONE.get(case, 'merged_formula')}_{strength}"]
    found = changed(algorithm, weight, factors, float(strength))
    assert found.dtype == torch.float32
    assert np.abs(found.numpy() - expected).max() < CLOSE
    assert np.array_equal(weight.numpy(), arrays()[f"{case}/base"]), "the weight itself stays as it was"


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_lora_is_the_sum_over_ranks() -> None:
    """Hu et al. 2021, eq. 3: W + alpha / r * B A."""
    W, up, down, alpha, s = random(3, 4, seed=1), random(3, 2, seed=2), random(2, 4, seed=3), 5.0, 0.7
    expected = W.clone()
    for o, i, r in itertools.product(range(3), range(4), range(2)):
        expected[o, i] += s * alpha / 2 * up[o, r] * down[r, i]
    found = changed("lora", W, {"up": up, "down": down, "alpha": torch.tensor(alpha)}, s)
    assert torch.allclose(found, expected, atol=CLOSE)
    plain = changed("lora", W, {"up": up, "down": down}, s, scale=alpha / 2)
    assert torch.equal(plain, found)


def test_a_convolutions_lora_is_a_convolution_after_another() -> None:
    W, up, down = random(5, 3, 3, 3, seed=1), random(5, 2, 1, 1, seed=2), random(2, 3, 3, 3, seed=3)
    x = random(1, 3, 6, 6, seed=4)
    found = torch.nn.functional.conv2d(x, changed("lora", W, {"up": up, "down": down}, 1.0))
    both = torch.nn.functional.conv2d(torch.nn.functional.conv2d(x, down), up)
    assert torch.allclose(found, torch.nn.functional.conv2d(x, W) + both, atol=1e-5)


def test_tuckers_form_is_three_convolutions() -> None:
    W, up, mid, down = (random(*shape, seed=n) for n, shape in enumerate([(5, 3, 3, 3), (5, 2), (2, 2, 3, 3), (2, 3)]))
    x = random(1, 3, 6, 6, seed=9)
    factors = {"up": up[..., None, None], "mid": mid, "down": down[..., None, None]}
    found = torch.nn.functional.conv2d(x, changed("lora", W, factors, 1.0))
    inner = torch.nn.functional.conv2d(torch.nn.functional.conv2d(x, factors["down"]), mid)
    expected = torch.nn.functional.conv2d(x, W) + torch.nn.functional.conv2d(inner, factors["up"])
    assert torch.allclose(found, expected, atol=1e-4)


def test_loha_is_an_elementwise_product() -> None:
    """Yeh et al. 2023, eq. 5: (B1 A1) * (B2 A2)."""
    W = random(3, 4, seed=1)
    factors = {"w1_a": random(3, 2, seed=2), "w1_b": random(2, 4, seed=3)}
    factors |= {"w2_a": random(3, 2, seed=4), "w2_b": random(2, 4, seed=5), "alpha": torch.tensor(4.0)}
    found = changed("loha", W, factors, 0.5)
    for o, i in itertools.product(range(3), range(4)):
        first = sum(factors["w1_a"][o, r] * factors["w1_b"][r, i] for r in range(2))
        second = sum(factors["w2_a"][o, r] * factors["w2_b"][r, i] for r in range(2))
        assert float(found[o, i]) == pytest.approx(float(W[o, i] + 0.5 * 4.0 / 2 * first * second), abs=1e-5)


def test_lokr_is_a_kronecker_product() -> None:
    """Yeh et al. 2023, eq. 6: every number of the first factor times the whole second."""
    W, w1, a, b = random(6, 8, seed=1), random(2, 4, seed=2), random(3, 1, seed=3), random(1, 2, seed=4)
    found = changed("lokr", W, {"w1": w1, "w2_a": a, "w2_b": b, "alpha": torch.tensor(3.0)}, 1.0)
    for p, q, m, n in itertools.product(range(2), range(4), range(3), range(2)):
        expected = W[3 * p + m, 2 * q + n] + 3.0 * w1[p, q] * a[m, 0] * b[0, n]
        assert float(found[3 * p + m, 2 * q + n]) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_dora_sets_each_norm(axis: int) -> None:
    """Liu et al. 2024 (2402.09353), eq. 5: m V / |V| with V = W + B A; what the strength does is interpolation."""
    W, up, down = random(4, 6, seed=1), random(4, 2, seed=2), random(2, 6, seed=3)
    magnitude = random(4, seed=4).abs()[:, None] if axis == 0 else random(6, seed=4).abs()[None]
    factors = {"up": up, "down": down, "magnitude": magnitude}
    whole = changed("lora", W, factors, 1.0)
    assert torch.allclose(whole.norm(dim=1 - axis), magnitude.flatten(), atol=1e-5)
    V = W + up @ down
    directions = torch.nn.functional.cosine_similarity(whole, V, dim=1 - axis)
    assert torch.allclose(directions, torch.ones_like(directions), atol=1e-5)
    assert torch.allclose(changed("lora", W, factors, 0.25), 0.75 * W + 0.25 * whole, atol=1e-5)
    if axis == 0:
        assert torch.equal(changed("lora", W, {**factors, "magnitude": magnitude.flatten()}, 1.0), whole)


def test_ia3_scales_what_a_layer_takes_or_gives() -> None:
    """Liu et al. 2022 (2205.05638), section 3.3: activations times a learned vector; the file holds it less 1."""
    W, x = random(3, 4, seed=1), random(4, seed=2)
    given, taken = random(3, seed=3), random(4, seed=4)
    out = changed("ia3", W, {"weight": given, "on_input": torch.tensor(0.0)}, 1.0)
    into = changed("ia3", W, {"weight": taken, "on_input": torch.tensor(1.0)}, 1.0)
    assert torch.allclose(out @ x, (1 + given) * (W @ x), atol=1e-5)
    assert torch.allclose(into @ x, W @ ((1 + taken) * x), atol=1e-5)


def test_oft_keeps_the_angles_between_outputs_of_a_block() -> None:
    """Qiu et al. 2023, section 3: rotations keep the norm of every column within a block."""
    W, blocks = random(6, 5, seed=1), random(2, 3, 3, seed=2)
    turned = changed("oft", W, {"blocks": blocks}, 1.0)
    assert not torch.allclose(turned, W, atol=0.1)
    assert torch.allclose(turned.unflatten(0, (2, 3)).norm(dim=1), W.unflatten(0, (2, 3)).norm(dim=1), atol=1e-5)
    rescaled = changed("oft", W, {"blocks": blocks, "rescale": torch.full((6, 1), 2.0)}, 1.0)
    assert torch.allclose(rescaled, 2 * turned, atol=1e-5)


@pytest.mark.parametrize(
    ("algorithm", "shapes", "layer", "held"),
    [
        ("lora", {"up": (8, 2), "down": (2, 4)}, (8, 4), True),
        ("lora", {"up": (8, 2), "down": (2, 4)}, (8, 4, 1, 1), True),
        ("lora", {"up": (8, 2), "down": (2, 4)}, (4, 8), False),
        ("lora", {"up": (8, 3), "down": (2, 4)}, (8, 4), False),
        ("lora", {"up": (8,), "down": (2, 4)}, (8, 4), False),
        ("lora", {"up": (), "down": (2, 4)}, (8, 4), False),
        ("lora", {"up": (8, 2), "down": (2, 4), "magnitude": (5,)}, (8, 4), False),
        ("lora", {"up": (8, 2, 1, 1), "down": (2, 4, 1, 1), "mid": (2, 2, 3, 3)}, (8, 4, 3, 3), True),
        ("lora", {"up": (8, 2, 1, 1), "down": (2, 4, 3, 3), "mid": (2, 2, 3, 3)}, (8, 4, 3, 3), False),
        ("loha", {"w1_a": (8, 2), "w1_b": (2, 4), "w2_a": (8, 2), "w2_b": (2, 4)}, (8, 4), True),
        ("loha", {"w1_a": (8, 2), "w1_b": (2, 4), "w2_a": (8, 2), "w2_b": (2, 5)}, (8, 4), False),
        ("lokr", {"w1": (2, 2), "w2": (4, 2)}, (8, 4), True),
        ("lokr", {"w1": (2, 2), "w2": (4, 3)}, (8, 4), False),
        ("lokr", {"w1": (2,), "w2": (4, 3)}, (8, 4), False),
        ("glora", {"a1": (4, 2), "a2": (2, 4), "b1": (8, 2), "b2": (2, 4)}, (8, 4), True),
        ("glora", {"a1": (2, 4), "a2": (4, 2), "b1": (2, 4), "b2": (8, 2)}, (8, 4), True),
        ("glora", {"a1": (5, 2), "a2": (2, 5), "b1": (8, 2), "b2": (2, 4)}, (8, 4), False),
        ("oft", {"blocks": (2, 4, 4)}, (8, 4), True),
        ("oft", {"blocks": (2, 4, 3)}, (8, 4), False),
        ("oft", {"blocks": (2, 6)}, (8, 4), False),
        ("oft", {"blocks": (4, 2, 4, 4)}, (8, 4), False),
        ("oft", {"blocks": (2, 4, 4), "rescale": (3, 1)}, (8, 4), False),
        ("ia3", {"weight": (8,), "on_input": ()}, (8, 4), True),
        ("ia3", {"weight": (4,), "on_input": ()}, (8, 4, 3, 3), True),
        ("ia3", {"weight": (36,), "on_input": ()}, (8, 4, 3, 3), False),
        ("full", {"weight": (8, 4)}, (8, 4), True),
        ("full", {"weight": (4, 8)}, (8, 4), False),
        ("norm", {"weight": (8,)}, (8,), True),
    ],
)  # fmt: skip
def test_shapes_tell_whether_factors_fit(
    algorithm: str, shapes: dict[str, tuple[int, ...]], layer: tuple[int, ...], *, held: bool
) -> None:
    assert complete(algorithm, shapes)
    assert fits(algorithm, shapes, layer) is held
    if held:
        factors = {role: random(*shape, seed=n) for n, (role, shape) in enumerate(shapes.items())}
        if algorithm == "ia3":
            factors["on_input"] = torch.tensor(float(shapes["weight"] == (4,)))
        assert changed(algorithm, random(*layer, seed=9), factors, 0.5).shape == layer


def test_ranks_are_those_that_alpha_is_divided_by() -> None:
    assert rank({"up": (8, 2), "down": (2, 4)}) == 2
    assert rank({"w1": (2, 2), "w2_a": (4, 3), "w2_b": (3, 2)}) == 3
    assert rank({"a1": (4, 2), "a2": (2, 4), "b1": (8, 2), "b2": (2, 4)}) == 2
    assert rank({"a1": (2, 4), "a2": (4, 2), "b1": (2, 4), "b2": (8, 2)}) == 2
    assert rank({"weight": (5,)}) == 1
