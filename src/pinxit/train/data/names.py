"""Words for drawings: emoji labels in English and Chinese, package file names read as words, plurals."""

from __future__ import annotations

import json
import re
import tarfile
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinxit.schema.errors import BadInput
from pinxit.train.data.concepts import Concept, named_concepts

_TONES = frozenset({"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"})
_MARKS = frozenset({"FE0F", "FE0E"})
_SKIN_WORDS = re.compile(r"-(?:(?:medium-)?(?:light|dark)|medium)(?:-skin-tone)?(?=-|$)")
# fmt: off
_SINGULAR_S = frozenset({
    "bus", "cactus", "octopus", "hibiscus", "lotus", "cross", "dress", "compass", "glass", "grass", "chess",
    "princess", "goddess", "abacus", "crocus", "platypus", "virus", "walrus", "canvas", "christmas", "cyclops",
    "hippopotamus", "tennis", "lacrosse", "hands-free", "gas", "lens", "iris", "bonus", "campus", "colossus",
    "brass", "moss", "boss", "trellis", "press", "fortress", "papyrus", "pegasus", "chrysalis", "hearthis",
    "genesis", "tetris", "ankylosaurus", "diplodocus", "stegosaurus", "triceratops", "minus", "plus", "focus",
    "asparagus", "citrus", "venus", "uranus", "mars",
})
_IRREGULAR = {
    "mouse": "mice", "fish": "fish", "sheep": "sheep", "deer": "deer", "goose": "geese", "ox": "oxen",
    "man": "men", "woman": "women", "person": "people", "child": "children", "tooth": "teeth", "foot": "feet",
    "leaf": "leaves", "wolf": "wolves", "knife": "knives", "die": "dice", "dice": "dice", "cactus": "cacti",
    "octopus": "octopuses", "squid": "squid", "shrimp": "shrimp", "loaf": "loaves", "shelf": "shelves",
    "scarf": "scarves", "elf": "elves", "moose": "moose", "sushi": "sushi", "bison": "bison",
    "aircraft": "aircraft", "calf": "calves", "tomato": "tomatoes", "potato": "potatoes", "mango": "mangoes",
    "mosquito": "mosquitoes", "volcano": "volcanoes", "half": "halves", "sheaf": "sheaves", "men": "men",
    "women": "women", "people": "people", "axis": "axes", "thief": "thieves", "dwarf": "dwarves",
    "jack-o-lantern": "jack-o-lanterns",
}
# fmt: on
_HEAD_FIRST = re.compile(
    r"^(?P<head>[\w'’-]+(?: [\w'’-]+)*?) (?P<rest>(?:of|with|in|on|behind|without|showing|tilted|from|over|at) .+)$"
    r"|^(?P<who>face|person|man|woman|men|women|people) (?P<does>\w+(?:ing|ed)\b.*)$"
)
_AN_EXCEPTIONS = re.compile(r"^(?:uni(?!n)|one\b|once|euro|u[fbs][oba]?\b|ukulele|use|uk\b|usa|eu)", re.IGNORECASE)
_H_SILENT = re.compile(r"^(?:hour|honest|heir|honou?r)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a drawing is called: names best first, then keywords; `measure` is the Chinese measure word."""

    en: tuple[str, ...]
    zh: tuple[str, ...] = ()
    en_keywords: tuple[str, ...] = ()
    zh_keywords: tuple[str, ...] = ()
    measure: str = "个"
    plural: bool = False
    countable: bool = True
    group: str = ""
    subgroup: str = ""


@dataclass(frozen=True, slots=True)
class Labels:
    """Emoji words by concept key, and the keys by every spelling that file names use."""

    words: Mapping[str, Words]
    by_slug: Mapping[str, str]
    vocabulary: frozenset[str] = frozenset()

    def key_of(self, name: str) -> str | None:
        """The concept that a file name such as `cat-face` or `blacktelephone` means, without skin tones."""
        slug = re.sub("^flag-for-(?:flag-)?", "flag-", slugged(name))
        for candidate in (slug, re.sub(r"-\d+$", "", slug), slug.replace("-", "")):
            if candidate in self.by_slug:
                return self.by_slug[candidate]
        return None

    def split(self, squashed: str) -> list[str] | None:
        """The fewest known words that this string consists of: `whitehouse` to `white house`."""
        best: list[list[str] | None] = [[]] + [None] * len(squashed)
        for end in range(1, len(squashed) + 1):
            for start in range(max(0, end - 16), end - 2):
                front, word = best[start], squashed[start:end]
                if front is not None and word in self.vocabulary and len(front) < len(best[end] or squashed):
                    best[end] = [*front, word]
        return best[-1]


def concept_key(hexcode: str) -> str:
    """Code points joined by hyphens, without skin tones and presentation marks: `261D-1F3FB` becomes `261D`."""
    parts = [part.upper().lstrip("0").rjust(4, "0") for part in hexcode.replace("_", "-").split("-")]
    return "-".join(part for part in parts if part not in _TONES and part not in _MARKS)


def has_tone(hexcode: str) -> bool:
    """Is this emoji one of the skin-tone variants of another?"""
    return any(part.upper() in _TONES for part in hexcode.split("-"))


def tone_named(name: str) -> bool:
    """Does this file name end in a skin tone (`-medium-dark-skin-tone`, `-dark`)?"""
    return _SKIN_WORDS.search(name) is not None


def slugged(text: str) -> str:
    """Lower-case ASCII words joined by hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain.replace("'", "").replace("&", " ")).strip("-")


def is_plural(name: str) -> bool:
    """Is the head of this English noun phrase a plural (`grapes`, `nest with eggs` is not)?"""
    head = _head(name).rsplit(" ", 1)[-1].lower()
    if head in ("people", "men", "women"):
        return True
    return head.endswith("s") and not head.endswith(("ss", "us", "'s", "’s")) and head not in _SINGULAR_S


def _head(name: str) -> str:
    match = _HEAD_FIRST.match(name)
    return (match["head"] or match["who"]) if match else name


def plural_of(name: str) -> str:
    """The plural of an English noun phrase: `cat` to `cats`, `slice of pizza` to `slices of pizza`."""
    match = _HEAD_FIRST.match(name)
    if match:
        return f"{plural_of(match['head'] or match['who'])} {match['rest'] or match['does']}"
    *front, last = name.split(" ")
    lower = last.lower()
    if lower in _IRREGULAR:
        last = _IRREGULAR[lower]
    elif lower.endswith(("s", "x", "z", "ch", "sh")):
        last += "es"
    elif lower.endswith("y") and lower[-2:-1] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return " ".join((*front, last))


def article_for(phrase: str) -> str:
    """`a` or `an`, by sound as far as spelling tells."""
    if _AN_EXCEPTIONS.match(phrase):
        return "a"
    return "an" if phrase[:1].lower() in set("aeiou") or _H_SILENT.match(phrase) else "a"


def read_labels(package: Path) -> Labels:
    """English and Chinese words out of an emojibase-data package. Raises BadInput when files are missing in it."""
    with tarfile.open(package) as archive:
        english = _read_json(archive, package, "package/en/data.json")
        chinese = _read_json(archive, package, "package/zh/data.json")
        messages = _read_json(archive, package, "package/en/messages.json")
        shortcodes = [
            _read_json(archive, package, f"package/en/shortcodes/{name}.json")
            for name in ("cldr", "emojibase", "github", "iamcal", "joypixels")
        ]
    groups = {entry["order"]: entry["key"] for entry in messages["groups"]}
    subgroups: dict[int, str] = {}
    for entry in messages["subgroups"]:
        subgroups.setdefault(entry["order"], entry["key"])
    zh_by_code = {entry["hexcode"]: entry for entry in chinese}
    known = named_concepts()
    words: dict[str, Words] = {}
    slugs: dict[str, str] = {}
    for entry in english:
        if "group" not in entry or not concept_key(entry["hexcode"]):
            continue
        key = concept_key(entry["hexcode"])
        group, subgroup = groups[entry["group"]], subgroups[entry["subgroup"]]
        words[key] = _words(entry, zh_by_code.get(entry["hexcode"], {}), group, subgroup, known.get(key))
        slugs.setdefault(slugged(entry["label"]), key)
    for table in shortcodes:
        for code, value in table.items():
            if not has_tone(code) and concept_key(code) in words:
                for shortcode in [value] if isinstance(value, str) else value:
                    slugs.setdefault(slugged(shortcode), concept_key(code))
    for key in words:
        if "-" not in key:
            slugs.setdefault(slugged(unicodedata.name(chr(int(key, 16)), "")), key)
    for slug, key in list(slugs.items()):
        slugs.setdefault(slug.replace("-", ""), key)
    slugs.pop("", None)
    spoken = (text for entry in words.values() for text in (*entry.en, *entry.en_keywords))
    vocabulary = frozenset(part for text in spoken for part in slugged(text).split("-") if len(part) > 2)
    return Labels(words, slugs, vocabulary)


def _read_json(archive: tarfile.TarFile, package: Path, name: str) -> Any:
    try:
        member = archive.extractfile(name)
    except KeyError:
        member = None
    if member is None:
        raise BadInput(f"{package.name} has no {name}.", hint="Its layout has changed; pin a version that has it.")
    return json.load(member)


def _words(entry: dict[str, Any], chinese: dict[str, Any], group: str, subgroup: str, concept: Concept | None) -> Words:
    label = _plain_label(entry["label"])
    zh_label = _plain_chinese(str(chinese.get("label", "")).strip())
    en, zh = [label], [zh_label] if zh_label else []
    if group == "animals-nature" and label.endswith(" face"):
        en.insert(0, label.removesuffix(" face"))
        zh = [re.sub("[脸头]$", "", name) for name in zh if len(name) > 1] + zh
    measure = "只" if subgroup.startswith("animal") else "朵" if subgroup == "plant-flower" else "个"
    plural = is_plural(en[0]) and group not in ("flags", "symbols")
    countable = subgroup not in ("time", "keycap", "alphanum", "sky-weather", "place-geographic", "place-other")
    if concept is not None:
        en, zh = list(concept.en), list(concept.zh)
        measure, plural, countable = concept.measure, concept.plural, concept.countable
    elif group in ("flags", "symbols", "component"):
        countable = False
    return Words(
        en=_unique(en),
        zh=_unique(zh),
        en_keywords=_keywords(entry.get("tags", ()), en),
        zh_keywords=_keywords(chinese.get("tags", ()), zh),
        measure=measure,
        plural=plural,
        countable=countable,
        group=group,
        subgroup=subgroup,
    )


def _plain_label(label: str) -> str:
    """A label as people would say it: `woman: red hair` becomes `woman with red hair`."""
    text = re.sub(r"\s+", " ", re.sub("[“”]", "", label.replace("’", "'"))).strip()
    who, colon, what = text.partition(": ")
    if not colon or what.startswith("facing right"):
        return who
    people = " and ".join(what.rsplit(", ", 1))
    told = {
        "flag": f"{what} flag",
        "keycap": f"keycap {what}",
        "kiss": f"{people} kissing",
        "couple with heart": f"{people} with a heart",
        "family": f"family of {people}",
    }
    if who in told:
        return told[who]
    return f"{what} {who}" if what == "bald" else f"{who} with {what}"


def _plain_chinese(label: str) -> str:
    """`女人: 红发` becomes `红发女人`, `旗: 法国` becomes `法国国旗`."""
    who, colon, what = label.partition(": ")
    if not colon or what.startswith("面向右"):
        return who
    told = {"旗": f"{what}旗" if what.endswith("国") else f"{what}国旗", "按键": f"按键{what}"}
    return told.get(who, f"{what}{who}")


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))


def _keywords(tags: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    taken = {name.casefold() for name in names}
    return tuple(tag for tag in dict.fromkeys(tags) if tag.casefold() not in taken and re.search(r"\w", tag))
