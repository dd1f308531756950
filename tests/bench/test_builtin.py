from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pinxit.bench.builtin import measure_builtin, paint
from pinxit.bench.cold import READY, NoPicture

PAINTER = """\
import json, pathlib, sys, time
words = dict(zip(sys.argv[4::2], sys.argv[5::2]))
count, folder = int(words["--count"]), pathlib.Path(words["--output"])
folder.mkdir(parents=True)
print(json.dumps({"event": "planned"}), flush=True)
for index in range(count):
    time.sleep(0.05)
    (folder / f"{index}.png").write_bytes(b"")
    print(json.dumps({"event": "image_ready"}), flush=True)
"""
REFUSER = """\
import json
print(json.dumps({"event": "failed", "message": "There is no model."}))
raise SystemExit(5)
"""


def test_cold_and_warm_times_and_memory(tmp_path: Path) -> None:
    found = measure_builtin(steps=4, rounds=2, program=(sys.executable, "-S", "-c", PAINTER, "--"))
    assert found.steps == 4
    assert found.cold_seconds > 0.05
    assert found.warm_seconds > 0.03
    assert found.peak_mb > 1


def test_each_picture_is_timed_when_it_is_told(tmp_path: Path) -> None:
    one = paint(tmp_path / "out", 2, None, (sys.executable, "-S", "-c", PAINTER, "--"))
    first, second = one.when(READY)
    assert second - first >= 0.03
    assert one.seconds >= second


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (REFUSER, "There is no model"),
        ("raise SystemExit('broken')", "broken"),
        ("raise SystemExit(3)", "ended with code 3"),
        ("pass", "without its pictures"),
    ],
)
def test_no_picture_is_no_time(tmp_path: Path, source: str, reason: str) -> None:
    with pytest.raises(NoPicture, match=reason):
        paint(tmp_path / "out", 1, None, (sys.executable, "-S", "-c", source, "--"))
