from __future__ import annotations

import hashlib
from pathlib import Path

from pinxit.schema.parts import ImageRef
from pinxit.studio.inputs import find_inputs


def reference(data: bytes, name: str) -> ImageRef:
    return ImageRef(sha256=hashlib.sha256(data).hexdigest(), name=name)


def test_pictures_are_found_by_name_and_by_content(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    near.mkdir()
    far.mkdir()
    (near / "a.png").write_bytes(b"another picture")
    (near / "renamed.jpg").write_bytes(b"B")
    (far / "a.png").write_bytes(b"A")
    wanted = [reference(b"A", "a.png"), reference(b"B", "b.png"), reference(b"C", "c.png")]
    found = find_inputs(wanted, [near, far, tmp_path / "nowhere"])
    assert found == {wanted[0].sha256: b"A", wanted[1].sha256: b"B"}


def test_only_pictures_are_looked_into(tmp_path: Path) -> None:
    (tmp_path / "secrets.txt").write_bytes(b"A")
    (tmp_path / "folder.png").mkdir()
    assert find_inputs([reference(b"A", "")], [tmp_path]) == {}
