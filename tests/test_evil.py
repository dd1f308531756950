"""The commands that open model files, on every evil file that we know: an answer or a typed error, soon."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pinxit.cli.app import run
from pinxit.cli.terminal import Terminal
from tests import pickles
from tests.evil import FILES, HARMLESS

TYPED = (0, 2, 3, 4, 5, 6)
"""Exit codes that mean something; 70 is an error that nobody foresaw."""
GROWTH = 256 * 2**20
CHILD = """
import io, json, os, resource, sys, tempfile
from pathlib import Path
from pinxit.cli.app import run
from pinxit.cli.terminal import Terminal
from tests.evil import FILES, HEAVY
import pinxit.studio.convert, pinxit.studio.inspect
def ask(*words):
    return run(words, Terminal(out=io.StringIO(), err=io.StringIO(), input=io.BytesIO()))
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
kept = tempfile.mkdtemp()
os.chdir(kept)
paths = {}
for number, (name, make) in enumerate(FILES.items()):
    if name in HEAVY:
        folder = Path(kept, str(number))
        folder.mkdir()
        paths[name] = make(folder)
before = peak()
codes = [ask("models", "convert", str(path), "out.safetensors") for path in paths.values()]
print(json.dumps({"grown": peak() - before, "codes": codes}))
"""


def ask(*words: str) -> tuple[int, str]:
    err = io.StringIO()
    code = run(words, Terminal(out=io.StringIO(), err=err, input=io.BytesIO()))
    return code, err.getvalue()


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 150


@pytest.mark.parametrize("case", FILES)
def test_evil_files_are_inspected_and_not_converted(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINXIT_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "evil").mkdir()
    path = FILES[case](tmp_path / "evil")
    commands = {
        "inspect": ["models", "inspect", str(path), "--no-hashes"],
        "one file": ["models", "convert", str(path), str(tmp_path / "out.safetensors")],
        "folder": ["models", "convert", str(path), str(tmp_path / "out")],
    }
    for name, words in commands.items():
        began = time.process_time()
        code, err = ask(*words)
        assert time.process_time() - began < 10 or code == 0, name
        assert code in TYPED, (name, err)
        assert "Traceback" not in err
        assert "\x1b" not in err
        if name != "inspect" and case not in HARMLESS:
            assert code != 0, name
            assert not Path(words[-1]).exists()
    assert not list(tmp_path.glob(".pinxit-*"))
    assert not pickles.TRACE.exists()


def test_evil_files_need_little_memory() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["grown"] < GROWTH
    assert set(told["codes"]) <= set(TYPED) - {0}
