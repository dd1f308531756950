"""The algebra of adapters: what a layer's weight becomes. All of it in float32.

Letters as in the papers: W the weight [out, in] or [out, in, k, k]; s the strength; r the rank; every change is scaled
by alpha / r (Hu et al. 2021, section 4.1), or by 1 where the file holds no alpha.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pinxit.adapters.factors import is_new_glora, rank

Factors = Mapping[str, Tensor]
"""A change's tensors by their role, float32."""


def changed(algorithm: str, W: Tensor, factors: Factors, strength: float, scale: float = 1.0) -> Tensor:
    """`W` changed by factors that fit it, as a new tensor. `scale` takes alpha / r's place where there is no alpha.

    W + s * delta for every algorithm, except that `set` replaces W and BOFT turns it by s of each rotation.
    """
    if algorithm == "set":
        return factors["weight"].reshape(W.shape).clone()
    if algorithm == "oft" and factors["blocks"].ndim == 4:
        return _butterfly(W, factors, strength)
    delta = _DELTAS[algorithm](W, factors).reshape(W.shape)
    if algorithm in _SCALED:
        delta = delta * _scale(factors, scale)
    if "magnitude" in factors:
        delta = _decomposed(W + delta, factors["magnitude"]) - W
    return W + strength * delta


def _scale(factors: Factors, otherwise: float) -> float:
    """alpha / r; LoKr's two whole factors have no rank and take no alpha."""
    if "alpha" not in factors:
        return otherwise
    shapes = {role: tuple(tensor.shape) for role, tensor in factors.items()}
    if "w1" in factors and "w2" in factors:
        return 1.0
    return float(factors["alpha"]) / rank(shapes)


def _lora(_W: Tensor, f: Factors) -> Tensor:
    """up @ down (Hu et al. 2021, eq. 3); of a convolution, a 1x1 after a kxk; with `mid`, Tucker's three factors."""
    up, down = f["up"].flatten(1), f["down"].flatten(1)
    if "mid" in f:
        return torch.einsum("op,pq...,qi->oi...", up, f["mid"], down)
    return up @ down


def _core(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """A core [r, r, k, k] with a [r, out] and b [r, in] (Yeh et al. 2023, section 3.2.2)."""
    return torch.einsum("pq...,po,qi->oi...", core, a, b)


def _half(f: Factors, name: str, core: str) -> Tensor:
    if core in f:
        return _core(f[core], f[f"{name}_a"], f[f"{name}_b"])
    return f[f"{name}_a"] @ f[f"{name}_b"].flatten(1)


def _loha(_W: Tensor, f: Factors) -> Tensor:
    """The elementwise product of two products (Yeh et al. 2023, eq. 5)."""
    return _half(f, "w1", "t1") * _half(f, "w2", "t2")


def _lokr(_W: Tensor, f: Factors) -> Tensor:
    """The Kronecker product of two factors, each whole or of low rank (Yeh et al. 2023, eq. 6)."""
    w1 = f["w1"] if "w1" in f else _half(f, "w1", "")
    w2 = f["w2"] if "w2" in f else _half(f, "w2", "t2")
    return torch.kron(w1.flatten(1), w2.flatten(1))


def _glora(W: Tensor, f: Factors) -> Tensor:
    """W A + B with A and B of low rank (Chavan et al. 2023, eq. 8, its weight terms)."""
    a1, a2, b1, b2 = (f[role].flatten(1) for role in ("a1", "a2", "b1", "b2"))
    if not is_new_glora({role: tuple(f[role].shape) for role in ("a1", "a2", "b1", "b2")}):
        a1, a2, b1, b2 = a2, a1, b2, b1
    mixed = torch.einsum("oi...,ir,rj->oj...", W, a1, a2)
    return mixed.reshape(W.shape) + (b1 @ b2).reshape(W.shape)


def _ia3(W: Tensor, f: Factors) -> Tensor:
    """Every output, or every input, of the layer times its own number (Liu et al. 2022, section 3.3)."""
    axis = 1 if bool(f["on_input"]) else 0
    shape = [1] * W.ndim
    shape[axis] = -1
    return W * f["weight"].reshape(shape)


def _whole(_W: Tensor, f: Factors) -> Tensor:
    return f["weight"]


def _rotations(f: Factors) -> Tensor:
    """Cayley's rotations (I + Q)(I - Q)^-1 of blocks [.., b, b] (Qiu et al. 2023, section 3.3).

    Q is the antisymmetric part; a positive alpha bounds its norm.
    """
    blocks, bound = f["blocks"], float(f.get("alpha", torch.zeros(())))
    free = blocks - blocks.transpose(-1, -2)
    Q = free * (bound / max(float(free.norm()) + 1e-8, bound)) if bound > 0 else free
    eye = torch.eye(Q.shape[-1])
    return (eye + Q) @ torch.linalg.inv(eye - Q)


def _oft(W: Tensor, f: Factors) -> Tensor:
    """Blocks of rows turned (Qiu et al. 2023, eq. 5), and each row rescaled where the file says so."""
    R = _rotations(f)
    turned = torch.einsum("knm,kn...->km...", R, W.unflatten(0, (R.shape[0], R.shape[1]))).reshape(W.shape)
    if "rescale" in f:
        turned = turned * f["rescale"].reshape(-1, *([1] * (W.ndim - 1)))
    return turned - W


def _butterfly(W: Tensor, f: Factors, strength: float) -> Tensor:
    """Rows turned by m layers of blocks, each layer pairing rows that lie twice as far apart (Liu et al. 2024, eq. 4).

    The strength goes from the identity to each layer's rotation.
    """
    blocks = _rotations(f)
    layers, _, size, _ = blocks.shape
    turned = W
    for layer in range(layers):
        R = strength * blocks[layer] + (1 - strength) * torch.eye(size)
        apart = 2**layer * (size // 2)
        rows = turned.unflatten(0, (-1, 2, apart)).transpose(1, 2).flatten(0, 2)
        rows = torch.einsum("kij,kj...->ki...", R, rows.unflatten(0, (-1, size))).flatten(0, 1)
        turned = rows.unflatten(0, (-1, apart, 2)).transpose(1, 2).flatten(0, 2)
    if "rescale" in f:
        scaled = f["rescale"].reshape(-1, *([1] * (W.ndim - 1)))
        turned = turned * (1 + strength * (scaled - 1))
    return turned.contiguous()


def _decomposed(V: Tensor, magnitude: Tensor) -> Tensor:
    """m V / |V|, one norm for each output, or each input (Liu et al. 2024, arXiv 2402.09353, eq. 5).

    A magnitude [out, 1] is of outputs, and [1, in] of inputs, as trainers wrote it at first.
    """
    of_inputs = magnitude.ndim >= 2 and magnitude.shape[0] == 1 and magnitude.shape[1] == V.shape[1]
    kept = 1 if of_inputs else 0
    shape = [1] * V.ndim
    shape[kept] = V.shape[kept]
    norm = V.transpose(0, kept).flatten(1).norm(dim=1).reshape(shape)
    return V * (magnitude.reshape(shape) / norm.clamp_min(torch.finfo(V.dtype).eps))


_DELTAS: Mapping[str, Callable[[Tensor, Factors], Tensor]] = {
    "lora": _lora,
    "loha": _loha,
    "lokr": _lokr,
    "glora": _glora,
    "oft": _oft,
    "ia3": _ia3,
    "full": _whole,
    "norm": _whole,
}
_SCALED = frozenset({"lora", "loha", "lokr", "glora"})
"""Algorithms whose delta is scaled by alpha / r."""
