"""The drawings inside a package: their names, words and bytes, before anything is rendered."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinxit.schema.errors import BadInput, Missing
from pinxit.train.data.names import Labels, Words, concept_key, has_tone, is_plural, slugged, tone_named
from pinxit.train.data.raster import Payload
from pinxit.train.data.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A drawing to be rendered."""

    id: str
    concept: str
    words: Words
    kind: Payload
    data: bytes
    author: str


@dataclass(frozen=True, slots=True)
class Package:
    """What a package holds and what it says of its authors and licence."""

    candidates: tuple[Candidate, ...]
    attribution: str


_ICON_SIZE = re.compile(r"-(?:16|20|24|28|32|48)$")
_ICON_FILLS = re.compile(r"-(?:fill|static|line|outline|filled)\b")
_SQUASHED_SIGNS = re.compile(
    "arrow|pointing|reverse|left|right|black|white|empty|eyes|tears|sweat|smile|frown|one|two|three|flag|cross|symbol"
)
_MISSPELT = {
    "bouquetofflowers": "bouquet",
    "cellphone": "mobile-phone",
    "chilipepper": "hot-pepper",
    "chineseflag": "flag-china",
    "constructionsign": "construction",
    "dissapointedrelief": "sad-but-relieved-face",
    "faxicon": "fax-machine",
    "franceflag": "flag-france",
    "greatbritainflag": "flag-united-kingdom",
    "hampster": "hamster",
    "heartarrow": "heart-with-arrow",
    "italianflag": "flag-italy",
    "japanflag": "flag-japan",
    "koreaflag": "flag-south-korea",
    "manltepiececlock": "mantelpiece-clock",
    "opticaldiscicon": "optical-disk",
    "perservere": "persevering-face",
    "printericon": "printer",
    "russianflag": "flag-russia",
    "saggitarius": "sagittarius",
    "softicecream": "soft-ice-cream",
    "spanishflag": "flag-spain",
    "spurtingwhale": "spouting-whale",
    "toykotower": "tokyo-tower",
    "videocasette": "videocassette",
    "waningbibbousmoon": "waning-gibbous-moon",
    "wiredkeyboard": "keyboard",
}
"""File names that no spelling of a label answers to."""

_DROPPED_ICONS = re.compile(r"^abstract-|^(?:plain|perspective-dice)-|^empty-\w+$")
_BRANDS = re.compile(
    "^flat-color-icons/(?:android-os|bbc|cd-logo|debian|dribbble|dvd-logo|google|icons8-cup|ipad|iphone|kindle|linux|nook|"
    "phone-android|reddit|steam|stumbleupon|tablet-android|vlc|wi-fi-logo|wikipedia)$"
)
"""Trade marks, which no free licence covers."""


def read_package(source: Source, path: Path, labels: Labels, core: Path | None = None) -> Package:
    """List the drawings of a package file; one that draws portraits needs the package `core` as well.

    Raises BadInput when its layout is not the expected one, and Missing when what reads it is not installed.
    """
    try:
        if core is not None:
            from pinxit.train.data.portraits import read_portraits

            return read_portraits(source, path, core)
        if source.reader == "openclipart":
            try:
                from pinxit.train.data.openclipart import read_openclipart
            except ImportError as error:
                raise Missing(
                    f"Reading {source.package} needs lxml, which is not installed.",
                    hint="Install the extra `data`: pip install 'pinxit[data]'.",
                ) from error
            return read_openclipart(source, path, labels)
        with tarfile.open(path) as archive:
            if source.reader == "emoji-webp":
                return _emoji_pictures(source, archive, labels)
            return _iconify(source, archive, labels)
    except (KeyError, OSError, tarfile.TarError, json.JSONDecodeError) as error:
        raise BadInput(
            f"{source.package} {source.version} is not laid out as expected: {error}.",
            hint=f"Leave out the source {source.name!r}, or pin a version that its reader knows.",
        ) from error


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()


def _emoji_pictures(source: Source, archive: tarfile.TarFile, labels: Labels) -> Package:
    """Pictures named by code points: `assets/1f431.webp`."""
    about = json.loads(_member(archive, "package/package.json"))
    found: list[Candidate] = []
    for member in archive.getmembers():
        stem = Path(member.name).stem
        if not member.isfile() or not member.name.endswith(".webp") or has_tone(stem):
            continue
        words = labels.words.get(concept_key(stem))
        if words is not None:
            found.append(
                Candidate(
                    id=f"{source.name}/{stem}",
                    concept=concept_key(stem),
                    words=words,
                    kind="image",
                    data=_member(archive, member.name),
                    author=source.author,
                )
            )
    said = f"package.json: licence {about.get('license', 'not given')}, author {_text(about.get('author'))}"
    return Package(_first_of_each(found), said)


def _iconify(source: Source, archive: tarfile.TarFile, labels: Labels) -> Package:
    """An iconify set: SVG bodies in `icons.json`, author and licence in `info.json`."""
    icons = json.loads(_member(archive, "package/icons.json"))
    info = json.loads(_member(archive, "package/info.json"))
    codes: dict[str, str] = {}
    if "package/chars.json" in archive.getnames():
        for code, name in json.loads(_member(archive, "package/chars.json")).items():
            codes.setdefault(name, code)
    aliases: dict[str, list[str]] = {}
    for alias, target in icons.get("aliases", {}).items():
        aliases.setdefault(target["parent"], []).append(alias)
    found: list[Candidate] = []
    for name, icon in icons["icons"].items():
        if icon.get("hidden"):
            continue
        named = (
            _emoji_named(name, aliases.get(name, ()), codes.get(name), labels)
            if source.reader == "iconify-emoji"
            else _icon_named(source, name)
        )
        if named is not None:
            svg = _svg_document(icon, icons, tintable=source.tintable)
            found.append(
                Candidate(
                    id=f"{source.name}/{name}",
                    concept=named[0],
                    words=named[1],
                    kind="svg",
                    data=svg.encode(),
                    author=source.author,
                )
            )
    author, licence = info["author"], info["license"]
    said = f"info.json: {info['name']}, author {_text(author)}, licence {licence['title']}" + (
        f" ({licence['url']})" if "url" in licence else ""
    )
    if source.reader == "iconify-icons":
        found.sort(key=lambda candidate: "-fill" not in candidate.id)
    return Package(tuple(found) if source.variants else _first_of_each(found), said)


def _emoji_named(name: str, aliases: Sequence[str], code: str | None, labels: Labels) -> tuple[str, Words] | None:
    name = _MISSPELT.get(name, name)
    if code is not None:
        if has_tone(code):
            return None
        key = concept_key(code)
    else:
        if tone_named(name) and labels.key_of(name) is None:
            return None
        key = next((key for key in map(labels.key_of, (name, *aliases)) if key is not None), None)
        if key is None and "-" not in name:
            return _squashed(name, labels)
    return None if key is None or key not in labels.words else (key, labels.words[key])


def _squashed(name: str, labels: Labels) -> tuple[str, Words] | None:
    """Words out of a file name without spaces: `bellcancellation`; None when it does not split into known words."""
    parts = labels.split(name)
    if parts is None or _SQUASHED_SIGNS.search(name):
        return None
    text = " ".join(parts)
    return f"word:{slugged(text)}", Words(en=(text,), plural=is_plural(text), countable=False, group="objects")


def _icon_named(source: Source, name: str) -> tuple[str, Words] | None:
    """Words out of a descriptive file name: `iron-hulled-warship`."""
    if _DROPPED_ICONS.search(name) or _BRANDS.search(f"{source.name}/{name}"):
        return None
    plain = _ICON_FILLS.sub("", _ICON_SIZE.sub("", name))
    text = re.sub(r"-\d+$", "", plain).replace("-", " ").strip()
    if len(text) < 2:
        return None
    several = is_plural(text)
    words = Words(en=(text,), plural=several, countable=not several, group="icons", subgroup=source.name)
    return f"{source.name}:{slugged(text)}", words


def _svg_document(icon: dict[str, Any], icons: dict[str, Any], *, tintable: bool) -> str:
    defaults = {"left": 0, "top": 0, "width": 16, "height": 16}
    box = [icon.get(key, icons.get(key, fallback)) for key, fallback in defaults.items()]
    body = icon["body"].replace("currentColor", "#fff" if tintable else "#333")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{box[2]}" height="{box[3]}" viewBox="{box[0]} {box[1]} {box[2]} {box[3]}">{body}</svg>'
    )


def _first_of_each(candidates: list[Candidate]) -> tuple[Candidate, ...]:
    """One drawing per concept: file names of other sizes and spellings repeat it."""
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.concept, candidate)
    return tuple(first.values())


def _text(author: Any) -> str:
    if isinstance(author, dict):
        return ", ".join(str(author[key]) for key in ("name", "url") if key in author)
    return str(author) if author else "not given"


def iter_styles(packages: Mapping[str, Package], styles: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(concept, style) of every emoji that the packages hold."""
    for name, package in packages.items():
        for candidate in package.candidates:
            if ":" not in candidate.concept:
                yield candidate.concept, styles[name]
