"""What a build has rendered so far, on disk as it goes: a build that is cut off goes on where it was.

```
journal.jsonl     one line for each step of the plan that is done, in the plan's order
pixels_256.npy    the pixels of the drawings that were kept, one file per size
```

The plan is a list of keys. Of a journal that an earlier build left, the lines that agree with the plan's beginning
hold; everything after the first that does not, and pixels without a line, is cut off.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pinxit.schema.errors import OutOfSpace

FILE = "journal.jsonl"
"""To be deleted when everything else is written."""

_HEADER = 128
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

Line = dict[str, Any]
"""`key`, and what else the step left behind; a kept drawing has `kept`: true."""


class Journal:
    """A context manager. `lines` are the steps that were done before, in the plan's order.

    Writing raises OutOfSpace when the disk is full; what was written before stays good.
    """

    def __init__(self, folder: Path, sizes: Sequence[int], plan: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._sizes = tuple(sizes)
        self._path = folder / FILE
        self._pixels = {size: folder / f"pixels_{size}.npy" for size in sizes}
        self.lines, end = self._agreeing(plan)
        self.count = sum("kept" in line for line in self.lines)
        self._journal = _opened(self._path, end)
        self._files: dict[int, BinaryIO] = {
            size: _opened(path, _HEADER + self.count * size * size * 4) for size, path in self._pixels.items()
        }

    def _agreeing(self, plan: Sequence[str]) -> tuple[list[Line], int]:
        """The lines that hold, and where in the file they end."""
        room = min((_drawings(path, size) for size, path in self._pixels.items()), default=0)
        lines: list[Line] = []
        end = 0
        if self._path.is_file():
            with self._path.open("rb") as file:
                for key, text in zip(plan, file, strict=False):
                    line = _parsed(text)
                    if line is None or line.get("key") != key or ("kept" in line and not room):
                        break
                    room -= "kept" in line
                    lines.append(line)
                    end += len(text)
        return lines, end

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._journal, *self._files.values()):
            file.close()

    def note(self, key: str, facts: Mapping[str, Any], pixels: NDArray[np.uint8] | None = None) -> None:
        """Add a step. Its pixels, uint8 [S, S, 4] at the largest size, are kept at every size."""
        line: Line = {"key": key, **facts, **({} if pixels is None else {"kept": True})}
        try:
            if pixels is not None:
                for size, file in self._files.items():
                    write_all(file, shrunk(pixels, pixels.shape[0] // size).tobytes())
                self.count += 1
            write_all(self._journal, json.dumps(line, ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            if error.errno in _FULL:
                raise OutOfSpace(
                    f"The disk is full: {self._folder} holds {self.count} drawings so far.",
                    hint="Free some space and run the same command again: it goes on from there.",
                ) from error
            raise

    def finish(self) -> None:
        """Give the pixel files their headers, now that the count is known."""
        for size, file in self._files.items():
            shape = (self.count, size, size, 4)
            text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
            file.seek(0)
            file.write(np.lib.format.magic(1, 0) + (_HEADER - 10).to_bytes(2, "little"))
            file.write(text.ljust(_HEADER - 11) + b"\n")


def _parsed(text: bytes) -> Line | None:
    try:
        line = json.loads(text) if text.endswith(b"\n") else None
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _drawings(path: Path, size: int) -> int:
    """How many whole drawings a pixel file holds."""
    return max(0, path.stat().st_size - _HEADER) // (size * size * 4) if path.is_file() else 0


def _opened(path: Path, length: int) -> BinaryIO:
    """The file, cut (or first filled with zeros) to `length` bytes, to be written on at its end, unbuffered."""
    file = path.open("r+b" if path.exists() else "w+b", buffering=0)
    file.truncate(length)
    file.seek(0, os.SEEK_END)
    return file


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write every byte, however many calls that takes."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def shrunk(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Premultiplied uint8 [S, S, 4] averaged over `factor` x `factor` pixels."""
    if factor == 1:
        return pixels
    side = pixels.shape[0] // factor
    blocks = pixels.reshape(side, factor, side, factor, 4).astype(np.uint32).sum((1, 3))
    return ((blocks + factor * factor // 2) // (factor * factor)).astype(np.uint8)
