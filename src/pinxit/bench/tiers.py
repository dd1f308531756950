"""The tiers: which cases, on which stacks, how often."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pinxit.bench.cases import Case, Kind
from pinxit.bench.stacks import STACKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A case and who takes part. `rounds` count after one that warms up; 0 is once, after a small picture."""

    case: Case
    stacks: tuple[str, ...]
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A named selection. `headline` is the case whose ratios stand for the tier; `builtin` adds the built-in model,
    `device` is where everything computes.
    """

    name: str
    turns: tuple[Turn, ...]
    headline: str = ""
    builtin: bool = False
    device: str = "cpu"


OURS = ("pinxit-bf16", "pinxit-fp32", "pinxit-int8")
LIBRARY = ("diffusers-fp32", "diffusers-bf16")
VINO = ("openvino-bf16", "openvino-int8")
BUILTIN_ROUNDS = 2


def network(kind: Kind, side: int, model: str = "sd15") -> Case:
    """One part of the model on a square latent."""
    ending = "" if model == "sd15" else f"-{model}"
    return Case(name=f"{kind}-{side}{ending}", kind=kind, height=side, width=side, model=model)


def picture(kind: Kind, pixels: int, steps: int, model: str = "sd15") -> Case:
    """A whole picture, named by its edge in pixels."""
    side = pixels // 8
    ending = (f"-{steps}" if kind == "image" else "") + ("" if model == "sd15" else f"-{model}")
    return Case(name=f"{kind}-{pixels}{ending}", kind=kind, height=side, width=side, steps=steps, model=model)


def _able(case: Case, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(names) if case.kind in STACKS[name].kinds)


QUICK = Tier(
    name="quick",
    turns=(
        Turn(case=network("unet", 32), stacks=("pinxit-bf16", *LIBRARY, "pinxit-fp32"), rounds=3),
        Turn(case=network("decode", 16), stacks=("pinxit-bf16", *LIBRARY, "pinxit-fp32"), rounds=3),
    ),
    headline="unet-32",
    builtin=True,
)
_ALL = (*OURS, *LIBRARY, *VINO)
FULL = Tier(
    name="full",
    turns=(
        Turn(case=network("unet", 32), stacks=_ALL, rounds=5),
        Turn(case=network("pair", 32), stacks=(*_ALL, "sdcpp-f16", "sdcpp-q8_0"), rounds=5),
        Turn(case=network("unet", 64), stacks=(*_ALL, "onnxruntime-fp32"), rounds=2),
        Turn(case=network("pair", 64), stacks=(*_ALL, "pinxit-low", "compile-bf16", "sdcpp-f16"), rounds=3),
        Turn(case=picture("image", 512, 4), stacks=("pinxit-bf16", "pinxit-int8", *LIBRARY, *VINO), rounds=0),
        Turn(case=picture("image", 512, 20), stacks=("pinxit-bf16", "pinxit-int8", *LIBRARY, *VINO), rounds=0),
        Turn(case=network("decode", 64), stacks=("pinxit-bf16", "pinxit-fp32", *LIBRARY, "openvino-bf16"), rounds=2),
        Turn(case=network("encode", 64), stacks=("pinxit-bf16", "pinxit-fp32", *LIBRARY), rounds=1),
        Turn(case=Case(name="text", kind="text"), stacks=("pinxit-bf16", *LIBRARY), rounds=5),
        Turn(case=picture("image", 256, 20), stacks=("pinxit-bf16", *LIBRARY, "openvino-bf16"), rounds=0),
        Turn(case=picture("cold", 256, 1), stacks=("pinxit-bf16", *LIBRARY, "openvino-bf16"), rounds=1),
        Turn(
            case=picture("cold", 512, 1),
            stacks=("pinxit-bf16", "pinxit-int8", "pinxit-low", *LIBRARY, *VINO, "compile-bf16", "sdcpp-f16"),
            rounds=0,
        ),
        Turn(
            case=Case(name="import", kind="import"),
            stacks=("pinxit-bf16", "diffusers-fp32", "openvino-bf16", "onnxruntime-fp32", "sdcpp-f16"),
            rounds=3,
        ),
    ),
    headline="pair-64",
    builtin=True,
)
LARGE = Tier(
    name="sdxl",
    turns=(
        Turn(case=network("pair", 128, "sdxl"), stacks=("pinxit-bf16",), rounds=1),
        Turn(case=network("decode", 128, "sdxl"), stacks=("pinxit-bf16",), rounds=1),
        Turn(case=picture("cold", 1024, 1, "sdxl"), stacks=("pinxit-bf16",), rounds=0),
    ),
    headline="pair-128-sdxl",
)
_ON_GPU = ("pinxit-fp16", "pinxit-compiled", "diffusers-fp16", "compile-fp16")


def _on_gpu(*cases: tuple[Case, int]) -> tuple[Turn, ...]:
    return tuple(Turn(case=case, stacks=_able(case, _ON_GPU), rounds=rounds) for case, rounds in cases)


GPU = Tier(
    name="gpu",
    turns=_on_gpu(
        (network("pair", 64), 10),
        (network("decode", 64), 10),
        (picture("image", 512, 20), 5),
    ),
    headline="pair-64",
    device="cuda",
)
LARGE_GPU = Tier(
    name="gpu-sdxl",
    turns=_on_gpu((network("pair", 128, "sdxl"), 5), (network("decode", 128, "sdxl"), 5)),
    headline="pair-128-sdxl",
    device="cuda",
)
TIERS = {tier.name: tier for tier in (QUICK, FULL, LARGE, GPU, LARGE_GPU, Tier(name="builtin", turns=(), builtin=True))}


def chosen(
    tier: Tier,
    *,
    only: tuple[str, ...] = (),
    skip: tuple[str, ...] = (),
    against: tuple[str, ...] = (),
    rounds: int | None = None,
    ours: str,
) -> Tier:
    """The tier cut down to some cases and stacks, as the command line says. A stack that is named takes part in every
    case that is left and that it can compute; a case of another tier can be named as well.
    """
    turns = [turn for turn in tier.turns if (not only or turn.case.name in only) and turn.case.name not in skip]
    own = {turn.case.name for turn in tier.turns}
    turns += [turn for turn in _every_turn() if turn.case.name in only and turn.case.name not in own]
    if against:
        turns = [replace(turn, stacks=_able(turn.case, (ours, *against))) for turn in turns]
    if rounds is not None:
        turns = [replace(turn, rounds=rounds if turn.rounds else 0) for turn in turns]
    return replace(tier, turns=tuple(turns), builtin=tier.builtin and not (only or against))


def without(tier: Tier, measured: frozenset[tuple[str, str]]) -> Tier:
    """The tier without the turns of which every stack is `measured`, given as pairs of case and stack."""
    left = [turn for turn in tier.turns if any((turn.case.name, name) not in measured for name in turn.stacks)]
    return replace(tier, turns=tuple(left))


def _every_turn() -> list[Turn]:
    """The turn of every case in the first tier that has it."""
    found: dict[str, Turn] = {}
    for tier in TIERS.values():
        for turn in tier.turns:
            found.setdefault(turn.case.name, turn)
    return list(found.values())


def known_cases() -> tuple[str, ...]:
    """The names of all cases."""
    return tuple(turn.case.name for turn in _every_turn())
