"""Validation errors in one readable line: the field, what was expected, what was given."""

from __future__ import annotations

import types
from typing import Annotated, Literal, Union, cast, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pinxit.schema.errors import BadInput, UnknownName
from pinxit.schema.text import shown

_NOUNS: dict[object, str] = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def as_bad_input(error: ValidationError, model: type[BaseModel], *, what: str) -> BadInput:
    """The first of pydantic's complaints about `model` as a BadInput; `what` names the thing ("request")."""
    detail = error.errors(include_url=False)[0]
    path, owner, info = _locate(model, detail["loc"])
    if detail["type"] == "extra_forbidden":
        name = str(detail["loc"][-1])[:200]
        parent = path.removesuffix(name).rstrip(".") or what
        return UnknownName(f"{parent} field", name, owner.model_fields, field=path)
    if detail["type"] == "missing":
        return BadInput(f"{path} is missing.", field=path)
    if detail["type"] == "pinxit":
        context = detail.get("ctx", {})
        return BadInput(f"{path} {context.get('message', '')}".strip(), hint=str(context.get("hint", "")), field=path)
    given = shown(detail["input"])
    if detail["type"] == "union_tag_invalid":
        given = shown(detail.get("ctx", {}).get("tag"))
    return BadInput(f"{path or what} must be {_expected(detail, info)}, not {given}.", field=path or None)


def bounds(info: FieldInfo) -> tuple[float | None, float | None]:
    """The inclusive bounds that the field's declaration gives."""
    low = next((cast(float, rule.ge) for rule in info.metadata if isinstance(rule, Ge)), None)
    high = next((cast(float, rule.le) for rule in info.metadata if isinstance(rule, Le)), None)
    return low, high


def spelt(bound: float) -> str:
    """A bound as people read it: whole where it is whole."""
    return str(int(bound)) if bound == int(bound) else str(bound)


def choices(annotation: object) -> tuple[str, ...]:
    """The words that a Literal type allows; empty for any other type."""
    return tuple(
        str(word)
        for member in members(annotation)
        if get_origin(member) is Literal
        for word in cast("tuple[object, ...]", get_args(member))
    )


def members(annotation: object) -> tuple[object, ...]:
    """The types that a field accepts besides None, without their annotations."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(inner for part in get_args(annotation) for inner in members(part) if part is not type(None))
    return (annotation,)


def models(annotation: object) -> tuple[type[BaseModel], ...]:
    """The models among a field's types."""
    return tuple(one for one in members(annotation) if isinstance(one, type) and issubclass(one, BaseModel))


def lists(annotation: object) -> bool:
    """Whether a field holds a list of values."""
    return any(get_origin(one) is tuple for one in members(annotation))


def listed(annotation: object) -> tuple[type[BaseModel], ...]:
    """The models of which a field holds a list."""
    tuples = [one for one in members(annotation) if get_origin(one) is tuple]
    return tuple(inner for one in tuples for part in get_args(one) if part is not ... for inner in models(part))


def _expected(detail: ErrorDetails, info: FieldInfo | None) -> str:
    if info is None:
        return "an object with named fields"
    if detail["type"] == "finite_number":
        return "a finite number"
    if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
        tags = [repr(tag) for one in models(info.annotation) for tag in choices(one.model_fields["kind"].annotation)]
        return f"an object whose kind is {' or '.join(tags)}"
    if detail["type"] == "string_pattern_mismatch":
        return "64 hexadecimal digits in lower case"
    words = choices(info.annotation)
    if words:
        return f"one of {', '.join(map(repr, words))}"
    if detail["type"] == "tuple_type":
        return "a list"
    if detail["type"] == "too_long":
        return f"a list of at most {detail.get('ctx', {}).get('max_length')}"
    if models(info.annotation) or listed(info.annotation):
        return "an object with named fields"
    noun = next((_NOUNS[one] for one in members(info.annotation) if one in _NOUNS), "another kind of value")
    low, high = bounds(info)
    return noun if low is None or high is None else f"{noun} from {spelt(low)} to {spelt(high)}"


def _locate(model: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[str, type[BaseModel], FieldInfo | None]:
    """Where pydantic's location points: dotted path without union tags, the model that owns it, its declaration."""
    path: list[str] = []
    owner, options, info = model, (model,), None
    for step in loc:
        if isinstance(step, int):
            path.append(str(step))
            continue
        tagged = [one for one in options if len(options) > 1 and step in choices(one.model_fields["kind"].annotation)]
        if tagged:
            options = tuple(tagged)
            owner = tagged[0]
            continue
        if len(options) == 1:
            owner = options[0]
        path.append(str(step)[:200])
        info = owner.model_fields.get(str(step)) if options else info
        options = (models(info.annotation) or listed(info.annotation)) if info is not None else ()
    return ".".join(path), owner, info
