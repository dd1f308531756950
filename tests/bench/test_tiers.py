from __future__ import annotations

import pytest

from pinxit.bench.stacks import STACKS
from pinxit.bench.tiers import FULL, GPU, LARGE_GPU, QUICK, TIERS, Tier, chosen, known_cases, without

OURS = "pinxit-bf16"


def test_every_headline_is_a_case_of_its_tier_and_every_stack_can_do_what_is_asked() -> None:
    for tier in TIERS.values():
        assert not tier.turns or tier.headline in {turn.case.name for turn in tier.turns}
        for turn in tier.turns:
            assert all(turn.case.kind in STACKS[name].kinds for name in turn.stacks), turn.case.name
            assert len({turn.case.name for turn in tier.turns}) == len(tier.turns)


def test_one_name_is_one_case() -> None:
    found = {turn.case.name: turn.case for tier in TIERS.values() for turn in tier.turns}
    assert all(turn.case == found[turn.case.name] for tier in TIERS.values() for turn in tier.turns)
    assert set(known_cases()) == set(found)


def test_the_command_line_cuts_a_tier_down() -> None:
    cut = chosen(FULL, only=("pair-64", "decode-64"), skip=("decode-64",), rounds=2, ours=OURS)
    assert [(turn.case.name, turn.rounds) for turn in cut.turns] == [("pair-64", 2)]
    assert not cut.builtin
    assert chosen(FULL, ours=OURS) == FULL


def test_stacks_that_are_named_take_part_as_far_as_they_can() -> None:
    cut = chosen(FULL, against=("sdcpp-f16",), rounds=1, ours=OURS)
    told = {turn.case.name: (turn.stacks, turn.rounds) for turn in cut.turns}
    assert told["pair-64"] == ((OURS, "sdcpp-f16"), 1)
    assert told["decode-64"] == ((OURS,), 1)
    assert told["image-512-20"] == ((OURS,), 0)


def test_a_case_of_another_tier_can_be_named() -> None:
    (turn,) = chosen(QUICK, only=("pair-64",), ours=OURS).turns
    assert (turn.case.name, "diffusers-fp32" in turn.stacks) == ("pair-64", True)


def test_what_is_measured_is_left_out_when_all_of_it_is() -> None:
    names = QUICK.turns[0].stacks
    some = frozenset({("unet-32", names[0])})
    assert without(QUICK, some) == QUICK
    every = frozenset(("unet-32", name) for name in names)
    assert [turn.case.name for turn in without(QUICK, every).turns] == ["decode-16"]


@pytest.mark.parametrize("tier", [GPU, LARGE_GPU], ids=["gpu", "gpu-sdxl"])
def test_everything_on_a_gpu_is_in_16_bits_and_of_one_model(tier: Tier) -> None:
    assert tier.device == "cuda"
    assert {STACKS[name].numbers for turn in tier.turns for name in turn.stacks} == {"float16"}
    assert len({turn.case.model for turn in tier.turns}) == 1
    paired = next(turn for turn in tier.turns if turn.case.name == tier.headline)
    assert {"pinxit-fp16", "pinxit-compiled", "diffusers-fp16", "compile-fp16"} == set(paired.stacks)
