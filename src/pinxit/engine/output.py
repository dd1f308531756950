"""Pictures onto the disk: named, whole, and with their recipe inside, or not at all."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from pathlib import Path

from pinxit.schema.errors import BadInput, OutOfSpace
from pinxit.schema.request import GenerationRequest, ImageFormat

SUFFIXES: dict[ImageFormat, tuple[str, ...]] = {"png": (".png",), "jpeg": (".jpg", ".jpeg"), "webp": (".webp",)}
OTHER_SUFFIXES = {".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".jxl"}
"""Pictures too, but none that we write: a name that ends so is a mistake, and no folder is made of it."""
LONGEST_SLUG = 48
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LINK_ATTEMPTS = 10_000


def check_output(output: Path, request: GenerationRequest) -> None:
    """Refuse a place that cannot be written, before anything is computed. Raises BadInput."""
    try:
        _check_name(output, request)
        _check_folder(output)
    except OSError as error:
        raise BadInput(f"{output} cannot be written: {error.strerror}.", hint="Choose another --output.") from error


def _check_name(output: Path, request: GenerationRequest) -> None:
    if output.suffix.lower() in OTHER_SUFFIXES and not output.is_dir():
        raise BadInput(
            f"{output.name} names a format that is not written; pictures are {', '.join(SUFFIXES)}.",
            hint=f"End the name in {SUFFIXES[request.format][0]}.",
            field="format",
        )
    if is_file_name(output):
        if output.suffix.lower() not in SUFFIXES[request.format]:
            raise BadInput(
                f"{output.name} does not end in {' or '.join(SUFFIXES[request.format])}.",
                hint=f"Rename it, or choose another format than {request.format}.",
                field="format",
            )
        if request.count > 1:
            raise BadInput(
                f"{output.name} is one file, and {request.count} pictures are asked for.", hint="Name a folder instead."
            )
        if output.is_dir():
            raise BadInput(
                f"{output} is a folder.", hint="Name a file that does not exist yet, or the folder without a suffix."
            )


def _check_folder(output: Path) -> None:
    folder = output.parent if is_file_name(output) else output
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise BadInput(
            f"{output} cannot be written: {folder} is not a writable folder.", hint="Choose another --output."
        )


def is_file_name(output: Path) -> bool:
    """Whether a path names one picture file; every other path names a folder."""
    return output.suffix.lower() in {suffix for suffixes in SUFFIXES.values() for suffix in suffixes}


def write_picture(output: Path, data: bytes, request: GenerationRequest) -> Path:
    """Write one finished picture and return its path. Raises OutOfSpace or BadInput; nothing half-written stays.

    A file name is replaced; in a folder a new name is made of the seed and the prompt, never one that is taken.
    """
    target = output if is_file_name(output) else None
    folder = output.parent if target else output
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=".pinxit-", suffix=".tmp", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(draft, 0o666 & ~_umask())
            path = _settle(Path(draft), folder, target, request)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        _flush_folder(folder)
    except OSError as error:
        if error.errno in _FULL:
            raise OutOfSpace(
                f"The disk is full: {len(data):,} bytes for {folder} did not fit.",
                hint="Free some space, or choose another --output.",
            ) from error
        raise BadInput(f"{output} cannot be written: {error.strerror}.", hint="Choose another --output.") from error
    return path


def _settle(draft: Path, folder: Path, target: Path | None, request: GenerationRequest) -> Path:
    """Give the draft its name in one step: replacing `target`, or under the first free name of the folder."""
    if target is not None:
        os.replace(draft, target)
        return target
    stem = f"{request.seed}-{slug(request.prompt)}".rstrip("-")
    for number in range(_LINK_ATTEMPTS):
        path = folder / f"{stem}{f'-{number + 1}' if number else ''}{SUFFIXES[request.format][0]}"
        try:
            os.link(draft, path)
        except FileExistsError:
            continue
        except OSError:
            if path.exists():
                continue
            os.replace(draft, path)
            return path
        draft.unlink()
        return path
    raise BadInput(f"{folder} holds too many pictures named {stem}.", hint="Choose another --output.")


def slug(prompt: str) -> str:
    """The prompt as part of a file name: letters of any language, digits and dashes, no more than fits everywhere."""
    words = re.sub(r"[^\w]+", "-", prompt, flags=re.UNICODE).strip("-_").lower()
    return words.encode("utf-8")[:LONGEST_SLUG].decode("utf-8", "ignore").strip("-_")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush_folder(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
