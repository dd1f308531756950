"""Prompts that change while the picture is painted: `[from:to:when]` and `[a|b]`.

text --read_template--> Template --schedule--> (last step, text), (last step, text) ...
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from pinxit.prompts.attention import check_depth

_TOKEN = re.compile(r"\\.|[\[\]():|]|[^\\\[\]():|]+|\\")
_WHEN = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")

Template = tuple["str | Switch | Alternation", ...]
"""Text and the places in it that change, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """`before` up to the moment `when`, `after` from the next step on. `when` is kept as written."""

    before: Template
    after: Template
    when: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternation:
    """Option k at every step whose number, from 0, leaves the remainder k."""

    options: tuple[Template, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """The steps that a schedule covers, and how it reads moments.

    In the second pass of a two-pass picture (`first_steps` is then the number of steps in the first one) the numbers
    go on counting: fractions from 1 to 2 and whole steps beyond `first_steps` lie in it. `legacy` is the older rule:
    one clock for both passes, and any number below 1 is a fraction.
    """

    steps: int
    first_steps: int | None = None
    legacy: bool = False

    def step(self, when: str) -> int:
        """The last step, from 1, before the moment `when`; 0 or less when it lies before this pass."""
        moment = float(when)
        if self.legacy:
            moment = moment * self.steps if moment < 1 else moment
        elif "." in when:
            moment = (moment - (self.first_steps is not None)) * self.steps
        else:
            moment -= self.first_steps or 0
        return math.trunc(max(-1.0, min(float(self.steps), moment)))


@dataclass(slots=True, kw_only=True)
class _Frame:
    """A bracket that is open: its parts so far, and the `:` or `|` between them."""

    bracket: str
    parts: list[list[str | Switch | Alternation]]
    marks: list[str]


def read_template(text: str, field: str) -> Template:
    """`text` with its step schedules found. Whatever is no schedule stays as written, brackets and all.

    As in A1111, a `|` outside of an alternation or a backslash before nothing leaves the whole text as written.
    Raises BadInput when brackets lie too deep.
    """
    done: list[str | Switch | Alternation] = []
    frames: list[_Frame] = []
    for match in _TOKEN.finditer(text):
        token = match.group()
        target = frames[-1].parts[-1] if frames else done
        if token in "([":
            frames.append(_Frame(bracket=token, parts=[[]], marks=[]))
            check_depth(len(frames), match.start(), field)
        elif token in ":|" and frames:
            frames[-1].marks.append(token)
            frames[-1].parts.append([])
        elif token in ")]" and frames:
            closed = _closed(frames[-1], token)
            if closed is None:
                if not _spill(frames, done):
                    return (text,)
                done.append(token)
            else:
                frames.pop()
                (frames[-1].parts[-1] if frames else done).extend(closed)
        elif token in "|\\":
            return (text,)
        else:
            target.append(token)
    return _joined(done) if _spill(frames, done) else (text,)


def schedule(template: Template, clock: Pass) -> tuple[tuple[int, str], ...]:
    """Which text holds up to and including which step, counted from 1; the last entry ends the pass."""
    ends = {clock.steps}
    waiting: list[Template] = [template]
    while waiting:
        for node in waiting.pop():
            if isinstance(node, Alternation):
                ends.update(range(1, clock.steps + 1))
                waiting.extend(node.options)
            elif isinstance(node, Switch):
                step = clock.step(node.when)
                if step >= 1:
                    ends.add(step)
                waiting.extend((node.before, node.after))
    return tuple((end, text_at(template, end, clock)) for end in sorted(ends))


def text_at(template: Template, step: int, clock: Pass) -> str:
    """The text that holds at `step`, counted from 1."""
    texts: list[str] = []
    waiting = [*reversed(template)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            texts.append(node)
        elif isinstance(node, Alternation):
            waiting.extend(reversed(node.options[(step - 1) % len(node.options)]))
        else:
            waiting.extend(reversed(node.before if step <= clock.step(node.when) else node.after))
    return "".join(texts)


def _closed(frame: _Frame, bracket: str) -> list[str | Switch | Alternation] | None:
    """What the frame becomes when `bracket` closes it; None when the two make neither weights nor a schedule."""
    marks = "".join(frame.marks)
    if frame.bracket == "(" and bracket == ")" and marks in ("", ":"):
        return ["(", *frame.parts[0], *(node for part in frame.parts[1:] for node in (":", *part)), ")"]
    if frame.bracket != "[" or bracket != "]":
        return None
    if not marks:
        return ["[", *frame.parts[0], "]"]
    parts = [_joined(part) for part in frame.parts]
    if set(marks) == {"|"}:
        return [Alternation(options=tuple(parts))]
    when = _WHEN.fullmatch(parts[-1][0]) if len(parts[-1]) == 1 and isinstance(parts[-1][0], str) else None
    if when is None or marks not in (":", "::"):
        return None
    return [Switch(before=parts[0] if marks == "::" else (), after=parts[-2], when=when.group(1))]


def _spill(frames: list[_Frame], done: list[str | Switch | Alternation]) -> bool:
    """Take all open brackets as text, for nothing around a loose bracket is a group. False if a `|` comes loose."""
    for frame in frames:
        if "|" in frame.marks:
            return False
        done.append(frame.bracket)
        for number, part in enumerate(frame.parts):
            if number:
                done.append(":")
            done.extend(part)
    frames.clear()
    return True


def _joined(nodes: list[str | Switch | Alternation]) -> Template:
    """`nodes` with neighbouring texts made one."""
    result: list[str | Switch | Alternation] = []
    run: list[str] = []
    for node in nodes:
        if isinstance(node, str):
            run.append(node)
            continue
        if run:
            result.append("".join(run))
            run = []
        result.append(node)
    if run:
        result.append("".join(run))
    return tuple(result)
