"""Training state on disk: weights, average, optimizer and step, so that a killed run goes on with the same bytes.

A folder holds `state-<step>.safetensors` files and `latest.json`, which names the newest complete one with its
SHA-256. Each file is written beside, flushed and renamed; the newest two are kept, and a damaged newest one falls back
to the other.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from pinxit.schema.errors import BadModelFile, OutOfSpace

KEPT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """`tensors` by flat name; `step` is the number of finished steps; `recipe` identifies what was being trained."""

    step: int
    recipe: str
    tensors: Mapping[str, Tensor]


def save_state(folder: Path, state: State) -> Path:
    """Write `state` atomically. Raises OutOfSpace when the disk is full; older states are untouched then."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"state-{state.step:08d}.safetensors"
    draft = path.with_suffix(".tmp")
    try:
        contiguous = {name: tensor.detach().contiguous() for name, tensor in state.tensors.items()}
        save_file(contiguous, draft, metadata={"step": str(state.step), "recipe": state.recipe})
        digest = _digest(draft)
        _flush(draft)
        os.replace(draft, path)
        _write_json(folder / "latest.json", {"file": path.name, "sha256": digest, "step": state.step})
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OutOfSpace(
            f"The training state could not be written: {error.strerror}.", hint="Free some disk space."
        ) from error
    for old in sorted(folder.glob("state-*.safetensors"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def load_state(folder: Path, *, recipe: str) -> State | None:
    """The newest healthy state in `folder`, or None when there is none.

    Raises BadModelFile when the states there belong to another recipe.
    """
    expected = _expected(folder)
    for path in sorted(folder.glob("state-*.safetensors"), reverse=True):
        if path.name in expected and _digest(path) != expected[path.name]:
            continue
        tensors, metadata = _read(path)
        if metadata is None:
            continue
        if metadata.get("recipe") != recipe:
            raise BadModelFile(
                f"{folder} holds the state of another recipe.",
                hint="Choose another folder, or the recipe it began with.",
            )
        return State(step=int(metadata["step"]), recipe=recipe, tensors=tensors)
    return None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str] | None]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        return load_file(path), metadata
    except (SafetensorError, OSError):
        return {}, None


def _expected(folder: Path) -> dict[str, str]:
    try:
        latest = json.loads((folder / "latest.json").read_text("utf-8"))
        return {str(latest["file"]): str(latest["sha256"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(content), "utf-8")
    _flush(draft)
    os.replace(draft, path)
