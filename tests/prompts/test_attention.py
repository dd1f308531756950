"""Bracket weights in both dialects: every golden prompt, loose brackets, limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from pinxit.prompts.attention import Span, nested_spans, replacing_spans
from pinxit.schema.errors import BadInput
from tests.reference import golden_json

Case = tuple[str, Any]


def cases(name: str) -> list[Case]:
    return [(prompt, wanted) for prompt, wanted in cast("list[Any]", golden_json(f"goldens/text/{name}.json")["cases"])]


def as_golden(span: Span) -> list[Any]:
    return ["BREAK", -span.weight] if span.is_break else [span.text, span.weight]


def test_every_a1111_golden_has_its_spans() -> None:
    walked = 0
    for prompt, wanted in cases("a1111_attention"):
        if isinstance(wanted, str):
            wanted = [["a:1.2.3", 1.1]]  # the program itself fails here; we read it as ComfyUI does
        assert [as_golden(span) for span in nested_spans(prompt, "prompt")] == wanted, prompt
        walked += 1
    assert walked == 68


def test_every_comfyui_golden_has_its_spans() -> None:
    walked = 0
    for prompt, wanted in cases("comfy_weights"):
        assert [[span.text, span.weight] for span in replacing_spans(prompt, "prompt")] == wanted, prompt
        walked += 1
    assert walked == 67


def test_an_empty_prompt_is_one_empty_span_or_none() -> None:
    assert nested_spans("", "prompt") == (Span(text=""),)
    assert replacing_spans("", "prompt") == ()


def test_a_break_inside_brackets_is_a_break() -> None:
    assert nested_spans("(a BREAK b:1.2)", "prompt") == (
        Span(text="a", weight=1.2),
        Span(text="", weight=1.2, is_break=True),
        Span(text="b", weight=1.2),
    )


def test_a_break_never_joins_its_neighbours() -> None:
    assert [span.is_break for span in nested_spans("a BREAK BREAK b", "prompt")] == [False, True, False, True, False]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("(a:nan)", [("a:nan", 1.1)]),
        ("(a:1e400)", [("a:1e400", 1.1)]),
        ("((a):1.2)", [("a", 1.2 * 1.1)]),
        ("((a:1.2):x)", [("a", 1.2), (":x", 1.1)]),
        ("(a:(b)1.2)", [("a:", 1.1), ("b", 1.1 * 1.1), ("1.2", 1.1)]),
        ("a) (b)", [("a) (b)", 1.0)]),
        ("(a\\)", [("(a)", 1.0)]),
        ("(((", [("(((", 1.0)]),
        ("(((a)", [("((a", 1.1)]),
    ],
)
def test_comfyuis_corners(text: str, spans: list[tuple[str, float]]) -> None:
    assert [(span.text, span.weight) for span in replacing_spans(text, "prompt")] == spans


@pytest.mark.parametrize("opened", ["(", "["])
def test_brackets_deeper_than_32_are_refused(opened: str) -> None:
    assert nested_spans(opened * 32 + "a", "prompt")
    with pytest.raises(BadInput) as caught:
        nested_spans(opened * 33 + "a", "negative")
    assert caught.value.message == "The negative opens more than 32 brackets inside one another at character 33."
    assert caught.value.hint == "Take some away, or write \\( and \\[ for brackets that are meant as text."
    assert caught.value.field == "negative"


def test_comfyui_refuses_only_brackets_that_close() -> None:
    assert replacing_spans("(" * 1000 + "a", "prompt")
    assert replacing_spans("(" * 32 + "a" + ")" * 32, "prompt")
    with pytest.raises(BadInput, match="more than 32 brackets inside one another\\. Take some away"):
        replacing_spans("(" * 33 + "a" + ")" * 33, "prompt")


@pytest.mark.parametrize("text", ["(a:2000000)", "(a:-2000000)"])
@pytest.mark.parametrize("spans", [nested_spans, replacing_spans])
def test_weights_beyond_a_million_are_refused(spans: Callable[[str, str], tuple[Span, ...]], text: str) -> None:
    with pytest.raises(BadInput, match=r"at most 1,000,000 either way is allowed\. Useful weights lie between 0 and 2"):
        spans(text, "prompt")


@pytest.mark.parametrize("text", ["(((a:1000):1000):1000)", "(a:" + "9" * 400 + ")", "((a:" + "9" * 400 + "):0)"])
def test_products_beyond_a_million_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"gives a weight of (1e\+09|inf|nan)"):
        nested_spans(text, "prompt")
