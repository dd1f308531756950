from __future__ import annotations

import time
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.schema.errors import BadInput
from pinxit.schema.interchange import Labels, a1111_text, parse_infotext, quoted, read_a1111, unquoted
from pinxit.schema.parts import FromImage, ImageRef
from pinxit.schema.record import Record
from tests.reference import golden_json
from tests.schema.strategies import EXAMPLE, EXAMPLE_RECORD, record_of, records

CASES = cast("list[dict[str, Any]]", golden_json("goldens/text/a1111_infotext.json")["cases"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["text"])[:20])
def test_texts_are_taken_apart_as_a1111_does(case: dict[str, Any]) -> None:
    parsed = parse_infotext(case["text"])
    expected: dict[str, Any] = case["parsed"]
    assert list(parsed.settings) == [name for name, _ in case["fields"]]
    assert parsed.negative == expected["Negative prompt"]
    assert read_a1111(case["text"]).fields["prompt"] == expected["Prompt"]
    for name, raw in case["fields"]:
        if f"{name}-1" not in expected:
            assert parsed.settings[name] == expected[name]
            assert quoted(parsed.settings[name]) == raw.replace('"worse"', "worse")


def test_the_writer_follows_the_usual_order() -> None:
    source = FromImage(image=ImageRef(sha256="cd" * 32), strength=0.75)
    record = record_of(
        EXAMPLE.replace(source=source, clip_skip=2, eta=0.5, s_churn=1, s_noise=1.005, prompt="a\nb", model="a, b")
    )
    assert a1111_text(record, Labels(sampler="Euler a", schedule="Karras")) == (
        "a\nb\nNegative prompt: blurry\n"
        "Steps: 4, Sampler: Euler a, Schedule type: Karras, CFG scale: 7.5, Seed: 7, Size: 64x72, "
        'Model hash: ababababab, Model: "a, b", Denoising strength: 0.75, Clip skip: 2, RNG: NV, Eta: 0.5, '
        "Sigma churn: 1, Sigma noise: 1.005, Version: pinxit 0.1.0"
    )


def test_token_merging_goes_both_ways() -> None:
    text = a1111_text(record_of(EXAMPLE.replace(token_merging=0.5)))
    assert ", Token merging ratio: 0.5, RNG: NV, " in text
    assert read_a1111(text).fields["token_merging"] == 0.5
    assert "Token merging" not in a1111_text(record_of(EXAMPLE.replace(token_merging=0)))
    beyond = read_a1111(text.replace("ratio: 0.5", "ratio: 0.9"))
    assert ("token_merging" in beyond.fields, beyond.other["Token merging ratio"]) == (False, "0.9")


def test_methods_are_written_under_the_names_that_others_know() -> None:
    assert "Sampler: Euler a, Schedule type: Karras, CFG scale: 7.5" in a1111_text(EXAMPLE_RECORD)
    strange = record_of(EXAMPLE.replace(sampler="res_2s", schedule="smoothstep"))
    assert "Sampler: res_2s, Schedule type: smoothstep, " in a1111_text(strange)
    assert "Sampler: RES 2S, Schedule type: Smooth, " in a1111_text(
        strange, Labels(sampler="RES 2S", schedule="Smooth")
    )
    exact = record_of(EXAMPLE.replace(sigmas="14,1", steps=2))
    assert "Sampler: Euler a, CFG scale" in a1111_text(exact)


def test_what_we_write_we_read() -> None:
    source = FromImage(image=ImageRef(sha256="cd" * 32), strength=0.25)
    request = EXAMPLE.replace(
        source=source,
        clip_skip=2,
        eta=0.5,
        s_churn=1,
        s_tmin=2,
        s_tmax=3,
        s_noise=1.005,
        guidance_rescale=0.3,
        eta_noise_seed_delta=31337,
        sigma_min=0.1,
        sigma_max=10,
        rho=5,
        discard_next_to_last="yes",
        start_noise="root",
    )
    read = read_a1111(a1111_text(record_of(request)))
    assert read.request() == request.replace(source={"kind": "blank"})
    assert read.strength == 0.25
    assert read.other == {"Model hash": "ababababab", "Version": "pinxit 0.1.0"}


@given(records())
def test_numbers_survive_the_text(record: Record) -> None:
    request = record.request.replace(prompt="a", negative="b", sampler="euler", schedule="karras", model="m")
    request = request.replace(adapters=())
    read = read_a1111(a1111_text(record_of(request))).request()
    assert (read.seed, read.size, read.steps) == (request.seed, request.size, request.steps)
    assert (read.guidance, read.eta, read.s_tmax) == (request.guidance, request.eta, request.s_tmax)
    assert (read.prompt, read.negative) == ("a", "b")


@given(st.text() | st.text('\n,:"\\ aS1x{}<>-/').map(lambda tail: f"a\nSteps: 1, Seed: 2, Size: 64x64, {tail}"))
def test_any_text_is_read(text: str) -> None:
    read = read_a1111(text)
    assert read.request().prompt == read.fields["prompt"]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_quoting_is_undone(value: str) -> None:
    if not (value.startswith('"') and value.endswith('"')):
        assert unquoted(quoted(value)) == value


@pytest.mark.parametrize(
    ("settings", "fields", "other"),
    [
        ("Steps: 20, Seed: -1, Size: 64x64", {"steps": 20, "size": "64x64"}, {}),
        ("Steps: 0, Seed: 1.5, Size: 500x500", {}, {"Steps": "0", "Seed": "1.5", "Size": "500x500"}),
        ("CFG scale: nan, Eta: 1e99, Clip skip: x", {}, {"CFG scale": "nan", "Eta": "1e99", "Clip skip": "x"}),
        ("Sampler: DPM++ 2M Karras, Steps: 1, Eta: 0", {"sampler": "dpmpp_2m", "schedule": "karras"}, {}),
        ("Sampler: DPM++ 2M SDE Heun Exponential, Seed: 1, Steps: 1", {"schedule": "exponential", "seed": 1}, {}),
        ("Sampler: DPM2 a Karras, Schedule type: SGM Uniform, Steps: 1", {"schedule": "sgm_uniform"}, {}),
        ("Sampler: Euler, Schedule type: Automatic, RNG: GPU", {"sampler": "euler"}, {}),
        ("RNG: CPU, Steps: 1, Tool: x", {"noise": "torch_cpu"}, {"Tool": "x"}),
        ("Steps: 1, Sampler: a Karras, Schedule type: Beta", {"sampler": "a Karras", "schedule": "beta"}, {}),
        ("Steps: 1, ENSD: 31337, Discard penultimate sigma: True", {"eta_noise_seed_delta": 31337}, {}),
        ("Steps: 1, ENSD: -7, SGM noise multiplier: True", {"start_noise": "root"}, {"ENSD": "-7"}),
        ("Steps: 1, Schedule rho: 5, Eta DDIM: 0.5", {"rho": 5.0, "eta": 0.5}, {}),
        ("Denoising strength: 2, Steps: 1, A b: c", {}, {"Denoising strength": "2", "A b": "c"}),
    ],
)
def test_settings_become_fields_or_are_kept(settings: str, fields: dict[str, object], other: dict[str, str]) -> None:
    read = read_a1111(f"a cat\n{settings}")
    assert fields.items() <= read.fields.items()
    assert read.other == other
    assert set(read.fields) - set(fields) <= {"prompt", "negative", "steps", "eta", "sampler", "discard_next_to_last"}


def test_strength_belongs_to_a_picture_only_without_a_second_pass() -> None:
    assert read_a1111("Steps: 1, Denoising strength: 0.7, Seed: 1").strength == 0.7
    hires = read_a1111("Steps: 1, Denoising strength: 0.7, Hires upscale: 2")
    assert hires.strength is None
    assert hires.other == {"Denoising strength": "0.7", "Hires upscale": "2"}


def test_control_characters_of_other_programs_are_dropped() -> None:
    read = read_a1111('a\0 cat\r\n\ud800Steps: 1, Seed: 2, Note: "x\\u0000, \\ud800y"')
    assert read.fields["prompt"] == "a cat"
    assert read.other == {"Note": "x, y"}


@pytest.mark.parametrize("value", ['"', '"a', '"\\x"', "plain", '""'])
def test_badly_quoted_values_are_kept(value: str) -> None:
    assert unquoted(value) == ("" if value == '""' else value)


def test_texts_beyond_the_limits_are_refused() -> None:
    with pytest.raises(BadInput, match="The parameters text is 1048577 bytes long; 1048576 is the most that is read"):
        parse_infotext("x" * (2**20 + 1))
    with pytest.raises(BadInput, match="prompt may hold 65536 bytes of UTF-8, not 70000"):
        read_a1111("x" * 70_000)


@pytest.mark.parametrize("unit", ["a", " ", "a:", 'a:"', "aa: \\", ",", 'ab: "\\"', "a-", '"ab:"x, '])
def test_reading_takes_time_in_proportion_to_length(unit: str) -> None:
    start = time.perf_counter()
    parse_infotext(unit * (2**20 // len(unit)))
    assert time.perf_counter() - start < 20


def test_a_refiner_is_written_and_read() -> None:
    request = EXAMPLE.replace(passes=({"kind": "refine", "model": "xl/refiner", "switch": 0.75},), handover="step")
    record = record_of(request)
    model = record.passes[0].model_copy(update={"files": record.model.files})
    text = a1111_text(record.model_copy(update={"passes": (model,)}))
    assert "Refiner: xl/refiner [ababababab], Refiner switch at: 0.75, Refiner switch by sampling steps: True" in text
    read = read_a1111(text)
    assert read.request().passes == request.passes
    assert read.request().handover == "step"
    assert not any(name.startswith("Refiner") for name in read.other)
    broken = read_a1111("x\nSteps: 3, Seed: 4, Size: 64x64, Refiner: r, Refiner switch at: 7")
    assert (broken.request().passes, broken.other["Refiner"]) == ((), "r")


def test_adapters_are_written_as_tags_with_their_fingerprints() -> None:
    request = EXAMPLE.replace(adapters=("styles/fur@0.5", "few-step@1:0", "a<b>@-0.25"))
    text = a1111_text(record_of(request))
    prompt = "a cat, oil painting <lora:fur:0.5> <lora:few-step:0:1> <lora:a_b_:-0.25>"
    assert text.startswith(f"{prompt}\n")
    assert 'Lora hashes: "fur: 000000000000, few-step: 000000000000, a_b_: 000000000000"' in text
    assert read_a1111(text).fields["prompt"] == prompt
    assert read_a1111(text).other["Lora hashes"].startswith("fur: 0")
