"""The parts of a request: its size, the guidance interval, the seed, its adapters, and where the picture starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, Strict, WithJsonSchema, model_validator
from pydantic.json_schema import GetJsonSchemaHandler, JsonSchemaValue
from pydantic_core import CoreSchema

from pinxit.schema.field import Part, knob
from pinxit.schema.text import bare_file_name, clean_name, clean_text, complaint, shown

SIDE_STEP, SIDE_MIN, SIDE_MAX = 8, 64, 4096
"""Picture sides are multiples of 8 pixels within these bounds."""
EXTENT_MAX = 32768
"""The longest side that a model can be told a picture had."""
SEED_MAX = 2**64 - 1
EXACT_MAX = 2**53
"""Largest whole number that every JSON reader keeps exactly; larger seeds travel as strings."""
SIGMA_MAX = 1e6
"""Above the highest noise level of any model: an interval up to here has no upper end."""

Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Text = Annotated[str, Strict(), AfterValidator(clean_text)]
Name = Annotated[str, Strict(), AfterValidator(clean_name)]
FileName = Annotated[str, Strict(), AfterValidator(bare_file_name)]
Sha256 = Annotated[str, Strict(), Field(pattern=r"^[0-9a-f]{64}$")]


def json_seed(seed: int) -> int | str:
    """The seed as JSON holds it: a string above 2^53, where many readers would round a number."""
    return seed if seed <= EXACT_MAX else str(seed)


def _seed(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise complaint(f"must be a whole number from 0 to {SEED_MAX}, not {shown(value)}.")
    if value == -1:
        raise complaint(f"must be a whole number from 0 to {SEED_MAX}, not -1.", "Leave the seed out for a random one.")
    if not 0 <= value <= SEED_MAX:
        raise complaint(f"must be a whole number from 0 to {SEED_MAX}, not {shown(value)}.")
    return value


Seed = Annotated[
    int,
    BeforeValidator(_seed),
    PlainSerializer(json_seed, return_type=int | str, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": SEED_MAX},
                {"type": "string", "pattern": "^[0-9]{1,20}$"},
            ]
        }
    ),
]
"""0 to 2^64 - 1; JSON may give it as a string of digits."""


class Size(Part):
    """Width and height in pixels. Reads `512x768` as well as an object."""

    text_prefix: ClassVar[str] = "size"
    width: Whole = knob(..., "Width", "Width in pixels, a multiple of 8.", ge=SIDE_MIN, le=SIDE_MAX)
    height: Whole = knob(..., "Height", "Height in pixels, a multiple of 8.", ge=SIDE_MIN, le=SIDE_MAX)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        if isinstance(value, str):
            match = re.fullmatch(r"\s*([0-9]{1,6})\s*[xX×*]\s*([0-9]{1,6})\s*", value, re.ASCII)
            if match is None:
                raise complaint(f"must be two sides such as 512x768, not {shown(value)}.")
            value = {"width": int(match[1]), "height": int(match[2])}
        if isinstance(value, Mapping):
            sides = cast("Mapping[str, object]", value)
            _check_sides(sides.get("width"), sides.get("height"))
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        for side in ("width", "height"):
            schema["properties"][side]["multipleOf"] = SIDE_STEP
        return _or_string(schema, "^[0-9]+x[0-9]+$", "512x768")

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Extent(Part):
    """The width and height in pixels that a model is told; any whole numbers. Reads `4096x3072` too."""

    text_prefix: ClassVar[str] = "extent"
    width: Whole = knob(..., "Width", "Width in pixels.", ge=1, le=EXTENT_MAX)
    height: Whole = knob(..., "Height", "Height in pixels.", ge=1, le=EXTENT_MAX)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"\s*([0-9]{1,6})\s*[xX×*]\s*([0-9]{1,6})\s*", value, re.ASCII)
        if match is None:
            raise complaint(f"must be two sides such as 4096x3072, not {shown(value)}.")
        return {"width": int(match[1]), "height": int(match[2])}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _or_string(handler.resolve_ref_schema(handler(core)), "^[0-9]+x[0-9]+$", "4096x3072")

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Interval(Part):
    """The noise levels at which guidance acts: `lo < sigma <= hi`. Reads `0.3,6`, `[0.3, 6]` and `all`."""

    text_prefix: ClassVar[str] = "interval"
    lo: Number = knob(..., "Lowest noise level", "Guidance stops at this noise level (sigma).", ge=0, le=SIGMA_MAX)
    hi: Number = knob(..., "Highest noise level", "Guidance starts at this noise level (sigma).", ge=0, le=SIGMA_MAX)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        if isinstance(value, str):
            if value.strip().lower() == "all":
                return {"lo": 0.0, "hi": SIGMA_MAX}
            value = [_number(part) for part in value[:100].split(",")]
        if isinstance(value, list | tuple):
            ends = cast("list[object]", value)
            if len(ends) != 2 or None in ends:
                raise complaint("must be two noise levels such as 0.3,6 or the word all.")
            return {"lo": ends[0], "hi": ends[1]}
        return value

    @model_validator(mode="after")
    def _order(self) -> Interval:
        if self.lo >= self.hi:
            raise complaint(f"must go from the lower to the higher noise level, not {self}.")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        return _or_string(schema, "^(all|[-+0-9.eE ]+,[-+0-9.eE ]+)$", "0.3,6")

    def __str__(self) -> str:
        return f"{self.lo:g},{self.hi:g}"


class ImageRef(Part):
    """An input picture, named by what it is: the SHA-256 of its file. The name is for people and may be empty."""

    text_prefix: ClassVar[str] = "image_ref"
    sha256: Sha256 = knob(..., "Fingerprint", "SHA-256 of the picture's file, 64 hexadecimal digits.")
    name: FileName = knob("", "File name", "The picture's file name without folders, to help people find it again.")


class Blank(Part):
    """Start from nothing but noise: text to image."""

    text_prefix: ClassVar[str] = "blank"
    kind: Literal["blank"] = knob("blank", "Start", "Start from noise alone.")


class FromImage(Part):
    """Start from a picture that is covered with noise first: image to image."""

    text_prefix: ClassVar[str] = "from_image"
    kind: Literal["image"] = knob("image", "Start", "Start from a picture.")
    image: ImageRef = knob(..., "Picture", "The picture to start from.", group="source", widget="image")
    strength: Number = knob(
        0.6,
        "Strength",
        "How much of the picture is repainted: 0 keeps it as it is, 1 ignores it.",
        ge=0,
        le=1,
        group="source",
        widget="slider",
    )


class Refine(Part):
    """Let a second model take the last steps: the refiner of SDXL, or any model of the same latents."""

    text_prefix: ClassVar[str] = "refine"
    kind: Literal["refine"] = knob("refine", "Pass", "Another model takes the last steps.")
    model: Name = knob(
        ...,
        "Refiner",
        "Name of the model that takes the last steps.",
        group="passes",
        widget="model",
        names="model",
        flag="refiner",
    )
    switch: Number = knob(
        0.8,
        "Refiner from",
        "The share of the denoising after which the refiner takes over: 0.8 leaves it the last fifth.",
        ge=0,
        le=1,
        group="passes",
        widget="slider",
        flag="refiner-switch",
    )


WEIGHT_MAX = 10
_ADAPTER = re.compile(
    r"(?:(?P<kind>[a-z_]{1,32}):)?(?P<name>.+?)(?:@(?P<weight>[-+0-9.eE]+)(?::(?P<text_weight>[-+0-9.eE]+))?)?",
    re.DOTALL,
)


class AdapterUse(Part):
    """An adapter and how strongly it acts. Reads `dreamy@0.8`, `dreamy@0.8:0.5` and `lora:dreamy` too."""

    text_prefix: ClassVar[str] = "adapter_use"
    kind: Name = knob("lora", "Kind", "What sort of adapter it is: lora stands for all its relatives.", names="adapter")
    name: Name = knob(..., "Adapter", "The adapter's name.", widget="model", names="model")
    weight: Number = knob(
        1.0,
        "Weight",
        "How strongly it acts: 1 as it was trained, 0 not at all, below 0 the other way round.",
        ge=-WEIGHT_MAX,
        le=WEIGHT_MAX,
        widget="slider",
    )
    text_weight: Number | None = knob(
        None,
        "Weight of the text",
        "How strongly it acts on the text encoders. Left out, as on the rest.",
        ge=-WEIGHT_MAX,
        le=WEIGHT_MAX,
        widget="slider",
        advanced=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        match = _ADAPTER.fullmatch(value.strip())
        if match is None:
            raise complaint(f"must be an adapter such as dreamy@0.8, not {shown(value)}.")
        found: dict[str, object] = {key: text for key, text in match.groupdict().items() if text is not None}
        for key in ("weight", "text_weight"):
            if key in found and (number := _number(str(found[key]))) is not None:
                found[key] = number
        return found

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _or_string(handler.resolve_ref_schema(handler(core)), "^([a-z_]+:)?.+(@[-+0-9.eE:]+)?$", "dreamy@0.8")

    @property
    def text(self) -> float:
        """How strongly it acts on the text encoders."""
        return self.weight if self.text_weight is None else self.text_weight

    def __str__(self) -> str:
        text = "" if self.text_weight is None else f":{self.text_weight!r}"
        return f"{self.kind}:{self.name}@{self.weight!r}{text}"


STEPS_MAX = 1000


def _sigmas(value: object) -> object:
    """Noise levels from `14.6,7,3` or a list; the 0 that a run ends at is added where it is missing."""
    if isinstance(value, str):
        value = [_number(part) for part in value[: 32 * STEPS_MAX].strip("()[] ").split(",")]
    if not isinstance(value, list | tuple):
        raise complaint(f"must be falling noise levels such as 14.6,7,3,0, not {shown(value)}.")
    levels = cast("list[object]", list(value))
    numbers = [float(x) for x in levels if isinstance(x, int | float) and not isinstance(x, bool)]
    falls = all(high > low >= 0 for high, low in pairwise([SIGMA_MAX, *numbers]))
    if not numbers or len(numbers) < len(levels) or not falls or numbers == [0]:
        raise complaint("must be falling noise levels such as 14.6,7,3,0.")
    if len(numbers) > STEPS_MAX + 1:
        raise complaint(f"may be {STEPS_MAX} noise levels, not {len(numbers)}.")
    return (*numbers, *(() if numbers[-1] == 0 else (0.0,)))


Sigmas = Annotated[
    tuple[float, ...],
    BeforeValidator(_sigmas),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 1, "maxItems": STEPS_MAX + 1},
                {"type": "string", "pattern": "^[-+0-9.eE, ]+$", "examples": ["14.6,7,3,0"]},
            ]
        }
    ),
]
"""The noise levels of a run, falling, the last of them 0. Reads `14.6,7,3` as well as a list."""


def _yes_no(value: object) -> object:
    return ("yes" if value else "no") if isinstance(value, bool) else value


YesNo = Annotated[Literal["yes", "no"], BeforeValidator(_yes_no)]
"""A choice that may also be left open. JSON may say true or false."""


def _check_sides(width: object, height: object) -> None:
    """Complain about sides that are whole numbers but cannot be painted, naming the nearest that can."""
    if not (isinstance(width, int) and isinstance(height, int)) or isinstance(width, bool) or isinstance(height, bool):
        return
    choices = [_near(width), _near(height)]
    if width in choices[0] and height in choices[1]:
        return
    given = f"{width}x{height}" if max(abs(width), abs(height)) < 10**9 else shown(max(width, height))
    near = dict.fromkeys(f"{w}x{h}" for w, h in zip(*choices, strict=True))
    raise complaint(
        f"must have sides that are multiples of {SIDE_STEP} from {SIDE_MIN} to {SIDE_MAX}, not {given}.",
        f"The nearest: {' or '.join(near)}.",
    )


def _near(side: int) -> tuple[int, int]:
    """The valid sides just below and just above `side`; twice the same one when it is valid or out of bounds."""
    low = min(max(side // SIDE_STEP * SIDE_STEP, SIDE_MIN), SIDE_MAX)
    high = min(max(-(-side // SIDE_STEP) * SIDE_STEP, SIDE_MIN), SIDE_MAX)
    return low, high


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _or_string(schema: JsonSchemaValue, pattern: str, example: str) -> JsonSchemaValue:
    """Widen an object's JSON schema, in place, to the short string form that the same type reads."""
    body = dict(schema)
    title = body.pop("title", "")
    description = body.pop("description", "")
    schema.clear()
    schema.update(
        title=title,
        description=description,
        anyOf=[body, {"type": "string", "pattern": pattern, "examples": [example]}],
    )
    return schema
