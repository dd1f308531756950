"""What a file's metadata says: foreign text, shortened and cleaned before anybody sees it, and never more than text."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import cast

MOST_ENTRIES = 200
KEY_LENGTH = 100
VALUE_LENGTH = 500
PARSED_BYTES = 2**20
"""Longest value that is read as JSON."""
TAGS = 12

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+")
_SHA256 = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")

TRAINING: Mapping[str, str] = {
    "ss_base_model_version": "base",
    "ss_sd_model_name": "base_model",
    "ss_new_sd_model_hash": "base_sha256",
    "ss_network_module": "network",
    "ss_network_dim": "rank",
    "ss_network_alpha": "alpha",
    "ss_network_args": "network_args",
    "ss_resolution": "resolution",
    "ss_num_train_images": "images",
    "ss_num_epochs": "epochs",
    "ss_max_train_steps": "steps",
    "ss_steps": "steps_done",
    "ss_learning_rate": "learning_rate",
    "ss_unet_lr": "unet_learning_rate",
    "ss_text_encoder_lr": "text_encoder_learning_rate",
    "ss_optimizer": "optimizer",
    "ss_clip_skip": "clip_skip",
    "ss_v2": "v2",
    "ss_v_parameterization": "v_prediction",
    "ss_zero_terminal_snr": "zero_terminal_snr",
    "ss_noise_offset": "noise_offset",
    "ss_min_snr_gamma": "min_snr_gamma",
    "ss_training_comment": "comment",
    "ss_output_name": "name",
    "modelspec.title": "title",
    "modelspec.author": "author",
    "modelspec.date": "date",
    "modelspec.architecture": "architecture",
    "modelspec.trigger_phrase": "trigger",
    "modelspec.usage_hint": "hint",
    "modelspec.merged_from": "merged_from",
}
"""The entries that say how a file was made, and what we call them."""


def cleaned(text: str, length: int = VALUE_LENGTH) -> str:
    """`text` on one line, without control characters, direction marks and lone surrogates, at most `length` long."""
    short = _CONTROLS.sub(" ", text[: 2 * length]).strip()
    return short if len(text) <= length else f"{short[:length]}… ({len(text):,} characters)"


def shown_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The first 200 entries, cleaned."""
    entries = list(metadata.items())[:MOST_ENTRIES]
    return {cleaned(key, KEY_LENGTH): cleaned(value) for key, value in entries}


def training_facts(metadata: Mapping[str, str]) -> dict[str, str]:
    """How the file was made, as kohya's trainer, modelspec and A1111's merger write it; only what they said."""
    named = {ours: cleaned(metadata[theirs], 200) for theirs, ours in TRAINING.items() if metadata.get(theirs)}
    facts = {name: value for name, value in named.items() if value and value not in ("None", "null")}
    if tags := _tags(metadata.get("ss_tag_frequency", "")):
        facts["tags"] = ", ".join(tags)
    if merged := list(merged_models(metadata).values()):
        facts["merged_from"] = ", ".join(merged)[:VALUE_LENGTH]
    recipe = _object(metadata.get("sd_merge_recipe", ""))
    for key in ("interp_method", "multiplier", "custom_name"):
        if isinstance(value := recipe.get(key), str | int | float) and value != "":
            facts[f"merge_{key.removeprefix('interp_')}"] = cleaned(str(value), 100)
    return facts


def base_sha256(metadata: Mapping[str, str]) -> str | None:
    """The SHA-256 of the model that a file was trained on, where its trainer wrote it."""
    found = _SHA256.fullmatch(metadata.get("ss_new_sd_model_hash", ""))
    return found[1].lower() if found else None


def merged_models(metadata: Mapping[str, str]) -> dict[str, str]:
    """Names of the models that a file was merged from, by what A1111 keys them with (a SHA-256, mostly); at most 20."""
    models: dict[str, str] = {}
    for digest, value in list(_object(metadata.get("sd_merge_models", "")).items())[:20]:
        name = cast("Mapping[str, object]", value).get("name") if isinstance(value, dict) else None
        models[cleaned(digest, 64).lower()] = cleaned(name if isinstance(name, str) else digest, 100)
    return models


def _tags(text: str) -> list[str]:
    """The captions' most frequent tags over all folders of the training data."""
    counts: Counter[str] = Counter()
    for folder in _object(text).values():
        if isinstance(folder, dict):
            counts.update(dict(_counted(cast("Mapping[str, object]", folder))))
    return [cleaned(tag, 60) for tag, _ in counts.most_common(TAGS)]


def _counted(folder: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    for tag, count in folder.items():
        if type(count) is int and 0 <= count < 2**53 and tag.strip():
            yield tag.strip(), count


def _object(text: str) -> Mapping[str, object]:
    """The JSON object in `text`; an empty one for anything else, for long texts and for deep ones."""
    if not text.startswith("{") or len(text) > PARSED_BYTES:
        return {}
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}
