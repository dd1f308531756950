from __future__ import annotations

import json

import pytest
from hypothesis import given

from pinxit.schema.errors import BadInput, UnknownName
from pinxit.schema.parts import FromImage, ImageRef
from pinxit.schema.record import FORMAT, RESOLVED, Record, sigmas_sha256
from tests.schema.strategies import EXAMPLE, EXAMPLE_RECORD, record_of, records

CANONICAL = (
    '{"dtype":"float32","engine":"pinxit 0.1.0","format":3,"model":{"family":"sd1","files":'
    '[{"name":"model.safetensors","sha256":"abababababababababababababababababababababababababababababababab"}],'
    '"name":"tiny","prediction":"epsilon"},'
    '"noise":"philox","numerics":"cpu","request":{"count":1,"fit":"crop","format":"png","guidance":7.5,"model":"tiny",'
    '"negative":"blurry","prompt":"a cat, oil painting","quality":95,"sampler":"euler_ancestral","schedule":"karras",'
    '"seed":7,"size":{"height":72,"width":64},"source":{"kind":"blank"},"steps":4},'
    '"sigmas_sha256":"3af161d4b994d07fc497b7b65c073e1b3c507815381f6c53d1307ce7f02b135e","threads":2,"torch":"2.13.0"}'
)


def test_the_canonical_text_is_what_it_always_was() -> None:
    assert EXAMPLE_RECORD.to_json() == CANONICAL
    assert Record.from_json(CANONICAL) == EXAMPLE_RECORD


def test_older_records_stay_readable() -> None:
    older = Record.from_json(CANONICAL.replace('"format":3', '"format":1'))
    assert older.request == EXAMPLE
    assert (older.format, older.passes) == (1, ())


def test_every_pass_has_its_model() -> None:
    request = EXAMPLE.replace(passes=({"kind": "refine", "model": "refiner"},))
    assert Record.from_json(record_of(request).to_json()).passes[0].name == "refiner"
    with pytest.raises(BadInput, match="The record names 0 further models for 1 passes"):
        Record.from_dict(EXAMPLE_RECORD.to_dict() | {"request": request.to_dict()})


def test_every_adapter_has_its_file() -> None:
    request = EXAMPLE.replace(adapters=("fur@0.5",))
    assert Record.from_json(record_of(request).to_json()).adapters[0].short == "0" * 12
    with pytest.raises(BadInput, match="The record names 0 files of adapters for 1 adapters"):
        Record.from_dict(EXAMPLE_RECORD.to_dict() | {"request": request.to_dict()})
    with pytest.raises(BadInput, match="names a folder of this machine"):
        record_of(EXAMPLE.replace(adapters=("/home/me/fur@1",)))


@given(records())
def test_a_record_has_one_spelling(record: Record) -> None:
    text = record.to_json()
    assert Record.from_json(text) == record
    assert Record.from_json(text).to_json() == text
    shuffled = json.dumps(dict(reversed(list(json.loads(text).items()))), indent=3)
    assert Record.from_json(shuffled).to_json() == text
    assert Record.from_json(record.to_json(ascii_only=True)) == record
    assert record.to_json(ascii_only=True).isascii()


@pytest.mark.parametrize("name", RESOLVED)
def test_nothing_is_left_open(name: str) -> None:
    data = EXAMPLE_RECORD.to_dict() | {"request": EXAMPLE.replace(**{name: None}).to_dict()}
    with pytest.raises(BadInput, match=rf"^The record leaves {name} open\. A record needs the request"):
        Record.from_dict(data)


def test_a_record_is_for_one_picture() -> None:
    with pytest.raises(BadInput, match=r"A record is for one picture, not 2\. Use request\.image"):
        record_of(EXAMPLE.replace(count=2))


@pytest.mark.parametrize("name", ["/models/a", "~/a", "C:\\a", "c:a", "a\\b", "../a", "a/../b"])
def test_a_record_names_no_path(name: str) -> None:
    with pytest.raises(BadInput, match="names a folder of this machine as its model"):
        record_of(EXAMPLE.replace(model=name))


def test_a_model_may_have_an_owner() -> None:
    assert record_of(EXAMPLE.replace(model="owner/model")).model.name == "owner/model"


def test_newer_formats_are_recognised() -> None:
    with pytest.raises(BadInput) as refusal:
        Record.from_dict(EXAMPLE_RECORD.to_dict() | {"format": FORMAT + 1, "news": []})
    assert str(refusal.value) == "The record has format 4; this version reads up to 3. Update pinxit to read it."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 0}, "format must be a whole number from 1 to 3, not 0."),
        ({"threads": "2"}, "threads must be a whole number from 1 to 65536, not '2'."),
        ({"sigmas_sha256": "x"}, "sigmas_sha256 must be 64 hexadecimal digits in lower case, not 'x'."),
        ({"model": {}}, "model.name is missing."),
        ({"request": {"steps": 0}}, "steps must be a whole number from 1 to 1000, not 0."),
        ({"request": 3}, "request must be an object with named fields, not 3."),
    ],
)
def test_a_broken_record_names_the_field(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput) as refusal:
        Record.from_dict(EXAMPLE_RECORD.to_dict() | changes)
    assert str(refusal.value) == message


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(UnknownName, match=r"There is no record field named 'thread'\. Did you mean 'threads'"):
        Record.from_dict(EXAMPLE_RECORD.to_dict() | {"thread": 2})


def test_a_record_is_an_object() -> None:
    with pytest.raises(BadInput, match="A record is an object with named fields, not a list of 1 item"):
        Record.from_json("[1]")


def test_inputs_are_named_by_hash() -> None:
    reference = ImageRef(sha256="cd" * 32, name="cat.png")
    assert record_of(EXAMPLE.replace(source=FromImage(image=reference))).inputs() == (reference,)


def test_the_fingerprint_of_noise_levels_sees_every_bit() -> None:
    assert sigmas_sha256(()) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sigmas_sha256((1.0,)) != sigmas_sha256((1.0 + 2**-52,))
