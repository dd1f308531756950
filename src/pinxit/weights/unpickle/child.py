"""The process that reads one pickle: everything it does not need is taken away first, then it reads, answers and ends.

Limits of the system (memory, time, no files to write, no new processes), no network where the system allows that, and
an audit hook that forbids opening, importing and running anything. What the file names is never run in the first
place; this is for the faults that nobody knows of.
"""

from __future__ import annotations

import codecs
import ctypes
import json
import os
import sys
import zipfile
from contextlib import suppress
from typing import BinaryIO, NoReturn

from pinxit.weights.unpickle.machine import RefusedError
from pinxit.weights.unpickle.torchfile import find_tensors

MEMORY_BYTES = 1 << 30
CPU_SECONDS = 20
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000
"""CLONE_NEWUSER and CLONE_NEWNET of Linux."""
NO_NEW_PRIVILEGES = 38
"""PR_SET_NO_NEW_PRIVS of Linux."""


def main() -> NoReturn:
    """Read the file whose descriptor or path is the last argument; write what it holds as JSON to standard output."""
    where = sys.argv[-1]
    stream = open(int(where) if where.isdigit() else where, "rb")  # noqa: SIM115  the process ends with it
    lock_up()
    text = json.dumps(answer(stream))
    sys.stdout.write(text)
    sys.stdout.flush()
    os._exit(0)


def answer(stream: BinaryIO) -> dict[str, object]:
    """What the file holds, or why it is refused."""
    try:
        found = find_tensors(stream, os.fstat(stream.fileno()).st_size)
    except RefusedError as error:
        return {"refused": str(error)}
    except zipfile.BadZipFile as error:
        return {"refused": f"its archive is damaged ({ascii(str(error))[:80]})"}
    except MemoryError:
        return {"refused": "it needs more memory than its reader may have"}
    except Exception as error:  # noqa: BLE001  whatever a hostile file breaks is an answer, not a crash
        return {"refused": f"it is damaged ({type(error).__name__})"}
    return {"tensors": found.tensors, "metadata": found.metadata, "dropped": found.dropped}


def lock_up() -> None:
    """Take away what reading does not need. Each measure is taken where the system has it."""
    for name in ("latin-1", "utf-8", "ascii", "cp437", "raw-unicode-escape"):
        codecs.lookup(name)
    with suppress(ImportError, OSError, ValueError):
        import resource

        limits = (
            (resource.RLIMIT_AS, MEMORY_BYTES),
            (resource.RLIMIT_CPU, CPU_SECONDS),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NPROC, 0),
        )
        for kind, most in limits:
            resource.setrlimit(kind, (most, most))
    with suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.unshare(NEW_USER | NEW_NETWORK)
        library.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    sys.addaudithook(_forbid)


def _forbid(event: str, arguments: tuple[object, ...]) -> None:
    del arguments
    if event.startswith(FORBIDDEN):
        raise PermissionError(f"{event} is forbidden here")


FORBIDDEN = (
    "open",
    "import",
    "exec",
    "compile",
    "code.",
    "ctypes.",
    "ftplib.",
    "glob.",
    "http.",
    "marshal.",
    "mmap.",
    "os.",
    "pickle.",
    "pty.",
    "resource.",
    "shutil.",
    "signal.",
    "socket.",
    "sqlite3.",
    "subprocess.",
    "syslog.",
    "tempfile.",
    "urllib.",
    "winreg.",
)
"""Audit events, by how their names begin."""
