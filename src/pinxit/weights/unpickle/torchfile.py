"""Where the tensors of a `torch.save` file lie: the zip form since torch 1.6, and the stream form before it.

Both hold a pickle that describes tensors, and their numbers in the plain, one storage after another. Only the pickle is
read; the result says which bytes of the file each tensor is.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from pinxit.weights.unpickle.machine import Call, Global, Machine, Opaque, RefusedError

STORAGES: dict[str, str] = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "UntypedStorage": "U8",
}
TYPES: dict[str, str] = {
    "float64": "F64",
    "double": "F64",
    "float32": "F32",
    "float": "F32",
    "float16": "F16",
    "half": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int64": "I64",
    "long": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_RECORDS = 50_000
MAX_TENSORS = 20_000
MAX_DEPTH = 16
MAX_STEPS = 200_000
MAX_SIZE = 2**63
SPARE_BYTES = 16 * 2**20

TRAINING = ("pytorch_lightning", "lightning", "lightning_fabric", "omegaconf", "argparse", "pathlib", "typing")
CLASSES = ("torch.optim.", "torch.nn.", "numpy.random.", "ldm.", "sgm.", "transformers.", "diffusers.")
"""Where the classes come from that checkpoints mention beside their weights. They stay opaque."""
PLAIN = {
    "__builtin__": (
        "int",
        "float",
        "bool",
        "str",
        "unicode",
        "long",
        "list",
        "dict",
        "tuple",
        "set",
        "object",
        "complex",
    ),
    "builtins": ("int", "float", "bool", "str", "list", "dict", "tuple", "set", "object", "complex", "bytearray"),
    "collections": ("defaultdict", "Counter", "deque"),
    "copyreg": ("_reconstructor",),
    "copy_reg": ("_reconstructor",),
    "numpy": ("dtype", "ndarray", "float64", "float32", "int64", "int32", "bool_"),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "torch": ("device", "Tensor", "Generator"),
    "torch.serialization": ("_get_layout",),
    "torch.distributed._shard.sharded_tensor.metadata": ("TensorProperties",),
}
INSIDE = ("state_dict", "model_state_dict", "params_ema", "params", "model", "module", "net", "generator", "g_ema")
"""Keys under which programs keep the weights beside other things; the first one that holds tensors counts."""


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """A run of numbers: its key in the file, its type, how many there are, and where a view begins."""

    key: str
    dtype: str
    count: int
    begin: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TensorAt:
    """A tensor inside a storage; offset and strides count numbers."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(slots=True)
class Found:
    """The tensors of a file: (name, type, shape, first byte, byte after the last, strides or None for row by row)."""

    tensors: list[tuple[str, str, list[int], int, int, list[int] | None]] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)


def find_tensors(stream: BinaryIO, size: int) -> Found:
    """Everything that a file of `size` bytes holds. Raises RefusedError."""
    head = stream.read(4)
    stream.seek(0)
    root, places = _from_zip(stream) if head == b"PK\x03\x04" else _from_stream(stream, size)
    found = Found()
    weights = _unwrapped(root, found)
    total = 0
    for name, tensor in _flattened(weights):
        if len(found.tensors) >= MAX_TENSORS:
            raise RefusedError(f"it holds more than {MAX_TENSORS:,} tensors")
        total += math.prod(tensor.shape) * BYTES.get(tensor.dtype, 1)
        if total > 2 * size + SPARE_BYTES:
            raise RefusedError(f"its tensors would fill more than twice the {size:,} bytes that it has")
        found.tensors.append(_placed(name, tensor, places, size))
    return found


def _from_zip(stream: BinaryIO) -> tuple[object, dict[str, tuple[int, int]]]:
    """The pickled object, and (first byte, bytes) of every storage."""
    with zipfile.ZipFile(stream) as archive:
        records = archive.infolist()
        if len(records) > MAX_RECORDS:
            raise RefusedError(f"its archive has more than {MAX_RECORDS:,} records")
        pickles = [record for record in records if record.filename.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise RefusedError("it is a zip archive, but none of torch's: it has no data.pkl")
        folder = pickles[0].filename.removesuffix("data.pkl")
        packed = [record.filename for record in records if record.compress_type or record.flag_bits & 1]
        if packed:
            raise RefusedError(f"its record {packed[0][:80]!a} is compressed or encrypted, which torch never does")
        names: dict[str, tuple[int, int]] = {}
        for record in records:
            if record.filename in names:
                raise RefusedError(f"it holds {record.filename[:80]!a} twice")
            names[record.filename] = (_data_offset(stream, record), record.file_size)
        order = names.get(f"{folder}byteorder")
        if order is not None and _bytes_at(stream, (order[0], min(order[1], 16))) != b"little":
            raise RefusedError("its numbers are in big-endian order")
        data = _bytes_at(stream, names[pickles[0].filename])
    root = _machine(io.BytesIO(data)).load()
    prefix = f"{folder}data/"
    return root, {name.removeprefix(prefix): place for name, place in names.items() if name.startswith(prefix)}


def _data_offset(stream: BinaryIO, record: zipfile.ZipInfo) -> int:
    stream.seek(record.header_offset)
    head = stream.read(30)
    if len(head) != 30 or head[:4] != b"PK\x03\x04":
        raise RefusedError("its archive is damaged")
    name, extra = struct.unpack("<HH", head[26:30])
    return record.header_offset + 30 + name + extra


def _bytes_at(stream: BinaryIO, place: tuple[int, int]) -> bytes:
    if place[1] > 64 * 2**20:
        raise RefusedError(f"its pickle has {place[1]:,} bytes")
    stream.seek(place[0])
    return stream.read(place[1])


def _from_stream(stream: BinaryIO, size: int) -> tuple[object, dict[str, tuple[int, int]]]:
    """The stream form: magic number, version, machine, the object, the keys of its storages, then the storages."""
    machine = _machine(stream)
    first = machine.load()
    if first != MAGIC or isinstance(first, bool):
        return first, {}
    if machine.load() != PROTOCOL:
        raise RefusedError("it is of a version of torch's format that is not known")
    system = machine.load()
    if isinstance(system, dict) and cast("dict[object, object]", system).get("little_endian") is False:
        raise RefusedError("its numbers are in big-endian order")
    root = machine.load()
    keys = machine.load()
    if not isinstance(keys, list):
        raise RefusedError("it does not list its storages")
    widths = {storage.key: BYTES.get(storage.dtype, 1) for storage in _storages(root)}
    places: dict[str, tuple[int, int]] = {}
    for key in cast("list[object]", keys):
        raw = stream.read(8)
        if not isinstance(key, str) or len(raw) != 8:
            raise RefusedError("it is cut off")
        length = struct.unpack("<q", raw)[0] * widths.get(key, 1)
        at = stream.tell()
        if not 0 <= length <= size - at:
            raise RefusedError("it is cut off")
        places[key] = (at, length)
        stream.seek(at + length)
    return root, places


def _storages(root: object) -> Iterator[Storage]:
    """Every storage that the object mentions, also outside the weights."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, TensorAt):
            yield value.storage
        elif isinstance(value, Storage):
            yield value
        elif isinstance(value, dict | list | tuple) and id(cast(object, value)) not in seen:
            seen.add(id(cast(object, value)))
            items = cast("dict[object, object]", value).values() if isinstance(value, dict) else value
            waiting.extend(items)


def _machine(stream: BinaryIO) -> Machine:
    return Machine(stream, calls=CALLS, tolerated=_tolerated, persistent=_storage)


def _tolerated(name: Global) -> bool:
    if name.module == "torch" and (name.name in STORAGES or name.name in TYPES):
        return True
    if name.module == "torch.storage" and name.name in STORAGES:
        return True
    if name.name in PLAIN.get(name.module, ()):
        return True
    root = name.module.split(".")[0]
    return "." not in name.name and (root in TRAINING or f"{name.module}.".startswith(CLASSES))


def _storage(key: object) -> Storage:
    """What torch's persistent id ("storage", type, key, device, count) stands for."""
    if not isinstance(key, tuple) or len(cast("tuple[object, ...]", key)) < 5:
        raise RefusedError("it refers to something outside itself")
    word, kind, name, _, count, *view = cast("tuple[object, ...]", key)
    if word != "storage" or not isinstance(kind, Global) or kind.name not in STORAGES:
        raise RefusedError(f"it stores numbers as {ascii(str(kind))[:80]}, which is not known")
    if not isinstance(name, str) or not _is_size(count):
        raise RefusedError("it describes its storages wrongly")
    begin = 0
    if view and isinstance(view[0], tuple):
        begin = cast("tuple[object, ...]", view[0])[1:2][0] if len(cast("tuple[object, ...]", view[0])) > 1 else 0
        if not _is_size(begin):
            raise RefusedError("it describes its storages wrongly")
    return Storage(name, STORAGES[kind.name], cast(int, count), cast(int, begin))


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < MAX_SIZE


def _sizes(value: object) -> tuple[int, ...]:
    items = cast("tuple[object, ...]", value) if isinstance(value, tuple | list) else (None,)
    if len(items) > 8 or not all(_is_size(item) for item in items):
        raise RefusedError("it gives a tensor a shape that is none")
    return tuple(cast(int, item) for item in items)


def _tensor(storage: object, offset: object, shape: object, strides: object, *rest: object) -> object:
    """A tensor; of a storage without a type (torch 2.1 and later) the type stands behind."""
    if not isinstance(storage, Storage) or not _is_size(offset):
        raise RefusedError("it makes a tensor of what is no storage")
    kinds = [value.name for value in rest if isinstance(value, Global) and value.module == "torch"]
    dtype = TYPES.get(kinds[0], "") if kinds else storage.dtype
    if not dtype:
        raise RefusedError(f"it holds numbers of the type {kinds[0]}, which is not known")
    sizes, steps = _sizes(shape), _sizes(strides)
    if len(sizes) != len(steps):
        raise RefusedError("it gives a tensor a shape that is none")
    return TensorAt(storage, dtype, cast(int, offset) + storage.begin, sizes, steps)


def _parameter(data: object = None, *_: object) -> object:
    return data


def _from_type(function: object = None, kind: object = None, arguments: object = (), *_: object) -> object:
    """A tensor of a class of its own, and what it was made with: the tensor alone."""
    del kind
    call = CALLS.get(str(function)) if isinstance(function, Global) else None
    if call is None or not isinstance(arguments, tuple):
        raise RefusedError(f"it makes a tensor by {ascii(str(function))[:80]}, which is not known")
    return call(*cast("tuple[object, ...]", arguments))


def _ordered(items: object = (), *_: object) -> object:
    pairs = cast("list[object]", items) if isinstance(items, list | tuple) else []
    return {
        cast("tuple[object, object]", pair)[0]: cast("tuple[object, object]", pair)[1]
        for pair in pairs
        if isinstance(pair, tuple | list) and len(cast("list[object]", pair)) == 2
    }


def _encoded(text: object = "", *_: object) -> object:
    return text.encode("latin-1", "replace") if isinstance(text, str) else b""


CALLS: dict[str, Call] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.Size": lambda items=(), *_: tuple(items) if isinstance(items, list | tuple) else (),
    "collections.OrderedDict": _ordered,
    "_codecs.encode": _encoded,
}


def _unwrapped(root: object, found: Found) -> object:
    """The part of the object that holds the weights; what lies beside it is left out, its plain facts kept."""
    if isinstance(root, Opaque):
        raise RefusedError(
            f"it holds a whole {root.origin} and not its weights alone: nothing of it can be read safely"
        )
    for _ in range(4):
        if not isinstance(root, dict):
            return root
        content = cast("dict[object, object]", root)
        inside = next((key for key in INSIDE if _has_tensors(content.get(key))), None)
        if inside is None:
            return content
        for key, value in content.items():
            if key != inside:
                _note(str(key)[:80], value, found)
        root = content[inside]
    return root


def _has_tensors(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    content = cast("dict[object, object]", value)
    return any(isinstance(item, TensorAt) for item in content.values()) or any(
        _has_direct_tensors(content.get(key)) for key in INSIDE
    )


def _has_direct_tensors(value: object) -> bool:
    return isinstance(value, dict) and any(
        isinstance(item, TensorAt) for item in cast("dict[object, object]", value).values()
    )


def _note(key: str, value: object, found: Found) -> None:
    if isinstance(value, str | int | float) and len(found.metadata) < 64 and key.isprintable():
        found.metadata[key] = str(value)[:200] if isinstance(value, str) else repr(value)[:80]
    elif len(found.dropped) < 64:
        found.dropped.append(key)


def _flattened(root: object) -> Iterator[tuple[str, TensorAt]]:
    """Every tensor with the keys that lead to it, joined by dots."""
    waiting: list[tuple[str, object, int]] = [("", root, 0)]
    steps = 0
    while waiting:
        name, value, depth = waiting.pop()
        steps += 1
        if steps > MAX_STEPS:
            raise RefusedError("it is nested beyond all measure")
        if isinstance(value, TensorAt):
            yield name or "tensor", value
        elif isinstance(value, dict | list | tuple) and depth < MAX_DEPTH:
            pairs: list[tuple[object, object]] = (
                list(cast("dict[object, object]", value).items())
                if isinstance(value, dict)
                else list(enumerate(cast("list[object]", value)))
            )
            for key, item in reversed(pairs):
                if isinstance(key, str | int) and isinstance(item, TensorAt | dict | list | tuple):
                    waiting.append((f"{name}.{key}" if name else str(key), cast(object, item), depth + 1))


def _placed(
    name: str, tensor: TensorAt, places: dict[str, tuple[int, int]], size: int
) -> tuple[str, str, list[int], int, int, list[int] | None]:
    """Which bytes `tensor` is. Raises RefusedError where they lie outside its storage or the file."""
    place = places.get(tensor.storage.key)
    if place is None:
        raise RefusedError(f"the numbers of {name[:80]!a} are not in it")
    width = BYTES.get(tensor.dtype, 1)
    count = math.prod(tensor.shape)
    reach = 1 + sum((length - 1) * step for length, step in zip(tensor.shape, tensor.strides, strict=True))
    start = place[0] + tensor.offset * width
    end = start + (reach * width if count else 0)
    if end > place[0] + place[1] or place[0] + place[1] > size or (count and end > size):
        raise RefusedError(f"the numbers of {name[:80]!a} lie outside their storage")
    if not count:
        return name, tensor.dtype, list(tensor.shape), place[0], place[0], None
    if _in_order(tensor):
        return name, tensor.dtype, list(tensor.shape), start, start + count * width, None
    return name, tensor.dtype, list(tensor.shape), start, end, list(tensor.strides)


def _in_order(tensor: TensorAt) -> bool:
    """Whether the numbers lie row by row, without gaps."""
    step = 1
    for length, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if length != 1 and stride != step:
            return False
        step *= length
    return True
