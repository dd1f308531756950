"""How a request field is declared: once, with everything that the other surfaces need to know about it.

The command line, the REST schema, the web form, the docs table and the picture's record all read these declarations.
English texts stand in the declaration; other languages are looked up by text id (see `pinxit.schema.i18n`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.fields import FieldInfo

Group = Literal[
    "prompt",
    "picture",
    "sampling",
    "guidance",
    "shortcuts",
    "source",
    "passes",
    "output",
    "sampler_options",
    "told",
    "training",
    "dialect",
    "part",
]
Widget = Literal[
    "auto",
    "text",
    "textarea",
    "number",
    "slider",
    "choice",
    "seed",
    "size",
    "interval",
    "image",
    "model",
    "adapters",
    "passes",
]

GROUPS: dict[Group, str] = {
    "prompt": "Prompt",
    "picture": "Picture",
    "sampling": "Sampling",
    "guidance": "Guidance",
    "shortcuts": "Computing less",
    "source": "Starting picture",
    "passes": "Further passes",
    "output": "Output file",
    "sampler_options": "Sampler options",
    "told": "What the model is told",
    "training": "How the model was trained",
    "dialect": "Compatibility",
    "part": "Part",
}
"""English titles of the groups, in the order in which forms and tables show them."""


class Part(BaseModel):
    """Base of everything that crosses a door: immutable, no unknown fields, no NaN or infinity.

    `text_prefix` starts the text ids of the class's fields: `request` makes `request.steps.title`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    text_prefix: ClassVar[str]

    @field_validator("*")
    @classmethod
    def _no_minus_zero(cls, value: object) -> object:
        """Minus zero equals zero but is spelt differently, and equal requests must be spelt equally."""
        return 0.0 if isinstance(value, float) and not value else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """What a declaration says of its field, read back from the model."""

    key: str
    """Text id without `.title` or `.help`, for example `request.steps`."""
    name: str
    title: str
    help: str
    group: Group
    widget: Widget
    advanced: bool
    flag: str
    """The command line's name of the field."""
    names: str | None
    """The catalogue that lists the allowed names (`sampler`, `schedule` ...), or None when the type says it all."""
    info: FieldInfo


def knob(
    default: object,
    title: str,
    help: str,  # noqa: A002  the word that every surface uses for it
    *,
    ge: float | None = None,
    le: float | None = None,
    group: Group = "part",
    widget: Widget = "auto",
    advanced: bool = False,
    names: str | None = None,
    flag: str | None = None,
) -> Any:
    """Declare a field. `default` is `...` for a required one; `ge` and `le` are inclusive bounds of a number.

    `title` and `help` are plain English: the title a few words, the help one or two sentences. `names` says which
    catalogue holds the allowed names, for fields whose choices plugins can extend. `flag` is the command line's name
    where the field's own would say too little there.
    """
    extra: dict[str, Any] = {"group": group, "widget": widget, "advanced": advanced}
    if names is not None:
        extra["names"] = names
    if flag is not None:
        extra["flag"] = flag
    return Field(default, title=title, description=help, ge=ge, le=le, json_schema_extra=extra)


def knobs(model: type[Part]) -> Iterator[Knob]:
    """The declarations of `model`, in order. Raises TypeError for a field that was not declared with `knob`."""
    for name, info in model.model_fields.items():
        extra = info.json_schema_extra
        if not isinstance(extra, dict) or not info.title or not info.description:
            raise TypeError(f"{model.__name__}.{name} is not declared with knob()")
        names = extra.get("names")
        yield Knob(
            key=f"{model.text_prefix}.{name}",
            name=name,
            title=info.title,
            help=info.description,
            group=cast(Group, extra["group"]),
            widget=cast(Widget, extra["widget"]),
            advanced=bool(extra["advanced"]),
            flag=str(extra.get("flag") or name.replace("_", "-")),
            names=str(names) if names is not None else None,
            info=info,
        )
