"""What holds for the repository as a whole: nothing of a machine in it, nothing unfinished, nothing left out."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import pinxit
from pinxit.plugins import hookspecs
from pinxit.schema.request import GenerationRequest

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

MACHINE_PATH = re.compile(r"(?<![\w.\-/~])/(?:work|farm|root|opt|tmp)/\w")
REGISTRY = re.compile(
    r"\b(?:pypi\.org|pythonhosted\.org|registry\.npmjs\.org|npmjs\.com|deb\.debian\.org|anaconda\.org)\b"
)
HALVES = (("TO", "DO"), ("FIX", "ME"), ("X", "XX"), ("NotImplemented", "Error"), ("pytest.sk", "ip"), ("xf", r"ail\("))
UNFINISHED = re.compile("|".join(rf"\b{left}{right}" for left, right in HALVES))
"""Spelt in halves, so that a search for them finds what is meant and not this file."""
IMPORT_NAMES = {"pillow": "PIL", "resvg-py": "resvg_py"}


@cache
def texts() -> dict[str, str]:
    """Every text file of the repository, by its name."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode()
    found: dict[str, str] = {}
    for name in sorted(set(filter(None, listed.split("\0")))):
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".txt", ".json", ".cfg", ".sh", ""} and path.is_file():
            found[name] = path.read_text("utf-8")
    return found


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in texts().items()
        if not name.startswith("tests/reference/") and not name.endswith(Path(__file__).name)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY, UNFINISHED], ids=["paths", "registries", "unfinished"])
def test_the_tree_holds_nothing_of_a_machine_and_nothing_unfinished(pattern: re.Pattern[str]) -> None:
    assert not lines_with(pattern)


def test_the_patterns_find_what_they_are_for() -> None:
    assert MACHINE_PATH.search("see /opt/models")
    assert not MACHINE_PATH.search("tests/tmp/x and https://example.org/work/x")
    assert UNFINISHED.search(f"# {chr(84)}ODO later")


def test_one_version_everywhere() -> None:
    assert PYPROJECT["project"]["version"] == pinxit.__version__
    assert f"## {pinxit.__version__}\n" in texts()["CHANGELOG.md"]


def test_the_licence_is_whole_and_named() -> None:
    licence = texts()["LICENSE"]
    assert "Apache License\n                           Version 2.0" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert PYPROJECT["project"]["license"] == "Apache-2.0"


def test_data_lies_where_the_package_looks_for_it() -> None:
    package = Path(pinxit.__file__).parent
    for name in ("prompts/data/bpe_simple_vocab_16e6.txt.gz", "prompts/data/NOTICE", "schema/locale/zh-CN.json"):
        assert (package / name).stat().st_size > 0
    assert {path.stem for path in (package / "train" / "recipes").glob("*.toml")} >= {"text", "unet", "vae-inner"}


def test_every_package_has_an_init_and_a_docstring() -> None:
    package = Path(pinxit.__file__).parent
    folders = {path.parent for path in package.rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]
    silent = [path for path in package.rglob("*.py") if ast.get_docstring(ast.parse(path.read_text("utf-8"))) is None]
    assert not silent


def test_what_is_depended_on_is_used_and_what_is_used_is_depended_on() -> None:
    core = {re.split(r"[<>=\[]", line)[0] for line in PYPROJECT["project"]["dependencies"]}
    imported = {name.split(".")[0] for name, text in _sources() for name in _imported(name, text)}
    used = {name for name in core if IMPORT_NAMES.get(name, name) in imported}
    assert used == core


def _sources() -> list[tuple[str, str]]:
    return [(name, text) for name, text in texts().items() if name.startswith("src/") and name.endswith(".py")]


def _imported(name: str, text: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(text, name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_the_constraints_pin_everything_that_is_depended_on() -> None:
    pins = dict(
        line.split("==") for line in texts()["constraints.txt"].splitlines() if line and not line.startswith("#")
    )
    extras: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]
    wanted = [*PYPROJECT["project"]["dependencies"], *(line for lines in extras.values() for line in lines)]
    for line in wanted:
        name, _, exact = line.partition("==")
        name = re.split(r"[<>=\[]", name)[0]
        assert name == "pinxit" or name in pins, f"{name} is not pinned"
        assert not exact or pins[name] == exact


def test_every_hook_is_documented() -> None:
    hooks = [value for name, value in vars(hookspecs).items() if name.startswith(("register_", "on_"))]
    assert hooks
    assert all(hook.__doc__ and hook.__doc__.endswith(".") for hook in hooks)


def test_the_gate_is_executable() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_every_field_of_a_request_stands_in_both_tables() -> None:
    for page in ("docs/fields.md", "docs/fields.zh-CN.md"):
        missing = [name for name in GenerationRequest.model_fields if f"| `{name}` |" not in texts()[page]]
        assert not missing
