"""Step schedules: every golden prompt for each number of steps, second passes and both clocks."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pinxit.prompts.editing import Alternation, Pass, Switch, read_template, schedule
from pinxit.schema.errors import BadInput
from tests.reference import golden_json

CASES = cast("list[dict[str, Any]]", golden_json("goldens/text/a1111_schedules.json")["cases"])


def golden_clock(case: dict[str, Any]) -> Pass:
    second: int | None = case["hires_steps"]
    steps: int = case["steps"]
    return Pass(
        steps=second or steps, first_steps=None if second is None else steps, legacy=bool(case["use_old_scheduling"])
    )


def test_every_golden_has_its_schedule() -> None:
    assert len(CASES) > 250
    for case in CASES:
        found = schedule(read_template(case["prompt"], "prompt"), golden_clock(case))
        assert [list(entry) for entry in found] == case["schedule"], case


def test_a_template_is_data() -> None:
    assert read_template("a [b:[c|]:.5]", "prompt") == (
        "a ",
        Switch(before=("b",), after=(Alternation(options=(("c",), ())),), when=".5"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "a | b [c:d:0.5]",
        "[c:d:0.5] [a|b",
        "(a|b) [c:d:0.5]",
        "[a|b:c] [c:d:0.5]",
        "[c:d:0.5] \\",
        "[x (y:z:0.5]",
        "[[a:b]:c:0.5]",
        "[(a:b:c):d:0.5]",
    ],
)
def test_what_is_no_schedule_stays_as_written(text: str) -> None:
    assert read_template(text, "prompt") == (text,)


@pytest.mark.parametrize(
    ("text", "at_start"),
    [
        ("( [a:b:0.5]", "( a"),
        ("[x: [a:b:0.5] (y ]", "[x: a (y ]"),
        ("[a:[b:c:0.5]", "[a:b"),
        ("[a:b:0.5]]", "a]"),
        ("[a:b:1e1]", "a"),
        ("[a:b:1e-1]", "b"),
        ("[a:b:1e999]", "a"),
        ("[a:b:-1e999]", "b"),
    ],
)
def test_schedules_among_loose_brackets_and_odd_numbers(text: str, at_start: str) -> None:
    assert schedule(read_template(text, "prompt"), Pass(steps=20))[0][1] == at_start


def test_schedules_deeper_than_32_are_refused() -> None:
    text = "[a:" * 33 + "b" + ":0.5]" * 33
    with pytest.raises(BadInput, match="The prompt opens more than 32 brackets inside one another at character 97\\."):
        read_template(text, "prompt")
