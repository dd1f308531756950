"""Tensors out of files into a network that was built without memory (on the meta device)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pinxit.schema.errors import BadModelFile, NumericError
from pinxit.weights.convert import to_ours
from pinxit.weights.dtypes import TORCH_DTYPES
from pinxit.weights.header import Header, TensorInfo, unchanged
from pinxit.weights.identify import Match, PartMatch
from pinxit.weights.layout import Op

NARROW = (torch.float16, torch.bfloat16)
_FLOATS = ("F32", "F16", "BF16")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Source:
    """One tensor that lies in a file in the shape that a network has it, and can be read when it is wanted."""

    header: Header
    name: str

    @property
    def nbytes(self) -> int:
        info = self.header.tensors[self.name]
        return info.end - info.start

    def read(self, room: Tensor | None = None) -> Tensor:
        """The tensor as the file has it, within `room`, at least `nbytes` bytes, or in memory of its own. Raises
        BadModelFile for a file that changed or cannot be read.
        """
        with _opened(self.header, (self.header.tensors[self.name].path,)) as files:
            info = self.header.tensors[self.name]
            return _read(files[info.path], info, room)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What `load_into` did. `missing` and `unexpected` are empty after a strict load.

    `missing` are tensors of the network that got no value (our names); `unexpected` those of this part in the file
    that the network has no place for (the file's names); `dropped` those left out on purpose, with reasons.
    """

    loaded: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    dropped: Mapping[str, str]


def load_into(
    network: nn.Module,
    match: Match,
    component: str,
    *,
    dtype: torch.dtype | None = None,
    strict: bool = True,
    check_finite: bool = False,
    channels_last: bool = False,
    keep_narrow: tuple[str, ...] = (),
    patch: Callable[[str, Tensor], Tensor] | None = None,
    take: Callable[[str, Tensor], bool] | None = None,
    later: Callable[[str, Source], bool] | None = None,
) -> LoadReport:
    """Give `network` the weights of the part `component`.

    Tensors are read one by one, and converted where `dtype` says so; 8-bit floats become float16 where it does not.
    With `channels_last` those of four axes are put into that order; those whose names end with one of `keep_narrow`
    stay in 16 bits where the file has them so. `patch` may change each of them, by our name, before it is rounded.
    What `take` then answers True to is its own affair, and the network gets no value for it here. What `later` answers
    True to is not even read, and nothing of all this done with it; it is asked for floats that have the right shape.
    Each is done before the next is read, so that only one is in memory twice. Every shape is compared with the
    network's. Raises BadModelFile for a wrong shape, a type that is no float, a file that changed, and, when `strict`,
    for anything missing or unexpected; NumericError for NaN or infinity when `check_finite`.
    """
    part = match.part(component)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    state: dict[str, Tensor] = {}
    taken: set[str] = set()
    homeless: list[str] = []
    bad: list[str] = []
    if later is not None:
        taken.update(name for name, source in _sources(match.header, part, wanted) if later(name, source))
    for name, source, tensor in _tensors(match.header, part, without=taken):
        if name not in wanted:
            homeless.append(source)
            continue
        _check(name, source, tensor, wanted[name])
        tensor = tensor if patch is None else patch(name, tensor)
        if take is not None and take(name, tensor):
            taken.add(name)
            continue
        narrow = name.endswith(keep_narrow) and tensor.dtype in NARROW if keep_narrow else False
        tensor = _widened(tensor) if dtype is None or narrow else tensor.to(dtype)
        if channels_last and tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        if check_finite and not _finite(tensor):
            bad.append(source)
        state[name] = tensor
    if bad:
        raise NumericError(
            f"{match.header.path.name} holds NaN or infinity in {len(bad)} tensors, such as {_some(bad)}.",
            hint="The file is damaged, or the model needs bfloat16 or float32: load another copy or type.",
        )
    network.load_state_dict(state, strict=False, assign=True)
    below = tuple(name for name in match.unexpected if name.startswith(part.place.prefix))
    report = LoadReport(
        loaded=len(state) + len(taken),
        missing=tuple(name for name in wanted if name not in state and name not in taken),
        unexpected=(*dict.fromkeys(homeless), *below),
        dropped={name: why for name, why in match.dropped.items() if name.startswith(part.place.prefix)},
    )
    if strict:
        _refuse_gaps(match, component, report)
    return report


def read_component(match: Match, component: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the part `component` under our names, read when its turn comes."""
    for name, _, tensor in _tensors(match.header, match.part(component)):
        yield name, tensor


def read_tensors(header: Header, names: Iterable[str]) -> dict[str, Tensor]:
    """These tensors of one file, by its own names, in memory of their own. Raises BadModelFile."""
    with _opened(header, header.sizes) as files:
        return {name: _read(files[header.tensors[name].path], header.tensors[name]) for name in names}


@contextmanager
def _opened(header: Header, paths: Iterable[Path]) -> Generator[Mapping[Path, BinaryIO]]:
    """Some files of a model that did not change. Raises BadModelFile, also for what goes wrong within."""
    if not unchanged(header):
        raise BadModelFile(f"{header.path.name} changed since it was looked at.", hint="Load it again.")
    try:
        with ExitStack() as stack:
            yield {path: stack.enter_context(path.open("rb", buffering=0)) for path in paths}
    except OSError as error:
        raise BadModelFile(f"{header.path.name} cannot be read: {error}.", hint="Download it again.") from error


def _sources(header: Header, part: PartMatch, wanted: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, Source]]:
    """By our names, every tensor that is in the file as the network has it."""
    for entry in part.entries:
        info = header.tensors.get(entry.theirs[0])
        plain = len(entry.ours) == len(entry.theirs) == 1 and entry.op not in (Op.SWAP, Op.TRANSPOSE)
        if plain and info is not None and info.shape == wanted.get(entry.ours[0]) and info.dtype in _FLOATS:
            yield entry.ours[0], Source(header, entry.theirs[0])


def _tensors(header: Header, part: PartMatch, *, without: Collection[str] = ()) -> Iterator[tuple[str, str, Tensor]]:
    """(our name, the file's name, tensor) of every entry that is complete in the file, but those `without`."""
    if not unchanged(header):
        raise BadModelFile(f"{header.path.name} changed since it was looked at.", hint="Load it again.")
    with ExitStack() as stack:
        files: dict[Path, BinaryIO] = {}
        for entry in part.entries:
            if any(name not in header.tensors for name in entry.theirs) or entry.ours[0] in without:
                continue
            infos = [header.tensors[name] for name in entry.theirs]
            try:
                for info in infos:
                    if info.path not in files:
                        stack.enter_context(safe_open(info.path, framework="pt"))  # looks the header over once more
                        files[info.path] = stack.enter_context(info.path.open("rb", buffering=0))
                theirs = [_read(files[info.path], info) for info in infos]
            except (SafetensorError, OSError) as error:
                raise BadModelFile(f"{header.path.name} cannot be read: {error}.", hint="Download it again.") from error
            for name, tensor in zip(entry.ours, to_ours(entry, theirs), strict=True):
                yield name, entry.theirs[0], tensor


def _read(file: BinaryIO, info: TensorInfo, room: Tensor | None = None) -> Tensor:
    """One tensor, in memory of its own or within `room`. Mapping the file instead would count every page twice until
    the last tensor is converted or packed, and give each kernel another alignment.
    """
    if info.dtype not in TORCH_DTYPES:
        raise BadModelFile(
            f"{info.name} holds {info.dtype} numbers, which are not supported.", hint="Convert the file."
        )
    dtype = TORCH_DTYPES[info.dtype]
    if room is None:
        tensor = torch.empty(info.shape, dtype=dtype)
    else:
        tensor = room[: math.prod(info.shape) * dtype.itemsize].view(dtype).view(info.shape)
    if tensor.nbytes != info.end - info.start:
        raise BadModelFile(f"{info.name} has {info.end - info.start} bytes; its shape needs {tensor.nbytes}.")
    raw: Any = tensor.view(-1).view(torch.uint8).numpy() if tensor.numel() else b""
    bytes_left = memoryview(raw)
    file.seek(info.start)
    while bytes_left:
        count = file.readinto(bytes_left)  # pyright: ignore[reportAttributeAccessIssue] - a raw file has it
        if not count:
            raise BadModelFile(f"{info.path.name} ends inside {info.name}.", hint="Download it again.")
        bytes_left = bytes_left[count:]
    return tensor


def _check(name: str, source: str, tensor: Tensor, wanted: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != wanted:
        raise BadModelFile(
            f"{source} has the shape {list(tensor.shape)}, the network's {name} has {list(wanted)}.",
            hint="The file is damaged, or belongs to another model.",
        )
    if not tensor.is_floating_point():
        raise BadModelFile(
            f"{source} holds {tensor.dtype} numbers, the network's {name} needs floats.",
            hint="Quantised files are not supported: use the float version.",
        )


def _widened(tensor: Tensor) -> Tensor:
    """8-bit floats as 16-bit ones, which hold all of them and can be computed with."""
    return tensor.half() if tensor.element_size() == 1 else tensor


def _finite(tensor: Tensor) -> bool:
    wide = tensor.float() if tensor.element_size() == 1 else tensor
    return bool(torch.isfinite(wide).all())


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _refuse_gaps(match: Match, component: str, report: LoadReport) -> None:
    gaps: list[str] = []
    if report.missing:
        gaps.append(f"lacks {len(report.missing)} tensors of the {component} ({_some(report.missing)})")
    if report.unexpected:
        gaps.append(f"holds {len(report.unexpected)} that it has no place for ({_some(report.unexpected)})")
    if gaps:
        raise BadModelFile(
            f"{match.header.path.name}, read as {match.layout.name}, {' and '.join(gaps)}.",
            hint="The file is incomplete, or of a variant that is not supported yet.",
        )
