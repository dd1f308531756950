from __future__ import annotations

import pytest

from pinxit.schema import errors
from pinxit.schema.errors import BadInput, PinxitError, UnknownName, nearest


def test_a_message_and_its_hint_read_as_one_line() -> None:
    assert str(BadInput("steps must be 1.", hint="Try 20.", field="steps")) == "steps must be 1. Try 20."
    assert str(BadInput("steps must be 1.")) == "steps must be 1."


def test_an_unknown_name_offers_the_nearest() -> None:
    error = UnknownName("sampler", "eulr", ["euler", "heun"], field="sampler")
    assert str(error) == "There is no sampler named 'eulr'. Did you mean 'euler'?"
    assert error.field == "sampler"


def test_an_unknown_name_without_neighbours_lists_what_there_is() -> None:
    assert (
        str(UnknownName("sampler", "zzz", ["heun", "euler"])) == "There is no sampler named 'zzz'. Known: euler, heun."
    )


def test_nearest_ignores_case() -> None:
    assert nearest("EULER", ["euler", "heun"]) == ["euler"]


def test_every_error_has_a_code_of_its_own_or_its_parents() -> None:
    tree = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, PinxitError)]
    assert all(one.__name__ in (errors.__doc__ or "") for one in tree)
    assert {one.exit_code for one in tree} == {1, 2, 3, 4, 5, 6, 130}
    assert len({one.code for one in tree}) == len(tree)
    for one in tree:
        if one is not UnknownName:
            with pytest.raises(PinxitError):
                raise one("message")
