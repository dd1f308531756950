from __future__ import annotations

import io
import json
import lzma
import tarfile
from pathlib import Path

import pytest

from pinxit.prompts.known import FILE, Known, read_known, unknown_words
from pinxit.schema.errors import BadInput
from pinxit.train.data import known as module
from pinxit.train.data import sources
from pinxit.train.data.bank import Bank
from pinxit.train.data.concepts import keys_named
from pinxit.train.data.known import known_words
from pinxit.train.data.names import read_labels
from tests.cli.fakes import call
from tests.train.data import fakes

CONCEPTS = keys_named(["cat", "apple"])
KINDS = {
    "entity": ("", 3), "object": ("entity", 3), "whole": ("object", 3), "living_thing": ("whole", 3),
    "organism": ("living_thing", 3), "animal": ("organism", 5), "carnivore": ("animal", 5),
    "feline": ("carnivore", 5), "cat": ("feline", 5), "lynx": ("feline", 5), "Felis": ("feline", 5),
    "matter": ("entity", 3), "solid": ("matter", 3), "food": ("solid", 13), "produce": ("food", 13),
    "fruit": ("produce", 13), "pome": ("fruit", 13), "apple": ("pome", 13), "pear": ("pome", 13),
    "worm": ("animal", 5), "idea": ("entity", 9),
}  # fmt: skip


def wordnet(folder: Path, kinds: dict[str, tuple[str, int]] = KINDS) -> Path:
    """A Debian package of WordNet's shape with a few nouns."""
    numbers = {word: 1000 + at for at, word in enumerate(kinds)}
    index, data = ["  1 licence text"], ["  1 licence text"]
    for word, (kind, file) in kinds.items():
        index.append(f"{word.lower()} n 1 1 @ 1 0 {numbers[word]:08}  ")
        pointers = f"001 @ {numbers[kind]:08} n 0000" if kind else "000"
        data.append(f"{numbers[word]:08} {file:02} n 01 {word} 0 {pointers} | a thing, so called  ")
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, lines in (("index.noun", index), ("data.noun", data)):
            member = tarfile.TarInfo(f"./usr/share/wordnet/{name}")
            text = ("\n".join(lines) + "\n").encode()
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    packed = lzma.compress(plain.getvalue())
    folder.mkdir()
    path = folder / "wordnet.deb"
    head = b"data.tar.xz".ljust(48) + str(len(packed)).encode().ljust(10) + b"`\n"
    path.write_bytes(b"!<arch>\n" + head + packed)
    return path


@pytest.fixture
def known(tmp_path: Path) -> Known:
    labels = read_labels(fakes.pack(tmp_path / "labels", fakes.label_files()))
    told = known_words(CONCEPTS, ["3d"], wordnet(tmp_path / "wordnet"), labels)
    (tmp_path / FILE).write_text(json.dumps(told), "utf-8")
    found = read_known(tmp_path)
    assert found is not None
    return found


def test_the_grammars_words_and_the_things_are_known(known: Known) -> None:
    assert known.things[0].en[0] == "cat"
    assert known.things[0].many == "cats"
    for prompt in (
        "three big red apples on a beach at sunset, 3d style, blue background",
        "a cat to the left of an apple, green to white gradient background, high quality",
        "大的猫在苹果的左边，在沙滩上，日落时分，3D风格，蓝色背景",
        "从红色到白色的渐变背景",
    ):
        assert [found.word for found in unknown_words(prompt, known)] == [], prompt
    assert [found.word for found in unknown_words("a twemoji cheese", known)] == ["twemoji", "cheese"]


def test_the_nearest_thing_shares_a_kind(known: Known) -> None:
    near = {word: known.things[at].en[0] for word, at in known.near.items()}
    assert near["lynx"] == "cat"
    assert near["pear"] == "apple"
    assert not {"worm", "idea", "felis", "cat", "animal"} & set(near)


def test_the_command_writes_what_a_model_was_taught(
    tmp_path: Path, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, model = tmp_path / "cache", tmp_path / "model"
    model.mkdir()
    folder = cache / "wordnet-1_3.0-37"
    cache.mkdir()
    monkeypatch.setattr(module, "WORDNET", fakes.pinned_file(module.WORDNET, wordnet(folder)))
    monkeypatch.setattr(sources, "LABELS", fakes.pinned(sources.LABELS, cache, fakes.label_files()))
    words = ("data", "words", str(model), "--data", str(bank.folder), "--cache", str(cache))
    assert call(*words).code == 3
    recipe = {"data": {"concepts": None, "only": ["cat", "lion"], "styles": ["flat"]}, "composing": {"kinds": {}}}
    (model / "training.json").write_text(json.dumps({"unet": {"recipe": recipe}}))
    done = call(*words)
    assert (done.code, done.out) == (0, f"{model / FILE}\n"), done.err
    found = read_known(model)
    assert found is not None
    assert [thing.en[0] for thing in found.things] == ["cat"]
    assert found.near["lynx"] == 0
    assert call("data", "words", str(model)).code == 2


def test_without_wordnet_nothing_is_near() -> None:
    assert known_words(CONCEPTS, ["3d"], None, None)["near"] == {}


def test_another_package_is_refused(tmp_path: Path) -> None:
    package = fakes.debian_package(tmp_path / "p", {"a.svg": "<svg/>"})
    with pytest.raises(BadInput, match=r"openclipart\.deb is not laid out as WordNet is"):
        known_words(CONCEPTS, ["3d"], package, None)
