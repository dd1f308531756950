"""What a network was trained to predict, from whatever says so: files beside the weights, marker tensors, metadata."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from pinxit.sampling.targets import EDM_SIGMAS, EDM_VELOCITY_SIGMAS, Target
from pinxit.schema.errors import BadModelFile
from pinxit.weights.arrays import read_array
from pinxit.weights.identify import Match
from pinxit.weights.settings import Settings, read_json

Kind: TypeAlias = Target

_KINDS: dict[str, Kind] = {
    "epsilon": "epsilon",
    "eps": "epsilon",
    "v_prediction": "velocity",
    "v-prediction": "velocity",
    "v": "velocity",
    "edm": "edm",
    "edm_vpred": "edm_velocity",
    "flow": "flow",
    "flow_prediction": "flow",
}
_YAML = re.compile(r"^\s*parameterization\s*:\s*[\"']?(eps|v)[\"']?\s*(?:#.*)?$", re.MULTILINE)
_YAML_SCALING = re.compile(r"denoiser_scaling\.(EpsScaling|VScaling|VScalingWithEDMcNoise|EDMScaling)\b")
_SCALINGS: dict[str, Kind] = {
    "EpsScaling": "epsilon",
    "VScaling": "velocity",
    "VScalingWithEDMcNoise": "edm_velocity",
    "EDMScaling": "edm",
}
_YAML_LIMIT = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the network predicts and how that is known. `assumed` is True where nothing in the files says it.

    `sigmas` are the lowest and highest noise level of the continuous kinds and `sigma_data` their pictures' spread;
    `shift` is a flow's.
    """

    kind: Kind
    zero_terminal_snr: bool
    evidence: str
    assumed: bool = False
    sigmas: tuple[float, float] | None = None
    sigma_data: float | None = None
    shift: float | None = None


def find_prediction(match: Match, *, fallback: Callable[[], tuple[Kind, str, bool]]) -> Prediction:
    """The prediction type of `match`, from the first of these that names one:

    the folder's scheduler_config.json, a JSON or YAML file beside a single file, marker tensors (`v_pred`, `ztsnr`,
    `edm_mean`, `edm_vpred.sigma_max`), its metadata, and last `fallback`, which gives (kind, evidence, assumed). Raises
    BadModelFile for a type that is not known.
    """
    for source in (_scheduler, _json_beside, _yaml_beside, _markers, _metadata):
        if found := source(match):
            break
    else:
        kind, evidence, assumed = fallback()
        found = Prediction(kind=kind, zero_terminal_snr=False, evidence=evidence, assumed=assumed)
    if "ztsnr" in match.header.tensors and not found.zero_terminal_snr and found.kind in ("epsilon", "velocity"):
        evidence = f"{found.evidence}; zero terminal SNR: marker key ztsnr"
        found = replace(found, zero_terminal_snr=True, evidence=evidence)
    return found


def _plain(kind: Kind, evidence: str) -> Prediction:
    return Prediction(kind=kind, zero_terminal_snr=False, evidence=evidence)


def _named(text: str | None, source: str) -> Kind | None:
    if text is None:
        return None
    if text.lower() not in _KINDS:
        raise BadModelFile(f"{source} names the prediction type {text!r}; known: {', '.join(_KINDS)}.")
    return _KINDS[text.lower()]


def _from_settings(settings: Settings) -> Prediction | None:
    kind = _named(settings.text("prediction_type"), settings.source)
    scheduler = str(settings.values.get("_class_name", ""))
    if scheduler.startswith("EDM"):
        return _continuous(settings, "edm_velocity" if kind == "velocity" else "edm", scheduler)
    if scheduler.startswith("FlowMatch"):
        found = _plain("flow", f"{settings.source} names the scheduler {scheduler}")
        return replace(found, shift=settings.number("shift"))
    if kind is None:
        return None
    zero = bool(settings.flag("rescale_betas_zero_snr"))
    told = f"{settings.source} says {kind}" + (" with zero terminal SNR" if zero else "")
    return Prediction(kind=kind, zero_terminal_snr=zero, evidence=told)


def _continuous(settings: Settings, kind: Kind, scheduler: str) -> Prediction:
    low, high = settings.number("sigma_min"), settings.number("sigma_max")
    usual = EDM_SIGMAS
    sigmas = (usual[0] if low is None else low, usual[1] if high is None else high)
    if not 0 < sigmas[0] < sigmas[1]:
        raise BadModelFile(f"{settings.source}: sigma_min {low} and sigma_max {high} are no range of noise levels.")
    found = _plain(kind, f"{settings.source} names the scheduler {scheduler}")
    return replace(found, sigmas=sigmas, sigma_data=settings.number("sigma_data"))


def _scheduler(match: Match) -> Prediction | None:
    source = "scheduler/scheduler_config.json"
    return _from_settings(Settings(source=source, values=match.header.configs.get(source, {})))


def _json_beside(match: Match) -> Prediction | None:
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


def _yaml_beside(match: Match) -> Prediction | None:
    """The one line that matters of a training configuration beside the file; noise is predicted where it is absent."""
    path = _beside(match, ".yaml")
    if path is None:
        return None
    with path.open("rb") as stream:
        text = stream.read(_YAML_LIMIT).decode("utf-8", "replace")
    if scaling := _YAML_SCALING.search(text):
        return _plain(_SCALINGS[scaling[1]], f"{path.name} names {scaling[1]}")
    found = _YAML.search(text)
    if found is None and "unet_config" not in text:
        return None
    kind: Kind = "velocity" if found and found[1] == "v" else "epsilon"
    return _plain(kind, f"{path.name} says {kind}")


def _markers(match: Match) -> Prediction | None:
    """Tensors that stand in a file for nothing but this."""
    names = match.header.tensors
    if "edm_mean" in names and "edm_std" in names:
        found = _plain("edm", "EDM: marker keys edm_mean and edm_std")
        return replace(found, sigmas=EDM_SIGMAS, sigma_data=0.5)
    if "edm_vpred.sigma_max" in names:
        low, high = (
            scalar(match, f"edm_vpred.sigma_{end}", usual)
            for end, usual in zip(("min", "max"), EDM_VELOCITY_SIGMAS, strict=True)
        )
        found = _plain("edm_velocity", "EDM with velocity: marker key edm_vpred.sigma_max")
        return replace(found, sigmas=(low, high), sigma_data=1.0)
    return _plain("velocity", "v-prediction: marker key v_pred") if "v_pred" in names else None


def scalar(match: Match, name: str, usual: float) -> float:
    """The one positive number that the tensor `name` holds; `usual` where it holds none."""
    info = match.header.tensors.get(name)
    if info is None or info.start == info.end or info.end - info.start > 64:
        return usual
    value = float(np.ravel(read_array(match.header, name))[0])
    return value if np.isfinite(value) and value > 0 else usual


def _metadata(match: Match) -> Prediction | None:
    metadata = match.header.metadata
    text = metadata.get("modelspec.prediction_type")
    kind = _KINDS.get(text.lower()) if text else None
    if kind is None and metadata.get("ss_v_parameterization", "").lower() == "true":
        kind = "velocity"
    if kind is None:
        return None
    zero = metadata.get("ss_zero_terminal_snr", "").lower() == "true" and kind in ("epsilon", "velocity")
    return replace(_plain(kind, f"the file's metadata says {kind}"), zero_terminal_snr=zero)


def _beside(match: Match, suffix: str) -> Path | None:
    """The regular file next to a single-file model with its stem and `suffix`."""
    path = match.header.path
    if match.layout.folder or not path.name.endswith(".safetensors"):
        return None
    other = path.with_suffix(suffix)
    return other if other.is_file() else None
