from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pinxit import __version__
from pinxit.cli.app import run
from pinxit.cli.commands import COMMANDS, Command, Entry
from pinxit.cli.docs import exit_codes
from pinxit.cli.help import columns, wrapped
from pinxit.cli.terminal import Terminal, language_of, safe
from pinxit.schema.errors import PinxitError
from tests.cli.fakes import FakeStudio, call

PROBE = """
import sys
from pinxit.cli.app import run
from pinxit.cli.terminal import standard
code = run(sys.argv[1:], standard(sys.argv[1:]))
print(code, sorted({"torch", "numpy", "PIL", "pinxit.studio", "rich"} & set(sys.modules)), "pydantic" in sys.modules)
"""


def probe(*argv: str) -> str:
    done = subprocess.run([sys.executable, "-c", PROBE, *argv], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_help_loads_no_library() -> None:
    assert probe("--help") == "0 [] False"
    assert probe("paint", "--help") == "0 [] True"


def test_it_runs_as_a_module() -> None:
    words = [sys.executable, "-m", "pinxit", "pant"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "PINXIT_LANG": "zh"})
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["pinxit：没有命令 pant。", "  提示：你是不是想输入 pinxit paint？"]


def test_the_first_page_lists_every_command() -> None:
    done = call("--help")
    assert (done.code, done.err) == (0, "")
    assert all(f"  {entry.name}  " in done.out for entry in COMMANDS)
    assert call("-h", "--lang", "zh_CN.UTF-8").out.startswith("用法：pinxit COMMAND ...\n")
    assert call().code == 2
    assert call().out == done.out


@pytest.mark.parametrize("lang", ["en", "zh-CN"])
@pytest.mark.parametrize("entry", [entry for entry in COMMANDS if entry.name != "bench"], ids=lambda entry: entry.name)
def test_every_command_has_a_page(entry: Entry, lang: str) -> None:
    done = call(*entry.name.split(), "--help", "--lang", lang)
    loaded = entry.load()
    assert isinstance(loaded, Command)
    assert done.code == 0
    assert all(columns(line) <= 100 for line in done.out.splitlines())
    for flag in loaded.flags:
        assert f"--{flag.name}" in done.out
    assert call("--help", *entry.name.split(), "--lang", lang).out == done.out


def test_the_page_of_paint_puts_the_rare_flags_last() -> None:
    page = call("paint", "--help").out
    headings = [line for line in page.splitlines() if line and not line.startswith(" ")]
    assert headings[2:] == [
        "This command",
        "Prompt",
        "Picture",
        "Sampling",
        "Guidance",
        "Starting picture",
        "Further passes",
        "Output file",
        "Advanced",
        "With what to compute",
        "Every command",
        "Examples",
    ]
    assert page.index("\nAdvanced\n") < page.index("--clip-skip")
    assert "  --steps N               How many steps lead from noise to picture." in page
    assert "[1–1000]" in page
    assert "[png|jpeg|webp, default png]" in page


def test_wide_characters_take_two_columns() -> None:
    assert columns("猫cat") == 5
    assert wrapped("一二三，四五 end", 6) == ["一二", "三，四", "五 end"]
    assert wrapped("a longer line", 8) == ["a longer", "line"]


def test_the_version_is_told() -> None:
    assert call("--version").out == f"pinxit {__version__}\n"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["pain"], "There is no command pain.", "Did you mean pinxit paint or pinxit train?"),
        (["a red apple"], "There is no command a red apple.", 'To paint it: pinxit paint "a red apple"'),
        (["frobnicate"], "There is no command frobnicate.", "pinxit --help lists the commands."),
        (["data"], "data needs a second word.", "Known: data build, data pack, data sheet, data words."),
        (["paint"], "pinxit paint needs PROMPT.", "See pinxit paint --help."),
        (["paint", "a", "cat"], "Unexpected: cat", "Put words that belong together in quotes."),
        (["paint", "x", "--stps", "3"], "There is no flag --stps.", "Did you mean --steps or --shift?"),
        (["paint", "x", "--zzzzzz"], "There is no flag --zzzzzz.", "See pinxit paint --help."),
        (["paint", "-x"], "There is no flag -x.", "Put -- before a word that begins with a dash."),
        (["paint", "x", "--steps"], "--steps needs a value: --steps N", "See pinxit paint --help."),
        (["paint", "x", "--steps", "--json"], "", ""),
        (["paint", "x", "--quiet=yes"], "--quiet takes no value.", ""),
        (["paint", "x", "--lang", "fr"], "There is no language fr.", "Known: en, zh-CN."),
        (["--lang"], "--lang needs a value: --lang TAG", ""),
        (["--frobnicate"], "There is no flag --frobnicate.", ""),
        (["data", "build"], "pinxit data build needs --out FOLDER.", ""),
        (["train", "text"], "pinxit train needs --data FOLDER.", ""),
    ],
)
def test_wrong_command_lines_are_told(words: list[str], message: str, hint: str) -> None:
    done = call(*words)
    assert done.code == 2
    if "--json" in words:
        assert done.events[-1]["code"] == "usage"
        return
    assert done.err.splitlines()[0] == f"pinxit: {message}"
    assert hint in done.err


def test_a_dash_is_no_flag_after_two_dashes() -> None:
    studio = FakeStudio()
    assert call("paint", "--dry-run", "--", "--json is a flag", studio=studio).code == 0
    assert studio.asked[0][0].prompt == "--json is a flag"


def test_the_last_value_of_a_flag_counts() -> None:
    studio = FakeStudio()
    assert call("paint", "x", "--dry-run", "--steps", "3", "--steps=5", studio=studio).code == 0
    assert studio.asked[0][0].steps == 5


@pytest.mark.parametrize(
    ("argv", "environment", "lang"),
    [
        ([], {}, "en"),
        ([], {"LANG": "zh_CN.UTF-8"}, "zh-CN"),
        ([], {"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ([], {"PINXIT_LANG": "zh", "LC_ALL": "C"}, "zh-CN"),
        (["--lang=en"], {"PINXIT_LANG": "zh"}, "en"),
        (["paint", "--", "--lang", "zh"], {}, "en"),
    ],
)
def test_the_language_is_chosen(argv: list[str], environment: dict[str, str], lang: str) -> None:
    assert language_of(argv, environment) == lang


def test_commands_may_come_from_elsewhere() -> None:
    foreign = Entry(name="hello there", target="tests.cli.test_app:hello", summary="Greets.")
    done = call("hello", "there", "--loud", commands=(*COMMANDS, foreign))
    assert done.code == 42
    assert "  hello there             Greets.\n" in call("--help", commands=(*COMMANDS, foreign)).out
    broken = Entry(name="broken", target="pinxit.nowhere:main", summary="Broken.")
    lost = call("broken", commands=(broken,))
    assert lost.code == 5
    assert "The command broken cannot be loaded: No module named 'pinxit.nowhere'." in lost.err


def hello(argv: Sequence[str]) -> int:
    return 42 if list(argv) == ["--loud"] else 1


class Closed(io.StringIO):
    def write(self, s: str, /) -> int:
        raise BrokenPipeError


def test_a_reader_that_went_away_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinxit.cli.app._let_go_of_output", lambda: None)
    err = io.StringIO()
    assert run(["--help"], Terminal(out=Closed(), err=err, input=io.BytesIO())) == 141
    assert err.getvalue() == ""


def test_output_ends_quietly_in_a_closed_pipe() -> None:
    script = f"{sys.executable} -m pinxit --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 141)
    assert done.stderr == ""


def test_printed_text_cannot_drive_a_terminal() -> None:
    assert safe("a\x1b[31mb\x07\x9b\u202e\ud800c\n") == "a[31mbc"
    assert safe("a\nb", lines=True) == "a\nb"


def test_every_exit_code_is_documented() -> None:
    def kinds(kind: type[PinxitError]) -> set[int]:
        return {kind.exit_code}.union(*(kinds(child) for child in kind.__subclasses__()))

    assert kinds(PinxitError) | {0, 70, 141} == set(exit_codes())


def test_the_page_in_the_docs_is_fresh() -> None:
    from pinxit.cli.docs import reference

    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
    assert page.endswith(reference("en").rstrip() + "\n")
    assert reference("zh-CN").count("\n## ") == reference("en").count("\n## ")
