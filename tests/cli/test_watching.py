from __future__ import annotations

import io
from pathlib import Path

import pytest

from pinxit.cli.running import tell
from pinxit.cli.terminal import Terminal
from pinxit.cli.watching import Pace
from pinxit.schema.events import Failed, Stepped
from pinxit.schema.request import GenerationRequest
from tests.cli.fakes import FakeStudio


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("count", [1, 2])
def test_a_terminal_gets_a_bar_and_the_paths_after_it(tmp_path: Path, count: int) -> None:
    out, err = io.StringIO(), Screen()
    terminal = Terminal(out=out, err=err, input=io.BytesIO(), lang="zh-CN")
    request = GenerationRequest(prompt="x", count=count)
    assert tell(FakeStudio().paint(request, output=tmp_path), terminal) == 0
    assert out.getvalue().splitlines() == [str(tmp_path / f"{7 + index}-x.png") for index in range(count)]
    assert "a remark" in err.getvalue()
    assert "4/4" in err.getvalue() or "作画" in err.getvalue()


def test_the_pace_leaves_the_first_step_out() -> None:
    pace = Pace()
    assert pace.text("s") == ""
    for seconds in (9.0, 1.0, 2.0):
        pace.add(Stepped(index=0, total=3, sigma=1.0, seconds=seconds))
    assert pace.text("s/step") == "1.50 s/step"


@pytest.mark.parametrize(("code", "answer"), [("bad_model", 4), ("unknown_name", 3), ("interrupted", 130), ("new", 1)])
def test_a_failure_that_comes_as_an_event_has_its_exit_code(code: str, answer: int) -> None:
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(out=out, err=err, input=io.BytesIO())
    assert tell(iter([Failed(code=code, message="Bad.", hint="Mend it.")]), terminal) == answer
    assert err.getvalue() == "pinxit: Bad.\n  Mend it.\n"
