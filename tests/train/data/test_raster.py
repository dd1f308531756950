from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinxit.schema.errors import Missing
from pinxit.train.data.raster import Raster, Rasteriser, Refused, rasterise
from tests.train.data import fakes

HANGING = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><filter id="f">'
    '<feTurbulence baseFrequency="0.4" numOctaves="2000000"/></filter>'
    '<rect width="64" height="64" filter="url(#f)"/></svg>'
)


def document(body: str, attributes: str = 'viewBox="0 0 64 64"') -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>{body}</svg>'.encode()


def test_a_hanging_drawing_costs_its_time_limit_and_nothing_else() -> None:
    with Rasteriser(size=32, time_limit=1.0) as rasteriser:
        assert isinstance(rasteriser.render("svg", document(fakes.star(5, "#c00"))), Raster)
        began = time.monotonic()
        assert rasteriser.render("svg", HANGING.encode()) == Refused("took longer than 1 s")
        assert time.monotonic() - began < 60
        rasteriser.time_limit = 20.0
        assert isinstance(rasteriser.render("svg", document(fakes.star(5, "#c00"))), Raster)


def test_a_machine_that_was_asleep_loses_no_drawing(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; from pinxit.train.data import raster; real = raster.rasterise\n"
        "def slow(*given):\n"
        "    if not (mark := pathlib.Path(sys.argv[1])).exists(): mark.touch(); time.sleep(300)\n"
        "    return real(*given)\n"
        "raster.rasterise = slow; raster.serve(sys.stdin.buffer, sys.stdout.buffer)"
    )
    with Rasteriser(size=32, time_limit=8.0) as rasteriser:
        rasteriser.command = (sys.executable, "-c", code, str(tmp_path / "slept"))
        assert isinstance(rasteriser.render("svg", document(fakes.star(5, "#c00"))), Raster)
    assert (tmp_path / "slept").exists()


def test_bombs_are_refused_and_the_next_drawing_is_rendered() -> None:
    tall = document('<rect width="9" height="9"/>', 'width="1" height="400000000" viewBox="0 0 1 400000000"')
    tenfold = "".join(f'<g id="g{n}">{f"""<use href="#g{n - 1}"/>""" * 10}</g>' for n in range(1, 9))
    many = document(f'<g id="g0"><rect width="9" height="9"/></g>{tenfold}')
    with Rasteriser(size=32, time_limit=20.0) as rasteriser:
        assert rasteriser.render("svg", tall) == Refused("crashed the renderer")
        refused = rasteriser.render("svg", many)
        assert isinstance(refused, Refused)
        assert "limit" in refused.reason
        assert isinstance(rasteriser.render("svg", document(fakes.star(5, "#c00"))), Raster)


def test_bad_drawings_are_refused_with_reasons_by_the_same_worker() -> None:
    with Rasteriser(size=32) as rasteriser:
        assert rasteriser.render("svg", document("")) == Refused("blank")
        assert isinstance(rasteriser.render("svg", b"<svg"), Refused)
        assert isinstance(rasteriser.render("image", b"no picture"), Refused)
        assert isinstance(rasteriser.render("svg", document(fakes.star(4, "#0c0"))), Raster)


def test_a_worker_that_dies_is_replaced() -> None:
    code = "import sys; sys.stdout.buffer.write(bytes(4)); sys.stdout.flush(); sys.stdin.buffer.read(9)"
    with Rasteriser(size=32) as rasteriser:
        rasteriser.command = (sys.executable, "-c", code)
        assert rasteriser.render("svg", document(fakes.star(5, "#c00"))) == Refused("crashed the renderer")
        rasteriser.command = (sys.executable, "-c", "pass")
        with pytest.raises(Missing, match=r"renderer did not start\. .*pinxit\[data\]"):
            rasteriser.render("svg", document(fakes.star(5, "#c00")))


@pytest.mark.parametrize(
    "body",
    [
        '<image href="/etc/passwd" width="9" height="9"/>',
        '<image xlink:href = "file:///etc/hostname"/>',
        "<style>@import 'x.css';</style>",
        '<rect style="fill:url(other.svg#a)"/>',
    ],
)
def test_a_drawing_that_refers_to_other_files_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match="outside the drawing"):
        rasterise("svg", document(body), 32)


def test_references_inside_the_drawing_are_fine() -> None:
    body = (
        '<linearGradient id="g"><stop offset="0" stop-color="#f00"/><stop offset="1" stop-color="#00f"/>'
        '</linearGradient><rect width="40" height="40" fill="url(#g)"/><use href="#g"/>'
    )
    assert rasterise("svg", document(body), 32).chroma > 50


def test_units_that_need_dots_per_inch_are_understood() -> None:
    body = '<rect x="10" y="10" width="50" height="20" fill="#369"/>'
    raster = rasterise("svg", document(body, 'width="210mm" height="297mm"'), 64)
    assert raster.rim == pytest.approx((0x33, 0x66, 0x99), abs=4)


def test_a_picture_is_cropped_centred_and_described() -> None:
    picture = Image.new("RGBA", (100, 100), (0, 255, 0, 0))
    picture.paste((200, 40, 40, 255), (10, 60, 50, 80))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    raster = rasterise("image", buffer.getvalue(), 100)
    rows, columns = np.nonzero(raster.pixels[..., 3] > 128)
    assert (columns.min(), columns.max()) == (4, 95)
    assert (rows.min(), rows.max()) == (27, 72)
    assert raster.fill == pytest.approx(1.0, abs=0.03)
    assert raster.coverage == pytest.approx(0.92 * 0.46, abs=0.01)
    assert raster.rim == pytest.approx((200, 40, 40), abs=2)
    assert raster.pixels[..., 1].max() < 60


def test_hashes_tell_shapes_apart_and_forgive_sizes() -> None:
    one, again, other = (
        rasterise("svg", document(body), 128)
        for body in (fakes.star(5, "#d22"), fakes.star(5, "#d22", reach=24), fakes.star(4, "#d22", turn=0.4))
    )
    assert (one.hash_ ^ again.hash_).bit_count() <= 4
    assert (one.hash_ ^ other.hash_).bit_count() > 12
