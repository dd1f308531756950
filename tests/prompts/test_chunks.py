"""Chunks of 75 tokens and the arithmetic of emphasis, against every golden case."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch

from pinxit.prompts.attention import Span, nested_spans
from pinxit.prompts.chunks import CHUNK_LIMIT, Chunking, Emphasis, cut, emphasize, level
from pinxit.prompts.grammar import dialect
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.schema.errors import BadInput
from tests.reference import golden_json

CHUNKS = cast("list[dict[str, Any]]", golden_json("goldens/text/a1111_chunks.json")["cases"])
EMPHASIS = cast("dict[str, Any]", golden_json("goldens/text/a1111_emphasis.json"))
A1111 = dialect("a1111").chunking
COMFYUI = dialect("comfyui").chunking
RULES: dict[str, Emphasis] = {"None": "ignore", "Ignore": "ignore", "Original": "keep_mean", "No norm": "multiply"}


@pytest.fixture(scope="module")
def clip() -> ClipTokenizer:
    return ClipTokenizer.openai()


def test_every_golden_prompt_has_its_chunks(clip: ClipTokenizer) -> None:
    assert len(CHUNKS) == 15
    for case in CHUNKS:
        chunks = cut(nested_spans(case["prompt"], "prompt"), clip, A1111)
        assert [list(chunk.ids) for chunk in chunks] == [wanted["tokens"] for wanted in case["chunks"]], case["prompt"]
        assert [list(chunk.weights) for chunk in chunks] == [wanted["multipliers"] for wanted in case["chunks"]]
        assert 75 * (len(chunks) - 1) + chunks[-1].used == case["token_count"]


def test_zero_padding_follows_the_first_end_mark(clip: ClipTokenizer) -> None:
    (chunk,) = cut((Span(text="a"),), clip, A1111, padding="zero")
    assert chunk.ids == (clip.bos, 320, clip.eos, *[0] * 74)


def test_short_spans_move_on_whole_in_comfyui(clip: ClipTokenizer) -> None:
    spans = (Span(text="cat " * 72), Span(text="a red hat on mars", weight=1.2))
    first, second = cut(spans, clip, COMFYUI)
    assert (first.used, second.used) == (72, 5)
    assert second.weights[:7] == (1.0, 1.2, 1.2, 1.2, 1.2, 1.2, 1.0)
    long = (Span(text="cat " * 72), Span(text="dog " * 8))
    assert [chunk.used for chunk in cut(long, clip, COMFYUI)] == [75, 5]


def test_no_backtracking_cuts_anywhere(clip: ClipTokenizer) -> None:
    spans = (Span(text="cat " * 70 + ", " + "dog " * 10),)
    assert [chunk.used for chunk in cut(spans, clip, Chunking())] == [75, 6]
    assert [chunk.used for chunk in cut(spans, clip, A1111)] == [71, 10]


def test_the_shorter_prompt_gets_empty_chunks(clip: ClipTokenizer) -> None:
    one, two = cut((Span(text="a"),), clip, A1111), cut((Span(text="cat " * 80),), clip, A1111)
    left, right = level(one, two, clip)
    assert len(left) == len(right) == 2
    assert left[1].ids == clip.pad(())
    assert right == two
    assert level(two, one, clip) == (right, left)


def test_more_than_a_hundred_chunks_are_refused(clip: ClipTokenizer) -> None:
    text = "a" + " BREAK a" * CHUNK_LIMIT
    with pytest.raises(BadInput) as caught:
        cut(nested_spans(text, "negative"), clip, A1111, field="negative")
    assert str(caught.value) == (
        "The negative fills more than 100 chunks of 75 tokens. Shorten it, or take out some BREAKs."
    )
    assert caught.value.field == "negative"


def golden_arrays() -> tuple[Any, Any]:
    encoded = np.random.RandomState(77).standard_normal((2, 77, 6))
    weights = np.ones((2, 77))
    weights[0, 3:6] = 1.3
    weights[1, 10] = 0.5
    return encoded, weights


@pytest.mark.parametrize("name", list(EMPHASIS["values"]))
def test_every_golden_emphasis_has_its_values(name: str) -> None:
    encoded, weights = golden_arrays()
    wanted = EMPHASIS["values"][name]
    places = EMPHASIS["flat_indices"]
    assert emphasize(encoded, weights, RULES[name]).ravel()[places] == pytest.approx(wanted, rel=1e-12)
    tensor = emphasize(torch.from_numpy(encoded), torch.from_numpy(weights), RULES[name])
    assert tensor.flatten()[places].tolist() == pytest.approx(wanted, rel=1e-12)


def test_from_empty_moves_along_the_line_from_the_empty_prompt() -> None:
    encoded, weights = golden_arrays()
    empty = np.random.RandomState(78).standard_normal((1, 77, 6))
    moved = emphasize(encoded, weights, "from_empty", empty)
    assert moved == pytest.approx(empty + (encoded - empty) * weights[..., None], abs=1e-12)
    with pytest.raises(ValueError, match="needs the encoding of the empty prompt"):
        emphasize(encoded, weights, "from_empty")


@pytest.mark.parametrize("rule", ["ignore", "multiply", "keep_mean", "from_empty"])
def test_weights_of_one_change_no_bit(rule: Emphasis) -> None:
    encoded = torch.randn(2, 77, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(emphasize(encoded, torch.ones(2, 77), rule, torch.zeros(1, 77, 8)), encoded)


def test_a_mean_of_zero_is_left_alone() -> None:
    assert np.array_equal(emphasize(np.ones((1, 77, 2)), np.zeros((1, 77)), "keep_mean"), np.zeros((1, 77, 2)))
