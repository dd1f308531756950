"""The commands that are not about one picture: doctor, list, data build, train."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pinxit.cli.train import recipe_path, shipped_recipes
from pinxit.schema.errors import BadModelFile, UnknownName
from tests.cli.fakes import FakeStudio, call


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PINXIT_MODELS", str(tmp_path / "models"))


def test_doctor_finds_everything() -> None:
    done = call("doctor", studio=FakeStudio(adopted=[Path("mine.safetensors")]))
    assert done.code == 0, done.out
    lines = done.out.splitlines()
    assert lines[0] == "ok    pinxit: 0.1.0"
    assert any(line.startswith("ok    torch: ") for line in lines)
    assert "ok    built-in model: found, and its files are whole" in lines
    assert "ok    your models: mine" in lines
    assert lines[-1] == "Healthy: pinxit can paint here."


def test_doctor_says_what_is_bad() -> None:
    studio = FakeStudio(error=BadModelFile("unet.safetensors is cut off.", hint="Install pinxit again."))
    done = call("doctor", studio=studio)
    assert done.code == 5
    assert "bad   built-in model: unet.safetensors is cut off.\n      Install pinxit again.\n" in done.out
    assert done.out.splitlines()[-1] == "Not healthy: 1 of these must be mended before pinxit can paint."
    events = call("doctor", "--json", studio=studio).events
    assert events[-1] == {"event": "examined", "healthy": False}
    assert {"event": "check", "name": "pinxit", "state": "ok", "found": "0.1.0", "hint": ""} in events


def test_doctor_survives_a_broken_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    done = call("doctor", "--lang", "zh")
    assert done.code == 5
    assert "故障  torch 版本: " in done.out


def test_doctor_notices_folders_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINXIT_MODELS", "/proc/nowhere")
    done = call("doctor")
    assert done.code == 0
    assert "note  model folder: /proc cannot be written" in done.out


def test_names_are_listed() -> None:
    done = call("list", "samplers")
    assert done.out.splitlines()[0] == "euler            EULER"
    assert call("list", "models", "--json").events == [
        {"event": "listed", "models": [{"name": "pinxit", "title": "PINXIT"}]}
    ]
    assert call("list", "schedules").out == "karras  KARRAS\n"
    wrong = call("list", "sampler")
    assert (wrong.code, wrong.err.splitlines()[1]) == (3, "  Did you mean 'samplers'?")


def test_data_build_passes_its_options_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pinxit.train.data import build as module

    seen: list[Any] = []

    def build(options: Any, report: Any) -> Any:
        seen.append(options)
        report("noto: 3 kept")
        return SimpleNamespace(drawings=(1, 2, 3))

    monkeypatch.setattr(module, "build", build)
    words = (
        "data",
        "build",
        "--out",
        "bank",
        "--sources",
        "noto, fluent",
        "--size",
        "64,32",
        "--limit",
        "9",
        "--keep-going",
    )
    done = call(*words)
    assert (done.code, done.out, done.err) == (0, "bank\n", "noto: 3 kept\n")
    options = seen[0]
    assert (options.folder, options.cache) == (Path("bank"), tmp_path / "cache" / "drawings")
    assert (options.sources, options.sizes, options.limit, options.keep_going) == (
        ("noto", "fluent"),
        (64, 32),
        9,
        True,
    )
    events = call(*words, "--json").events
    assert events[0] == {"event": "report", "line": "noto: 3 kept"}
    assert events[-1] == {"event": "finished", "folder": "bank", "drawings": 3}


def test_data_build_refuses_what_is_wrong() -> None:
    done = call("data", "build", "--out", "bank", "--size", "64,x")
    assert (done.code, done.err) == (3, "pinxit: --size must be a whole number from 1 up, not 'x'.\n")
    unknown = call("data", "build", "--out", "bank", "--sources", "nowhere")
    assert unknown.code == 3
    assert "nowhere" in unknown.err


def test_data_build_takes_everything_unless_told_and_a_pack_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    from pinxit.train.data import build as module

    seen: list[Any] = []
    monkeypatch.setattr(module, "build", lambda options, _: seen.append(options) or SimpleNamespace(drawings=()))
    assert call("data", "build", "--out", "bank", "--pack", "drawings.tar.xz").code == 0
    assert (seen[0].sources, seen[0].pack, seen[0].sizes) == (None, Path("drawings.tar.xz"), (256, 128))


def test_data_pack_writes_what_the_packages_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pinxit.train.data import listing as module
    from tests.train.data import fakes

    options = fakes.options(tmp_path / "packages")
    found = module.list_drawings(options.table, options.labels, options.cache, lambda _: None)
    asked: list[Any] = []
    monkeypatch.setattr(module, "list_drawings", lambda *_, **words: asked.append(words) or found)
    done = call("data", "pack", "--out", "new/drawings.tar.xz", "--sources", "noto", "--keep-going")
    assert (done.code, done.out) == (0, "new/drawings.tar.xz\n")
    assert "drawings, 0.0 MB" in done.err
    assert asked == [{"wanted": ("noto",), "keep_going": True}]
    told = call("data", "pack", "--out", "drawings.tar.xz", "--json").events[-1]
    assert told["bytes"] == Path("drawings.tar.xz").stat().st_size
    assert call("data", "build", "--out", "bank", "--pack", "drawings.tar.xz", "--size", "32").code == 0
    assert call("data", "sheet", "bank", "--out", "sheets").out == "sheets\n"
    assert {"README.md", "noto.webp"} <= {path.name for path in Path("sheets").iterdir()}
    assert call("data", "sheet", "nowhere", "--out", "sheets").code == 5
    assert "--out FILE" in call("data", "pack").err


def test_data_build_names_the_extra_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pinxit.train.data.build", None)
    done = call("data", "build", "--out", "bank")
    assert done.code == 5
    assert done.err.splitlines()[1] == '  pip install "pinxit[data]"'


def test_recipes_go_by_name_or_path() -> None:
    assert {"text", "unet"} <= set(shipped_recipes())
    assert recipe_path("text") == shipped_recipes()["text"]
    assert recipe_path("my/own.toml") == Path("my/own.toml")
    with pytest.raises(UnknownName, match="no recipe named 'txt'"):
        recipe_path("txt")


def train(monkeypatch: pytest.MonkeyPatch, seconds: float, *, finished: bool, words: tuple[str, ...] = ()) -> Any:
    from pinxit.train import workshop
    from pinxit.train.loop import Summary

    seen: list[Any] = []

    def work(job: Any, report: Any) -> Summary:
        seen.append(job)
        report("step 1")
        return Summary(steps=5, seconds=seconds, rate=1.0, finished=finished)

    monkeypatch.setattr(workshop, "run", work)
    done = call("train", "text", "--data", "bank", "--into", "workshop", *words)
    return done, seen[0]


def test_training_is_told_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    done, job = train(monkeypatch, 9.0, finished=True, words=("--steps", "5", "--decay", "0", "--device", "cpu"))
    assert (done.code, done.out, done.err) == (0, "workshop\n", "step 1\n")
    assert (job.name, job.bank, job.workshop) == ("text", Path("bank"), Path("workshop"))
    assert (job.recipe.optimisation.steps, job.recipe.optimisation.decay, job.limits.seconds) == (5, 0, None)
    assert (job.workers.rank, job.workers.count, job.device.type) == (0, 1, "cpu")


def test_training_may_end_by_the_clock_or_by_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    done, job = train(monkeypatch, 60.5, finished=False, words=("--seconds", "60", "--json"))
    assert (done.code, job.limits.seconds) == (0, 60)
    assert done.events[-1] == {
        "event": "finished",
        "workshop": "workshop",
        "steps": 5,
        "finished": False,
        "seconds": 60.5,
    }
    stopped, _ = train(monkeypatch, 2.0, finished=False)
    assert stopped.code == 130
    assert stopped.err.endswith("pinxit: Stopped after 5 steps.\n  The state is saved; the same command goes on.\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "0"], "--steps must be a whole number from 1 up, not '0'."),
        (["--seconds", "-3"], "--seconds must be a whole number from 1 up, not '-3'."),
    ],
)
def test_bad_numbers_are_told(words: list[str], message: str) -> None:
    done = call("train", "text", "--data", "b", "--into", "w", *words)
    assert (done.code, done.err) == (3, f"pinxit: {message}\n")


def test_a_device_is_known_and_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = ("train", "text", "--data", "b", "--into", "w", "--device")
    done = call(*words, "cuda")
    assert (done.code, done.err.splitlines()[0]) == (5, "pinxit: There is no CUDA device here.")
    assert call(*words, "tpu").code == 3


def test_a_missing_bank_or_recipe_is_told() -> None:
    assert call("train", "text", "--data", "nowhere", "--into", "w").code in (3, 5)
    done = call("train", "own.toml", "--data", "b", "--into", "w")
    assert (done.code, "own.toml" in done.err) == (5, True)
