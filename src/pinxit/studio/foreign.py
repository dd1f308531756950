"""What other programs wrote about their models: read as bounded data, and never in the way when it cannot be read."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pinxit.schema.errors import BadModelFile
from pinxit.weights.settings import read_json

MOST_BYTES = 2**20
"""Of a file of settings."""
MOST_FOLDERS = 500
MOST_MODELS = 50_000
SQL_STEPS = 50_000_000
"""Steps of SQLite's machine after which a database is given up; ten thousand models take a hundredth of it."""

_LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w.\- ]{1,80}?) *:(?: +(?P<value>.*))?$")
_QUOTED = re.compile(r"""^(["'])(?P<text>.*)\1 *(?:#.*)?$""")


def comfy_paths(path: Path) -> Iterator[tuple[str, Path]]:
    """Folder names of ComfyUI (`checkpoints`, `loras`) and the folders that its extra_model_paths.yaml gives them.

    The part of YAML that such files are made of is read: sections of `key: text`, where a text may be several lines
    after `|`. Everything else is passed over; nothing in it can do more than name a folder.
    """
    count = 0
    for section in _sections(_text(path)):
        base = _folder(section.get("base_path", ""), path.parent)
        for key, value in section.items():
            for line in value.splitlines():
                if key in ("base_path", "is_default", "custom_nodes", "configs") or not line.strip():
                    continue
                count += 1
                if count > MOST_FOLDERS:
                    return
                yield key.casefold(), _folder(line.strip(), base)


def fooocus_paths(path: Path) -> Iterator[tuple[str, Path]]:
    """Folder names of Fooocus (`checkpoints`, `loras`) and the folders that its config.txt gives them."""
    try:
        settings = read_json(path, limit=MOST_BYTES)
    except BadModelFile:
        return
    for key, value in list(settings.items())[:MOST_FOLDERS]:
        if key.startswith("path_"):
            values = cast("list[object]", value) if isinstance(value, list) else [value]
            for text in values[:MOST_FOLDERS]:
                if isinstance(text, str) and text:
                    yield key.removeprefix("path_").casefold(), _folder(text, path.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A model as InvokeAI knows it. `type` is its word for the kind."""

    name: str
    type: str
    path: Path


def invoke_models(root: Path) -> list[Told]:
    """The models in InvokeAI's database below `root`; none when there is no database that can be read.

    The database is opened for reading only and leaves no trace beside it.
    """
    database = root / "databases" / "invokeai.db"
    try:
        if not database.is_file():
            return []
        # A database in use has a journal that must be read too; one at rest is opened without locks or side files.
        journal = database.with_name(database.name + "-wal")
        mode = "ro" if journal.exists() and journal.stat().st_size else "ro&immutable=1"
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode={mode}", uri=True, timeout=1)) as connection:
            return list(_rows(connection, root / "models"))
    except (sqlite3.Error, OSError, ValueError):
        return []


def _rows(connection: sqlite3.Connection, models: Path) -> Iterator[Told]:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES * 16)
    connection.set_progress_handler(lambda: 1, SQL_STEPS)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    for (text,) in connection.execute("SELECT config FROM models LIMIT ?", (MOST_MODELS,)):
        try:
            loaded: object = json.loads(text) if isinstance(text, str) and len(text) <= MOST_BYTES else None
        except (ValueError, RecursionError):
            continue
        config = cast("dict[str, object]", loaded) if isinstance(loaded, dict) else {}
        name, kind, path = (config.get(key) for key in ("name", "type", "path"))
        if isinstance(name, str) and isinstance(kind, str) and isinstance(path, str) and path and "\0" not in path:
            yield Told(name=name, type=kind, path=models / path)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        return raw.decode("utf-8-sig") if len(raw) <= MOST_BYTES else ""
    except (OSError, ValueError):
        return ""


def _folder(text: str, base: Path) -> Path:
    """A folder as those programs write it: with `~` and variables, relative to `base`."""
    if "\0" in text or len(text) > 4096:
        return base / "\N{REPLACEMENT CHARACTER}"
    return base / os.path.expanduser(os.path.expandvars(text))


def _sections(text: str) -> Iterator[dict[str, str]]:
    """The top-level sections, each as its keys and texts; the lines of a block are joined by line breaks."""
    section: dict[str, str] = {}
    block: tuple[str, int] | None = None
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip(" "))
        if block is not None and (indent > block[1] or not line.strip()):
            section[block[0]] += line.split(" #", 1)[0].strip() + "\n"
            continue
        block = None
        match = _LINE.match(line)
        if match is None:
            continue
        key, value = match["key"].strip(), _scalar(match["value"] or "")
        if indent == 0:
            yield section
            section = {}
        elif value in ("|", "|-", "|+", ">", ">-", ">+"):
            section[key], block = "", (key, indent)
        else:
            section[key] = value
    yield section


def _scalar(text: str) -> str:
    """A plain or quoted text without the remark after it."""
    quoted = _QUOTED.match(text.strip())
    if quoted is not None:
        return quoted["text"]
    return "" if text.startswith("#") else text.split(" #", 1)[0].strip()
