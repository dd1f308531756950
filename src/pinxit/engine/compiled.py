"""Networks compiled by torch, whole and once for each shape of their input; where that fails, they stay as they are."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import torch
from torch import Tensor

from pinxit.engine.allocator import ran_out

Tell = Callable[[str], None]
Function = Callable[..., Tensor]
BACKEND = "inductor"
SHAPES = 64
"""Shapes of input for which one network may be compiled in one process."""
DIGEST = 32
"""Bytes at the start of a kept file: the SHA-256 of the rest."""


class Kept:
    """What compiling gave, in a file for the next process. A file that cannot be used is told of and made again."""

    def __init__(self, path: Path, tell: Tell) -> None:
        self._path, self._tell = path, tell
        self._known: frozenset[str] = frozenset()

    def load(self) -> None:
        """Hand the compiler what the file has. The file holds code, so it is used only if it is ours alone to write."""
        try:
            facts = self._path.stat()
            data = self._path.read_bytes()
        except OSError:
            return
        digest, code = data[:DIGEST], data[DIGEST:]
        if not _is_ours(facts) or hashlib.sha256(code).digest() != digest:
            self._tell("what was compiled before is damaged or not ours, so it is compiled again")
            return
        found = torch.compiler.load_cache_artifacts(code)
        if found is None:
            self._tell("what was compiled before cannot be read, so it is compiled again")
            return
        self._known = _names(found)

    def save(self) -> None:
        """Write what compiling has given so far, if the file does not have it yet."""
        found = torch.compiler.save_cache_artifacts()
        if found is None or _names(found[1]) <= self._known:
            return
        code, info = found
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryDirectory(prefix=".making-", dir=self._path.parent) as folder:
                draft = Path(folder) / self._path.name
                draft.write_bytes(hashlib.sha256(code).digest() + code)
                draft.chmod(0o600)
                os.replace(draft, self._path)
        except OSError as error:
            self._tell(f"what was compiled cannot be kept for the next time ({error.strerror})")
            return
        self._known = _names(info)


def _is_ours(facts: os.stat_result) -> bool:
    """Whether nobody else may write the file; systems without such bits keep a user's cache to the user anyway."""
    return not hasattr(os, "getuid") or (facts.st_uid == os.getuid() and not facts.st_mode & 0o022)


def _names(info: Any) -> frozenset[str]:
    """The names of what a compiler's cache holds."""
    return frozenset(f"{kind} {key}" for kind, keys in info.artifacts.items() for key in keys)


class Compiled:
    """A function of tensors, compiled at its first call of every shape.

    With `graphs` a GPU replays its kernels from one recording, whose output is copied, because the next call writes
    over it. Weights are inputs of what is compiled, never constants in it. Where compiling fails, `failed` is told why,
    and from then on the function computes as it is.
    """

    def __init__(self, plain: Function, kept: Kept, failed: Tell, *, graphs: bool, mode: str | None = None) -> None:
        self.works = True
        self._plain, self._kept, self._failed, self._graphs = plain, kept, failed, graphs
        self._compiled: Function = torch.compile(plain, backend=BACKEND, mode=mode, fullgraph=True, dynamic=False)
        self._shapes: set[tuple[object, ...]] = set()

    def __call__(self, *given: Any, **named: Any) -> Tensor:
        if not self.works:
            return self._plain(*given, **named)
        values = (*given, *named.values())
        shape = tuple((tuple(one.shape), one.dtype, one.stride()) for one in values if isinstance(one, Tensor))
        if shape in self._shapes:
            return self._run(given, named)
        return self._first(shape, given, named)

    def _run(self, given: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
        if not self._graphs:
            return self._compiled(*given, **named)
        torch.compiler.cudagraph_mark_step_begin()
        return self._compiled(*given, **named).clone()

    def _first(self, shape: tuple[object, ...], given: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
        """Compile, or else compute as it is. Raises what says that memory is used up."""
        if not self._shapes:
            self._kept.load()
        try:
            config: Any = import_module("torch._dynamo.config")
            # The compiler warns of its own doings, which nobody who paints can change.
            with catch_warnings(action="ignore"), config.patch(recompile_limit=SHAPES):
                found = self._run(given, named)
        except Exception as error:  # whatever a compiler raises, the network still computes
            if ran_out(error):
                raise
            self.works = False
            self._failed(f"compiling failed, so networks compute as they are ({_reason(error)})")
            return self._plain(*given, **named)
        self._shapes.add(shape)
        self._kept.save()
        return found


def forget() -> None:
    """Let go of everything that was compiled in this process, with the memory of its recordings."""
    torch.compiler.reset()


def _reason(error: Exception) -> str:
    """The first line of what the compiler itself raised."""
    inner = getattr(error, "inner_exception", error)
    lines = (line.strip() for line in str(inner).splitlines())
    return next((line for line in lines if line), type(inner).__name__)[:200]
