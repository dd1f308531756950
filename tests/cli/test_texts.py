from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pinxit.cli
from pinxit.cli.commands import COMMANDS, Command
from pinxit.cli.parser import COMMON
from pinxit.cli.texts import ENGLISH, LANGUAGES, text
from pinxit.schema.events import StageStarted
from pinxit.schema.language import locale_texts

FOLDER = Path(pinxit.cli.__file__).parent
BUILT = ("evaluate.", "doctor.mark.", "check.", "stage.", "exit.", "page.")
"""Texts whose ids are put together where they are used."""


def places(words: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(words) if name}


def test_no_text_is_missing_or_left_over() -> None:
    assert {path.stem for path in (FOLDER / "locale").glob("*.json")} == set(LANGUAGES) - {"en"}
    for lang in set(LANGUAGES) - {"en"}:
        theirs = locale_texts("pinxit.cli", lang)
        assert set(theirs) == set(ENGLISH)
        assert {key for key in ENGLISH if places(theirs[key]) != places(ENGLISH[key])} == set()


def test_every_chinese_text_is_chinese() -> None:
    theirs = locale_texts("pinxit.cli", "zh-CN")
    same = {key for key, words in theirs.items() if not re.search("[\u4e00-\u9fff，：]", words)}
    assert same == set()


def test_every_text_is_used_and_every_use_has_a_text() -> None:
    source = "\n".join(path.read_text("utf-8") for path in FOLDER.rglob("*.py") if path.name != "texts.py")
    quoted = set(re.findall(r"""["']([a-z_]+(?:\.[a-z0-9_-]+)*)["']""", source))
    unused = {key for key in ENGLISH if key not in quoted and not key.startswith(BUILT)}
    assert unused == set()
    for key in re.findall(r"""[^f]say\(["']([^"'{]+)["']""", source):
        assert text(key)


def test_flags_and_operands_have_texts() -> None:
    for entry in COMMANDS:
        if entry.name == "bench":
            continue
        command = entry.load()
        assert isinstance(command, Command)
        assert command.name == entry.name
        for part in (*command.flags, *COMMON, *command.operands):
            assert all(text(part.text, lang) for lang in LANGUAGES)
        for flag in command.flags:
            assert all(text(flag.group, lang) for lang in LANGUAGES)
        names = [flag.name for flag in (*command.flags, *COMMON)]
        assert len(set(names)) == len(names)


def test_the_engines_stages_have_names() -> None:
    for stage in ("encode", "prepare", "denoise", "refine", "decode", "finish"):
        assert f"stage.{StageStarted(stage=stage).stage}" in ENGLISH
