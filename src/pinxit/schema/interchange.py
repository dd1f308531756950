"""The `parameters` text that A1111-compatible programs write into pictures, written and read.

```
the prompt, on any number of lines
Negative prompt: its lines
Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, ...
```
Values that hold a comma, a colon or a line break are quoted as JSON strings. The last line counts as settings only when
it has at least three of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from pinxit.schema.errors import BadInput
from pinxit.schema.methods import label, method_named, schedule_named
from pinxit.schema.parts import AdapterUse, FromImage
from pinxit.schema.record import Record
from pinxit.schema.request import GenerationRequest, validated

INFOTEXT_BYTES = 1024 * 1024
"""Longest text that is read."""
NEGATIVE = "Negative prompt:"
MIN_SETTINGS = 3
PROGRAM = "a1111"
"""Whose names in `schema.methods` are written and read here."""

_SETTING = re.compile(r'(\w[\w \-/]{1,100}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What to call a sampler and a schedule that other programs have no name for."""

    sampler: str
    schedule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Infotext:
    """The text taken apart. `settings` are unquoted and in order; a repeated name keeps its last value."""

    prompt: str
    negative: str
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What another program's text says in our words.

    `fields` are request fields that `validated` accepts. `strength` belongs to an input picture, which the text does
    not hold. `other` keeps every setting that has no field here or no usable value, as it was written.
    """

    fields: Mapping[str, object]
    strength: float | None
    other: Mapping[str, str]

    def request(self) -> GenerationRequest:
        return validated(self.fields)


def a1111_text(record: Record, labels: Labels | None = None) -> str:
    """The record as other programs read it.

    Samplers and schedules have their names there; those that have none are called by `labels`, or by our own names.
    """
    request = record.request
    sampler, schedule = request.sampler or "", request.schedule or ""
    settings: dict[str, object] = {
        "Steps": request.steps,
        "Sampler": label("sampler", sampler, PROGRAM) or (labels.sampler if labels else sampler),
        "Schedule type": None
        if request.sigmas
        else label("schedule", schedule, PROGRAM) or (labels.schedule if labels else schedule),
        "CFG scale": request.guidance,
        "Seed": request.seed,
        "Size": request.size,
        "Model hash": record.model.files[0].sha256[:10] if record.model.files else None,
        "Model": record.model.name,
        "Denoising strength": request.source.strength if isinstance(request.source, FromImage) else None,
        "Clip skip": request.clip_skip if (request.clip_skip or 1) > 1 else None,
        "ENSD": request.eta_noise_seed_delta or None,
        "Token merging ratio": request.token_merging or None,
        "RNG": _RNG_OF.get(record.noise, record.noise),
        "CFG rescale": request.guidance_rescale or None,
        "Eta": request.eta,
        "Sigma churn": request.s_churn,
        "Sigma tmin": request.s_tmin,
        "Sigma tmax": request.s_tmax,
        "Sigma noise": request.s_noise,
        "Schedule max sigma": request.sigma_max,
        "Schedule min sigma": request.sigma_min,
        "Schedule rho": request.rho,
        "Discard penultimate sigma": True if request.discard_next_to_last == "yes" else None,
        "SGM noise multiplier": True if request.start_noise == "root" else None,
        **_refiner(record),
        "Lora hashes": ", ".join(f"{_bare(one.name)}: {one.short}" for one in record.adapters if one.short) or None,
        "Version": record.engine,
    }
    prompt = " ".join(part for part in (request.prompt, *map(_tag, request.adapters)) if part)
    line = ", ".join(f"{name}: {quoted(_spelt(value))}" for name, value in settings.items() if value is not None)
    negative = f"{NEGATIVE} {request.negative}" if request.negative else ""
    return "\n".join(part for part in (prompt, negative, line) if part).strip()


def _tag(use: AdapterUse) -> str:
    """An adapter as those programs' prompts ask for it: first the weight of the text encoders, then the other."""
    weights = [use.text, use.weight] if use.text != use.weight else [use.weight]
    return f"<{':'.join((use.kind, _bare(use.name), *map(_spelt, weights)))}>"


def _bare(name: str) -> str:
    """A model's name without its folders, and without what means something in a tag."""
    return re.sub("[<>:,]", "_", name.rpartition("/")[2])


def _refiner(record: Record) -> dict[str, object]:
    """The settings of a pass that hands over to another model."""
    settings: dict[str, object] = {}
    for asked, model in zip(record.request.passes, record.passes, strict=True):
        short = f" [{model.files[0].sha256[:10]}]" if model.files else ""
        settings |= {"Refiner": f"{asked.model}{short}", "Refiner switch at": asked.switch}
        if record.request.handover == "step":
            settings["Refiner switch by sampling steps"] = True
    return settings


def parse_infotext(text: str) -> Infotext:
    """Take a text apart. Any text is legal; one longer than 1 MiB raises BadInput."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > INFOTEXT_BYTES:
        raise BadInput(f"The parameters text is {size} bytes long; {INFOTEXT_BYTES} is the most that is read.")
    lines = _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip().split("\n")
    settings = _SETTING.findall(lines[-1])
    if len(settings) >= MIN_SETTINGS:
        lines.pop()
    else:
        settings = []
    prompt: list[str] = []
    negative: list[str] = []
    target = prompt
    for line in map(str.strip, lines):
        if line.startswith(NEGATIVE):
            target = negative
            line = line.removeprefix(NEGATIVE).strip()
        target.append(line)
    return Infotext(
        prompt="\n".join(prompt),
        negative="\n".join(negative),
        settings={name: unquoted(value.strip()) for name, value in settings},
    )


def read_a1111(text: str) -> Imported:
    """A `parameters` text in our words. Raises BadInput for texts or prompts beyond the limits, never otherwise."""
    parsed = parse_infotext(text)
    other = dict(parsed.settings)
    _name_methods(other)
    fields: dict[str, object] = {"prompt": parsed.prompt + _hypernet_tag(other), "negative": parsed.negative}
    for setting, (field, convert) in _READERS.items():
        if setting in other:
            value = _accepted(field, convert, other[setting])
            if value is not None:
                fields[field] = value
                del other[setting]
    for setting, meaningless in _DEFAULTS.items():
        if other.get(setting) in meaningless:
            del other[setting]
    fields |= _read_refiner(other)
    two_passes = any(name.startswith(("Hires ", "First pass")) for name in other)
    strength = None if two_passes else _fraction(other.get("Denoising strength", ""))
    if strength is not None:
        del other["Denoising strength"]
    validated(fields)
    return Imported(fields=fields, strength=strength, other=other)


def _read_refiner(other: dict[str, str]) -> dict[str, object]:
    """The request's fields for a refiner, whose settings are taken away where they can be used."""
    name = re.sub(r" \[[0-9a-fA-F]{4,64}\]$", "", other.get("Refiner", ""))
    switch = _fraction(other.get("Refiner switch at", ""))
    passes = [{"kind": "refine", "model": name, "switch": switch}]
    if switch is None or _accepted("passes", lambda _: passes, name) is None:
        return {}
    del other["Refiner"], other["Refiner switch at"]
    by_step = other.pop("Refiner switch by sampling steps", "") == "True"
    return {"passes": passes, **({"handover": "step"} if by_step else {})}


def quoted(value: str) -> str:
    """`value` as it stands in the settings line."""
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ",:\n") else value


def unquoted(value: str) -> str:
    """The opposite of `quoted`; a badly quoted value is kept as it is."""
    if len(value) < 2 or not (value.startswith('"') and value.endswith('"')):
        return value
    try:
        read = cast(object, json.loads(value))
    except ValueError:
        return value
    return _CONTROLS.sub("", read) if isinstance(read, str) else value


def _spelt(value: object) -> str:
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _name_methods(settings: dict[str, str]) -> None:
    """Put our names of the sampler and the schedule in the settings, and the schedule that a sampler's name holds.

    Names that are not in the table stay as they are.
    """
    method = method_named(settings.get("Sampler", ""))
    schedule = settings.get("Schedule type", "Automatic")
    if method is not None:
        settings["Sampler"] = method.sampler
        if method.schedule is not None and schedule == "Automatic":
            settings["Schedule type"] = method.schedule
    named = schedule_named(settings.get("Schedule type", ""))
    if named is not None:
        settings["Schedule type"] = named


def _hypernet_tag(settings: dict[str, str]) -> str:
    """The prompt's tag for a hypernetwork that old versions wrote as two settings, which are taken away."""
    name = settings.pop("Hypernet", "")
    strength = settings.pop("Hypernet strength", "1.0") if name else ""
    return f"<hypernet:{name}:{strength}>" if name else ""


def _accepted(field: str, convert: Callable[[str], object], text: str) -> object:
    """The converted value, or None when it is not one that the request accepts."""
    value = convert(text)
    if value is None:
        return None
    try:
        validated({field: value})
    except BadInput:
        return None
    return value


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text, re.ASCII) else None


def _decimal(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,20}(\.[0-9]{0,20})?(e-?[0-9]{1,3})?", text, re.ASCII) else None


def _fraction(text: str) -> float | None:
    value = _decimal(text)
    return value if value is not None and value <= 1 else None


def _schedule(text: str) -> str | None:
    return None if text == "Automatic" else text


def _noise(text: str) -> str | None:
    return _NOISE_OF.get(text)


def _yes(text: str) -> str | None:
    return "yes" if text == "True" else None


def _root(text: str) -> str | None:
    return "root" if text == "True" else None


_NOISE_OF = {"CPU": "torch_cpu"}
_RNG_OF = {"philox": "NV", "torch_cpu": "CPU"}
_READERS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "Steps": ("steps", _whole),
    "Sampler": ("sampler", str),
    "Schedule type": ("schedule", _schedule),
    "CFG scale": ("guidance", _decimal),
    "Seed": ("seed", _whole),
    "Size": ("size", str),
    "Model": ("model", str),
    "Clip skip": ("clip_skip", _whole),
    "Token merging ratio": ("token_merging", _decimal),
    "RNG": ("noise", _noise),
    "CFG rescale": ("guidance_rescale", _decimal),
    "Eta DDIM": ("eta", _decimal),
    "Eta": ("eta", _decimal),
    "Sigma churn": ("s_churn", _decimal),
    "Sigma tmin": ("s_tmin", _decimal),
    "Sigma tmax": ("s_tmax", _decimal),
    "Sigma noise": ("s_noise", _decimal),
    "ENSD": ("eta_noise_seed_delta", _whole),
    "Schedule max sigma": ("sigma_max", _decimal),
    "Schedule min sigma": ("sigma_min", _decimal),
    "Schedule rho": ("rho", _decimal),
    "Discard penultimate sigma": ("discard_next_to_last", _yes),
    "SGM noise multiplier": ("start_noise", _root),
}
_DEFAULTS: Mapping[str, tuple[str, ...]] = {"Schedule type": ("Automatic",), "RNG": ("GPU", "NV"), "Seed": ("-1",)}
"""Settings whose value says no more than our own default does."""
