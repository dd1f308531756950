from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.weights.formula import Template, parse

SCOPE = {"i": 2, "j": 1, "first": (1, 4, 7), "levels": 3}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("i", 2),
        ("1+3*i+j", 8),
        ("levels-1-i", 0),
        ("2*(i+1)*j", 6),
        ("first[i]", 7),
        ("first[levels-1-i]+j", 2),
        (" ( i ) ", 2),
        ("2-1-1", 0),
    ],
)
def test_values(text: str, value: int) -> None:
    assert parse(text)(SCOPE) == value


@pytest.mark.parametrize(
    "text", ["", "1+", "*2", "i j", "first[i", "(1", "1)", "i.j", "i**2", "f(x)", "__import__('os')", "1/2"]
)
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"in the formula|expected|after"):
        parse(text)


def test_lists_and_numbers_are_not_mixed_up() -> None:
    with pytest.raises(TypeError, match="first is a list"):
        parse("first")(SCOPE)
    with pytest.raises(TypeError, match="i is a number"):
        parse("i[0]")(SCOPE)
    with pytest.raises(IndexError, match="first has 3 items, not an item 3"):
        parse("first[levels]")(SCOPE)


EXPRESSIONS = st.recursive(
    st.integers(0, 99).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]}{t[1]}{t[2]})"),
    max_leaves=12,
)


@given(EXPRESSIONS)
def test_arithmetic_is_pythons(text: str) -> None:
    import ast

    def value(node: ast.expr) -> int:
        if isinstance(node, ast.Constant):
            assert isinstance(node.value, int)
            return node.value
        assert isinstance(node, ast.BinOp)
        left, right = value(node.left), value(node.right)
        return (
            left + right
            if isinstance(node.op, ast.Add)
            else left - right
            if isinstance(node.op, ast.Sub)
            else left * right
        )

    assert parse(text)({}) == value(ast.parse(text, mode="eval").body)


def test_templates() -> None:
    assert Template("input_blocks.{first[i]+j}.{0}.x").fill(SCOPE) == "input_blocks.8.0.x"
    assert Template("plain").fill({}) == "plain"
    assert Template("a{i}") == Template("a{i}") != Template("a{j}")
    assert len({Template("a"), Template("a")}) == 1
    assert repr(Template("a{i}")) == "Template('a{i}')"
    with pytest.raises(ValueError, match="unbalanced braces"):
        Template("a{i")
