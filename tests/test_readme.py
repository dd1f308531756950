"""The commands in the README do what it says, in order, with a random model in place of the built-in one."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path

import pytest

from pinxit.cli.app import run
from pinxit.cli.terminal import Terminal, language_of
from pinxit.studio.library import Library
from pinxit.studio.studio import Studio
from tests.tiny import make_pinxit

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
FENCES = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """The arguments of every line that begins with `pinxit`, outside the two that install it."""
    lines = [line for fence in FENCES for line in fence.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("pinxit ")]


def test_the_examples_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))
    studio = Studio(library=Library((), builtin=make_pinxit(tmp_path / "model")))
    for argv in commands():
        out, err = io.StringIO(), io.StringIO()
        terminal = Terminal(out=out, err=err, input=io.BytesIO(), lang=language_of(argv, {}))
        code = run(faster(argv), terminal, open_studio=lambda means=None, /: studio)
        assert (code, bool(out.getvalue())) == (0, True), f"{argv}: {err.getvalue()}"
    assert {path.name for path in tmp_path.iterdir()} >= {
        "apple.png",
        "again.png",
        "other.png",
        "green.png",
        "苹果.png",
    }
    assert len(list((tmp_path / "cats").iterdir())) == 4


def faster(argv: list[str]) -> list[str]:
    """The same command with two steps; of a flag that is given twice the last one counts."""
    return [*argv, "--steps", "2"] if argv[0] in ("paint", "redo") else argv


def test_the_page_opens_with_the_two_commands() -> None:
    install, gate = (fence.strip() for fence in FENCES[:2])
    assert README.index(install) < README.index(gate) < README.index("## ")
    assert install.startswith("python3 -m venv .venv && ")
    assert "\n" not in install + gate
    assert (ROOT / ".ci" / "run").read_text("utf-8").rstrip().splitlines()[-1] == gate


def test_every_link_leads_to_a_file() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))):
        links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)", page.read_text("utf-8"))
        gone = [link for link in links if not (page.parent / link).exists()]
        assert not gone, f"{page.name} links to {gone}"
