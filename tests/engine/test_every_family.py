"""Every family that paints from words paints from a picture too, and gets a schedule that its training allows."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image

from pinxit.sampling.targets import TARGETS
from pinxit.schema.parts import FromImage, ImageRef
from tests.easel import Easels

PAINTS = ("pinxit", "sd1", "sd2", "sdxl", "refiner", "sd3")
NEVER = {"karras", "exponential", "align_your_steps"}
"""Schedules that leave out the last timestep, which a zero-terminal-SNR model must visit."""


def picture() -> tuple[ImageRef, dict[str, bytes]]:
    image = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    stream = io.BytesIO()
    image.save(stream, "PNG")
    data = stream.getvalue()
    name = hashlib.sha256(data).hexdigest()
    return ImageRef(sha256=name, name="slope.png"), {name: data}


@pytest.mark.parametrize("model", PAINTS)
def test_a_picture_from_a_picture(easels: Easels, model: str) -> None:
    reference, inputs = picture()
    easel = easels(model)
    found = {
        strength: easel.pixels(inputs, source=FromImage(image=reference, strength=strength), steps=4)[0]
        for strength in (0.25, 0.75)
    }
    assert len({*found.values(), easel.pixels(steps=4)[0]}) == 3


@pytest.mark.parametrize("model", ["sd1", "sd2", "sdxl"])
def test_automatic_respects_the_training(easels: Easels, model: str) -> None:
    easel = easels(model)
    for sampler in easel.catalog.samplers.names():
        resolved = easel.resolve(sampler=sampler, prediction="velocity", zero_terminal_snr="yes")
        assert resolved.schedule.in_time, sampler
        assert resolved.schedule.name not in NEVER
        assert easel.resolve(sampler=sampler, schedule="Automatic", zero_terminal_snr="yes").schedule.name not in NEVER


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_paints(easels: Easels, target: str) -> None:
    ready = easels("sdxl").paint(prediction=target)[0]
    assert ready.record.model.prediction == target
    assert ready.record.request.prediction == target


def test_a_schedule_of_the_family_gives_way_to_the_training(easels: Easels, tmp_path: Path) -> None:
    easel = easels("pinxit")
    assert easel.resolve().schedule.name == "sgm_uniform"
    assert easel.resolve(prediction="flow").schedule.in_time
    del tmp_path
