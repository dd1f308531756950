from __future__ import annotations

from typing import ClassVar

import pytest
from pydantic import Field

from pinxit.schema.field import GROUPS, Part, knob, knobs
from pinxit.schema.i18n import DECLARED
from pinxit.schema.request import GenerationRequest


def test_a_declaration_can_be_read_back() -> None:
    steps = next(one for one in knobs(GenerationRequest) if one.name == "steps")
    assert (steps.key, steps.title, steps.group, steps.widget) == ("request.steps", "Steps", "sampling", "slider")
    assert steps.help.startswith("How many steps")
    assert not steps.advanced
    assert steps.names is None
    assert steps.info.default is None


def test_names_say_which_catalogue_holds_them() -> None:
    found = {one.name: one.names for one in knobs(GenerationRequest) if one.names}
    same = ("model", "sampler", "schedule", "dialect", "emphasis", "noise")
    assert found == {"adapters": "adapter", **{name: name for name in same}}


def test_sampler_options_are_advanced() -> None:
    assert all(one.advanced for one in knobs(GenerationRequest) if one.group in ("sampler_options", "dialect"))


def test_every_text_is_written_properly() -> None:
    for model in DECLARED:
        for one in knobs(model):
            assert one.group in GROUPS
            assert one.help.endswith(".")
            assert one.title[0].isupper()
            assert not one.title.endswith(".")


def test_a_field_without_a_knob_is_refused() -> None:
    class Careless(Part):
        text_prefix: ClassVar[str] = "careless"
        good: int = knob(1, "Good", "A good one.")
        bad: int = Field(2)

    with pytest.raises(TypeError, match=r"Careless\.bad is not declared with knob\(\)"):
        list(knobs(Careless))
