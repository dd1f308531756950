"""Small packages in the layouts of the real ones, with drawings of our own."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import math
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from PIL import Image

from pinxit.train.data.build import BuildOptions
from pinxit.train.data.sources import LABELS, Pinned, source_named
from pinxit.train.data.split import cell_is_drawn

P = TypeVar("P", bound=Pinned)
CAT, APPLE, GRAPES, FLAG, BOOK, STAR = "1F431", "1F34E", "1F347", "1F6A9", "1F4D5", "2B50"


def drawn_for(style: str, *others: str, skip: int = 0) -> str:
    """A code point whose cell the lot holds out in this style and in none of the others."""
    found = [
        key
        for key in (f"{code:X}" for code in range(0x1F900, 0x1FA00))
        if cell_is_drawn(key, style) and not any(cell_is_drawn(key, other) for other in others)
    ]
    return found[skip]


LONE = drawn_for("noto", "3d", "flat", "twemoji")
TWIN = drawn_for("noto", "3d", "flat", "twemoji", skip=1)
STAR_GROUP = {CAT: 3, APPLE: 4, GRAPES: 4, FLAG: 9, BOOK: 7, STAR: 5, LONE: 3, TWIN: 3}
_EN = {
    CAT: "cat face",
    APPLE: "red apple",
    GRAPES: "grapes",
    FLAG: "flag: Nowhere",
    BOOK: "closed book",
    STAR: "star",
    LONE: "lone beast",
    TWIN: "twin beast",
}
_ZH = {
    CAT: "猫脸",
    APPLE: "红苹果",
    GRAPES: "葡萄",
    FLAG: "旗: 无处",
    BOOK: "合上的书本",
    STAR: "星星",
    LONE: "独兽",
    TWIN: "双兽",
}
_HUES = ("#d22", "#28c", "#2a4", "#c3c", "#e90", "#088", "#640", "#224")


def star(points: int, colour: str, *, turn: float = 0.0, reach: float = 30.0) -> str:
    """An SVG body: a star in a 64 x 64 box."""
    spots: list[str] = []
    for index in range(2 * points):
        angle, radius = math.pi * index / points + turn, reach * (1.0 if index % 2 else 0.45)
        spots.append(f"{32 + radius * math.cos(angle):.2f},{32 + radius * math.sin(angle):.2f}")
    return f'<polygon points="{" ".join(spots)}" fill="{colour}"/>'


def pack(folder: Path, files: dict[str, bytes]) -> Path:
    """A .tgz with these files below `package/`."""
    folder.mkdir(parents=True)
    path = folder / "package.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def pinned(source: P, cache: Path, files: dict[str, bytes]) -> P:
    """`source` with its package in the cache and the pin that fits."""
    return pinned_file(source, pack(cache / f"{source.name}-{source.version.replace(':', '_')}", files))


def pinned_file(source: P, path: Path) -> P:
    return replace(source, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def label_files() -> dict[str, bytes]:
    """emojibase's files for eight emoji, one of them with a skin tone that is no emoji of its own."""
    groups = ["smileys-emotion", "people-body", "component", "animals-nature", "food-drink", "travel-places"]
    groups += ["activities", "objects", "symbols", "flags"]
    subgroups = ["animal-mammal", "food-fruit", "country-flag", "book-paper"]
    messages = {
        "groups": [{"key": key, "order": order} for order, key in enumerate(groups)],
        "subgroups": [{"key": key, "order": order} for order, key in enumerate(subgroups)],
    }
    inside = {CAT: 0, APPLE: 1, GRAPES: 1, FLAG: 2, BOOK: 3, STAR: 3, LONE: 0, TWIN: 0}

    def rows(names: dict[str, str], tag: str) -> object:
        return [
            {"hexcode": key, "label": names[key], "tags": [tag], "group": STAR_GROUP[key], "subgroup": inside[key]}
            for key in _EN
        ] + [{"hexcode": "1F1E6", "label": "regional indicator", "type": 1}]

    files: dict[str, object] = {
        "en/data.json": rows(_EN, "thing"),
        "zh/data.json": rows(_ZH, "东西"),
        "en/messages.json": messages,
    }
    for name in ("cldr", "emojibase", "github", "iamcal", "joypixels"):
        files[f"en/shortcodes/{name}.json"] = {CAT: ["kitty_face", "cat"], f"{CAT}-1F3FB": "kitty_tone1"}
    return {name: json.dumps(value).encode() for name, value in files.items()}


def iconify_files(icons: dict[str, str], chars: dict[str, str] | None = None) -> dict[str, bytes]:
    """An iconify set of these SVG bodies."""
    about = {"name": "Fakes", "author": {"name": "A. Fake"}, "license": {"title": "MIT"}}
    files: dict[str, object] = {
        "icons.json": {"icons": {name: {"body": body} for name, body in icons.items()}, "width": 64, "height": 64},
        "info.json": about,
    }
    if chars is not None:
        files["chars.json"] = chars
    return {name: json.dumps(value).encode() for name, value in files.items()}


def emoji_icons(style: int) -> dict[str, str]:
    """Eight drawings in a style of their own, but for `twin-beast`, which is the same in every style."""
    names = ("cat-face", "red-apple", "grapes", "flag-nowhere", "closed-book", "star", "lone-beast")
    icons = {
        name: star(3 + index, _HUES[index], turn=0.35 * style, reach=30 - 1.5 * style)
        for index, name in enumerate(names)
    }
    icons["twin-beast"] = star(5, "#777", turn=0.2)
    return icons


def webp_files() -> dict[str, bytes]:
    """Three pictures named by code points; the cat's transparent pixels hide a bright green."""
    files = {"package.json": json.dumps({"license": "MIT", "author": "A. Fake"}).encode()}
    for key, colour in ((CAT, (230, 30, 30)), (f"{CAT}-1f3fb", (0, 0, 0)), (LONE, (40, 60, 200)), (TWIN, (90, 90, 90))):
        picture = Image.new("RGBA", (80, 80), (0, 255, 0, 0))
        picture.paste((*colour, 255), (12, 20, 52 + len(key), 70))
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", lossless=True, exact=True)
        files[f"assets/{key.lower()}.webp"] = buffer.getvalue()
    return files


def node(folder: Path, lines: list[object], error: str = "") -> Path:
    """A folder with a stand-in for `node` that draws these portraits, or fails."""
    folder.mkdir()
    (folder / "drawn").write_text("".join(json.dumps(line) + "\n" for line in lines))
    script = f"echo '{error}' >&2; exit 1" if error else f"cat {folder / 'drawn'}"
    (folder / "node").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "node").chmod(0o755)
    return folder


def debian_package(folder: Path, drawings: dict[str, str]) -> Path:
    """A .deb that holds these SVG documents where openclipart-svg has its own."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        texts = {f"./usr/share/openclipart/svg/{name}": text for name, text in drawings.items()}
        texts["./usr/share/doc/openclipart-svg/copyright"] = " creative commons Public Domain Dedication\n"
        for name, text in texts.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    data = lzma.compress(plain.getvalue())
    parts = b"!<arch>\n"
    for name, content in ((b"debian-binary", b"2.0\n"), (b"data.tar.xz", data)):
        parts += name.ljust(48) + str(len(content)).encode().ljust(10) + b"`\n" + content + b"\n" * (len(content) % 2)
    folder.mkdir(parents=True)
    path = folder / "openclipart.deb"
    path.write_bytes(parts)
    return path


def options(root: Path) -> BuildOptions:
    """A build of five small sources: four styles of emoji and one set of silhouettes."""
    cache = root / "cache"
    real = [source_named(name) for name in ("fluent-3d", "fluent-flat", "noto", "twemoji", "game-icons")]
    codes = {STAR: "star", f"{CAT}-1F3FB": "toned"}
    flat = emoji_icons(1)
    noto = emoji_icons(2) | {
        "blank": "",
        "cat-face-dark-skin-tone": star(9, "#000"),
        "toned": star(8, "#000"),
        "kitty-face-2": star(7, "#a0a"),
    }
    silhouettes = {
        "abstract-001": star(4, "currentColor"),
        "iron-axe": star(4, "currentColor"),
        "sheep": star(6, "#000"),
    }
    return BuildOptions(
        folder=root / "bank",
        cache=cache,
        sources=None,
        sizes=(64, 32),
        table=(
            pinned(real[0], cache, webp_files()),
            pinned(real[1], cache, iconify_files(flat)),
            pinned(real[2], cache, iconify_files(noto, codes)),
            pinned(real[3], cache, iconify_files(emoji_icons(3))),
            pinned(real[4], cache, iconify_files(silhouettes)),
        ),
        labels=pinned(LABELS, cache, label_files()),
    )
