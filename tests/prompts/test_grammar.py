"""read_prompt: parts, tags, timelines, limits; any text either reads or is refused by name, in linear time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.prompts.attention import Span
from pinxit.prompts.editing import Pass
from pinxit.prompts.grammar import DIALECTS, TEXT_LIMIT, AdapterTag, dialect, read_prompt, split_parts
from pinxit.schema.errors import BadInput, UnknownName
from tests.reference import golden_json

A1111, COMFYUI = dialect("a1111"), dialect("comfyui")


def test_every_golden_has_its_parts() -> None:
    cases = cast("list[dict[str, Any]]", golden_json("goldens/text/a1111_and.json")["cases"])
    assert len(cases) == 17
    for case in cases:
        assert [list(part) for part in split_parts(case["prompt"], "prompt")] == case["result"], case["prompt"]


def test_dialects_are_found_by_name_and_alias() -> None:
    assert dialect("Forge") is A1111
    assert dialect("comfy") is COMFYUI
    with pytest.raises(UnknownName, match=r"no prompt dialect named 'a111'\. Did you mean 'a1111'") as caught:
        dialect("a111", field="dialect")
    assert caught.value.field == "dialect"


def test_a_prompt_is_read_whole() -> None:
    prompt = read_prompt("<lora:ink:0.8>a [cat:dog:0.5] AND (mars:1.2) :0.5", A1111)
    assert prompt.adapters == (AdapterTag(kind="lora", name="ink", text_weight=0.8, image_weight=0.8),)
    assert [part.weight for part in prompt.parts] == [1.0, 0.5]
    first, second = prompt.timeline(Pass(steps=10))
    assert (first.last_step, first.texts) == (5, ("a cat", " (mars:1.2)"))
    assert (second.last_step, second.texts) == (10, ("a dog", " (mars:1.2)"))
    assert prompt.spans(second.texts[1]) == (Span(text=" "), Span(text="mars", weight=1.2))


def test_timelines_join_equal_stretches() -> None:
    prompt = read_prompt("[a|a] AND [b:b:0.3] AND [c:d:0.2]", A1111)
    assert [(stretch.last_step, stretch.texts[2]) for stretch in prompt.timeline(Pass(steps=10))] == [
        (2, " c"),
        (10, " d"),
    ]


def test_and_is_a_word_where_parts_make_no_sense() -> None:
    (part,) = read_prompt("a AND b", A1111, field="negative", has_parts=False).parts
    assert part.template == ("a AND b",)


def test_comfyui_takes_editing_parts_and_tags_as_text() -> None:
    text = "<lora:x:1> [a:b:0.5] AND c BREAK d"
    prompt = read_prompt(text, COMFYUI)
    assert prompt.adapters == ()
    assert prompt.timeline(Pass(steps=9))[0].texts == (text,)
    assert prompt.spans(text) == (Span(text=text),)


@pytest.mark.parametrize("rules", DIALECTS)
def test_the_empty_prompt_is_fine(rules: Any) -> None:
    assert [stretch.texts for stretch in read_prompt("", rules).timeline(Pass(steps=3))] == [("",)]


@pytest.mark.parametrize(
    ("tag", "wanted"),
    [
        ("<lora:a>", AdapterTag(kind="lora", name="a")),
        ("<LoRA:a b:0.5>", AdapterTag(kind="lora", name="a b", text_weight=0.5, image_weight=0.5)),
        ("<lyco:a:0.5:-1>", AdapterTag(kind="lyco", name="a", text_weight=0.5, image_weight=-1.0)),
        ("<lora:a:te=0.2:unet=0.3>", AdapterTag(kind="lora", name="a", text_weight=0.2, image_weight=0.3)),
        ("<lora:a:0.2:unet=0.3>", AdapterTag(kind="lora", name="a", text_weight=0.2, image_weight=0.3)),
        ("<lora:a:1:1:8>", AdapterTag(kind="lora", name="a", options=(("dyn", "8"),))),
        ("<hypernet:a:1:lbw=x y>", AdapterTag(kind="hypernet", name="a", options=(("lbw", "x y"),))),
        ("<lora:../../x>", AdapterTag(kind="lora", name="../../x")),
    ],
)
def test_tags_are_taken_out_as_data(tag: str, wanted: AdapterTag) -> None:
    prompt = read_prompt(f"a {tag}b", A1111)
    assert prompt.adapters == (wanted,)
    assert prompt.parts[0].template == ("a b",)


@pytest.mark.parametrize("text", ["<3:>", "<lora:>", "<lora:", "<other:x:1>", "<lora:a<lora:b"])
def test_what_is_no_tag_stays_text(text: str) -> None:
    prompt = read_prompt(text, A1111)
    assert prompt.adapters == ()
    assert prompt.timeline(Pass(steps=1))[0].texts == (text,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<lora: :1>", "The tag '<lora: :1>' in the prompt is not of the form <lora:name:weight>."),
        ("<lora:a:1:2:3:4>", "is not of the form <lora:name:weight>. Write <lora:name:0.8>, or take the tag out."),
        ("<lora:a:much>", "The weight 'much' in the tag '<lora:a:much>' of the prompt is not a number."),
        ("<lora:a:>", "The weight '' in the tag '<lora:a:>' of the prompt is not a number. Write a number such as"),
        ("<lora:a:1e309>", "The prompt gives a weight of inf; at most 1,000,000 either way"),
        ("<lora:a:nan>", "The prompt gives a weight of nan; at most 1,000,000 either way"),
        ("a :9999999 AND b", "The prompt gives a weight of 1e+07; at most 1,000,000 either way"),
        ("AND " * 1000, "The prompt joins 1,001 parts with AND; at most 32 are painted together. Join some of them"),
        ("a" * (TEXT_LIMIT + 1), "The prompt has 65,537 characters; at most 65,536 are read. Shorten it."),
        ("[a:" * 10_000, "The prompt opens more than 32 brackets inside one another at character 97."),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_prompt(text, A1111)
    assert message in str(caught.value)
    assert caught.value.field == "prompt"


PIECES = [
    *"()[]:|\\<>=, \n\t",
    "a",
    "BREAK",
    "AND",
    "0.5",
    "1e3",
    "-1",
    "٣",
    "<lora:",
    "é",
    "😀",
    "\ud800",
    "\x00",
    "nan",
]


@settings(max_examples=400)
@given(
    st.one_of(
        st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
        st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=60),
    ),
    st.sampled_from(DIALECTS),
    st.integers(1, 12),
    st.one_of(st.none(), st.integers(1, 12)),
    st.booleans(),
)
def test_any_text_reads_or_is_refused(text: str, rules: Any, steps: int, first: int | None, legacy: bool) -> None:
    clock = Pass(steps=steps, first_steps=first, legacy=legacy)
    refusal: BadInput | None = None
    try:
        prompt = read_prompt(text, rules)
        timeline = prompt.timeline(clock)
        spans = [span for stretch in timeline for part in stretch.texts for span in prompt.spans(part)]
    except BadInput as error:
        refusal = error
    else:
        assert timeline[-1].last_step == steps
        assert all(abs(span.weight) <= 1e6 for span in spans)
    assert refusal is None or (refusal.hint and refusal.field == "prompt")


HOSTILE: dict[str, Callable[[int], str]] = {
    "letters": lambda n: "a" * n,
    "spaces": lambda n: " " * n,
    "breaks": lambda n: " BREAK" * (n // 6),
    "spaces before a break": lambda n: " " * (n - 5) + "BREAK",
    "closing": lambda n: ")" * n,
    "groups": lambda n: "(a)" * (n // 3),
    "thirty open": lambda n: "(" * 30 + "a)(" * (n // 3),
    "crossing": lambda n: "([a)b]" * (n // 6),
    "colons": lambda n: "(a:" + " :" * (n // 2),
    "colons and digits": lambda n: "(" + ":1" * (n // 2),
    "digits": lambda n: "(a:" + "1" * n + "x",
    "switches": lambda n: "[a:b:.5]" * (n // 8),
    "alternations": lambda n: "[a|b]" * (n // 5),
    "nested": lambda n: ("[a:" * 30 + "b" + ":3]" * 30) * (n // 181),
    "wide": lambda n: "[" * 30 + "a[b|c]" * (n // 6) + "]" * 30,
    "tags": lambda n: "<lora:a:1>" * (n // 10),
    "open tags": lambda n: "<a:" * (n // 3),
    "backslashes": lambda n: "\\" * n,
    "ands": lambda n: "a : " * (n // 4) + "AND",
}


@pytest.mark.parametrize("rules", DIALECTS, ids=lambda row: row.name)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_is_read_at_once(kind: str, rules: Any) -> None:
    """Longer than any prompt may be: a rule that looks at every pair of letters would need minutes."""
    text = HOSTILE[kind](60_000)
    start = time.process_time()
    prompt = read_prompt(text, rules)
    for stretch in prompt.timeline(Pass(steps=4)):
        prompt.spans(stretch.texts[0])
    assert time.process_time() - start < 10
