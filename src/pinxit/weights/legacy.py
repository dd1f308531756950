"""Pickled weights (.ckpt, .pt, .pth, .bin), which only conversion reads: a locked-up child process finds the tensors.

The child reads the pickle with a machine that runs nothing, and answers which bytes of the file are which tensor. Its
answer is checked here like any other header, and the numbers are then read as from any other file.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pinxit
from pinxit.schema.errors import BadModelFile
from pinxit.weights.blobs import Blob, Segment, Source
from pinxit.weights.header import DTYPE_BYTES, MAX_DIMENSIONS, Header, Limits, TensorInfo, is_bad_name
from pinxit.weights.sniff import foreign_format

SUFFIXES = (".ckpt", ".pt", ".pth", ".bin")
SECONDS = 60.0
ANSWER_BYTES = 32 * 2**20
_START = "import sys; sys.path.insert(0, sys.argv[1]); from pinxit.weights.unpickle.child import main; main()"


def is_legacy(path: Path) -> bool:
    """Whether `path` is a pickle by its first bytes, or by its suffix where these say nothing."""
    with path.open("rb") as stream:
        head = stream.read(512)
    if head[:4] == b"PK\x03\x04" or (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        return head[2:9] != bytes(7)
    known = foreign_format(head)
    return path.suffix.lower() in SUFFIXES and known is None


def read_legacy(path: Path, *, seconds: float = SECONDS) -> Source:
    """The tensors in a pickle of torch's. Raises BadModelFile for everything that is not one, or not harmless."""
    if path.name.endswith(".safetensors"):
        raise BadModelFile(
            f"{path.name} is a Python pickle under a false name.",
            hint="Somebody may want you to load it unseen. If you trust its source, rename it to .ckpt and convert it.",
        )
    answer = _ask(path, seconds)
    if "refused" in answer:
        raise _refusal(path, str(answer["refused"])[:400])
    tensors = answer.get("tensors")
    if not isinstance(tensors, list) or not tensors:
        raise _refusal(path, "it holds no tensors")
    size = path.stat().st_size
    blobs: dict[str, Blob] = {}
    for row in cast("list[object]", tensors):
        blob = _blob(path, row, size)
        if blob.name in blobs:
            raise _refusal(path, f"it holds {blob.name[:80]!a} twice")
        blobs[blob.name] = blob
    metadata = answer.get("metadata")
    notes = answer.get("dropped")
    header = Header(
        path=path,
        tensors={name: _info(blob) for name, blob in blobs.items()},
        metadata=_texts(cast("Mapping[str, object]", metadata) if isinstance(metadata, dict) else {}),
        sizes={path: size},
    )
    dropped = [str(name)[:80] for name in cast("list[object]", notes)] if isinstance(notes, list) else []
    return Source(
        header=header, blobs=blobs, notes=(f"left out beside the weights: {', '.join(dropped)}",) if dropped else ()
    )


def _refusal(path: Path, reason: str) -> BadModelFile:
    return BadModelFile(
        f"{path.name} cannot be converted: {reason}.",
        hint="Look for a .safetensors version of this model; do not load this file with other programs.",
    )


def _ask(path: Path, seconds: float) -> Mapping[str, object]:
    """What the child says of `path`."""
    root = str(Path(pinxit.__file__).parents[1])
    with path.open("rb") as stream:
        posix = os.name == "posix"
        where = str(stream.fileno()) if posix else str(path)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", _START, root, where],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(stream.fileno(),) if posix else (),
            env={} if posix else None,
            cwd=os.sep if posix else None,
        )
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            with process:
                if process.stdout is None:
                    raise ValueError("the child has no output")
                text = process.stdout.read(ANSWER_BYTES + 1)
                if len(text) > ANSWER_BYTES:
                    process.kill()
        finally:
            timer.cancel()
            process.kill()
    try:
        answer: object = json.loads(text)
    except (ValueError, RecursionError):
        raise _refusal(path, "its reader needed too much time or memory and was ended") from None
    if not isinstance(answer, dict):
        raise _refusal(path, "its reader gave no answer")
    return cast("dict[str, object]", answer)


def _blob(path: Path, row: object, size: int) -> Blob:
    """One tensor of the child's answer, checked as if a stranger had said it."""
    fields = cast("list[object]", row) if isinstance(row, list) else []
    if len(fields) != 6:
        raise _refusal(path, "its reader gave no answer")
    name, dtype, shape, start, end, strides = fields
    limits = Limits()
    if not isinstance(name, str) or not 0 < len(name) <= limits.name_length or is_bad_name(name):
        raise _refusal(path, f"the tensor name {ascii(name)[:80]} holds a path or control characters")
    sizes, steps = _counts(shape), None if strides is None else _counts(strides)
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES or sizes is None or (strides is not None and not steps):
        raise _refusal(path, f"the tensor {name!a} is described wrongly")
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start <= end <= size:
        raise _refusal(path, f"the tensor {name!a} lies outside the file")
    width = DTYPE_BYTES[dtype]
    reach = (
        math.prod(sizes)
        if steps is None
        else 1 + sum((length - 1) * step for length, step in zip(sizes, steps, strict=True))
    )
    if reach * width != end - start:
        raise _refusal(path, f"the tensor {name!a} is described wrongly")
    segment = Segment(path=path, start=start, end=end, dtype=dtype)
    return Blob(name=name, shape=sizes, segments=(segment,), strides=steps)


def _counts(value: object) -> tuple[int, ...] | None:
    items = cast("list[object]", value) if isinstance(value, list) else [None]
    numbers = [item for item in items if type(item) is int and 0 <= item < 2**63]
    return tuple(numbers) if len(numbers) == len(items) <= MAX_DIMENSIONS else None


def _info(blob: Blob) -> TensorInfo:
    segment = blob.segments[0]
    return TensorInfo(
        name=blob.name, dtype=segment.dtype, shape=blob.shape, start=segment.start, end=segment.end, path=segment.path
    )


def _texts(metadata: Mapping[str, object]) -> dict[str, str]:
    return {f"legacy.{key}"[:120]: str(value)[:200] for key, value in metadata.items()}
