"""Drawings of the Open Clip Art Library out of its Debian package, with the words that its artists gave them."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] lxml ships no types

from pinxit.train.data.debian import data_member
from pinxit.train.data.drawings import Candidate, Package
from pinxit.train.data.names import Labels, Words, is_plural, slugged
from pinxit.train.data.sources import Source

Node = Any
"""An lxml element: the library ships no types."""

_ROOT = "./usr/share/openclipart/svg/"
_COPYRIGHT = "./usr/share/doc/openclipart-svg/copyright"
_FOLDERS = (
    "animals/",
    "food/",
    "plants/",
    "transportation/",
    "recreation/music/",
    "recreation/sports/",
    "recreation/party/",
    "recreation/toys/",
    "recreation/holiday/",
    "recreation/games/chess/",
    "buildings/",
    "tools/",
    "people/clothing/",
    "people/smilies/",
    "education/",
    "electronics/",
    "containers/",
    "science/",
    "geography/astronomy/",
    "decorations/",
    "office/",
    "computer/hardware/",
)
_UNWANTED = re.compile(r"aiga|roadsigns|pantyhose|religion|cardbacks|duplicates|map|diagram|banner|border|frame|logo")
_UNWANTED_TITLES = re.compile(r"road sign|boating rules|sailing")
_LARGEST = 150_000
_PRIVATE = "{http://purl.org/dc/elements/1.1/}"
_SVG = "http://www.w3.org/2000/svg"
_GROUPS = {
    "animals": "animals-nature",
    "plants": "animals-nature",
    "food": "food-drink",
    "transportation": "travel-places",
    "buildings": "travel-places",
    "recreation": "activities",
}
_JUNK = re.compile(
    r"\b(?:architetto|gerald|johnny|automatic|clip ?art|various|untitled|icon|svg|remix|lineart|outline)\b"
)
_NO_THINGS = frozenset({"flags", "symbols", "component", "smileys-emotion"})
_GENERIC = frozenset(
    {"food", "people", "office", "animal", "mammal", "insect", "dessert", "sports", "music", "symbol", "tool", "party"}
    | {"clothing", "holiday", "fruit", "person", "face", "body", "game", "map", "stop", "man", "woman", "side", "signs"}
    | {"left", "right", "sign", "hour", "air", "two", "three", "top", "light", "play", "small", "open", "red", "up"}
    | {"silhouette", "beach", "wedding", "water", "sea", "sunset"}
)
_SMALL_WORDS = frozenset({"a", "an", "the", "of", "and", "with", "in", "on", "for", "to", "by"})


def read_openclipart(source: Source, path: Path, labels: Labels) -> Package:
    """List the drawings worth having: coloured things of everyday life whose names consist of known words.

    Raises BadInput when the file is not the Debian package it should be.
    """
    nouns = _nouns(labels)
    found: list[Candidate] = []
    copyright_line = ""
    with tarfile.open(fileobj=io.BytesIO(data_member(path)), mode="r:xz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            if member.name == _COPYRIGHT:
                text = file.read().decode("utf-8", "replace")
                copyright_line = next((line.strip() for line in text.splitlines() if "Public Domain" in line), "")
            elif _is_wanted(member):
                candidate = _candidate(source, member.name.removeprefix(_ROOT), file.read(), labels, nouns)
                found += [candidate] if candidate is not None else []
    return Package(tuple(found), f"copyright: {copyright_line or 'not stated'}")


def _is_wanted(member: tarfile.TarInfo) -> bool:
    inside = member.name.removeprefix(_ROOT)
    return (
        member.name.startswith(_ROOT)
        and inside.endswith(".svg")
        and inside.startswith(_FOLDERS)
        and member.size <= _LARGEST
        and _UNWANTED.search(inside) is None
    )


def _nouns(labels: Labels) -> frozenset[str]:
    """Words that name a thing by themselves: `cat`, `volcano`."""
    things = (entry for entry in labels.words.values() if entry.group not in _NO_THINGS)
    heads = {name.lower().rsplit(" ", 1)[-1] for entry in things for name in entry.en}
    return frozenset(head for head in heads if len(head) > 2) - _GENERIC


def _candidate(source: Source, inside: str, data: bytes, labels: Labels, nouns: frozenset[str]) -> Candidate | None:
    root = etree.fromstring(data, etree.XMLParser(recover=True, resolve_entities=False, no_network=True))
    if root is None or etree.QName(root).localname != "svg" or not _is_public_domain(root):
        return None
    texts = (*_texts(root, "title", first=True), Path(inside).stem)
    if _UNWANTED_TITLES.search(texts[0]):
        return None
    tags = _texts(root, "li")
    name = next(filter(None, (_named(_cleaned(text), labels, nouns) for text in texts)), None)
    name = name or _filed(" ".join(map(_cleaned, texts)), [*tags, *reversed(Path(inside).parts[:-1])], nouns)
    if name is None:
        return None
    known = labels.words.get(labels.by_slug.get(slugged(name), ""))
    keywords = (word for word in tags if word in labels.vocabulary and word not in name)
    author = next(iter(_creators(root)), source.author)
    words = Words(
        en=(name,),
        zh=known.zh[:2] if known else (),
        en_keywords=tuple(dict.fromkeys(keywords)),
        measure=known.measure if known else "个",
        plural=is_plural(name),
        countable=known.countable if known else not is_plural(name),
        group=_GROUPS.get(inside.split("/", 1)[0], "objects"),
        subgroup="clipart",
    )
    return Candidate(
        id=f"{source.name}/{inside.removesuffix('.svg')}",
        concept=f"{source.name}:{slugged(name)}",
        words=words,
        kind="svg",
        data=_document(root),
        author=author,
    )


def _local(root: Node, name: str) -> Iterator[Node]:
    """Elements of this name in any namespace."""
    yield from root.iter(f"{{*}}{name}")


def _texts(root: Node, name: str, *, first: bool = False) -> list[str]:
    found: list[str] = []
    for work in _local(root, "Work"):
        elements = [child for child in work if child.tag == f"{_PRIVATE}{name}"] if first else list(_local(work, name))
        found += [element.text.strip().lower() for element in elements if element.text and element.text.strip()]
    return found[:1] if first else found


def _creators(root: Node) -> list[str]:
    return [
        title.text.strip()
        for creator in _local(root, "creator")
        for title in _local(creator, "title")
        if title.text and title.text.strip()
    ]


def _is_public_domain(root: Node) -> bool:
    """Unless the file itself names another licence, the package's dedication holds."""
    named = [
        value
        for licence in _local(root, "license")
        for key, value in licence.attrib.items()
        if str(key).endswith("resource")
    ]
    return all("publicdomain" in str(value).lower().replace("-", "") for value in named)


def _cleaned(text: str) -> str:
    plain = re.sub(r"[_\-]+", " ", text.lower())
    plain = re.sub(r"\b\w*\d\w*\b|[^a-z' ]", " ", plain)
    return re.sub(r"\s+", " ", re.sub(r"\b(?:[a-z])\b", " ", _JUNK.sub(" ", plain))).strip(" '")


def _named(text: str, labels: Labels, nouns: frozenset[str]) -> str | None:
    """The leading known words of `text`, at most four, if they end in the name of a thing."""
    words: list[str] = []
    for word in text.split()[:4]:
        if word not in _SMALL_WORDS and not {word, word.rstrip("s")} & labels.vocabulary:
            break
        words.append(word)
    while words and words[-1] in _SMALL_WORDS:
        words.pop()
    while words and words[0] in _SMALL_WORDS:
        words.pop(0)
    return " ".join(words) if words and {words[-1], words[-1].rstrip("s")} & nouns else None


def _filed(text: str, tags: Sequence[str], nouns: frozenset[str]) -> str | None:
    """For titles that say nothing (`r16 submission`): the tag or folder that names a thing, best one of the title's."""
    things = [word for tag in tags for word in (tag, tag.removesuffix("s")) if word in nouns]
    said = [word for word in text.split() if word in things]
    return said[-1] if said else next(iter(things), None)


def _document(root: Node) -> bytes:
    """The drawing alone: no metadata, with a namespace and a view box."""
    for name in ("metadata", "script"):
        for element in list(_local(root, name)):
            parent = element.getparent()
            if parent is not None:
                parent.remove(element)
    sides = [re.match(r"\s*([\d.]+)\s*(?:px)?\s*$", root.get(side, "")) for side in ("width", "height")]
    if root.get("viewBox") is None and sides[0] and sides[1]:
        root.set("viewBox", f"0 0 {sides[0][1]} {sides[1][1]}")
    text = etree.tostring(root)
    return text if _SVG.encode() in text else text.replace(b"<svg", f'<svg xmlns="{_SVG}"'.encode(), 1)
