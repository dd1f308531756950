from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from pinxit.schema.errors import BadInput
from pinxit.schema.events import (
    Event,
    Failed,
    Finished,
    FinishedImage,
    ImageReady,
    Noted,
    Planned,
    StageStarted,
    Stepped,
)
from tests.schema.strategies import EXAMPLE, EXAMPLE_RECORD

EVENTS: tuple[Event, ...] = (
    Planned(request=EXAMPLE, stages=("encode", "denoise"), notes=("a note",)),
    StageStarted(stage="denoise"),
    Noted(text="memory ran out"),
    Stepped(index=0, total=4, sigma=14.5, seconds=0.25, image=1),
    ImageReady(
        index=0,
        seed=2**64 - 1,
        record=EXAMPLE_RECORD,
        pixels_sha256="ab" * 32,
        path=Path("cat.png"),
        image=Image.new("RGB", (8, 8)),
    ),
    Finished(images=(FinishedImage(path=None, seed=2**60), FinishedImage(path=Path("a.png"), seed=1)), seconds=2.5),
    Failed.from_error(BadInput("steps must be 1.", hint="Try 20.", field="steps")),
)


def test_every_kind_of_event_is_told_in_plain_json() -> None:
    told = [event.to_json() for event in EVENTS]
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    names = [one["event"] for one in told]
    assert names == ["planned", "stage_started", "noted", "stepped", "image_ready", "finished", "failed"]
    assert {type(event) for event in EVENTS} == set(get_args(Event))


def test_the_fields_of_each_event() -> None:
    planned, stage, noted, stepped, ready, finished, failed = (event.to_json() for event in EVENTS)
    assert planned == {
        "event": "planned",
        "request": EXAMPLE.to_dict(),
        "stages": ["encode", "denoise"],
        "notes": ["a note"],
    }
    assert stage == {"event": "stage_started", "stage": "denoise"}
    assert noted == {"event": "noted", "text": "memory ran out"}
    assert stepped == {"event": "stepped", "index": 0, "total": 4, "sigma": 14.5, "seconds": 0.25, "image": 1}
    assert ready == {
        "event": "image_ready",
        "index": 0,
        "seed": "18446744073709551615",
        "record": EXAMPLE_RECORD.to_dict(),
        "pixels_sha256": "ab" * 32,
        "path": "cat.png",
    }
    assert finished["images"] == [{"path": None, "seed": str(2**60)}, {"path": "a.png", "seed": 1}]
    assert failed == {
        "event": "failed",
        "code": "bad_input",
        "message": "steps must be 1.",
        "hint": "Try 20.",
        "field": "steps",
    }


def test_events_cannot_be_changed() -> None:
    event = StageStarted(stage="encode")
    with pytest.raises(FrozenInstanceError):
        event.stage = "decode"  # pyright: ignore[reportAttributeAccessIssue]  what is tested
