"""Adapters of random numbers for any model, in any trainer's naming."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from pinxit.engine.plan import Resolved
from pinxit.weights.layout import Shape
from pinxit.weights.lora_names import NAMINGS, Naming, Target, targets

Spelling = Mapping[str, tuple[str, str]]
KOHYA = (".lora_up.weight", ".lora_down.weight")
PEFT = (".lora_B.weight", ".lora_A.weight")


def naming(name: str) -> Naming:
    return next(one for one in NAMINGS if one.name == name)


def layers_of(resolved: Resolved, components: tuple[str, ...]) -> list[tuple[Target, Shape]]:
    """The matrices and convolutions of these components, each with its shape in the folder's spelling."""
    found: list[tuple[Target, Shape]] = []
    for layout in resolved.family.layouts:
        for part in layout.parts if layout.folder else ():
            if part.component not in components:
                continue
            shapes = resolved.match.parts[part.component].shapes
            for target in targets(part.component, part.places[0].table, shapes):
                first, *rest = shapes[target.ours]
                if rest:
                    found.append((target, (first // (target.piece[1] if target.piece else 1), *rest)))
    return found


def random_lora(
    resolved: Resolved,
    *,
    components: tuple[str, ...] | None = None,
    trainer: str = "kohya",
    suffixes: tuple[str, str] = KOHYA,
    alpha: float | None = 2.0,
    only: Callable[[Target], bool] = lambda _: True,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Factors of rank 3 of every layer that the trainer knows."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for target, shape in layers_of(resolved, components or (resolved.family.denoiser,)):
        names = naming(trainer).modules(target)
        if not names or not only(target) or "embedding" in target.ours:
            continue
        deep = (1, 1) if len(shape) == 4 else ()
        tensors[names[0] + suffixes[0]] = 0.3 * torch.randn((shape[0], 3, *deep), generator=generator)
        tensors[names[0] + suffixes[1]] = torch.randn((3, *shape[1:]), generator=generator) / shape[1] ** 0.5
        if alpha is not None:
            tensors[f"{names[0]}.alpha"] = torch.tensor(alpha)
    return tensors


def write(folder: Path, name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    path = folder / f"{name}.safetensors"
    save_file(dict(tensors), path, metadata=dict(metadata) if metadata else None)
    return path
