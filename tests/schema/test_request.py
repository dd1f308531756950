from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.schema.errors import BadInput, PinxitError, UnknownName
from pinxit.schema.field import knobs
from pinxit.schema.parts import SEED_MAX, SIGMA_MAX, Blank, FromImage, ImageRef, Interval, Size
from pinxit.schema.request import GenerationRequest, validated
from tests.schema.strategies import EXAMPLE, requests

HASH = "ab" * 32


def image(**changes: object) -> dict[str, object]:
    return {"source": {"kind": "image", "image": {"sha256": HASH}, **changes}}


@given(requests)
def test_a_request_survives_json(request: GenerationRequest) -> None:
    text = request.to_json()
    assert GenerationRequest.from_json(text) == request
    assert GenerationRequest.from_json(text.encode()).to_json() == text
    assert validated(request.to_dict()) == request


def test_an_empty_request_leaves_everything_to_the_family() -> None:
    request = validated({})
    assert request.to_dict() == {
        "prompt": "",
        "negative": "",
        "count": 1,
        "source": {"kind": "blank"},
        "fit": "crop",
        "format": "png",
        "quality": 95,
    }
    assert request.inputs() == ()
    assert validated(request) is request


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"steps": 0}, "steps must be a whole number from 1 to 1000, not 0."),
        ({"steps": 10**9}, "steps must be a whole number from 1 to 1000, not 1000000000."),
        ({"steps": 10**5000}, "steps must be a whole number from 1 to 1000, not a whole number of about 5000 digits."),
        ({"steps": 2.5}, "steps must be a whole number from 1 to 1000, not 2.5."),
        ({"steps": True}, "steps must be a whole number from 1 to 1000, not true."),
        ({"steps": "20"}, "steps must be a whole number from 1 to 1000, not '20'."),
        ({"steps": b"20"}, "steps must be a whole number from 1 to 1000, not 2 bytes."),
        ({"steps": object()}, "steps must be a whole number from 1 to 1000, not a object."),
        ({"count": 65}, "count must be a whole number from 1 to 64, not 65."),
        ({"guidance": float("nan")}, "guidance must be a finite number, not nan."),
        ({"guidance": float("inf")}, "guidance must be a finite number, not inf."),
        ({"guidance": 10**400}, "guidance must be a number from 0 to 100, not a whole number of about 400 digits."),
        ({"guidance": []}, "guidance must be a number from 0 to 100, not a list of 0 items."),
        (
            {"seed": -1},
            f"seed must be a whole number from 0 to {SEED_MAX}, not -1. Leave the seed out for a random one.",
        ),
        ({"seed": 2**64}, f"seed must be a whole number from 0 to {SEED_MAX}, not 18446744073709551616."),
        ({"seed": "9" * 20}, f"seed must be a whole number from 0 to {SEED_MAX}, not {'9' * 20}."),
        ({"seed": "1_0"}, f"seed must be a whole number from 0 to {SEED_MAX}, not '1_0'."),
        ({"seed": 1.0}, f"seed must be a whole number from 0 to {SEED_MAX}, not 1.0."),
        (
            {"size": "500x333"},
            "size must have sides that are multiples of 8 from 64 to 4096, not 500x333. "
            "The nearest: 496x328 or 504x336.",
        ),
        (
            {"size": {"width": 8, "height": 9999}},
            "size must have sides that are multiples of 8 from 64 to 4096, not 8x9999. The nearest: 64x4096.",
        ),
        (
            {"size": {"width": 10**5000, "height": 64}},
            "size must have sides that are multiples of 8 from 64 to 4096, not a whole number of about 5000 digits. "
            "The nearest: 4096x64.",
        ),
        ({"size": "big"}, "size must be two sides such as 512x768, not 'big'."),
        ({"size": 512}, "size must be an object with named fields, not 512."),
        ({"size": {"width": 512}}, "size.height is missing."),
        ({"size": {"width": "a", "height": 64}}, "size.width must be a whole number from 64 to 4096, not 'a'."),
        (
            {"guidance_interval": "6,0.3"},
            "guidance_interval must go from the lower to the higher noise level, not 6,0.3.",
        ),
        ({"guidance_interval": "6"}, "guidance_interval must be two noise levels such as 0.3,6 or the word all."),
        ({"guidance_interval": "a,b"}, "guidance_interval must be two noise levels such as 0.3,6 or the word all."),
        ({"guidance_interval": "nan,6"}, "guidance_interval.lo must be a finite number, not nan."),
        ({"source": {"kind": "mask"}}, "source must be an object whose kind is 'blank' or 'image', not 'mask'."),
        ({"source": {}}, "source must be an object whose kind is 'blank' or 'image', not an empty object."),
        ({"source": {"kind": "image"}}, "source.image is missing."),
        (image(strength=1.5), "source.strength must be a number from 0 to 1, not 1.5."),
        (
            image(image={"sha256": "AB"}),
            "source.image.sha256 must be 64 hexadecimal digits in lower case, not 'AB'.",
        ),
        (
            image(image={"sha256": HASH, "name": "/home/me/cat.png"}),
            "source.image.name must be a file name without folders, not '/home/me/cat.png'. Recipes never hold paths.",
        ),
        (image(image={"sha256": HASH, "name": "x" * 256}), "source.image.name may be 255 characters long, not 256."),
        ({"prompt": None}, "prompt must be text, not nothing."),
        ({"prompt": {"a": 1}}, "prompt must be text, not an object."),
        ({"prompt": "x" * 65537}, "prompt may hold 65536 bytes of UTF-8, not 65537. Shorten the text."),
        (
            {"prompt": "{a}\0b"},
            "prompt holds a control character, U+0000, at position 3. "
            "Remove it; line breaks and tabs are the only ones allowed.",
        ),
        (
            {"negative": "a\ud800"},
            "negative holds half of a character pair, U+D800, at position 1. "
            "Remove it; line breaks and tabs are the only ones allowed.",
        ),
        ({"model": "a\nb"}, "model holds a control character, U+000A, at position 1. Remove it."),
        ({"sampler": "  "}, "sampler must not be empty. Leave it out to get the default."),
        ({"sampler": "x" * 201}, "sampler may be 200 characters long, not 201."),
        ({"format": "g" * 100}, f"format must be one of 'png', 'jpeg', 'webp', not '{'g' * 60}…'."),
    ],
)
def test_a_refusal_names_field_expectation_and_value(data: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput) as refusal:
        validated(data)
    assert str(refusal.value) == message
    assert str(refusal.value).startswith(str(refusal.value.field))
    assert (refusal.value.field or "").split(".")[0] in data


@pytest.mark.parametrize(
    ("data", "field", "message"),
    [
        ({"step": 3}, "step", "There is no request field named 'step'. Did you mean 'steps'?"),
        ({"size": {"width": 64, "height": 64, "heigth": 1}}, "size.heigth", "There is no size field named 'heigth'."),
        (image(strenth=1), "source.strenth", "There is no source field named 'strenth'. Did you mean 'strength'?"),
    ],
)
def test_an_unknown_field_names_the_nearest(data: dict[str, object], field: str, message: str) -> None:
    with pytest.raises(UnknownName) as refusal:
        validated(data)
    assert str(refusal.value).startswith(message)
    assert refusal.value.field == field


@pytest.mark.parametrize("data", [[1], "text", 3, None])
def test_a_request_is_an_object(data: object) -> None:
    with pytest.raises(BadInput, match=r"A request is an object with named fields, not .*For example"):
        validated(data)


def test_the_constructor_raises_the_same_errors() -> None:
    with pytest.raises(BadInput, match=r"^steps must be a whole number from 1 to 1000, not 0\.$"):
        GenerationRequest(steps=0)
    with pytest.raises(BadInput, match="count must be"):
        EXAMPLE.replace(count=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"steps": NaN}', "The request is not usable: NaN is not a number that JSON knows."),
        ('{"seed": 1, "seed": 2}', "The request is not usable: 'seed' is given twice."),
        ("[" * 100_000, "The request is nested too deeply."),
        ('{"seed": ' + "9" * 5000 + "}", "The request holds a number with far too many digits."),
        (b"\xff", "The request is not UTF-8 text (byte 0)."),
        ("{", "The request is not JSON: Expecting property name enclosed in double quotes at line 1, column 2."),
        ('"' + "x" * 2**20 + '"', "The request is 1048578 bytes long; 1048576 is the most that is read."),
    ],
)
def test_hostile_json_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(BadInput) as refusal:
        GenerationRequest.from_json(text)
    assert str(refusal.value) == message


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*GenerationRequest.model_fields, "other"]), json_values, max_size=4))
def test_any_data_gives_a_request_or_a_typed_error(data: dict[str, object]) -> None:
    try:
        request = validated(data)
    except PinxitError as refusal:
        error = refusal
    else:
        assert GenerationRequest.from_json(request.to_json()) == request
        return
    assert error.message.isprintable()
    assert str(error).encode()


@pytest.mark.parametrize("seed", [0, 2**53, 2**53 + 1, 2**63, SEED_MAX])
def test_seeds_survive_readers_that_round_large_numbers(seed: int) -> None:
    text = validated({"seed": seed}).to_json()
    rounded = json.loads(text, parse_int=lambda digits: int(float(digits)))
    assert validated(rounded).seed == seed
    assert isinstance(rounded["seed"], str) == (seed > 2**53)


def test_short_forms_are_read() -> None:
    request = validated({"size": " 512 x 768 ", "guidance_interval": "0.3,6", "seed": "007"})
    assert request.size == Size(width=512, height=768)
    assert str(request.size) == "512x768"
    assert request.guidance_interval == Interval(lo=0.3, hi=6)
    assert str(request.guidance_interval) == "0.3,6"
    assert request.seed == 7
    assert validated({"size": "64×4096"}).size == Size(width=64, height=4096)
    assert validated({"guidance_interval": [0, 2]}).guidance_interval == Interval(lo=0, hi=2)
    assert validated({"guidance_interval": "all"}).guidance_interval == Interval(lo=0, hi=SIGMA_MAX)


def test_line_breaks_become_one_kind_and_nothing_else_changes() -> None:
    assert validated({"prompt": " a\r\nb\rc\td \u200d猫 "}).prompt == " a\nb\nc\td \u200d猫 "


def test_minus_zero_is_zero() -> None:
    assert '"guidance":0.0' in validated({"guidance": -0.0}).to_json()


def test_a_request_cannot_be_changed() -> None:
    with pytest.raises(Exception, match="frozen"):
        EXAMPLE.steps = 3
    assert hash(EXAMPLE) == hash(EXAMPLE.replace())


def test_picture_k_of_a_batch_is_a_request_of_its_own() -> None:
    request = EXAMPLE.replace(seed=SEED_MAX, count=3)
    assert [request.image(k).seed for k in range(3)] == [SEED_MAX, 0, 1]
    assert request.image(2) == EXAMPLE.replace(seed=1)
    with pytest.raises(ValueError, match="no picture 3 of 3"):
        request.image(3)
    with pytest.raises(ValueError, match="seed None"):
        EXAMPLE.replace(seed=None).image(0)


def test_inputs_name_the_pictures_that_are_read() -> None:
    reference = ImageRef(sha256=HASH, name="cat.png")
    assert EXAMPLE.replace(source=FromImage(image=reference)).inputs() == (reference,)
    assert EXAMPLE.replace(source=Blank()).inputs() == ()


def test_the_json_schema_is_complete() -> None:
    schema = GenerationRequest.model_json_schema()
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == list(GenerationRequest.model_fields)
    for knob in knobs(GenerationRequest):
        entry = schema["properties"][knob.name]
        assert (entry["title"], entry["description"]) == (knob.title, knob.help)
        assert (entry["group"], entry["widget"], entry["advanced"]) == (knob.group, knob.widget, knob.advanced)
        assert "default" in entry
    assert schema["properties"]["sampler"]["names"] == "sampler"
    steps = schema["properties"]["steps"]["anyOf"]
    assert steps == [{"maximum": 1000, "minimum": 1, "type": "integer"}, {"type": "null"}]
    assert {"type": "string", "pattern": "^[0-9]{1,20}$"} in schema["properties"]["seed"]["anyOf"]
    sides = schema["$defs"]["Size"]["anyOf"][0]["properties"]
    assert (sides["width"]["multipleOf"], sides["height"]["maximum"]) == (8, 4096)


KEYWORDS = {"type", "anyOf", "oneOf", "$ref", "const", "enum", "properties", "additionalProperties", "required"}
NOTES = {
    "minItems",
    "maxItems",
    "items",
    "minimum",
    "maximum",
    "multipleOf",
    "pattern",
    "default",
    "title",
    "description",
    "examples",
    "$defs",
}
OURS = {"group", "widget", "advanced", "names", "flag", "discriminator"}


def test_the_json_schema_is_valid() -> None:
    schema = GenerationRequest.model_json_schema()

    def check(node: dict[str, Any]) -> None:
        assert set(node) <= KEYWORDS | NOTES | OURS
        assert {"type", "anyOf", "oneOf", "$ref"} & set(node)
        assert node.get("type", "object") in {"string", "integer", "number", "boolean", "object", "array", "null"}
        if "$ref" in node:
            assert node["$ref"].removeprefix("#/$defs/") in schema["$defs"]
        children = [*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("properties", {}).values()]
        for child in [*children, *node.get("$defs", {}).values()]:
            check(child)

    check(schema)
    assert json.loads(json.dumps(schema)) == schema


def test_the_schema_names_every_choice_and_start() -> None:
    schema = GenerationRequest.model_json_schema()
    assert schema["properties"]["format"]["enum"] == ["png", "jpeg", "webp"]
    mapping = cast("dict[str, str]", schema["properties"]["source"]["discriminator"]["mapping"])
    assert set(mapping) == {"blank", "image"}


@pytest.mark.parametrize(
    ("text", "kind", "name", "weight", "text_weight"),
    [
        ("fur", "lora", "fur", 1.0, None),
        ("fur@0.8", "lora", "fur", 0.8, None),
        ("fur@-1e-1:2", "lora", "fur", -0.1, 2.0),
        ("lora:styles/fur@0", "lora", "styles/fur", 0.0, None),
        ("other:fur", "other", "fur", 1.0, None),
        ("C:/a@b.safetensors", "lora", "C:/a@b.safetensors", 1.0, None),
        (" fur@2@0.5 ", "lora", "fur@2", 0.5, None),
    ],
)
def test_an_adapter_is_written_in_one_word(
    text: str, kind: str, name: str, weight: float, text_weight: float | None
) -> None:
    [use] = validated({"adapters": [text]}).adapters
    assert (use.kind, use.name, use.weight, use.text_weight) == (kind, name, weight, text_weight)
    assert use.text == (weight if text_weight is None else text_weight)
    assert validated({"adapters": [str(use)]}).adapters == (use,)


@pytest.mark.parametrize(
    ("adapters", "message"),
    [
        (["fur@11"], "adapters.0.weight must be a number from -10 to 10, not 11.0."),
        (["a", 3], "adapters.1 must be an object with named fields, not 3."),
        ([""], "adapters.0 must be an adapter such as dreamy@0.8, not ''."),
        (3, "adapters must be a list, not 3."),
        (["a"] * 33, "adapters must be a list of at most 32, not a list of 33 items."),
        ([{"name": "a", "weigth": 1}], "There is no adapters.0 field named 'weigth'. Did you mean 'weight'"),
    ],
)
def test_adapters_that_make_no_sense_are_told(adapters: object, message: str) -> None:
    with pytest.raises(BadInput) as raised:
        validated({"adapters": adapters})
    assert str(raised.value).startswith(message)
