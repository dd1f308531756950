"""Every failure a user can meet, as one small tree.

```
PinxitError                      code, message, hint, exit_code, http_status
|- UsageError                    exit 2   the command line itself is wrong
|- BadInput                      exit 3   a value, a file or a prompt cannot be used
|  |- UnknownName                         no such sampler, schedule, field ...; names the nearest
|  `- BadImage                            a picture that cannot be read or is too large
|- ModelError                    exit 4   a weights file is missing, broken or not understood
|  |- BadModelFile                        truncated, malformed, wrong shapes, not safetensors
|  |- UnknownModelFormat                  a healthy file that no layout explains
|  `- NumericError                        the networks produced NaN or infinity
|- Missing                       exit 5   a model, input picture or package that is not on this machine
|- OutOfResources                exit 6   disk or memory; the request itself is fine
|  |- OutOfSpace
|  `- OutOfMemory
`- Interrupted                   exit 130 stopped by the user
```
A message says what happened and what was expected; a hint says what to do next. Neither holds a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class PinxitError(Exception):
    """Base of every error that a user may see. `field` names the request field at fault, if one is."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "", field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class UsageError(PinxitError):
    code = "usage"
    exit_code = 2
    http_status = 400


class BadInput(PinxitError):
    code = "bad_input"
    exit_code = 3
    http_status = 422


class UnknownName(BadInput):
    """A name that no registry entry answers to; the hint offers the nearest known ones.

    `known` are all spellings; `listed`, by default the same, are named when none of them is near.
    """

    code = "unknown_name"

    def __init__(
        self,
        kind: str,
        name: str,
        known: Iterable[str],
        *,
        listed: Iterable[str] | None = None,
        field: str | None = None,
    ) -> None:
        choices = sorted(set(known))
        near = nearest(name, choices)
        names = ", ".join(choices if listed is None else sorted(listed))
        everything = f"Known: {names}." if names else f"No {kind} is known."
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else everything
        super().__init__(f"There is no {kind} named {name!r}.", hint=hint, field=field)
        self.nearest = near


class BadImage(BadInput):
    code = "bad_image"


class ModelError(PinxitError):
    code = "model"
    exit_code = 4
    http_status = 422


class BadModelFile(ModelError):
    code = "bad_model"


class UnknownModelFormat(ModelError):
    code = "unknown_model_format"


class NumericError(ModelError):
    code = "not_finite"
    http_status = 500


class Missing(PinxitError):
    code = "missing"
    exit_code = 5
    http_status = 404


class OutOfResources(PinxitError):
    code = "out_of_resources"
    exit_code = 6
    http_status = 507


class OutOfSpace(OutOfResources):
    code = "out_of_space"


class OutOfMemory(OutOfResources):
    code = "out_of_memory"


class Interrupted(PinxitError):
    code = "interrupted"
    exit_code = 130
    http_status = 499


def nearest(name: str, choices: Iterable[str], *, limit: int = 2) -> list[str]:
    """The closest spellings to `name`, best first; compared without case."""
    by_fold = {choice.casefold(): choice for choice in choices}
    return [by_fold[hit] for hit in difflib.get_close_matches(name.casefold(), by_fold, n=limit, cutoff=0.55)]
