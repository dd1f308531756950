"""The record: everything needed to paint one picture again, as it stands inside the picture's file.

A record holds no times, no folders and nothing of the batch, so equal pictures carry equal records. Its JSON text is
canonical: one record has one spelling. `FORMAT` grows whenever a field is added; older records stay readable.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, cast

from pydantic import Field, ModelWrapValidatorHandler, Strict, ValidationError, model_validator

from pinxit.schema.complaints import as_bad_input
from pinxit.schema.errors import BadInput
from pinxit.schema.field import Part, knob
from pinxit.schema.parts import FileName, ImageRef, Name, Sha256, Whole
from pinxit.schema.request import ADAPTERS_MAX, PASSES_MAX, GenerationRequest
from pinxit.schema.strict_json import canonical_json, load_json
from pinxit.schema.text import holds_a_path, shown

FORMAT = 3
"""Version of the record's own layout: 2 added the models of further passes, 3 adapters."""

RESOLVED = ("model", "size", "seed", "steps", "sampler", "schedule")
"""Fields of the request that a record cannot leave open."""


class ModelFile(Part):
    """One weights file that took part."""

    text_prefix: ClassVar[str] = "model_file"
    name: FileName = knob(..., "File name", "The file's name without folders.")
    sha256: Sha256 = knob(..., "Fingerprint", "SHA-256 of the whole file.")


class ModelFacts(Part):
    """Which model painted."""

    text_prefix: ClassVar[str] = "model_facts"
    name: Name = knob(..., "Model", "The model's name.")
    family: Name = knob(..., "Family", "The model's family, such as sd1 or sdxl.")
    prediction: Name = knob(..., "Prediction", "What the network predicts: epsilon, velocity, flow or edm.")
    files: Annotated[tuple[ModelFile, ...], Field(max_length=100)] = knob(
        (), "Files", "The weights files, the main one first."
    )


class AdapterFacts(Part):
    """Which adapter took part."""

    text_prefix: ClassVar[str] = "adapter_facts"
    name: Name = knob(..., "Adapter", "The adapter's name.")
    files: Annotated[tuple[ModelFile, ...], Field(max_length=100)] = knob((), "Files", "The adapter's files.")
    short: Annotated[str, Strict(), Field(pattern=r"^([0-9a-f]{12})?$")] = knob(
        "", "Short fingerprint", "By which other programs know the adapter: of its numbers alone, 12 digits."
    )


class Record(Part):
    """The recipe of one picture: the request with every choice made, and what carried it out.

    Raises BadInput when the request leaves something open, asks for more than one picture, or names a path.
    """

    text_prefix: ClassVar[str] = "record"
    format: Whole = knob(FORMAT, "Format", "Version of the record's layout.", ge=1, le=FORMAT)
    engine: Name = knob(..., "Program", "The program and its version.")
    request: GenerationRequest = knob(..., "Request", "The request with every choice made, for this one picture.")
    model: ModelFacts = knob(..., "Model", "The model that painted.")
    passes: Annotated[tuple[ModelFacts, ...], Field(max_length=PASSES_MAX)] = knob(
        (), "Further models", "The models of the request's passes, in the same order."
    )
    adapters: Annotated[tuple[AdapterFacts, ...], Field(max_length=ADAPTERS_MAX)] = knob(
        (), "Adapters", "The adapters of the request, in the same order."
    )
    sigmas_sha256: Sha256 = knob(..., "Noise levels", "Fingerprint of the noise levels that were visited.")
    noise: Name = knob(..., "Noise source", "How the noise was drawn from the seed.")
    dtype: Name = knob(..., "Precision", "Number format of the networks, such as float32.")
    threads: Whole = knob(..., "Threads", "How many processor threads computed.", ge=1, le=65536)
    torch: Name = knob(..., "Torch", "Version of the numerics library.")
    numerics: Name = knob(..., "Numerics", "The device and the exactness profile, such as cpu or cuda-fast.")

    @model_validator(mode="wrap")
    @classmethod
    def _typed(cls, data: object, handler: ModelWrapValidatorHandler[Record]) -> Record:
        try:
            record = handler(data)
        except ValidationError as error:
            raise as_bad_input(error, cls, what="record") from None
        _check(record)
        return record

    def inputs(self) -> tuple[ImageRef, ...]:
        """The pictures needed to paint this one again."""
        return self.request.inputs()

    def to_dict(self) -> dict[str, object]:
        """The record as plain JSON values; request fields that are None are left out, and lists that are empty."""
        empty = {name for name in ("adapters", "passes") if not getattr(self, name)}
        plain: dict[str, object] = self.model_dump(mode="json", exclude_none=True, exclude=empty)
        return plain | {"request": self.request.to_dict()}

    def to_json(self, *, ascii_only: bool = False) -> str:
        """The canonical JSON text."""
        return canonical_json(self.to_dict(), ascii_only=ascii_only)

    @classmethod
    def from_json(cls, data: str | bytes) -> Record:
        """Read a record of this or an older format, at most 1 MiB. Raises BadInput."""
        return cls.from_dict(load_json(data, what="The record"))

    @classmethod
    def from_dict(cls, data: object) -> Record:
        """Read a record from plain JSON values. Raises BadInput."""
        if not isinstance(data, Mapping):
            raise BadInput(f"A record is an object with named fields, not {shown(data)}.")
        fields = cast("Mapping[str, object]", data)
        version = fields.get("format")
        if isinstance(version, int) and version > FORMAT:
            raise BadInput(
                f"The record has format {shown(version)}; this version reads up to {FORMAT}.",
                hint="Update pinxit to read it.",
                field="format",
            )
        return cls.model_validate(dict(fields))


def _check(record: Record) -> None:
    """Raise BadInput for a record that leaves something open, is for several pictures, or names a path."""
    request = record.request
    for name in RESOLVED:
        if getattr(request, name) is None:
            hint = "A record needs the request with every choice made."
            raise BadInput(f"The record leaves {name} open.", hint=hint, field=f"request.{name}")
    if request.count != 1:
        hint = "Use request.image(index)."
        raise BadInput(f"A record is for one picture, not {request.count}.", hint=hint, field="request.count")
    if len(record.passes) != len(request.passes):
        message = f"The record names {len(record.passes)} further models for {len(request.passes)} passes."
        raise BadInput(message, hint="Each pass has its model.", field="passes")
    if len(record.adapters) != len(request.adapters):
        message = f"The record names {len(record.adapters)} files of adapters for {len(request.adapters)} adapters."
        raise BadInput(message, hint="Each adapter has its own.", field="adapters")
    named = (record.model.name, request.model or "", *(one.name for one in (*record.passes, *record.adapters)))
    asked = (*(one.model for one in request.passes), *(one.name for one in request.adapters))
    if any(map(holds_a_path, (*named, *asked))):
        hint = "Records name models, never paths."
        raise BadInput("The record names a folder of this machine as its model.", hint=hint, field="request.model")


def sigmas_sha256(sigmas: Sequence[float]) -> str:
    """Fingerprint of noise levels: SHA-256 of the numbers as little-endian float64."""
    return hashlib.sha256(struct.pack(f"<{len(sigmas)}d", *sigmas)).hexdigest()
