"""The words that a model was taught, for `words.json` beside its weights, with the nearest things from WordNet."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pinxit.schema.errors import BadInput
from pinxit.train.data import chinese, english
from pinxit.train.data.bank import Bank
from pinxit.train.data.colours import BY_KEY
from pinxit.train.data.concepts import named_concepts
from pinxit.train.data.debian import data_member
from pinxit.train.data.names import Labels, plural_of
from pinxit.train.data.sources import Pinned, style_named

WORDNET = Pinned(
    name="wordnet",
    client="apt",
    package="wordnet-base",
    version="1:3.0-37",
    sha256="61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
    licence="WordNet 3.0 licence",
    author="Princeton University",
)
_FOLDER = "./usr/share/wordnet/"
_CONCRETE = frozenset({5, 6, 13, 17, 20})
"""WordNet's files of animals, artefacts, food, natural objects and plants."""

_ARTEFACTS = 6
_FARTHEST = 7
_FARTHEST_ARTEFACT = 3
"""Steps over the common kind. Tools have little in common with what is a few steps away."""

_SHALLOWEST = 6
_NEVER_SAID = frozenset({"_UNCOUNTED", "BY_KEY"})
_WORD = re.compile(r"[a-z]{3,14}")
_JOINTS = (
    "a an the of with and in on at by to as plain gradient background isolated",
    "背景",
    "渐变",
    "纯",
    "底",
    "从",
    "到",
    "大",
    "小",
)
_MEASURES = "一两三四五六七八九十个只头匹条颗块根份张把架件顶辆台部枚朵片棵串滴道座团副支本面艘列的在是和有上里与"


def taught(bank: Bank, concepts: Sequence[str], styles: Sequence[str]) -> list[str]:
    """Of these concepts those that training on `bank` shows in one of these styles."""
    shown = {bank.drawings[row].concept for row in bank.rows(styles=styles, split="train")}
    return [concept for concept in concepts if concept in shown]


def known_words(concepts: Sequence[str], styles: Sequence[str], wordnet: Path | None, labels: Labels | None) -> Any:
    """The contents of `words.json` for a model of these concepts and styles.

    `wordnet`, its Debian package, gives the nearest things of words that the model does not know; `labels` the Chinese
    names of those that are emoji. Without them that table is empty. Raises BadInput for another package.
    """
    table = named_concepts()
    things = [table[key] for key in concepts]
    told = {word for text in _spoken(styles) for word in _parts(text)}
    near = nearest_things([thing.en for thing in things], wordnet) if wordnet else {}
    own = {name for thing in things for name in (*thing.en, *thing.zh)}
    if labels is not None:
        for entry in labels.words.values():
            at = next((near[name] for name in entry.en if name in near), None)
            near |= {name: at for name in entry.zh if at is not None and name not in own}
    return {
        "names": [
            {"en": thing.en, "zh": thing.zh, "many": thing.en[0] if thing.plural else plural_of(thing.en[0])}
            for thing in things
        ],
        "words": sorted(told - own),
        "near": {word: at for word, at in sorted(near.items()) if word not in told and word not in own},
    }


def as_text(told: Any) -> str:
    """The text of the file."""
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def _spoken(styles: Sequence[str]) -> Iterator[str]:
    """Every text that the caption grammar can say, with its places."""
    yield from _texts([vars(module)[name] for module in (english, chinese) for name in _constants(module)])
    yield from _texts([(colour.en, colour.zh) for colour in BY_KEY.values()])
    for key in styles:
        yield from _texts([style_named(key).en, style_named(key).zh])
    yield from _JOINTS
    yield from _MEASURES


def _constants(module: ModuleType) -> list[str]:
    return [name for name in vars(module) if re.fullmatch(r"_?[A-Z_]+", name) and name not in _NEVER_SAID]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple | frozenset):
        for part in value:
            yield from _texts(part)


def _parts(text: str) -> Iterator[str]:
    """The words of an English text, and the phrases of a Chinese one."""
    plain = re.sub(r"\{\d\}", " ", text.lower())
    yield from re.findall(r"[a-z]+(?:['-][a-z]+)*", plain)
    yield from re.findall(r"[\u4e00-\u9fff]+", plain)


@dataclass(frozen=True, slots=True)
class _Nouns:
    """WordNet's nouns: the synsets of a word, most usual first; a synset's file, and what it is a kind of."""

    senses: Mapping[str, tuple[int, ...]]
    files: Mapping[int, int]
    kinds: Mapping[int, tuple[int, ...]]
    proper: frozenset[str]

    def above(self, synset: int) -> dict[int, int]:
        """Everything that a synset is a kind of, itself too, with the number of steps."""
        found, edge = {synset: 0}, [synset]
        while edge:
            higher: list[int] = []
            for down in edge:
                for up in self.kinds.get(down, ()):
                    if up not in found:
                        found[up] = found[down] + 1
                        higher.append(up)
            edge = higher
        return found


def nearest_things(names: Sequence[Sequence[str]], wordnet: Path) -> dict[str, int]:
    """For single English nouns of concrete things, the number of the thing with the nearest common kind.

    Nouns that share only something as general as "animal" with every thing are left out.
    """
    nouns = _read(wordnet)
    lines = [_line(own, nouns) for own in names]
    by_kind: dict[int, tuple[int, int]] = {}
    for at, line in enumerate(lines):
        for kind, steps in line.items():
            if _depth(kind, nouns) >= _SHALLOWEST and (kind not in by_kind or steps < by_kind[kind][0]):
                by_kind[kind] = steps, at
    found: dict[str, int] = {}
    for word, senses in nouns.senses.items():
        sense = next((sense for sense in senses[:2] if nouns.files[sense] in _CONCRETE), None)
        if sense is None or not _WORD.fullmatch(word) or word in nouns.proper:
            continue
        ways = [
            (up + by_kind[kind][0], up, by_kind[kind][1]) for kind, up in nouns.above(sense).items() if kind in by_kind
        ]
        if ways and min(ways)[0] <= (_FARTHEST_ARTEFACT if nouns.files[sense] == _ARTEFACTS else _FARTHEST):
            found[word] = min(ways)[2]
    return found


def _line(names: Sequence[str], nouns: _Nouns) -> dict[int, int]:
    for name in names:
        for word in (name.replace(" ", "_"), name.rpartition(" ")[2]):
            for sense in nouns.senses.get(word, ()):
                if nouns.files[sense] in _CONCRETE:
                    return nouns.above(sense)
    return {}


def _depth(kind: int, nouns: _Nouns) -> int:
    return max(nouns.above(kind).values())


def _read(package: Path) -> _Nouns:
    """Raises BadInput when the package is not WordNet's."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data_member(package)), mode="r:xz") as archive:
            index, data = (_lines(archive, name) for name in ("index.noun", "data.noun"))
        senses: dict[str, tuple[int, ...]] = {}
        for line in index:
            word, _, count, pointers, *rest = line.split()
            senses[word] = tuple(map(int, rest[int(pointers) + 2 : int(pointers) + 2 + int(count)]))
        files: dict[int, int] = {}
        kinds: dict[int, tuple[int, ...]] = {}
        cased: dict[str, bool] = {}
        for line in data:
            fields = line.split("|", 1)[0].split()
            synset, words = int(fields[0]), int(fields[3], 16)
            files[synset] = int(fields[1])
            for word in fields[4 : 4 + 2 * words : 2]:
                cased[word.lower()] = cased.get(word.lower(), True) and word != word.lower()
            pointers = fields[5 + 2 * words :]
            kinds[synset] = tuple(
                int(target) for sign, target in zip(pointers[::4], pointers[1::4], strict=False) if sign in ("@", "@i")
            )
        return _Nouns(senses, files, kinds, frozenset(word for word, always in cased.items() if always))
    except (KeyError, ValueError, IndexError, tarfile.TarError) as error:
        raise BadInput(f"{package.name} is not laid out as WordNet is: {error}.", hint="Fetch it again.") from error


def _lines(archive: tarfile.TarFile, name: str) -> list[str]:
    file = archive.extractfile(_FOLDER + name)
    if file is None:
        raise KeyError(name)
    return [line for line in file.read().decode().splitlines() if not line.startswith(" ")]
