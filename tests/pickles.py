"""Pickles that attack whoever loads them. Each would leave TRACE behind if anything in it ran."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

TRACE = Path(tempfile.gettempdir()) / f"pinxit-trace-{os.getpid()}"
SAFE_CALLS: dict[str, Callable[..., object]] = {
    "_codecs.encode": lambda text="", *_: text.encode("latin-1"),
    "builtins.set": lambda items=(), *_: set(items),
    "builtins.frozenset": lambda items=(), *_: frozenset(items),
    "__builtin__.set": lambda items=(), *_: set(items),
    "__builtin__.frozenset": lambda items=(), *_: frozenset(items),
    "builtins.bytes": lambda *_: b"",
    "__builtin__.bytes": lambda *_: b"",
}

SYSTEM: Callable[..., object] = vars(os)["system"]
Write = Callable[[Path], object]


class Runs:
    """Unpickles into a call."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.call = call
        self.arguments = arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call, self.arguments


def plain(value: object, protocol: int = 2) -> Write:
    return lambda path: path.write_bytes(pickle.dumps(value, protocol=protocol))


def raw(data: bytes) -> Write:
    return lambda path: path.write_bytes(data)


def torched(value: object, **options: Any) -> Write:
    return lambda path: torch.save(value, path, **options)


def zipped(records: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Write:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, data in records.items():
                archive.writestr(name, data)

    return write


def tensor(
    shape: tuple[int, ...], strides: tuple[int, ...], *, offset: int = 0, key: str = "0", count: int = 4
) -> bytes:
    """The pickle of {"a": tensor} over a storage of `count` float32 numbers, told by hand."""
    out = io.BytesIO()
    out.write(b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n")
    out.write(b"X" + struct.pack("<I", len(key)) + key.encode() + b"X\x03\0\0\0cpu" + number(count) + b"tQ")
    out.write(number(offset) + sizes(shape) + sizes(strides) + b"\x89N" + b"tR" + b"s.")
    return out.getvalue()


def number(value: int) -> bytes:
    data = value.to_bytes(16, "little", signed=True)
    return b"\x8a\x10" + data


def sizes(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def archive(data: bytes, *, storage: bytes = bytes(16)) -> Write:
    return zipped({"archive/data.pkl": data, "archive/data/0": storage, "archive/version": b"3\n"})


def many_names(data: bytes) -> bytes:
    """One tensor under 3,000 names: its pickle, remembered once and recalled each time."""
    start = data.index(b"ctorch._utils")
    body = data[start:-2]
    return (
        b"\x80\x02}("
        + b"".join(
            b"X"
            + struct.pack("<I", len(name))
            + name
            + (body + b"r\x01\x00\x00\x00" if index == 0 else b"j\x01\x00\x00\x00")
            for index in range(3000)
            for name in (f"t{index}".encode(),)
        )
        + b"u."
    )


def nested(depth: int) -> bytes:
    return b"\x80\x02" + b"}X\x01\0\0\0a" * depth + b"N" + b"s" * depth + b"."


BIG_PICKLE = b"\x80\x02" + b"N0" * 600_000 + b"N."
EVIL: dict[str, tuple[Write, str]] = {
    "os.system": (plain(Runs(SYSTEM, f"touch {TRACE}")), "it asks for posix.system, which no weights need"),
    "os.system inside a checkpoint": (
        torched({"state_dict": {"a": torch.ones(1), "b": Runs(SYSTEM, f"touch {TRACE}")}}),
        "posix.system",
    ),
    "os.system in the stream form": (
        torched({"a": Runs(SYSTEM, f"touch {TRACE}")}, _use_new_zipfile_serialization=False),
        "posix.system",
    ),
    "protocol 0": (raw(f"cos\nsystem\n(S'touch {TRACE}'\ntR.".encode()), "it asks for os.system"),
    "protocol 5": (plain(Runs(SYSTEM, "true"), 5), "posix.system"),
    "inst": (raw(f"(S'touch {TRACE}'\nios\nsystem\n.".encode()), "it asks for os.system"),
    "obj": (raw(f"(cos\nsystem\nS'touch {TRACE}'\no.".encode()), "it asks for os.system"),
    "eval": (plain(Runs(eval, "1")), "it asks for __builtin__.eval"),
    "exec by stack": (raw(b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93."), "it asks for builtins.exec"),
    "getattr": (plain(Runs(getattr, "a", "upper")), "__builtin__.getattr"),
    "import": (plain(Runs(__import__, "os")), "__builtin__.__import__"),
    "dotted name of an allowed module": (
        raw(b"\x80\x04\x8c\x0etorch.nn.utils\x8c\x0bsys.modules\x93."),
        "it asks for torch.nn.utils.sys.modules",
    ),
    "torch.load inside": (raw(b"ctorch\nload\n(S'x'\ntR."), "it asks for torch.load"),
    "storage from bytes": (raw(b"ctorch.storage\n_load_from_bytes\n(S'x'\ntR."), "torch.storage._load_from_bytes"),
    "numpy loads": (raw(b"cnumpy\nload\n(S'x'\ntR."), "it asks for numpy.load"),
    "operator": (raw(b"coperator\nattrgetter\n(S'x'\ntR."), "operator.attrgetter"),
    "functools": (raw(b"cfunctools\npartial\n(S'x'\ntR."), "functools.partial"),
    "a name with an escape": (raw(b"cos\x1b[31m\nsystem\n."), "it asks for os\\x1b[31m.system"),
    "extension code": (raw(b"\x80\x02\x82\x01."), "which is no operation"),
    "out-of-band buffer": (raw(b"\x80\x05\x97."), "which is no operation"),
    "a whole network": (torched(torch.nn.Linear(2, 2)), "it holds a whole torch.nn.modules.linear.Linear"),
    "future protocol": (raw(b"\x80\x05\x80\x09N."), "a protocol that does not exist yet"),
    "ten million marks": (raw(b"\x80\x02" + b"(" * 10_000_000), "nested beyond all measure"),
    "endless operations": (raw(BIG_PICKLE), "more than 1,000,000 operations"),
    "a stack of millions": (raw(b"\x80\x02" + b"N" * 600_000 + b"."), "grows beyond all measure"),
    "a text of 4 GB": (raw(b"\x80\x02X\xff\xff\xff\xff"), "claims a text of"),
    "a text of 2^63 bytes": (raw(b"\x80\x04\x8d" + b"\xff" * 8), "claims a text of"),
    "a number of 2 GB": (raw(b"\x80\x02\x8b\xff\xff\xff\x7f"), "an enormous number"),
    "a number of 5,000 digits": (raw(b"I" + b"9" * 4000 + b"\n."), "an enormous number"),
    "a line without an end": (raw(b"\x80\x02V" + b"a" * 100_000), "a line without an end"),
    "stack underrun": (raw(b"\x80\x02R."), "takes more from the stack"),
    "memo underrun": (raw(b"\x80\x02h\x07."), "recalls what it never remembered"),
    "mark underrun": (raw(b"\x80\x02t."), "a mark that is not there"),
    "odd items": (raw(b"\x80\x02}(Nu."), "a key without a value"),
    "unhashable key": (raw(b"\x80\x02}]Ns."), "it is damaged"),
    "append to a number": (raw(b"\x80\x02K\x01Na."), "appends to what is no list"),
    "cut off": (raw(b"\x80\x02}"), "is cut off"),
    "no tensors": (plain({"a": 1}), "it holds no tensors"),
    "deep dictionaries": (raw(nested(100_000)), "it holds no tensors"),
    "a dictionary in itself": (raw(b"\x80\x02}q\x01X\x01\0\0\0ah\x01s."), "it holds no tensors"),
    "bombs of lists": (
        raw(
            b"\x80\x02]q\x00"
            + b"".join(
                b"](" + b"h" + bytes([i]) * 1 + (b"h" + bytes([i])) * 9 + b"eq" + bytes([i + 1]) for i in range(30)
            )
            + b"."
        ),
        "nested beyond all measure",
    ),
    "a zip of something else": (zipped({"word/document.xml": b"<xml/>"}), "it has no data.pkl"),
    "two pickles": (zipped({"a/data.pkl": b"N.", "b/data.pkl": b"N."}), "it has no data.pkl"),
    "compressed storage": (
        zipped(
            {"archive/data.pkl": tensor((5_000_000,), (1,), count=5_000_000), "archive/data/0": bytes(20_000_000)},
            zipfile.ZIP_DEFLATED,
        ),
        "is compressed or encrypted",
    ),
    "storage out of range": (archive(tensor((5,), (1,), count=4)), "lie outside their storage"),
    "offset out of range": (archive(tensor((2,), (1,), offset=3)), "lie outside their storage"),
    "offset of 2^62": (archive(tensor((1,), (1,), offset=2**62)), "lie outside their storage"),
    "huge strides": (archive(tensor((2,), (2**40,))), "lie outside their storage"),
    "negative strides": (archive(tensor((2,), (-1,))), "a shape that is none"),
    "strides that do not fit": (archive(tensor((2, 2), (1,))), "a shape that is none"),
    "a terabyte of one number": (archive(tensor((2**20, 2**20), (0, 0))), "fill more than twice"),
    "one tensor under 3,000 names": (
        archive(many_names(tensor((4096,), (1,), count=4096)), storage=bytes(16384)),
        "fill more than twice",
    ),
    "a storage that is not there": (archive(tensor((1,), (1,), key="../../etc/passwd")), "are not in it"),
    "unknown storage": (
        archive(tensor((1,), (1,)).replace(b"FloatStorage", b"QInt8Storage")),
        "it asks for torch.QInt8Storage",
    ),
    "a persistent id of its own": (raw(b"\x80\x02X\x04\0\0\0evilQ."), "refers to something outside itself"),
    "a name with a path": (
        archive(tensor((1,), (1,)).replace(b"X\x01\0\0\0a", b"X\x04\0\0\0../a")),
        "holds a path or control",
    ),
    "an archive without an end": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(400)), "its archive is damaged"),
}
"""How to write it, and what the refusal says."""
