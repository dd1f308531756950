"""A pickle machine that builds plain data and never calls anything a file names.

A pickle is a program for a stack machine; Python's own imports and calls whatever the program asks for. This one knows
the opcodes, makes numbers, texts, lists and dicts, and a handful of stand-ins. A call of a function is only ever looked
up in a table of our own functions; what is not there is refused by name, or, for the harmless classes of training
programs, becomes an `Opaque` that nobody looks into.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, cast

MAX_OPERATIONS = 1_000_000
MAX_BYTES = 64 * 2**20
MAX_STACK = 500_000
MAX_MARKS = 10_000
MAX_LINE = 4096
MAX_LONG = 64
"""Bytes of a whole number. Torch's own magic number has ten."""


class RefusedError(Exception):
    """Why a file is not read; the message is a clause that follows the file's name."""


@dataclass(frozen=True, slots=True, eq=False)
class Global:
    """A name that the program mentions: a class or a function, of which we know no more."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Opaque:
    """The result of calling something that we do not call."""

    origin: Global


Call = Callable[..., object]


class Machine:
    """Runs one pickle at a time from `stream`.

    `calls` are our own functions by the name that a program uses; `tolerated` says which other names may stand for
    something opaque; `persistent` makes an object of a persistent id.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        calls: dict[str, Call],
        tolerated: Callable[[Global], bool],
        persistent: Callable[[object], object],
    ) -> None:
        self._stream = stream
        self._calls = calls
        self._tolerated = tolerated
        self._persistent = persistent
        self._budget = MAX_OPERATIONS
        self._bytes = MAX_BYTES
        self._stack: list[object] = []
        self._marks: list[int] = []
        self.memo: dict[int, object] = {}

    def load(self) -> object:
        """Run one pickle and return its result. Raises RefusedError."""
        self._stack, self._marks, self.memo = [], [], {}
        while True:
            self._budget -= 1
            if self._budget < 0:
                raise RefusedError(f"its pickle has more than {MAX_OPERATIONS:,} operations")
            code = self.read(1)
            if code == b".":
                return self.pop()
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise RefusedError(f"its pickle holds the byte {code[0]}, which is no operation that weights need")
            operation(self)
            if len(self._stack) > MAX_STACK:
                raise RefusedError("its pickle grows beyond all measure")

    def read(self, count: int) -> bytes:
        self._bytes -= count
        if self._bytes < 0:
            raise RefusedError(f"its pickle is longer than {MAX_BYTES:,} bytes")
        data = self._stream.read(count)
        if len(data) != count:
            raise RefusedError("its pickle is cut off")
        return data

    def line(self) -> bytes:
        data = self._stream.readline(MAX_LINE + 1)
        self._bytes -= len(data)
        if not data.endswith(b"\n") or len(data) > MAX_LINE:
            raise RefusedError("its pickle is cut off, or holds a line without an end")
        return data[:-1]

    def number(self, form: str) -> int:
        return cast(int, struct.unpack(form, self.read(struct.calcsize(form)))[0])

    def pop(self) -> object:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise RefusedError("its pickle takes more from the stack than lies there")
        return self._stack.pop()

    def _top(self) -> object:
        value = self.pop()
        self._stack.append(value)
        return value

    def push(self, value: object) -> None:
        self._stack.append(value)

    def above_mark(self) -> list[object]:
        if not self._marks:
            raise RefusedError("its pickle looks for a mark that is not there")
        at = self._marks.pop()
        items = self._stack[at:]
        del self._stack[at:]
        return items

    def mark(self) -> None:
        if len(self._marks) >= MAX_MARKS:
            raise RefusedError("its pickle is nested beyond all measure")
        self._marks.append(len(self._stack))

    def drop(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self.pop()

    def drop_mark(self) -> None:
        self.above_mark()

    def duplicate(self) -> None:
        self.push(self._top())

    def push_text_int(self) -> None:
        line = self.line()
        self.push({b"00": False, b"01": True}[line] if line in (b"00", b"01") else self.whole(line))

    def push_text_long(self) -> None:
        self.push(self.whole(self.line().removesuffix(b"L")))

    @staticmethod
    def whole(digits: bytes) -> int:
        if len(digits) > 4 * MAX_LONG:
            raise RefusedError("its pickle holds an enormous number")
        return int(digits)

    def push_text_float(self) -> None:
        self.push(float(self.line()))

    def push_long(self, size: str) -> None:
        count = self.number(size)
        if not 0 <= count <= MAX_LONG:
            raise RefusedError("its pickle holds an enormous number")
        self.push(int.from_bytes(self.read(count), "little", signed=True))

    def push_quoted(self) -> None:
        line = self.line()
        if len(line) < 2 or line[:1] not in b"'\"" or line[:1] != line[-1:]:
            raise RefusedError("its pickle holds a text without quotes")
        self.push(line[1:-1].decode("latin-1"))

    def push_bytes(self, size: str) -> None:
        self.push(self.read(self._length(size)))

    def push_old_text(self, size: str) -> None:
        self.push(self.read(self._length(size)).decode("latin-1"))

    def push_text(self, size: str) -> None:
        self.push(self.read(self._length(size)).decode("utf-8", "surrogatepass"))

    def push_text_line(self) -> None:
        self.push(self.line().decode("raw-unicode-escape"))

    def _length(self, size: str) -> int:
        count = self.number(size)
        if not 0 <= count <= MAX_BYTES:
            raise RefusedError(f"its pickle claims a text of {count:,} bytes")
        return count

    def append(self) -> None:
        value = self.pop()
        self._extend([value])

    def appends(self) -> None:
        self._extend(self.above_mark())

    def _extend(self, items: list[object]) -> None:
        target = self._top()
        if isinstance(target, list):
            cast("list[object]", target).extend(items)
        elif isinstance(target, set):
            cast("set[object]", target).update(items)
        elif not isinstance(target, Opaque):
            raise RefusedError("its pickle appends to what is no list")

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self._update([key, value])

    def set_items(self) -> None:
        self._update(self.above_mark())

    def _update(self, items: list[object]) -> None:
        target = self._top()
        if isinstance(target, dict):
            cast("dict[object, object]", target).update(_pairs(items))
        elif not isinstance(target, Opaque):
            raise RefusedError("its pickle sets an item of what is no dictionary")

    def make_dict(self) -> None:
        self.push(dict(_pairs(self.above_mark())))

    def make_tuple(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def remember(self, key: int) -> None:
        self.memo[key] = self._top()

    def recall(self, key: int) -> None:
        if key not in self.memo:
            raise RefusedError("its pickle recalls what it never remembered")
        self.push(self.memo[key])

    def find(self, module: bytes | str, name: bytes | str) -> None:
        texts = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in (module, name)]
        found = Global(*texts)
        if str(found) not in self._calls and not self._tolerated(found):
            raise RefusedError(
                f"it asks for {ascii(str(found))[1:-1][:120]}, which no weights need. It is not safe to load"
            )
        self.push(found)

    def find_on_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise RefusedError("its pickle names a class by what is no text")
        self.find(module, name)

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        self.push(self._result(function, arguments))

    def call_with_names(self) -> None:
        self.pop()
        self.call()

    def make_instance(self) -> None:
        items = self.above_mark()
        if not items:
            raise RefusedError("its pickle makes an object of nothing")
        self.push(self._result(items[0], tuple(items[1:])))

    def make_named_instance(self) -> None:
        self.find(self.line(), self.line())
        function = self.pop()
        self.push(self._result(function, tuple(self.above_mark())))

    def _result(self, function: object, arguments: object) -> object:
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise RefusedError("its pickle calls what is no function")
        call = self._calls.get(str(function))
        return call(*cast("tuple[object, ...]", arguments)) if call is not None else Opaque(function)

    def build(self) -> None:
        self.pop()
        self._top()

    def skip_frame(self) -> None:
        """A frame's length, which only helps whoever reads ahead."""
        self.read(8)

    def persistent_text(self) -> None:
        self.push(self._persistent(self.line().decode("ascii")))

    def persistent_value(self) -> None:
        self.push(self._persistent(self.pop()))


def _pairs(items: list[object]) -> list[tuple[object, object]]:
    if len(items) % 2:
        raise RefusedError("its pickle gives a key without a value")
    return list(zip(items[::2], items[1::2], strict=True))


_OPERATIONS: dict[bytes, Callable[[Machine], None]] = {
    b"(": Machine.mark,
    b"0": Machine.drop,
    b"1": Machine.drop_mark,
    b"2": Machine.duplicate,
    b"F": Machine.push_text_float,
    b"G": lambda self: self.push(struct.unpack(">d", self.read(8))[0]),
    b"I": Machine.push_text_int,
    b"J": lambda self: self.push(self.number("<i")),
    b"K": lambda self: self.push(self.number("<B")),
    b"M": lambda self: self.push(self.number("<H")),
    b"L": Machine.push_text_long,
    b"\x8a": lambda self: self.push_long("<B"),
    b"\x8b": lambda self: self.push_long("<i"),
    b"N": lambda self: self.push(None),
    b"\x88": lambda self: self.push(True),
    b"\x89": lambda self: self.push(False),
    b"S": Machine.push_quoted,
    b"T": lambda self: self.push_old_text("<i"),
    b"U": lambda self: self.push_old_text("<B"),
    b"V": Machine.push_text_line,
    b"X": lambda self: self.push_text("<I"),
    b"\x8c": lambda self: self.push_text("<B"),
    b"\x8d": lambda self: self.push_text("<Q"),
    b"B": lambda self: self.push_bytes("<I"),
    b"C": lambda self: self.push_bytes("<B"),
    b"\x8e": lambda self: self.push_bytes("<Q"),
    b"\x96": lambda self: self.push_bytes("<Q"),
    b"]": lambda self: self.push([]),
    b"}": lambda self: self.push({}),
    b")": lambda self: self.push(()),
    b"\x8f": lambda self: self.push(set()),
    b"l": lambda self: self.push(self.above_mark()),
    b"d": Machine.make_dict,
    b"t": lambda self: self.push(tuple(self.above_mark())),
    b"\x85": lambda self: self.make_tuple(1),
    b"\x86": lambda self: self.make_tuple(2),
    b"\x87": lambda self: self.make_tuple(3),
    b"\x91": lambda self: self.push(frozenset(self.above_mark())),
    b"a": Machine.append,
    b"e": Machine.appends,
    b"\x90": Machine.appends,
    b"s": Machine.set_item,
    b"u": Machine.set_items,
    b"p": lambda self: self.remember(self.whole(self.line())),
    b"q": lambda self: self.remember(self.number("<B")),
    b"r": lambda self: self.remember(self.number("<I")),
    b"\x94": lambda self: self.remember(len(self.memo)),
    b"g": lambda self: self.recall(self.whole(self.line())),
    b"h": lambda self: self.recall(self.number("<B")),
    b"j": lambda self: self.recall(self.number("<I")),
    b"c": lambda self: self.find(self.line(), self.line()),
    b"\x93": Machine.find_on_stack,
    b"R": Machine.call,
    b"\x81": Machine.call,
    b"\x92": Machine.call_with_names,
    b"o": Machine.make_instance,
    b"i": Machine.make_named_instance,
    b"b": Machine.build,
    b"P": Machine.persistent_text,
    b"Q": Machine.persistent_value,
    b"\x80": lambda self: None if self.number("<B") <= 5 else _unknown_protocol(),
    b"\x95": Machine.skip_frame,
}
"""Left out: extension codes and out-of-band buffers, which name things that only another program knows."""

KNOWN_OPERATIONS = frozenset(_OPERATIONS)


def _unknown_protocol() -> None:
    raise RefusedError("its pickle is of a protocol that does not exist yet")
