"""JSON at the doors: reading that is bounded and typed, and one canonical spelling for writing."""

from __future__ import annotations

import json
from typing import NoReturn, cast

from pinxit.schema.errors import BadInput

REQUEST_BYTES = 1024 * 1024
"""Longest JSON document that describes a request or a record."""


def load_json(data: str | bytes, *, what: str, limit: int = REQUEST_BYTES) -> object:
    """Parse `data`. `what` names the document in errors ("The request").

    Raises BadInput when it is longer than `limit` bytes, not UTF-8, not JSON, nested too deeply, or when it holds
    NaN, an infinity, a number of thousands of digits, or the same name twice in one object.
    """
    size = len(data) if isinstance(data, bytes) else len(data.encode("utf-8", "surrogatepass"))
    if size > limit:
        raise BadInput(f"{what} is {size} bytes long; {limit} is the most that is read.")
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        return cast(object, json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant))
    except UnicodeDecodeError as error:
        raise BadInput(f"{what} is not UTF-8 text (byte {error.start}).") from None
    except json.JSONDecodeError as error:
        raise BadInput(f"{what} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise BadInput(f"{what} is nested too deeply.") from None
    except ValueError as error:
        if isinstance(error, _RefusedError):
            raise BadInput(f"{what} is not usable: {error}") from None
        raise BadInput(f"{what} holds a number with far too many digits.") from None


def canonical_json(value: object, *, ascii_only: bool = False) -> str:
    """`value` with sorted names, no blanks and the shortest exact spelling of every number."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only, allow_nan=False)


class _RefusedError(ValueError):
    """Valid for Python's parser, but not here."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise _RefusedError(f"{twice[:60]!r} is given twice.")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise _RefusedError(f"{name} is not a number that JSON knows.")
