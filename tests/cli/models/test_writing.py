"""The commands that write models: what they say, answer and leave behind."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pinxit.cli.app import run
from pinxit.cli.terminal import Terminal
from tests.tiny import make_sd1, make_sd2


@dataclass(frozen=True, slots=True)
class Said:
    code: int
    out: str
    err: str


Ask = Callable[..., Said]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Call `pinxit models ...` in an empty folder with its own library."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PINXIT_MODELS", str(tmp_path / "library"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def asked(*words: str, lang: str = "en") -> Said:
        out, err = io.StringIO(), io.StringIO()
        code = run(["models", *words], Terminal(out=out, err=err, input=io.BytesIO(), lang=lang))
        return Said(code, out.getvalue(), err.getvalue())

    return asked


def test_conversion(ask: Ask) -> None:
    make_sd1(Path("m.safetensors"))
    done = ask("convert", "m.safetensors", "folder", "--dtype", "bf16", "--max-shard-size", "1MB")
    assert (done.code, done.out) == (0, "folder\n")
    assert "498 tensors (unet, vae, text_encoder), " in done.err
    assert Path("folder/unet/diffusion_pytorch_model.safetensors.index.json").is_file()
    done = ask("convert", "folder", "one.safetensors", "--components", "unet, vae", "--quiet")
    assert (done.code, done.out, done.err) == (0, "one.safetensors\n", "")
    assert {tensor.dtype for tensor in load_file("one.safetensors").values()} == {torch.bfloat16}
    done = ask("convert", "folder", "one.safetensors")
    assert (done.code, done.err) == (
        3,
        "pinxit: one.safetensors exists already.\n  Choose another name, or allow overwriting.\n",
    )
    done = ask("convert", "folder", "one.safetensors", "--overwrite", "--json")
    told = json.loads(done.out)
    assert (told["event"], told["path"], told["model"], told["tensors"]) == ("finished", "one.safetensors", "sd1", 498)


def test_a_model_is_found_by_its_name(ask: Ask) -> None:
    Path("library").mkdir()
    make_sd1(Path("library/dream.safetensors"))
    assert ask("convert", "dream", "out").code == 0
    done = ask("convert", "dreem", "out2")
    assert done.code == 3
    assert "Did you mean 'dream'?" in done.err


def test_an_old_checkpoint_is_refused_with_the_command_that_converts_it(ask: Ask) -> None:
    make_sd1(Path("m.safetensors"))
    torch.save({"state_dict": load_file("m.safetensors"), "callbacks": {}}, "old.ckpt")
    refused = run(
        ["paint", "a cat", "--model", "old.ckpt"],
        Terminal(out=io.StringIO(), err=(err := io.StringIO()), input=io.BytesIO()),
    )
    assert refused == 4
    assert "Convert it" in err.getvalue()
    assert "pinxit models convert " in err.getvalue()
    done = ask("convert", "old.ckpt", "new.safetensors")
    assert (done.code, done.out) == (0, "new.safetensors\n")
    assert "left out beside the weights: callbacks" in done.err
    assert load_file("new.safetensors").keys() == load_file("m.safetensors").keys()


def test_pruning_and_the_vae(ask: Ask) -> None:
    make_sd1(Path("m.safetensors"))
    assert ask("prune", "m.safetensors", "small.safetensors", "--dtype", "f32").code == 0
    assert {tensor.dtype for tensor in load_file("small.safetensors").values()} == {torch.float32}
    done = ask("extract-vae", "m.safetensors", "vae.safetensors", lang="zh-CN")
    assert (done.code, done.out) == (0, "vae.safetensors\n")
    assert "略去 286 个张量：" in done.err
    assert all(name.startswith(("encoder", "decoder", "quant", "post")) for name in load_file("vae.safetensors"))


def test_merging(ask: Ask) -> None:
    make_sd1(Path("a.safetensors"))
    make_sd1(Path("b.safetensors"))
    make_sd2(Path("c.safetensors"))
    words = ("merge", "a.safetensors", "b.safetensors", "--out", "m.safetensors", "--ratio", "0.4")
    assert ask(*words, "--blocks", "grad-v,in00=1", "--vae", "B").code == 0
    mixed, whole = load_file("m.safetensors"), load_file("a.safetensors")
    assert all(torch.allclose(mixed[name].float(), whole[name].float(), atol=2e-3) for name in whole)
    assert ask("merge", "a.safetensors", "b.safetensors").err.startswith(
        "pinxit: pinxit models merge needs --out FILE."
    )
    assert ask("merge", "a.safetensors", "c.safetensors", "--out", "x.safetensors").code == 3
    done = ask("merge", "a.safetensors", "b.safetensors", "--out", "x", "--ratio", "half")
    assert (done.code, done.err) == (2, "pinxit: --ratio must be a number, not half.\n")
    assert ask("merge", "a.safetensors", "--out", "x").code == 2


@pytest.mark.parametrize("command", ["convert", "merge", "extract-vae", "prune"])
def test_every_command_has_a_page_in_both_languages(ask: Ask, command: str) -> None:
    english, chinese = ask(command, "--help"), ask(command, "--help", lang="zh-CN")
    assert english.code == chinese.code == 0
    assert f"pinxit models {command} " in english.out
    assert english.out != chinese.out


def test_wishes_that_make_no_sense(ask: Ask) -> None:
    make_sd1(Path("m.safetensors"))
    for words, expected in (
        (("--layout", "flat"), "There is no layout 'flat'."),
        (("--dtype", "int4"), "There is no number type 'int4' to write."),
        (("--max-shard-size", "much"), "'much' is no size of a file."),
        (("--components", "soul"), "m.safetensors holds no soul."),
        (("--use-ema",), "m.safetensors holds no averaged weights."),
    ):
        done = ask("convert", "m.safetensors", "out.safetensors", *words)
        assert (done.code, done.err.splitlines()[0]) == (3, f"pinxit: {expected}")
    assert not Path("out.safetensors").exists()
