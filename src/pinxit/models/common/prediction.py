"""What a network was trained to predict, from whatever says so: files beside the weights, metadata, marker tensors."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match
from pinxit.weights.settings import Settings, read_json

Kind: TypeAlias = Literal["epsilon", "velocity"]

_KINDS: dict[str, Kind] = {
    "epsilon": "epsilon",
    "eps": "epsilon",
    "v_prediction": "velocity",
    "v-prediction": "velocity",
    "v": "velocity",
}
_YAML = re.compile(r"^\s*parameterization\s*:\s*[\"']?(eps|v)[\"']?\s*(?:#.*)?$", re.MULTILINE)
_YAML_LIMIT = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the network predicts and how that is known. `assumed` is True where nothing in the files says it."""

    kind: Kind
    zero_terminal_snr: bool
    evidence: str
    assumed: bool = False


def find_prediction(match: Match, *, fallback: Callable[[], tuple[Kind, str, bool]]) -> Prediction:
    """The prediction type of `match`, from the first of these that names one:

    the folder's scheduler_config.json, a JSON or YAML file beside a single file, its metadata, the marker tensors
    `v_pred` and `ztsnr`, and last `fallback`, which gives (kind, evidence, assumed). Raises BadModelFile for a type
    that is not known.
    """
    zero = "ztsnr" in match.header.tensors
    for source in (_scheduler, _json_beside, _yaml_beside, _metadata):
        if found := source(match):
            kind, evidence, rescaled = found
            return Prediction(kind=kind, zero_terminal_snr=zero or rescaled, evidence=evidence)
    if "v_pred" in match.header.tensors:
        return Prediction(kind="velocity", zero_terminal_snr=zero, evidence="the file holds the marker v_pred")
    kind, evidence, assumed = fallback()
    return Prediction(kind=kind, zero_terminal_snr=zero, evidence=evidence, assumed=assumed)


def _named(text: str | None, source: str) -> Kind | None:
    if text is None:
        return None
    if text.lower() not in _KINDS:
        raise BadModelFile(f"{source} names the prediction type {text!r}; known: {', '.join(_KINDS)}.")
    return _KINDS[text.lower()]


def _from_settings(settings: Settings) -> tuple[Kind, str, bool] | None:
    kind = _named(settings.text("prediction_type"), settings.source)
    if kind is None:
        return None
    return kind, f"{settings.source} says {kind}", bool(settings.flag("rescale_betas_zero_snr"))


def _scheduler(match: Match) -> tuple[Kind, str, bool] | None:
    source = "scheduler/scheduler_config.json"
    return _from_settings(Settings(source=source, values=match.header.configs.get(source, {})))


def _json_beside(match: Match) -> tuple[Kind, str, bool] | None:
    """A JSON file of the same stem. Other tools keep notes of their own there, so only what we understand counts."""
    path = _beside(match, ".json")
    if path is None:
        return None
    try:
        values = read_json(path)
    except BadModelFile:
        return None
    value = values.get("prediction_type")
    return _from_settings(Settings(source=path.name, values=values)) if isinstance(value, str) else None


def _yaml_beside(match: Match) -> tuple[Kind, str, bool] | None:
    """The one line that matters of a training configuration beside the file; noise is predicted where it is absent."""
    path = _beside(match, ".yaml")
    if path is None:
        return None
    with path.open("rb") as stream:
        text = stream.read(_YAML_LIMIT).decode("utf-8", "replace")
    found = _YAML.search(text)
    if found is None and "unet_config" not in text:
        return None
    kind: Kind = "velocity" if found and found[1] == "v" else "epsilon"
    return kind, f"{path.name} says {kind}", False


def _metadata(match: Match) -> tuple[Kind, str, bool] | None:
    text = match.header.metadata.get("modelspec.prediction_type")
    kind = _KINDS.get(text.lower()) if text else None
    return (kind, f"the file's metadata says {kind}", False) if kind else None


def _beside(match: Match, suffix: str) -> Path | None:
    """The regular file next to a single-file model with its stem and `suffix`."""
    path = match.header.path
    if match.layout.folder or not path.name.endswith(".safetensors"):
        return None
    other = path.with_suffix(suffix)
    return other if other.is_file() else None
