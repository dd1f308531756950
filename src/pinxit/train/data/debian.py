"""Debian packages, read without their tools."""

from __future__ import annotations

from pathlib import Path

from pinxit.schema.errors import BadInput


def data_member(path: Path) -> bytes:
    """The `data.tar.xz` inside a .deb, which is an `ar` archive. Raises BadInput when there is none."""
    data = path.read_bytes()
    if data[:8] != b"!<arch>\n":
        raise BadInput(f"{path.name} is not a Debian package.", hint="Delete it and fetch it again.")
    at = 8
    while at + 60 <= len(data):
        name = data[at : at + 16].decode("ascii", "replace").strip().rstrip("/")
        size = int(data[at + 48 : at + 58])
        if name == "data.tar.xz":
            return data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise BadInput(f"{path.name} holds no data.tar.xz.", hint="Its layout has changed; pin a version that has it.")
