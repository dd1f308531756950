from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from pinxit.bench import cold
from pinxit.bench.cases import Case
from pinxit.bench.cold import NoPicture, measure_processes, run_process, words_of
from pinxit.bench.stacks import STACKS, spec_of
from tests.bench.fakes import fake

CASE = Case(name="cold-16", kind="cold", height=2, width=2, steps=1)


def env() -> Mapping[str, str]:
    return dict(os.environ)


def test_a_new_process_is_timed_to_its_first_step_and_to_its_picture(tmp_path: Path) -> None:
    spec = fake("diffusers-fp32", tmp_path / "log")
    (series,) = measure_processes(CASE, [spec], 2, env())
    assert (len(series.samples), series.warming, series.error) == (3, 1, "")
    assert all(0 < (one.first_step or 0) <= one.seconds for one in series.samples)
    assert series.peak_bytes > 2**20


def test_the_picture_lies_on_the_disk(tmp_path: Path) -> None:
    output = tmp_path / "picture.png"
    run_process(words_of(CASE, fake("diffusers-fp32", tmp_path / "log"), output), env())
    with Image.open(output) as picture:
        assert (picture.size, picture.getpixel((0, 0))) == ((16, 16), (128, 128, 128))


def test_ours_is_the_program_itself() -> None:
    words = words_of(CASE, spec_of("pinxit-low", Path("weights")), Path("out.png"))
    assert words[1:4] == ["-m", "pinxit", "paint"]
    told = dict(zip(words[5::2], words[6::2], strict=False))
    assert told["--model"] == str(Path("weights") / "bfloat16")
    assert (told["--size"], told["--steps"], told["--precision"], told["--memory"]) == ("16x16", "1", "bfloat16", "low")
    assert (told["--device"], told["--compile"]) == ("cpu", "off")
    words = words_of(CASE, spec_of("pinxit-compiled", Path("weights"), "cuda"), Path("out.png"))
    told = dict(zip(words[5::2], words[6::2], strict=False))
    assert (told["--device"], told["--compile"], told["--precision"]) == ("cuda", "on", "float16")


def test_an_import_is_a_process_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(name="import", kind="import")
    assert words_of(case, spec_of("diffusers-fp32", Path()), Path())[1:] == ["-c", STACKS["diffusers-fp32"].imports]
    monkeypatch.setattr(cold, "words_of", lambda *_: [sys.executable, "-c", "import json"])
    (series,) = measure_processes(case, [spec_of("diffusers-fp32", Path())], 0, env())
    assert (len(series.samples), series.warming, series.samples[0].first_step) == (1, 0, None)
    assert series.samples[0].seconds > 0


def test_a_stack_that_cannot_paint_says_why_and_is_not_started_again(tmp_path: Path) -> None:
    (series,) = measure_processes(CASE, [fake("diffusers-fp32", tmp_path / "log", broken="start")], 3, env())
    assert (series.samples, series.error) == ([], "RuntimeError: cannot start")
    with pytest.raises(NoPicture, match="ended with code 3"):
        run_process([sys.executable, "-c", "raise SystemExit(3)"])
