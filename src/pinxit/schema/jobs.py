"""What a queue can hold. A job is data: it can be stored, sent to another process, and run later."""

from __future__ import annotations

from typing import ClassVar, Literal

from pinxit.schema.field import Part, knob
from pinxit.schema.parts import ImageRef
from pinxit.schema.request import GenerationRequest

__all__ = ["ImageRef", "Job", "Paint"]


class Paint(Part):
    """Paint the pictures of a request."""

    text_prefix: ClassVar[str] = "paint"
    kind: Literal["paint"] = knob("paint", "Kind", "What kind of job this is.")
    request: GenerationRequest = knob(..., "Request", "Which pictures to paint.")


Job = Paint
"""Every kind of job. Further kinds join as a union told apart by `kind`."""
