"""Pictures of every mode a person may have, and the files that only look like pictures."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.engine import image as engine_image
from pinxit.engine.image import LARGEST_PICTURE, fitted, open_picture, read_picture, to_image, to_tensor
from pinxit.schema.errors import BadImage, Missing
from pinxit.schema.parts import FromImage, Size
from tests.easel import Easels

Pixel = tuple[int, int, int]


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pixel(image: Image.Image, x: int = 0, y: int = 0) -> Pixel:
    found = image.getpixel((x, y))
    assert isinstance(found, tuple)
    return int(found[0]), int(found[1]), int(found[2])


def grey16(value: int) -> Image.Image:
    return Image.fromarray(np.full((4, 6), value, dtype=np.uint16))


def palette(*, see_through: bool) -> bytes:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    return saved(image, transparency=1) if see_through else saved(image)


MODES: dict[str, tuple[Callable[[], bytes], Pixel]] = {
    "RGB": (lambda: saved(Image.new("RGB", (6, 4), (200, 100, 50))), (200, 100, 50)),
    "RGBA": (lambda: saved(Image.new("RGBA", (6, 4), (200, 100, 50, 255))), (200, 100, 50)),
    "RGBA half": (lambda: saved(Image.new("RGBA", (6, 4), (0, 0, 0, 51))), (204, 204, 204)),
    "RGBA nothing": (lambda: saved(Image.new("RGBA", (6, 4), (9, 9, 9, 0))), (255, 255, 255)),
    "RGB one colour clear": (
        lambda: saved(Image.new("RGB", (6, 4), (200, 100, 50)), transparency=(200, 100, 50)),
        (255, 255, 255),
    ),
    "LA": (lambda: saved(Image.new("LA", (6, 4), (100, 255))), (100, 100, 100)),
    "LA nothing": (lambda: saved(Image.new("LA", (6, 4), (100, 0))), (255, 255, 255)),
    "L": (lambda: saved(Image.new("L", (6, 4), 100)), (100, 100, 100)),
    "P": (lambda: palette(see_through=False), (200, 100, 50)),
    "P clear": (lambda: palette(see_through=True), (255, 255, 255)),
    "1 white": (lambda: saved(Image.new("1", (6, 4), 1)), (255, 255, 255)),
    "1 black": (lambda: saved(Image.new("1", (6, 4), 0)), (0, 0, 0)),
    "16 bit white": (lambda: saved(grey16(65535)), (255, 255, 255)),
    "16 bit grey": (lambda: saved(grey16(25700)), (100, 100, 100)),
    "16 bit near black": (lambda: saved(grey16(200)), (1, 1, 1)),
    "32 bit": (lambda: saved(Image.new("I", (6, 4), 65535), "TIFF"), (255, 255, 255)),
    "float": (lambda: saved(Image.new("F", (6, 4), 0.5), "TIFF"), (128, 128, 128)),
    "CMYK": (lambda: saved(Image.new("CMYK", (6, 4), (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
    "YCbCr": (lambda: saved(Image.new("YCbCr", (6, 4), (255, 128, 128)), "TIFF"), (255, 255, 255)),
    "WebP": (lambda: saved(Image.new("RGBA", (6, 4), (9, 9, 9, 0)), "WEBP", lossless=True), (255, 255, 255)),
    "BMP": (lambda: saved(Image.new("RGB", (6, 4), (200, 100, 50)), "BMP"), (200, 100, 50)),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb(mode: str) -> None:
    make, wanted = MODES[mode]
    opened = open_picture(make())
    assert (opened.mode, opened.size) == ("RGB", (6, 4))
    assert pixel(opened) == wanted
    assert pixel(opened, 5, 3) == wanted


def test_sixteen_bit_colour_is_scaled() -> None:
    """Written by hand, since Pillow writes no such file: a PNG of 48 bits a pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + struct.pack(">3H", 65535, 25700, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    data += chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    assert pixel(open_picture(data)) == (255, 100, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(orientation: int) -> None:
    """The corner that a camera's orientation names as the top left one comes out there."""
    upright = Image.new("RGB", (6, 4), (0, 0, 255))
    upright.putpixel((0, 0), (255, 0, 0))
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turns[orientation]) if orientation in turns else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = open_picture(saved(stored, exif=exif.tobytes()))
    assert opened.size == (6, 4)
    assert opened.tobytes() == upright.tobytes()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_a_moving_picture_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    red, green, blue = pixel(open_picture(data))
    assert (red > 240, green < 10, blue < 10) == (True, True, True)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1)])
@pytest.mark.parametrize("fit", ["crop", "resize", "pad"])
def test_the_smallest_pictures_fit(size: tuple[int, int], fit: Any) -> None:
    done = fitted(open_picture(saved(Image.new("RGB", size, (200, 100, 50)))), Size(width=72, height=64), fit)
    assert (done.mode, done.size) == ("RGB", (72, 64))
    assert pixel(done, 35, 31) == (200, 100, 50)


def test_the_three_ways_to_fit() -> None:
    wide = Image.new("RGB", (40, 20), (0, 0, 255))
    wide.paste((255, 0, 0), (0, 0, 10, 20))
    target = Size(width=64, height=64)
    assert pixel(fitted(wide, target, "crop"), 3, 32) == (0, 0, 255), "the sides are cut"
    assert pixel(fitted(wide, target, "resize"), 3, 32) == (255, 0, 0), "all of it is there"
    padded = fitted(wide, target, "pad")
    assert pixel(padded, 1, 32) == (255, 0, 0)
    assert pixel(padded, 32, 2) == (255, 255, 255), "borders are white"


def test_pixels_survive_the_way_to_a_tensor_and_back() -> None:
    pixels = np.arange(256 * 3, dtype=np.uint16).reshape(16, 16, 3).astype(np.uint8)
    tensor = to_tensor(Image.fromarray(pixels))
    assert (tensor.shape, tensor.dtype) == ((1, 3, 16, 16), torch.float32)
    assert (tensor.min().item(), tensor.max().item()) == (-1.0, 1.0)
    assert np.array_equal(np.asarray(to_image(tensor[0])), pixels)


def test_what_lies_outside_is_clamped() -> None:
    picture = torch.tensor([-9.0, 0.0, 9.0]).reshape(3, 1, 1)
    assert pixel(to_image(picture)) == (0, 128, 255)


def png_header(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return start + struct.pack(">I", 1000) + b"IDAT"


@pytest.mark.parametrize(("width", "height"), [(8000, 4001), (100_000, 1000), (50_000, 50_000)])
def test_huge_pictures_are_refused_before_they_are_decoded(width: int, height: int) -> None:
    """The file holds no pixels at all, so decoding it would say something else."""
    assert width * height > LARGEST_PICTURE
    with pytest.raises(BadImage) as raised:
        open_picture(png_header(width, height), name="huge.png")
    assert raised.value.field == "source"
    if width * height < 150_000_000:
        assert str(raised.value) == (
            f"huge.png has {width} x {height} pixels; at most 32,000,000 are read. Make it smaller first."
        )


WHOLE = saved(Image.effect_noise((64, 64), 60))
BROKEN = {
    "truncated": WHOLE[:-500],
    "half a header": WHOLE[:20],
    "text": b"a cat\n",
    "nothing": b"",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><rect width='9' height='9'/></svg>",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
    "pdf": b"%PDF-1.4\n",
    "flipped bits": WHOLE[:60] + bytes(byte ^ 255 for byte in WHOLE[60:90]) + WHOLE[90:],
    "no pixels": png_header(64, 64),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_picture_is_refused(kind: str) -> None:
    with pytest.raises(BadImage) as raised:
        open_picture(BROKEN[kind], name="odd.png")
    assert str(raised.value) == (
        "odd.png cannot be read as a picture: it is damaged or of an unknown format. Save it as PNG or JPEG."
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_damage_anywhere_is_typed_or_harmless(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    options: dict[str, Any] = {} if kind in ("GIF", "BMP") else {"exif": exif.tobytes()}
    whole = saved(Image.effect_noise((24, 24), 60).convert("RGB"), kind, **options)
    random = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 4):
            data[place] = int(random.integers(0, 256))
        try:
            assert open_picture(bytes(data)).mode == "RGB"
        except BadImage:
            continue


def test_reading_a_file_names_it_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(WHOLE)
    reference, data = read_picture(path)
    assert data == WHOLE
    assert (reference.name, len(reference.sha256)) == ("cat.png", 64)
    with pytest.raises(Missing, match=r"nothing\.png cannot be read: No such file or directory\. Check the path\."):
        read_picture(tmp_path / "nothing.png")
    with pytest.raises(Missing, match="cannot be read: Is a directory"):
        read_picture(tmp_path)


def test_long_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_image, "LARGEST_FILE", 100)
    path = tmp_path / "long.png"
    path.write_bytes(bytes(1234))
    with pytest.raises(BadImage, match=r"long\.png has 1,234 bytes; a picture file may have 100\. Save it smaller\."):
        read_picture(path)


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drawing") / "in.png"
    picture = Image.new("RGB", (90, 60), (240, 240, 240))
    picture.paste((200, 30, 30), (20, 10, 60, 50))
    picture.save(path)
    return path


@pytest.mark.parametrize("strength", [0.01, 0.34, 0.67, 1.0])
def test_strength_decides_how_many_steps_are_taken(easels: Easels, drawing: Path, strength: float) -> None:
    reference, data = read_picture(drawing)
    source = FromImage(image=reference, strength=strength)
    easel = easels("pinxit")
    made = easel.plan({reference.sha256: data}, source=source, steps=6)
    assert len(made.resolved.sigmas) - 1 == max(1, int(6 * strength))
    assert made.stages[1].needs == ("vae",)
    ready = easel.paint({reference.sha256: data}, source=source, steps=6)[0]
    assert ready.image is not None
    assert ready.record.inputs() == (reference,)


def test_little_strength_keeps_the_picture(easels: Easels, drawing: Path) -> None:
    """At little strength the result is near what the autoencoder makes of the input; at full strength it is not."""
    reference, data = read_picture(drawing)
    easel = easels("sd1")

    def painted(strength: float) -> Any:
        source = FromImage(image=reference, strength=strength)
        image = easel.paint({reference.sha256: data}, source=source, steps=20, sampler="euler")[0].image
        return np.asarray(image, dtype=np.float64)

    faint, again, full = painted(0.05), painted(0.1), painted(1.0)
    assert np.abs(faint - again).mean() < np.abs(faint - full).mean()


@pytest.mark.parametrize("fit", ["crop", "resize", "pad"])
@pytest.mark.parametrize("size", ["264x200", "72x136"])
def test_sizes_that_no_latent_has_come_out_as_asked(easels: Easels, drawing: Path, fit: str, size: str) -> None:
    reference, data = read_picture(drawing)
    source = FromImage(image=reference, strength=0.5)
    image = easels("deep").paint({reference.sha256: data}, source=source, size=size, fit=fit, steps=2)[0].image
    assert image is not None
    assert f"{image.width}x{image.height}" == size


def test_the_same_input_gives_the_same_pixels(easels: Easels, drawing: Path) -> None:
    reference, data = read_picture(drawing)
    easel = easels("pinxit", None)
    fields: dict[str, Any] = {"source": FromImage(image=reference), "sampler": "euler_ancestral"}
    first = easel.pixels({reference.sha256: data}, count=2, **fields)
    assert easel.pixels({reference.sha256: data}, seed=8, **fields) == first[1:]
