"""Drawings to pixels, in a worker process that may hang, crash or run out of memory without harming the build.

The parent writes requests `kind:u8 size:u32 length:u32 payload` to the worker's standard input and reads answers
`length:u32 json [pixels]` from its output. A drawing that takes too long costs the worker, which is then replaced;
it is tried twice, because a machine that is busy, or was asleep, makes any drawing seem slow.
"""

from __future__ import annotations

import importlib.util
import io
import json
import math
import re
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pinxit.schema.errors import Missing

Payload = Literal["svg", "image"]

_KINDS: tuple[Payload, ...] = ("svg", "image")
_REQUEST = struct.Struct("<BII")
_LENGTH = struct.Struct("<I")
_FIRST = 1.125
_LARGEST_RENDER = 4096
_MEMORY_LIMIT = 4 << 30
_START_LIMIT = 120.0
_TRIES = 2
PADDING = 0.04
_VISIBLE = 8
_OUTSIDE_REFERENCE = re.compile(
    rb"""href\s*=\s*["']\s*(?!\#|data:)[^"'\s]|<!ENTITY|@import|url\(\s*["']?\s*(?!["'\s#]|data:)"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Raster:
    """A rendered drawing.

    `pixels` are uint8 premultiplied RGBA [S, S, 4]: the drawing's alpha bounding box, centred with 4 % padding.
    `coverage` is the mean alpha of the square and `fill` that of the bounding box, both in [0, 1]; `chroma` is the
    alpha-weighted mean of max(rgb) - min(rgb) in [0, 255]; `rim` the mean colour along the outline; `hash_` a
    128-bit difference hash; `thumb` the drawing at 4 x 4 pixels, for comparing colours.
    """

    pixels: NDArray[np.uint8]
    coverage: float
    fill: float
    chroma: float
    rim: tuple[int, int, int]
    hash_: int
    thumb: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A drawing that could not be rendered, and why."""

    reason: str


class Rasteriser:
    """A worker process and its pipe. Use as a context manager; `render` never raises for a bad drawing."""

    def __init__(self, *, size: int = 256, time_limit: float = 10.0) -> None:
        self.size = size
        self.time_limit = time_limit
        self.command: tuple[str, ...] = (sys.executable, "-m", "pinxit.train.data.raster")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Rasteriser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def render(self, kind: Payload, payload: bytes) -> Raster | Refused:
        """Render an SVG document or an encoded picture, or say why not (error, time limit, crash)."""
        for _ in range(_TRIES):
            found = self._tried(kind, payload)
            if found is not None:
                return found
        return Refused(f"took longer than {self.time_limit:g} s")

    def _tried(self, kind: Payload, payload: bytes) -> Raster | Refused | None:
        """None when the time was up."""
        process = self._process or self._start()
        alarm = _Alarm(process, self.time_limit)
        try:
            answer = self._exchange(process, kind, payload)
        except (BrokenPipeError, EOFError):
            answer = None
        in_time = alarm.stopped()
        if not in_time or answer is None:
            self.close()
        return Refused("crashed the renderer") if answer is None and in_time else answer

    def _start(self) -> subprocess.Popen[bytes]:
        """A fresh worker, once it has said that its imports are done. Raises Missing when it cannot start."""
        process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._process = process
        alarm = _Alarm(process, _START_LIMIT)
        try:
            _pipes_read(process, _LENGTH.size)
        except EOFError as error:
            self.close()
            raise Missing(
                "The drawings' renderer did not start.", hint="Install the extra `data`: pip install 'pinxit[data]'."
            ) from error
        finally:
            alarm.stopped()
        return process

    def _exchange(self, process: subprocess.Popen[bytes], kind: Payload, payload: bytes) -> Raster | Refused:
        if process.stdin is None:
            raise EOFError
        _write_all(process.stdin, _REQUEST.pack(_KINDS.index(kind), self.size, len(payload)) + payload)
        (length,) = _LENGTH.unpack(_pipes_read(process, _LENGTH.size))
        facts = json.loads(_pipes_read(process, length))
        if "refused" in facts:
            return Refused(facts["refused"])
        raw = _pipes_read(process, self.size * self.size * 4)
        return Raster(
            pixels=np.frombuffer(raw, np.uint8).reshape(self.size, self.size, 4),
            coverage=facts["coverage"],
            fill=facts["fill"],
            chroma=facts["chroma"],
            rim=(facts["rim"][0], facts["rim"][1], facts["rim"][2]),
            hash_=int(facts["hash"], 16),
            thumb=tuple(facts["thumb"]),
        )


class _Alarm:
    """Kills a process after so many seconds, unless stopped before."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self._rang = False
        self._process = process
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True
        self._timer.start()

    def _ring(self) -> None:
        self._rang = True
        self._process.kill()

    def stopped(self) -> bool:
        """Stop; was it in time?"""
        self._timer.cancel()
        self._timer.join()
        return not self._rang


def _write_all(pipe: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[pipe.write(view) :]


def _pipes_read(process: subprocess.Popen[bytes], count: int) -> bytes:
    """Exactly `count` bytes of the worker's output. Raises EOFError when it has gone."""
    parts = bytearray()
    while len(parts) < count:
        part = process.stdout.read(count - len(parts)) if process.stdout is not None else b""
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def rasterise(kind: Payload, payload: bytes, size: int) -> Raster:
    """Render in this process. Raises ValueError for a drawing that is broken, blank or refers to outside files."""
    image = _render_svg(payload, size) if kind == "svg" else _open_image(payload)
    box = _visible_box(image)
    if box is None:
        raise ValueError("blank")
    square = _square(image.crop(box), size)
    return _described(square)


def _render_svg(payload: bytes, size: int) -> Image.Image:
    if _OUTSIDE_REFERENCE.search(payload):
        raise ValueError("refers to something outside the drawing")
    svg = payload.decode("utf-8")
    first, inner = math.ceil(size * _FIRST), size * (1 - 2 * PADDING)
    image = _draw(svg, first)
    box = _visible_box(image)
    if box is None:
        raise ValueError("blank")
    extent = max(box[2] - box[0], box[3] - box[1])
    if extent < inner:
        width = math.ceil(first * inner * 1.2 / extent)
        if max(width, width * image.height // image.width) <= _LARGEST_RENDER:
            image = _draw(svg, width)
    return image


def _draw(svg: str, width: int) -> Image.Image:
    from resvg_py import svg_to_bytes

    png = svg_to_bytes(svg_string=svg, width=width, dpi=96.0, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def _open_image(payload: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(payload))
    if max(image.size) > _LARGEST_RENDER:
        raise ValueError(f"{image.width} x {image.height} pixels is too large")
    return image.convert("RGBA")


def _visible_box(image: Image.Image) -> tuple[int, int, int, int] | None:
    return image.getchannel("A").point([255 * (level > _VISIBLE) for level in range(256)]).getbbox()


def _square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """The picture scaled into a padded square: premultiplied, so that no hidden colour bleeds into an edge."""
    inner = size * (1 - 2 * PADDING)
    scale = inner / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    scaled = np.asarray(image.convert("RGBa").resize((width, height), Image.Resampling.LANCZOS))
    square = np.zeros((size, size, 4), np.uint8)
    left, top = (size - width) // 2, (size - height) // 2
    square[top : top + height, left : left + width] = scaled
    np.minimum(square[..., :3], square[..., 3:], out=square[..., :3])
    return square


def _described(square: NDArray[np.uint8]) -> Raster:
    """Measure the drawing, averaged down to about 64 pixels: enough for means."""
    seen = Image.frombytes("RGBa", (square.shape[1], square.shape[0]), square.tobytes())
    small = np.asarray(seen.reduce(max(1, square.shape[0] // 64)))
    alpha = small[..., 3].astype(np.float32) * np.float32(1 / 255)
    colour = small[..., :3].astype(np.float32)
    total = float(alpha.sum())
    rows, columns = np.nonzero(alpha > _VISIBLE / 255)
    box_area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    rim = _rim(alpha)
    rim_colour = colour[rim].sum(0) / max(float(alpha[rim].sum()), 1e-6)
    on_gray = (colour @ np.array((0.299, 0.587, 0.114), np.float32)) + 128 * (1 - alpha)
    return Raster(
        pixels=square,
        coverage=total / alpha.size,
        fill=total / float(box_area),
        chroma=float((colour.max(-1) - colour.min(-1)).sum() / max(total, 1e-6)),
        rim=(int(rim_colour[0]), int(rim_colour[1]), int(rim_colour[2])),
        hash_=_difference_hash(Image.fromarray(on_gray.round().astype(np.uint8))),
        thumb=tuple(np.asarray(seen.resize((4, 4), Image.Resampling.BOX)).ravel().tolist()),
    )


def _rim(alpha: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The visible pixels near the outline; all of them in a thin drawing."""
    visible = alpha > 0.5
    reach = max(1, alpha.shape[0] // 40)
    padded = np.pad(visible, reach)
    side = alpha.shape[0]
    inside = visible.copy()
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        inside &= padded[dy * reach : dy * reach + side, dx * reach : dx * reach + side]
    rim = visible & ~inside
    return rim if rim.any() else alpha > 0


def _difference_hash(gray: Image.Image) -> int:
    """128 bits: is each of 8 x 8 cells darker than its right neighbour, and than the one below."""
    across = np.asarray(gray.resize((9, 8), Image.Resampling.BOX)).astype(np.int16)
    down = np.asarray(gray.resize((8, 9), Image.Resampling.BOX)).astype(np.int16)
    bits = np.concatenate(((across[:, 1:] - across[:, :-1] > 2).ravel(), (down[1:] - down[:-1] > 2).ravel()))
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until the parent closes the pipe."""
    answers.write(_LENGTH.pack(0))
    answers.flush()
    while len(head := requests.read(_REQUEST.size)) == _REQUEST.size:
        kind, size, length = _REQUEST.unpack(head)
        payload = requests.read(length)
        try:
            raster = rasterise(_KINDS[kind], payload, size)
        except (ValueError, OSError, MemoryError, SyntaxError, Image.DecompressionBombError) as error:
            _answer(answers, {"refused": str(error) or type(error).__name__})
            continue
        facts: dict[str, object] = {
            "coverage": raster.coverage,
            "fill": raster.fill,
            "chroma": raster.chroma,
            "rim": raster.rim,
            "hash": f"{raster.hash_:032x}",
            "thumb": raster.thumb,
        }
        _answer(answers, facts, raster.pixels.tobytes())


def _answer(answers: IO[bytes], facts: dict[str, object], pixels: bytes = b"") -> None:
    text = json.dumps(facts).encode()
    answers.write(_LENGTH.pack(len(text)) + text + pixels)
    answers.flush()


def _limit_memory() -> None:
    """Cap the worker's address space where the system can (not on Windows)."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT, _MEMORY_LIMIT))


if __name__ == "__main__":
    if importlib.util.find_spec("resvg_py") is None:
        sys.exit(1)
    _limit_memory()
    serve(sys.stdin.buffer, sys.stdout.buffer)
