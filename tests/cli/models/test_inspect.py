from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pinxit.cli.app import run
from pinxit.cli.commands import COMMANDS
from pinxit.cli.models.inspect import number_text, size_text
from pinxit.cli.terminal import Terminal
from tests.cli.fakes import FakeStudio, call
from tests.reference import golden_json
from tests.weights.files import manifest, sparse_file


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    shapes = {name: shape for name, shape in manifest("sd-v1").items() if not name.startswith("first_stage_model.")}
    return sparse_file(
        tmp_path / "mine.safetensors", shapes, dtype="F16", metadata={"modelspec.license": "cc-by-nc-4.0"}
    )


def lines(out: str) -> dict[str, list[str]]:
    """The texts behind each title; a line without one belongs to the title before it."""
    found: dict[str, list[str]] = {}
    title = ""
    for line in out.splitlines():
        title = line[:16].strip() or title
        found.setdefault(title, []).append(line[16:])
    return found


def test_a_person_reads_what_a_checkpoint_is(checkpoint: Path) -> None:
    done = call("models", "inspect", str(checkpoint), "--no-hashes")
    assert (done.code, done.err) == (0, "")
    told = lines(done.out)
    assert told["file"] == [f"mine.safetensors ({size_text(checkpoint.stat().st_size)})"]
    assert told["is"] == ["checkpoint"]
    assert told["family"] == ["Stable Diffusion 1.x (sd1), base"]
    assert told["prediction"] == ["epsilon"]
    assert told["layout"] == ["single (sd1)"]
    assert "unet: 859.52 M weights in 686 tensors, 1.72 GB of F16" in told["holds"]
    assert told["missing"] == ["vae"]
    assert told["licence"] == ["cc-by-nc-4.0"]
    assert told["commercial use"] == ["no"]
    assert told["what to do"][-1] == "Read its licence before you use it for business."
    assert "\x1b" not in done.out
    assert "hashes" not in told


def test_it_speaks_chinese(checkpoint: Path) -> None:
    done = call("models", "inspect", str(checkpoint), "--no-hashes", "--lang", "zh-CN")
    assert done.code == 0
    assert "类型        完整模型（checkpoint）\n" in done.out
    assert "缺少变分自编码器（VAE）；它通常来自 stabilityai/sd-vae-ft-mse。" in done.out


def test_a_program_reads_json(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "lora.safetensors", golden_json("manifests/lora/kohya-sd15.json")["tensors"])
    (found,) = call("models", "inspect", "--json", str(path)).events
    assert found["kind"] == "lora"
    assert set(found["hashes"]) == {"sha256", "autov2", "autov1", "autov3", "blake3"}
    assert found["hashes"]["autov2"] == found["hashes"]["sha256"][:10]
    (short,) = call("models", "inspect", "--json", "--no-hashes", str(path)).events
    assert {**found, "hashes": None} == {**short, "hashes": None}


def test_hashes_are_shown(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "e.safetensors", {"emb_params": (2, 768)})
    told = lines(call("models", "inspect", str(path)).out)
    assert [line.split()[0] for line in told["hashes"]] == ["sha256", "autov2", "autov1", "autov3", "blake3"]


def test_a_bad_file_is_an_answer_and_not_an_error(tmp_path: Path) -> None:
    page = tmp_path / "model.safetensors"
    page.write_bytes(b"<!DOCTYPE html><title>\x1b]0;Sign in\x07</title>")
    done = call("models", "inspect", str(page))
    assert done.code == 0
    told = lines(done.out)
    assert told["is"] == ["web page, not a model"]
    assert "the page's title is: ]0;Sign in" in told["because"]
    assert "\x1b" not in done.out
    assert "\x07" not in done.out


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    shapes = {**manifest("sd-v1"), **{f"extra.{number}": (1,) for number in range(30)}}
    path = sparse_file(tmp_path / "m.safetensors", shapes, dtype="F16")
    told = lines(call("models", "inspect", str(path), "--no-hashes").out)
    assert told["unexpected"] == [", ".join(f"extra.{number}" for number in range(8)) + " and 22 more"]


@pytest.mark.parametrize("argv", [(), ("--json",)])
def test_what_is_not_there_is_missing(argv: tuple[str, ...], tmp_path: Path) -> None:
    done = call("models", "inspect", str(tmp_path / "none.safetensors"), *argv)
    assert done.code == 5
    if argv:
        assert done.events[0]["code"] == "missing"
    else:
        assert done.err.startswith(f"pinxit: There is no file {tmp_path}")


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert call("models", "inspect", str(tmp_path / "pipe")).code == 3
    assert call("models", "inspect").code == 2


def test_a_listed_model_is_found_by_its_name(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "e.safetensors", {"emb_params": (2, 768)})

    class Found(FakeStudio):
        def model_path(self, name: str | None) -> Path:
            assert name == "mine"
            return path

    assert lines(call("models", "inspect", "mine", studio=Found()).out)["file"] == [
        f"e.safetensors ({size_text(path.stat().st_size)})"
    ]


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_colours(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    screen = Screen()
    terminal = Terminal(out=screen, err=io.StringIO(), input=io.BytesIO())
    assert run(["models", "inspect", str(checkpoint), "--no-hashes"], terminal) == 0
    assert "\x1b[1;31mno" in screen.getvalue()
    assert "unet: 859.52 M weights in 686 tensors" in screen.getvalue()


def test_the_page_of_models_lists_its_commands() -> None:
    ours = [entry.name for entry in COMMANDS if entry.name.startswith("models ")]
    for words in (("models", "--help"), ("--help", "models"), ("models", "-h")):
        done = call(*words)
        assert (done.code, done.err) == (0, "")
        assert all(f"  {name}  " in done.out for name in ours)
        assert "Nothing in a model's file is ever run." in done.out
    assert call("models", "--help", "--lang", "zh-CN").out.startswith("用法：pinxit models COMMAND ...")
    assert "pinxit data COMMAND ..." in call("data", "--help").out


def test_a_wrong_second_word_is_told() -> None:
    assert call("models").code == 2
    assert "models needs a second word." in call("models").err
    done = call("models", "inspcet", "x")
    assert done.code == 2
    assert done.err.startswith("pinxit: There is no command models inspcet.\n  Did you mean pinxit models inspect")
    assert "See pinxit models --help." in call("models", "zzzzzzzz").err


def test_it_leaves_torch_alone(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "e.safetensors", {"emb_params": (2, 768)})
    script = (
        "import sys; from pinxit.cli.app import run; from pinxit.cli.terminal import standard;"
        "words = ['models', 'inspect', sys.argv[1], '--json']; code = run(words, standard(words));"
        "print(code, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["0", "False"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (4_265_146_304, "4.27 GB"), (2_500_000, "2.50 MB")],
)
def test_sizes_are_said_in_words(count: int, text: str) -> None:
    assert size_text(count) == text


def test_counts_are_said_in_words() -> None:
    assert (number_text(859_520_964), number_text(768), number_text(12_000)) == ("859.52 M", "768", "12,000")
