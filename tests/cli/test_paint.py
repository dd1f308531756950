from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pinxit.cli import request_flags
from pinxit.cli.parser import parse
from pinxit.cli.texts import text
from pinxit.schema.errors import BadImage, BadInput, NumericError, OutOfMemory
from pinxit.schema.parts import Blank, FromImage
from pinxit.schema.picture import encode_image, read_record
from pinxit.schema.request import GenerationRequest, validated
from tests.cli.fakes import FakeStudio, call, square
from tests.schema.strategies import requests


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_prompt_is_enough() -> None:
    done = call("paint", "a red apple")
    assert done.code == 0
    path = Path(done.out.splitlines()[-1])
    assert path == Path("pictures/7-a-red-apple.png")
    assert read_record(path).request.prompt == "a red apple"
    assert done.err.splitlines() == ["a remark", "painting", "4 steps, 0.25 s/step", "1 painted in 1.5 s"]


def test_quiet_says_paths_only() -> None:
    done = call("paint", "x", "--quiet", "--count", "2")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == ["pictures/7-x.png", "pictures/8-x.png"]


def test_json_is_one_event_a_line() -> None:
    done = call("paint", "苹果", "--json", "--steps", "2", "--output", "a.png")
    kinds = ["planned", "stage_started", "stepped", "stepped", "image_ready", "finished"]
    assert [event["event"] for event in done.events] == kinds
    assert done.events[-1] == {"event": "finished", "images": [{"path": "a.png", "seed": 7}], "seconds": 1.5}
    assert (done.err, done.out.isascii()) == ("", True)


def test_every_field_of_the_request_has_a_flag() -> None:
    fields = set(GenerationRequest.model_fields)
    assert {setting.path[0] for setting in request_flags.settings()} == fields
    names = [flag.name for flag in request_flags.request_flags()]
    assert len(set(names)) == len(names)


def test_flags_fill_the_request() -> None:
    studio = FakeStudio()
    flags = (
        "--negative fog --seed 18446744073709551615 --steps 12 --sampler euler_ancestral --schedule karras "
        "--guidance 3 --size 72x64 --guidance-rescale 0.5 --guidance-interval 0.3,6 "
        "--eta 0 --s-churn 1e1 --clip-skip 2 --quality 80"
    )
    assert call("paint", "x", *flags.split(), "--format=jpeg", studio=studio).code == 0
    request, inputs = studio.asked[0]
    assert request == validated(
        {
            "prompt": "x",
            "negative": "fog",
            "seed": 2**64 - 1,
            "steps": 12,
            "sampler": "euler_ancestral",
            "schedule": "karras",
            "guidance": 3.0,
            "size": "72x64",
            "guidance_rescale": 0.5,
            "guidance_interval": [0.3, 6.0],
            "eta": 0.0,
            "s_churn": 10.0,
            "clip_skip": 2,
            "quality": 80,
            "format": "jpeg",
        }
    )
    assert inputs == {}


@settings(max_examples=30)
@given(requests)
def test_arguments_and_requests_say_the_same(request: GenerationRequest) -> None:
    request = request.replace(source=Blank())
    words = [
        f"--{name.replace('_', '-')}={spelt(name, request)}"
        for name in GenerationRequest.model_fields
        if given_by(name, request)
    ]
    words += [f"--adapter={one}" for one in request.adapters]
    for one in request.passes:
        words += [f"--refiner={one.model}", f"--refiner-switch={one.switch!r}"]
    arguments = parse(words, request_flags.request_flags(), (), "paint", lambda key, **_: text(key))
    passes = request_flags.given_passes(arguments)
    assert validated({**request_flags.given(arguments), **({} if passes is None else {"passes": passes})}) == request


def given_by(name: str, request: GenerationRequest) -> bool:
    return name not in ("source", "passes", "adapters") and getattr(request, name) is not None


def spelt(name: str, request: GenerationRequest) -> str:
    value = getattr(request, name)
    if name == "guidance_interval":
        return f"{value.lo!r},{value.hi!r}"
    return repr(value) if isinstance(value, float) else str(value)


@settings(max_examples=20)
@given(st.text(max_size=30))
def test_any_prompt_ends_in_an_exit_code(prompt: str) -> None:
    assert call("paint", "--dry-run", "--", prompt).code in (0, 3)


def test_the_prompt_may_come_from_standard_input() -> None:
    studio = FakeStudio()
    assert call("paint", "-", "--dry-run", studio=studio, stdin="\ufeff一只猫\n第二行\r\n".encode()).code == 0
    assert studio.asked[0][0].prompt == "一只猫\n第二行"


def test_standard_input_has_limits() -> None:
    assert call("paint", "-", "--dry-run", stdin=b"x" * 65536 + b"\n").code == 0
    long = call("paint", "-", stdin=b"x" * 70000)
    assert (long.code, long.err) == (3, "pinxit: The prompt on standard input is longer than 65536 bytes.\n")
    other = call("paint", "-", stdin=b"caf\xe9")
    assert (other.code, other.err.splitlines()[0]) == (3, "pinxit: Standard input is not UTF-8 text (byte 3).")


@pytest.mark.parametrize(
    ("flags", "message", "hint"),
    [
        (["--sampler", "eulr"], "There is no sampler named 'eulr'.", "Did you mean 'euler'"),
        (["--size", "65x64"], "multiples of 8 from 64 to 4096, not 65x64", "64x64 or 72x64"),
        (["--size", "big"], "size must be two sides such as 512x768, not 'big'.", ""),
        (["--steps", "0"], "steps must be a whole number from 1 to 1000, not 0.", ""),
        (["--steps", "1000000000"], "steps must be a whole number from 1 to 1000, not 1000000000.", ""),
        (["--steps", "9" * 5000], "steps must be a whole number from 1 to 1000, not '999", ""),
        (["--steps", "4.5"], "steps must be a whole number from 1 to 1000, not '4.5'.", ""),
        (["--steps", ""], "steps must be a whole number from 1 to 1000, not ''.", ""),
        (["--guidance", "nan"], "guidance must be a finite number, not nan.", ""),
        (["--guidance", "1e999"], "guidance must be a finite number, not inf.", ""),
        (["--guidance", "much"], "guidance must be a number from 0 to 100, not 'much'.", ""),
        (["--seed", "18446744073709551616"], "seed must be a whole number from 0 to 18446744073709551615", ""),
        (["--seed", "-1"], "not -1.", "Leave the seed out for a random one."),
        (["--count", "65"], "count must be a whole number from 1 to 64, not 65.", ""),
        (["--format", "gif"], "format must be one of 'png', 'jpeg', 'webp', not 'gif'.", ""),
        (["--guidance-interval", "6,1"], "from the lower to the higher noise level", ""),
        (["--negative", "x" * 65537], "negative may hold 65536 bytes of UTF-8, not 65537.", "Shorten"),
        (["--negative", "a\0b"], "negative holds a control character, U+0000", "Remove"),
        (["--output", "a.gif"], "Pictures cannot be written as .gif.", "Use png, jpeg, webp."),
        (["--output", "a\nb"], "--output must be a path without control characters.", "another path"),
        (["--output", "a.png", "--count", "2"], "a.png is one file, and 2 pictures are asked for.", "folder"),
        (["--output", "a.png", "--format", "webp"], "a.png does not end in .webp.", "Rename"),
        (["--output", "taken/below"], "taken is not a writable folder", "another --output"),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_bad_values_are_told(flags: list[str], message: str, hint: str, dry: bool) -> None:
    Path("taken").write_text("a file")
    done = call("paint", "x", *flags, *(["--dry-run"] if dry else []))
    lines = done.err.splitlines()
    assert (done.code, done.out) == (3, "")
    assert lines[0].startswith("pinxit: ")
    assert message in lines[0]
    assert len(lines) <= 2
    assert hint in (lines[1] if len(lines) > 1 else "")


def test_a_prompt_has_a_longest_length() -> None:
    assert call("paint", "x" * 65537).code == 3


def test_the_suffix_decides_the_format() -> None:
    assert call("paint", "x", "--output", "new/a.webp").out == "new/a.webp\n"
    with Image.open("new/a.webp") as picture:
        assert picture.format == "WEBP"
    assert call("paint", "x", "--output", "b.JPG").code == 0
    assert read_record(Path("b.JPG")).request.format == "jpeg"
    assert (
        call("paint", "x", "--output", "some/folder.of/mine", "--format", "webp").out
        == "some/folder.of/mine/7-x.webp\n"
    )


def test_previews_are_pictures_in_a_folder() -> None:
    assert call("paint", "x", "--steps", "2", "--count", "2", "--previews", "steps").code == 0
    names = sorted(path.name for path in Path("steps").iterdir())
    assert names == ["01-01.png", "01-02.png", "02-01.png", "02-02.png"]
    Path("taken").touch()
    done = call("paint", "x", "--previews", "taken")
    assert done.code == BadInput.exit_code
    assert "The previews cannot be written to taken" in done.err


def test_a_file_is_replaced_and_a_folder_only_grows() -> None:
    for seed in ("1", "2"):
        assert call("paint", "x", "--seed", seed, "--output", "a.png").code == 0
    assert read_record(Path("a.png")).request.seed == 2
    assert call("paint", "x", "--output", "f").out == "f/7-x.png\n"
    assert call("paint", "x", "--output", "f").out == "f/7-x-2.png\n"


def test_a_starting_picture_travels_with_its_fingerprint() -> None:
    data = encode_image(
        square(GenerationRequest(seed=3)), FakeStudio().record_of(FakeStudio().plan(GenerationRequest()).request)
    )
    Path("start.png").write_bytes(data)
    studio = FakeStudio()
    assert call("paint", "x", "--image", "start.png", "--strength", "0.4", "--fit", "pad", studio=studio).code == 0
    request, inputs = studio.asked[0]
    digest = hashlib.sha256(data).hexdigest()
    assert isinstance(request.source, FromImage)
    assert (request.source.image.sha256, request.source.image.name, request.source.strength) == (
        digest,
        "start.png",
        0.4,
    )
    assert inputs == {digest: data}


def test_a_strength_needs_a_picture() -> None:
    done = call("paint", "x", "--strength", "0.4")
    assert done.code == 2
    assert done.err == "pinxit: --strength works on a starting picture, and there is none.\n  Add --image FILE.\n"


def test_a_missing_starting_picture_is_missing() -> None:
    done = call("paint", "x", "--image", "nowhere.png")
    assert done.code == 5
    assert "nowhere.png cannot be read: No such file or directory." in done.err


@pytest.mark.parametrize(
    ("word", "is_path"),
    [("dreamy", False), ("owner/name", False), ("./dreamy", True), ("dreamy.safetensors", True), ("sub/dreamy", True)],
)
def test_a_model_is_a_name_or_a_path(word: str, is_path: bool) -> None:
    Path("sub/dreamy").mkdir(parents=True)
    Path("dreamy").mkdir()
    studio = FakeStudio()
    assert call("paint", "x", "--model", word, "--dry-run", studio=studio).code == 0
    assert studio.adopted == ([Path(word)] if is_path else [])
    assert studio.asked[0][0].model == ("dreamy" if is_path else word)


def test_adapters_are_given_one_by_one() -> None:
    studio = FakeStudio()
    words = ("--adapter", "fur@0.5", "--adapter=./ink.safetensors@-1:0.25", "--adapter", "lora:a b")
    assert call("paint", "x", *words, "--dry-run", studio=studio).code == 0
    assert list(map(str, studio.asked[0][0].adapters)) == ["lora:fur@0.5", "lora:ink@-1.0:0.25", "lora:a b@1.0"]
    assert studio.adopted == [Path("ink.safetensors")]
    done = call("paint", "x", "--adapter", "fur@11")
    assert done.code == 3
    assert "adapters.0.weight must be a number from -10 to 10, not 11.0." in done.err


def test_a_dry_run_paints_nothing() -> None:
    done = call("paint", "x", "--dry-run", "--size", "64x72")
    assert (done.code, done.out) == (0, "picture 64x72\na remark\n")
    planned = call("paint", "x", "--dry-run", "--json")
    assert planned.events[0]["event"] == "planned"
    assert planned.events[0]["request"]["prompt"] == "x"
    assert not Path("pictures").exists()


@pytest.mark.parametrize(
    ("error", "code", "name"),
    [
        (BadImage("It is broken.", hint="Mend it."), 3, "bad_image"),
        (NumericError("Not finite."), 4, "not_finite"),
        (OutOfMemory("Too big."), 6, "out_of_memory"),
        (MemoryError(), 6, "out_of_memory"),
        (OSError(28, "No space left on device"), 6, "out_of_space"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("division by zero\nand more"), 70, "internal"),
    ],
)
def test_failures_end_the_stream(error: BaseException, code: int, name: str) -> None:
    done = call("paint", "x", "--json", studio=FakeStudio(error=error))
    assert (done.code, done.err) == (code, "")
    assert done.events[-1]["event"] == "failed"
    assert done.events[-1]["code"] == name
    told = call("paint", "x", studio=FakeStudio(error=error))
    assert (told.code, told.out) == (code, "")
    assert "Traceback" not in told.err
    assert len(told.err.splitlines()) <= 2


def test_an_unforeseen_error_points_to_trace() -> None:
    done = call("paint", "x", studio=FakeStudio(error=ZeroDivisionError("by\x1b[2Jzero")))
    assert done.err.splitlines() == [
        "pinxit: Something went wrong inside pinxit: ZeroDivisionError: by[2Jzero",
        "  Run the command again with --trace to see where, and report it.",
    ]
    traced = call("paint", "x", "--trace", studio=FakeStudio(error=ZeroDivisionError("zero")))
    assert traced.code == 70
    assert "Traceback (most recent call last)" in traced.err


def press(_step: int) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_stops_within_a_step() -> None:
    steps: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def once(step: int) -> None:
        steps.append(step)
        press(step)

    done = call("paint", "x", studio=FakeStudio(interrupt=once))
    assert (done.code, steps) == (130, [0])
    assert "Stopping after this step." in done.err
    assert done.err.endswith("pinxit: Stopped.\n  Pictures that were finished are kept.\n")
    assert not Path("pictures").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_stops_at_once() -> None:
    def twice(step: int) -> None:
        press(step)
        press(step)

    done = call("paint", "x", "--json", studio=FakeStudio(interrupt=twice))
    assert done.code == 130
    assert done.events[-1] == {
        "event": "failed",
        "code": "interrupted",
        "message": "Stopped at once.",
        "hint": "",
        "field": None,
    }


def test_finished_pictures_are_named_when_a_later_one_fails() -> None:
    count = iter(range(100))

    def later(_step: int) -> None:
        if next(count) == 5:
            press(0)

    done = call("paint", "x", "--count", "3", studio=FakeStudio(interrupt=later))
    assert (done.code, done.out) == (130, "pictures/7-x.png\n")


def test_unknown_words_are_replaced_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "pinxit"
    folder.mkdir()
    told = {"names": [{"en": ["cat"], "zh": ["猫"], "many": "cats"}], "words": ["a"], "near": {"lynx": 0}}
    (folder / "words.json").write_text(json.dumps(told))
    studio = FakeStudio()
    assert call("paint", "a lynx", "--output", "x.png", studio=studio).code == 0
    assert studio.asked[-1][0].prompt == "a lynx"
    done = call("paint", "a lynx", "--output", "x.png", "--nearest-words", studio=studio)
    assert studio.asked[-1][0].prompt == "a cat"
    assert "The model was never taught 'lynx': painting 'cat' instead." in done.err
    events = call("paint", "a lynx", "--output", "x.png", "--nearest-words", "--json", studio=studio).events
    assert events[0] == {"event": "reworded", "asked": "a lynx", "prompt": "a cat", "words": {"lynx": "cat"}}
    (folder / "words.json").unlink()
    done = call("paint", "a lynx", "--output", "x.png", "--nearest-words", studio=studio)
    assert studio.asked[-1][0].prompt == "a lynx"
    assert "does not list its words" in done.err
