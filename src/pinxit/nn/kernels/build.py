"""Compile a C++ file into a folder of shared libraries, once for each source, compiler and processor."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fopenmp")
SECONDS = 120.0
"""How long a compiler may take."""
_OPENMP = re.compile(r"/lib(?:g|i)?omp[^/]*\.so[^/]*$")


def compiled(source: Path, folder: Path, flags: Sequence[str] = (), *, maps: Path | None = None) -> ctypes.CDLL | None:
    """The library of `source`, from `folder` or compiled into it; None where that cannot be done.

    A library there is used only if it is ours alone to write and has the fingerprint that was noted when it was made;
    otherwise it is made again. It shares the OpenMP library that this process (`maps`) already runs.
    """
    compiler, openmp = _compiler(), _openmp(maps or Path("/proc/self/maps"))
    if compiler is None or openmp is None:
        return None
    try:
        words = [*FLAGS, *flags]
        library = folder / f"{source.stem}-{_key(source, compiler, openmp, words)}.so"
        if not _trusted(library):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _compile([compiler, *words, str(source), str(openmp)], library)
        return ctypes.CDLL(str(library)) if _trusted(library) else None
    except (OSError, subprocess.SubprocessError):
        return None


def fingerprint_of(library: Path) -> Path:
    """Where the SHA-256 of a library stands."""
    return library.with_suffix(".sha256")


def _compiler() -> str | None:
    return next((found for name in COMPILERS if (found := shutil.which(name))), None)


def _openmp(maps: Path) -> Path | None:
    """The OpenMP library in this process. A second one beside it would fight with it over the cores."""
    try:
        paths = [line.split(maxsplit=5)[-1].strip() for line in maps.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return None
    return next((Path(path) for path in paths if _OPENMP.search(path)), None)


def _key(source: Path, compiler: str, openmp: Path, words: Sequence[str]) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=SECONDS).stdout
    told = (source.read_bytes(), version, str(openmp).encode(), " ".join(words).encode())
    return hashlib.sha256(b"\0".join(told)).hexdigest()[:16]


def _trusted(library: Path) -> bool:
    try:
        facts = library.stat()
        noted = fingerprint_of(library).read_text("ascii").strip()
        if facts.st_uid != os.getuid() or facts.st_mode & 0o022:
            return False
        return noted == hashlib.sha256(library.read_bytes()).hexdigest()
    except (OSError, UnicodeDecodeError):
        return False


def _compile(command: Sequence[str], library: Path) -> None:
    """Run the compiler; the library and its fingerprint appear complete or not at all."""
    with tempfile.TemporaryDirectory(prefix=".making-", dir=library.parent) as folder:
        made, note = Path(folder) / library.name, Path(folder) / "note"
        subprocess.run([*command, "-o", str(made)], capture_output=True, check=True, timeout=SECONDS)
        made.chmod(0o600)
        note.write_text(hashlib.sha256(made.read_bytes()).hexdigest(), "ascii")
        # Two processes may make it at once, and a compiler need not give the same bytes twice: the pair is replaced
        # note last, and a reader that meets a mixed pair makes its own.
        with suppress(FileNotFoundError):
            fingerprint_of(library).unlink()
        os.replace(made, library)
        os.replace(note, fingerprint_of(library))
