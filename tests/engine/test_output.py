"""Pictures onto the disk: named, whole and with their recipe, or not there at all."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pinxit.engine.output import check_output, is_file_name, slug, write_picture
from pinxit.schema.errors import BadInput, OutOfSpace
from pinxit.schema.events import ImageReady
from pinxit.schema.picture import read_record
from pinxit.schema.request import GenerationRequest
from tests.easel import Easels

REQUEST = GenerationRequest(prompt="A red Apple, 3D style!", seed=12)
DATA = b"picture" * 100


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_in_a_folder_the_name_is_made_of_seed_and_prompt(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "new" / "folder", DATA, REQUEST)
    assert path == tmp_path / "new" / "folder" / "12-a-red-apple-3d-style.png"
    assert path.read_bytes() == DATA
    assert names(path.parent) == [path.name]


def test_in_a_folder_nothing_is_overwritten(tmp_path: Path) -> None:
    paths = [write_picture(tmp_path, bytes([number]), REQUEST) for number in range(3)]
    stem = "12-a-red-apple-3d-style"
    assert [path.name for path in paths] == [f"{stem}.png", f"{stem}-2.png", f"{stem}-3.png"]
    assert [path.read_bytes() for path in paths] == [b"\0", b"\1", b"\2"]


def test_names_are_found_where_no_links_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    paths = [write_picture(tmp_path, bytes([number]), REQUEST) for number in range(2)]
    assert [path.read_bytes() for path in paths] == [b"\0", b"\1"]
    assert len(names(tmp_path)) == 2


def test_a_file_name_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "cat.png"
    target.write_bytes(b"old")
    assert write_picture(target, DATA, REQUEST) == target
    assert target.read_bytes() == DATA
    assert names(tmp_path) == ["cat.png"]


@pytest.mark.usefixtures("umask")
def test_the_mode_is_that_of_any_new_file(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "cat.png", DATA, REQUEST)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("A red Apple, 3D style!", "a-red-apple-3d-style"),
        ("一只猫，蓝色背景", "一只猫-蓝色背景"),
        ("../../etc/passwd", "etc-passwd"),
        ('a\\b:c*d?e<f>g|h"i', "a-b-c-d-e-f-g-h-i"),
        ("  \n\t ", ""),
        ("", ""),
        ("🍎🍏", ""),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("Straße", "straße"),
        ("_under_", "under"),
    ],
)
def test_a_prompt_as_part_of_a_name(prompt: str, wanted: str) -> None:
    assert slug(prompt) == wanted


@pytest.mark.parametrize("letter", ["a", "猫", "é", "🍎", "a b ", "ﬃ", "İ"])
def test_names_stay_short_whatever_the_script(tmp_path: Path, letter: str) -> None:
    found = slug(letter * 5000)
    assert len(found.encode()) <= 48
    path = write_picture(tmp_path, DATA, GenerationRequest(prompt=letter * 5000, seed=2**64 - 1))
    assert path.exists()
    assert path.name.startswith(str(2**64 - 1))


def test_without_words_the_seed_is_the_name(tmp_path: Path) -> None:
    assert write_picture(tmp_path, DATA, GenerationRequest(prompt="!!!", seed=5)).name == "5.png"


@pytest.mark.parametrize("name", ["cat.png", "cat.JPG", "cat.jpeg", "cat.webp", "a.b.png"])
def test_picture_suffixes_name_files(name: str) -> None:
    assert is_file_name(Path(name))
    assert not is_file_name(Path(name).with_suffix(""))


@pytest.mark.parametrize(
    ("output", "fields", "told"),
    [
        ("cat.jpg", {}, "cat.jpg does not end in .png. Rename it, or choose another format than png."),
        (
            "cat.png",
            {"format": "jpeg"},
            "cat.png does not end in .jpg or .jpeg. Rename it, or choose another format than jpeg.",
        ),
        ("cat.png", {"count": 2}, "cat.png is one file, and 2 pictures are asked for. Name a folder instead."),
        (
            "cat.bmp",
            {},
            "cat.bmp names a format that is not written; pictures are png, jpeg, webp. End the name in .png.",
        ),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path: Path, output: str, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput) as raised:
        check_output(tmp_path / output, REQUEST.replace(**fields))
    assert str(raised.value) == told


def test_places_that_cannot_be_written_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    for output in (file, file / "below", file / "below.png"):
        with pytest.raises(BadInput, match=r"cannot be written: .*file is not a writable folder\. Choose another"):
            check_output(output, REQUEST)
    with pytest.raises(BadInput, match=r"folder\.png is a folder\. Name a file that does not exist yet"):
        check_output(tmp_path / "folder.png", REQUEST)
    for output in (tmp_path / ("a" * 300), tmp_path / ("a" * 300 + ".png"), tmp_path / ("a" * 300) / "cat.png"):
        with pytest.raises(BadInput, match=r"cannot be written: File name too long\. Choose another --output\."):
            check_output(output, REQUEST)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(BadInput, match="is not a writable folder"):
        check_output(tmp_path / "new" / "cat.png", REQUEST)


def test_good_places_are_accepted_and_left_alone(tmp_path: Path) -> None:
    for output in (tmp_path, tmp_path / "new" / "deep", tmp_path / "cat.png", tmp_path / "new" / "cat.PNG"):
        check_output(output, REQUEST)
    assert not names(tmp_path)


def test_a_place_is_checked_before_anything_is_computed(easels: Easels, tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        next(iter(easels("pinxit").events(output=tmp_path / "cat.webp")))


@pytest.mark.parametrize("call", ["fsync", "chmod", "replace", "close"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")])
def test_a_crash_before_the_name_is_given_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    if call == "close":
        monkeypatch.setattr(os, "fdopen", broken_file(error))
    else:
        monkeypatch.setattr(os, call, raising(error))
    target = tmp_path / "cat.png"
    target.write_bytes(b"old")
    with pytest.raises((KeyboardInterrupt, BadInput)) as raised:
        write_picture(target, DATA, REQUEST)
    if isinstance(raised.value, BadInput):
        assert str(raised.value).endswith("cat.png cannot be written: Input/output error. Choose another --output.")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["cat.png"]


@pytest.mark.parametrize("call", ["fsync", "chmod", "link"])
def test_a_crash_leaves_nothing_in_a_folder_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setattr(os, call, raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write_picture(tmp_path, DATA, REQUEST)
    assert not names(tmp_path)


def raising(error: BaseException) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def broken_file(error: BaseException) -> Any:
    """A file whose last bytes cannot be written, as on a network drive that goes away."""
    real = os.fdopen

    def opened(*arguments: Any, **options: Any) -> Any:
        file = real(*arguments, **options)

        class Broken:
            def __enter__(self) -> Any:
                return file

            def __exit__(self, *_: object) -> None:
                file.close()
                raise error

        return Broken()

    return opened


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(os, "fsync", raising(OSError(number, os.strerror(number))))
    with pytest.raises(OutOfSpace) as raised:
        write_picture(tmp_path, DATA, REQUEST)
    assert str(raised.value) == (
        f"The disk is full: 700 bytes for {tmp_path} did not fit. Free some space, or choose another --output."
    )
    assert raised.value.exit_code == 6
    assert not names(tmp_path)


LIMITED = """
import resource, signal, sys
from pathlib import Path
from pinxit.engine.output import write_picture
from pinxit.schema.errors import OutOfSpace
from pinxit.schema.request import GenerationRequest
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_picture(Path(sys.argv[1]), bytes(5000), GenerationRequest(seed=1))
except OutOfSpace as error:
    sys.exit(error.exit_code)
"""


def test_a_limit_of_the_system_is_a_full_disk(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 6, done.stderr
    assert not names(tmp_path)


@pytest.mark.parametrize(("kind", "suffix"), [("png", "png"), ("jpeg", "jpg"), ("webp", "webp")])
def test_every_format_carries_its_recipe(easels: Easels, tmp_path: Path, kind: str, suffix: str) -> None:
    ready = easels("pinxit").paint(output=tmp_path, count=2, steps=1, format=kind)
    assert names(tmp_path) == [f"7-a-cat.{suffix}", f"8-a-cat.{suffix}"]
    for event in ready:
        assert event.path is not None
        assert read_record(event.path) == event.record
        assert (event.record.request.seed, event.record.request.count) == (event.seed, 1)


def test_a_write_that_fails_in_the_middle_of_a_batch_keeps_what_is_done(
    easels: Easels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = easels("pinxit").events(output=tmp_path, count=2, steps=1)
    next(event for event in events if isinstance(event, ImageReady))
    monkeypatch.setattr(os, "fsync", raising(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OutOfSpace):
        list(events)
    assert names(tmp_path) == ["7-a-cat.png"]
