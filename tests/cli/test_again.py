from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pinxit.schema.errors import UnknownName
from pinxit.schema.parts import FromImage
from pinxit.schema.picture import read_record, sidecar
from tests.cli.fakes import FakeStudio, call

FOREIGN = (
    "a castle, (stone:1.2)\nNegative prompt: fog\nSteps: 20, Sampler: Euler, Schedule type: Automatic, CFG scale: 7, "
    "Seed: 5, Size: 64x64, Model: other, Hires upscale: 2"
)


@pytest.fixture
def apple(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert call("paint", "a red\napple", "--negative", "fog", "--seed", "9", "--output", "apple.png").code == 0
    return tmp_path / "apple.png"


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    texts = PngInfo()
    texts.add_text("parameters", FOREIGN)
    Image.new("RGB", (64, 64)).save("castle.png", pnginfo=texts)
    return tmp_path / "castle.png"


def test_info_shows_the_recipe(apple: Path) -> None:
    done = call("info", str(apple))
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "Prompt           a red"
    assert lines[1] == "                 apple"
    assert "Seed             9" in lines
    assert f"Files            unet.safetensors (sha256 {'cd' * 32})" in lines
    chinese = call("info", str(apple), "--lang", "zh")
    assert "种子        9" in chinese.out.splitlines()


def test_info_as_json_holds_the_record(apple: Path) -> None:
    event = call("info", str(apple), "--json").events[0]
    assert event == {"event": "recipe", "program": "pinxit", "record": read_record(apple).to_dict()}


def test_info_reads_other_programs(foreign: Path) -> None:
    done = call("info", str(foreign))
    lines = {line[:20].strip(): line[20:].strip() for line in done.out.splitlines()}
    assert done.code == 0
    assert "a castle, (stone:1.2)" in done.out
    assert "Hires upscale" in done.out
    assert "another program" in done.out, lines
    event = call("info", str(foreign), "--json").events[0]
    assert (event["program"], event["request"]["seed"], event["other"]) == ("a1111", 5, {"Hires upscale": "2"})
    assert event["parameters"] == FOREIGN


def test_info_lets_nothing_drive_the_terminal(tmp_path: Path) -> None:
    texts = PngInfo()
    texts.add_text(
        "parameters",
        FOREIGN.replace("castle", "ca\x1b[2Jst\u202ele\x9b1m").encode("latin-1", "ignore").decode("latin-1"),
    )
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png", pnginfo=texts)
    done = call("info", str(tmp_path / "x.png"))
    assert done.code == 0
    assert not set(done.out) & set("\x1b\x9b\u202e")


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("none.png", None, 5, "There is no file"),
        ("text.png", b"hello", 3, "text.png"),
        ("empty.png", b"", 3, "empty.png"),
        ("broken.json", b"{", 3, "The record is not JSON"),
    ],
)
@pytest.mark.parametrize("command", ["info", "redo", "verify"])
def test_files_without_a_recipe(
    tmp_path: Path, command: str, name: str, content: bytes | None, code: int, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    done = call(command, str(path))
    assert (done.code, done.out) == (code, "")
    assert message in done.err or "picture" in done.err


def test_a_picture_without_a_recipe(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    done = call("info", str(tmp_path / "plain.png"))
    assert done.code == 3
    assert done.err.startswith("pinxit: plain.png holds no recipe.\n  Programs that edit or send pictures")


def test_redo_makes_the_same_file(apple: Path) -> None:
    assert call("redo", str(apple), "--output", "again.png").out == "again.png\n"
    assert Path("again.png").read_bytes() == apple.read_bytes()


def test_redo_takes_changes(apple: Path) -> None:
    studio = FakeStudio()
    words = ("--seed", "10", "--prompt", "a pear", "--steps", "3", "--format", "webp", "--count", "2")
    assert call("redo", str(apple), *words, "--output", "out", studio=studio).code == 0
    request, _ = studio.asked[-1]
    assert (request.seed, request.prompt, request.negative, request.steps) == (10, "a pear", "fog", 3)
    assert len(list(Path("out").glob("*.webp"))) == 2
    assert call("redo", str(apple), "--steps", "0").code == 3


def test_redo_reads_a_recipe_beside_a_picture(apple: Path) -> None:
    Path("apple.json").write_bytes(sidecar(read_record(apple)))
    assert call("redo", "apple.json", "--output", "again.png").code == 0
    assert Path("again.png").read_bytes() == apple.read_bytes()


def test_redo_follows_other_programs(foreign: Path) -> None:
    studio = FakeStudio()
    done = call("redo", str(foreign), "--sampler", "euler", "--model", "pinxit", studio=studio)
    assert done.code == 0
    assert "Not taken over: Hires upscale: 2" in done.err
    assert (studio.asked[0][0].prompt, studio.asked[0][0].seed) == ("a castle, (stone:1.2)", 5)


def test_redo_and_verify_find_the_starting_picture(apple: Path) -> None:
    assert call("paint", "a pear", "--image", "apple.png", "--output", "deep/pear.png").code == 0
    studio = FakeStudio()
    assert call("redo", "deep/pear.png", "--strength", "0.3", "--output", "b.png", studio=studio).code == 0
    request, inputs = studio.asked[0]
    assert isinstance(request.source, FromImage)
    assert (request.source.image.name, request.source.strength) == ("apple.png", 0.3)
    assert list(inputs.values()) == [apple.read_bytes()]
    apple.rename("renamed.png")
    assert call("verify", "deep/pear.png").code == 0
    Path("elsewhere").mkdir()
    Path("renamed.png").rename("elsewhere/renamed.png")
    done = call("verify", "deep/pear.png")
    assert done.code == 5
    assert done.err.startswith(
        "pinxit: The input picture apple.png is not here.\n  Give the file whose SHA-256 begins with"
    )
    assert call("verify", "deep/pear.png", "--image", "elsewhere/renamed.png").code == 0
    wrong = call("redo", "deep/pear.png", "--image", "b.png")
    assert wrong.code == 3
    assert wrong.err.startswith("pinxit: b.png is not the picture that the recipe starts from.\n")


def test_redo_can_begin_from_a_picture(apple: Path) -> None:
    studio = FakeStudio()
    assert call("redo", str(apple), "--image", "apple.png", "--strength", "0.2", studio=studio).code == 0
    assert isinstance(studio.asked[0][0].source, FromImage)
    assert call("redo", str(apple), "--strength", "0.2").code == 2


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg"])
def test_verify_knows_an_equal_picture(apple: Path, name: str) -> None:
    assert call("redo", str(apple), "--output", name).code == 0
    done = call("verify", name)
    assert (done.code, done.out) == (0, "Equal: every pixel is the same.\n")


def test_verify_measures_and_explains(apple: Path) -> None:
    done = call("verify", str(apple), studio=FakeStudio(shift=2, torch="2.14.0"))
    assert done.code == 1
    assert done.out.splitlines() == [
        "Differs: 100 % of the pixels, by up to 2 of 255; PSNR 42.1 dB.",
        "  Torch: was 2.13.0, is 2.14.0",
    ]
    unexplained = call("verify", str(apple), studio=FakeStudio(shift=2))
    assert "The recipe explains no difference" in unexplained.out
    event = call("verify", str(apple), "--json", studio=FakeStudio(shift=2)).events[-1]
    assert (event["event"], event["equal"], event["largest"]) == ("verified", False, 2)


def test_verify_refuses_what_it_cannot_remake(apple: Path, foreign: Path) -> None:
    assert call("redo", str(apple), "--sampler", "dpmpp_2m", "--output", "b.png").code == 0
    plain = FakeStudio(error=UnknownName("sampler", "dpmpp_2m", ["euler"]))
    done = call("verify", "b.png", studio=plain)
    assert done.code == 5
    assert done.err.startswith("pinxit: There is no sampler named 'dpmpp_2m'.")
    other = call("verify", str(foreign))
    assert other.code == 3
    assert other.err.startswith("pinxit: The picture was made by another program")


def test_verify_paints_with_a_model_from_elsewhere(apple: Path) -> None:
    studio = FakeStudio()
    assert call("verify", str(apple), "--model", "./moved.safetensors", studio=studio).code == 0
    assert studio.adopted == [Path("moved.safetensors")]


def test_verify_paints_with_adapters_from_elsewhere(apple: Path) -> None:
    studio = FakeStudio()
    assert call("verify", str(apple), "--adapter", "./moved.safetensors", "--adapter", "b@0.5", studio=studio).code == 0
    assert studio.adopted == [Path("moved.safetensors")]
    assert [str(one) for one in studio.asked[0][0].adapters] == ["lora:moved@1.0", "lora:b@0.5"]
