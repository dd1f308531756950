"""Under which licence a file came, whether it may be used for business, and how that is known.

Nothing here is legal advice: it is what the file, the texts beside it and the page of a known file say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from pinxit.studio.inspect.known import FILES, Known
from pinxit.studio.inspect.metadata import base_sha256, cleaned, merged_models
from pinxit.studio.inspect.words import Note, note

Commercial: TypeAlias = Literal["yes", "no", "unknown"]

CARD_BYTES = 64 * 1024
CARDS = ("README.md", "readme.md", "model_card.md")
TITLE_LENGTH = 300
"""Characters of a licence's text that hold its title, and not yet the words in which it speaks of other licences."""
TEXTS = ("LICENSE", "LICENSE.md", "LICENSE.txt", "LICENSE.TXT", "LICENCE", "LICENCE.txt")


@dataclass(frozen=True, slots=True)
class Terms:
    """A licence that models come under. `pattern` is searched in its name, in lower case with single hyphens."""

    name: str
    pattern: str
    commercial: Commercial
    condition: str = ""


TERMS: tuple[Terms, ...] = (
    Terms("SDXL 0.9 research licence", r"sdxl-?(v)?0\.9|sd-?xl-0\.9|stable-diffusion-xl-(base-|refiner-)?0\.9", "no"),
    Terms(
        "Stability AI non-commercial research community licence",
        r"(stability|stable|sai|svd|sdxl?-turbo).{0,40}-(nc|non-?commercial)|stable-video-diffusion-1-1-community",
        "no",
    ),
    Terms("Stability AI community licence", r"stability(-)?ai-(ai-)?community|stability-community", "yes", "revenue"),
    Terms("CreativeML Open RAIL++-M", r"open-?rail-?(\+\+|plus-?plus)", "yes", "use"),
    Terms("CreativeML OpenRAIL-M", r"creativeml-open-?rail|open-?rail", "yes", "use"),
    Terms("BigScience RAIL", r"bigscience-.*rail", "yes", "use"),
    Terms("non-commercial licence", r"\bnon-?commercial|research-only|for-research|academic-only", "no"),
    Terms("Creative Commons, not for business", r"\b(cc-)?by-nc|attribution-noncommercial", "no"),
    Terms("CC0", r"\bcc-?0|creative-commons-zero", "yes"),
    Terms("Creative Commons BY-SA", r"\bcc-by-sa|attribution-sharealike", "yes", "share-alike"),
    Terms("Creative Commons BY-ND", r"\bcc-by-nd|attribution-noderiv", "yes", "no-derivatives"),
    Terms("Creative Commons BY", r"\bcc-by|attribution-[234]\.0-international", "yes", "attribution"),
    Terms("Apache 2.0", r"\bapache", "yes", "attribution"),
    Terms("MIT", r"\bmit(-licen[sc]e)?\b", "yes", "attribution"),
    Terms("BSD", r"\bbsd", "yes", "attribution"),
    Terms("GPL", r"\b[al]?gpl", "yes", "copyleft"),
    Terms("public domain", r"\bunlicense|\bwtfpl|public-domain", "yes"),
)
"""Most particular first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """`name` is None where nothing names a licence. `evidence` says in words where each claim stands."""

    name: str | None = None
    commercial: Commercial = "unknown"
    condition: Note | None = None
    evidence: tuple[str, ...] = ()


def terms_of(text: str) -> Terms | None:
    """The licence that `text` names: an identifier, a title, or the beginning of the licence itself."""
    name = re.sub(r"[^a-z0-9+.]+", "-", text.lower()).strip("-")
    return next((terms for terms in TERMS if re.search(terms.pattern, name)), None)


def find_licence(path: Path, metadata: Mapping[str, str], digests: Iterable[str]) -> Licence:
    """What is known of the licence of the model at `path`.

    Asked are its metadata, the card and the licence beside it, the tables of known files for `digests`, and the models
    that it was trained on or merged from. The first that names a licence gives the name; one "no" outweighs any "yes",
    and what a file was made from can only forbid.
    """
    own = [*_from_metadata(metadata), *_from_card(path), *_from_known(digests)]
    inherited = list(_from_ancestors(metadata))
    deciding = next(
        (
            terms
            for wanted, claims in (("no", own + inherited), ("yes", own))
            for _, terms, _ in claims
            if terms is not None and terms.commercial == wanted
        ),
        None,
    )
    return Licence(
        name=own[0][0] if own else None,
        commercial=deciding.commercial if deciding else "unknown",
        condition=note(f"commercial.{deciding.condition}") if deciding and deciding.condition else None,
        evidence=tuple(dict.fromkeys(evidence for _, _, evidence in (*own, *inherited))),
    )


Claim: TypeAlias = tuple[str, "Terms | None", str]
"""The licence's name as it is given, its terms where they are known, and who says so."""


def _claim(text: str, source: str) -> Claim:
    name = cleaned(text, 120)
    return name, terms_of(text[:4000]), f"{source} says {name}"


def _from_metadata(metadata: Mapping[str, str]) -> Iterator[Claim]:
    for key in ("modelspec.license", "license", "licence"):
        if text := metadata.get(key, "").strip():
            yield _claim(text, f"the file's {key}")


def _from_card(path: Path) -> Iterator[Claim]:
    """The card, else the licence itself, in the model's folder; for a part of a folder, in the folder above too."""
    folder = path if path.is_dir() else path.parent
    folders = [folder, folder.parent] if (folder.parent / "model_index.json").is_file() else [folder]
    for place in folders:
        for name in CARDS:
            if found := card_licence(_beginning(place / name)):
                yield _claim(found, f"{name} beside it")
                return
    for place in folders:
        for name in TEXTS:
            text = _beginning(place / name)[:TITLE_LENGTH]
            if text and (terms := terms_of(text)):
                yield terms.name, terms, f"{name} beside it is the {terms.name}"
                return


def card_licence(text: str) -> str | None:
    """The licence in a model card's front matter: `license_name` where `license` is "other", else `license`."""
    lines = text.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != "---":
        return None
    values: dict[str, str] = {}
    pending = ""
    for line in lines[1:]:
        if line.strip() == "---":
            break
        if (item := re.match(r"\s*-\s+(.+)", line)) and pending:
            values.setdefault(pending, _scalar(item[1]))
        elif found := re.match(r"(licen[sc]e(?:_name)?)\s*:\s*(.*)$", line):
            pending = "" if found[2].strip() else found[1].replace("licence", "license")
            if found[2].strip():
                values[found[1].replace("licence", "license")] = _scalar(found[2])
        elif not line.startswith((" ", "-", "\t")):
            pending = ""
    general = values.get("license", "")
    special = values.get("license_name", "")
    return (special if general.lower() in ("", "other", "unknown") and special else general) or None


def _scalar(text: str) -> str:
    """The first value of a line of YAML: without its list brackets, quotes and comment."""
    text = re.sub(r"\s#.*$", "", text).strip().strip("[]")
    return text.split(",")[0].strip().strip("\"'") if "," in text else text.strip().strip("\"'")


def _from_known(digests: Iterable[str]) -> Iterator[Claim]:
    for digest in digests:
        if known := known_file(digest):
            yield _claim_of(known, f"its SHA-256 is that of {known.title} ({known.file}), whose page")


def _from_ancestors(metadata: Mapping[str, str]) -> Iterator[Claim]:
    """Claims of the models that a file was made from: what those forbid, it cannot allow."""
    base = base_sha256(metadata)
    parents = [("trained on", base)] if base else []
    parents += [("merged from", digest) for digest in merged_models(metadata)]
    for how, digest in parents:
        if known := known_file(digest):
            yield _claim_of(known, f"it was {how} {known.title}, whose page")


def _claim_of(known: Known, source: str) -> Claim:
    return known.licence, terms_of(known.licence), f"{source} says {known.licence}"


def known_file(digest: str) -> Known | None:
    """The published file with this SHA-256."""
    return FILES.get(digest.lower())


def _beginning(path: Path) -> str:
    """The first 64 KiB of a small text file; empty where there is none."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as stream:
            return stream.read(CARD_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
