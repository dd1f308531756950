"""Portraits out of DiceBear's styles: people put together from parts, and captions that name the parts.

The style packages are programs; `node` runs them with the seeds 0, 1, 2 and so on. Each portrait tells the attributes
that its seed chose; those whose names say something are worded, in English and Chinese.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pinxit.schema.errors import BadInput, Missing
from pinxit.train.data.colours import Rgb, distance
from pinxit.train.data.drawings import Candidate, Package
from pinxit.train.data.features import FEATURES, Feature
from pinxit.train.data.names import Words, article_for, slugged
from pinxit.train.data.sources import Source

COUNT = 1000
"""Seeds for each style."""

GROUP = "portraits"
Said = tuple[str, str]
"""The English and the Chinese words of one feature."""

_TIME_LIMIT = 300.0
_METADATA = re.compile(r"<metadata\b.*?</metadata>", re.DOTALL)
_COLOURS: tuple[tuple[str, str, Rgb], ...] = (
    ("black", "黑色", (20, 18, 20)),
    ("dark brown", "深棕色", (74, 49, 44)),
    ("brown", "棕色", (120, 75, 45)),
    ("light brown", "浅棕色", (178, 128, 75)),
    ("blond", "金色", (218, 182, 115)),
    ("light blond", "浅金色", (236, 220, 191)),
    ("ginger", "姜黄色", (205, 95, 30)),
    ("red", "红色", (190, 45, 30)),
    ("pink", "粉色", (240, 150, 165)),
    ("rose", "玫瑰色", (225, 95, 115)),
    ("peach", "桃色", (250, 201, 182)),
    ("yellow", "黄色", (240, 200, 60)),
    ("green", "绿色", (55, 160, 60)),
    ("teal", "蓝绿色", (35, 141, 128)),
    ("light blue", "浅蓝色", (135, 205, 222)),
    ("blue", "蓝色", (80, 95, 225)),
    ("lilac", "淡紫色", (222, 222, 250)),
    ("purple", "紫色", (110, 50, 120)),
    ("gray", "灰色", (175, 175, 175)),
    ("white", "白色", (245, 245, 245)),
)


def read_portraits(source: Source, style: Path, core: Path) -> Package:
    """Let the style package draw. Raises Missing without node, and BadInput when node cannot run the package."""
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        raise Missing(
            f"{source.package} draws its portraits with node, which is not installed.",
            hint=f"Install Node.js 18 or newer, or leave out the source {source.name!r}.",
        )
    name = source.package.rpartition("/")[2]
    with tempfile.TemporaryDirectory() as folder:
        scope = Path(folder) / "node_modules" / "@dicebear"
        for package, archive in ((name, style), ("core", core)):
            _unpack(archive, scope / package)
        lines = _drawn(source, node, scope / "core" / "lib" / "index.js", scope / name / "lib" / "index.js")
        licence = (scope / name / "LICENSE").read_text("utf-8")
    found: dict[str, Candidate] = {}
    for number, line in enumerate(lines):
        portrait = json.loads(line)
        words = portrait_words(FEATURES[source.name], portrait["extra"])
        if words is not None:
            svg = _METADATA.sub("", portrait["svg"])
            candidate = Candidate(
                id=f"{source.name}/{number}",
                concept=f"{source.name}:{slugged(words.en[-1])}",
                words=words,
                kind="svg",
                data=svg.encode(),
                author=source.author,
            )
            found.setdefault(svg, candidate)
    said = [line.strip() for line in licence.splitlines() if line.startswith(("Source: ", "Designer: ", "License: "))]
    return Package(tuple(found.values()), f"LICENSE: {'; '.join(said[:3])}")


def _unpack(archive: Path, folder: Path) -> None:
    """The files of an npm package, without their common folder `package`."""
    with tarfile.open(archive) as opened:
        for member in opened.getmembers():
            inside = member.name.partition("/")[2]
            if member.isfile() and inside:
                opened.extract(member.replace(name=inside), folder, filter="data")


def _drawn(source: Source, node: str, core: Path, style: Path) -> list[str]:
    asked = json.dumps({"core": str(core), "style": str(style), "count": COUNT})
    script = resources.files("pinxit.train.data") / "portraits.mjs"
    with resources.as_file(script) as path:
        try:
            done = subprocess.run(
                [node, str(path), asked],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=_TIME_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BadInput(
                f"{source.package} did not draw {COUNT} portraits within {_TIME_LIMIT:.0f} s.",
                hint=f"Leave out the source {source.name!r}.",
            ) from error
    if done.returncode != 0:
        said = next((line for line in done.stderr.splitlines() if "Error" in line), "").strip()
        raise BadInput(
            f"{source.package} {source.version} could not be run by node{': ' + said if said else '.'}",
            hint=f"It needs Node.js 18 or newer. Or leave out the source {source.name!r}.",
        )
    return [line for line in done.stdout.split("\n") if line]


def portrait_words(features: Sequence[Feature], attributes: Mapping[str, Any]) -> Words | None:
    """What a portrait is called, first in short, last in full; None for one that is not wanted."""
    said: dict[str, list[Said]] = {"with": [], "wearing": [], "mood": [], "unwanted": []}
    told: set[tuple[str, str]] = set()
    for feature in features:
        place = (feature.kind, feature.attribute)
        # Long hair falls over the shoulders; what the front of it is called would contradict that.
        covered = feature.attribute == "hair" and ("with", "rearHair") in told
        if place in told or covered or not feature.fits(attributes):
            continue
        told.add(place)
        colours = {key: _colour(value) for key, value in attributes.items() if key.endswith("Color")}
        english = feature.en.format(**{key: en for key, (en, _) in colours.items()})
        said[feature.kind].append((english, feature.zh.format(**{key: zh for key, (_, zh) in colours.items()})))
    if said["unwanted"]:
        return None
    mood = said["mood"][0] if said["mood"] else ("", "")
    has, wears = said["with"], said["wearing"]
    short, full = _english(has, [], ""), f"portrait of {_english(has, wears, mood[0], article=True)}"
    short_zh, full_zh = f"{_chinese(has)}人", f"{_chinese([mood, *has, *wears])}人物肖像"
    return Words(
        en=(short, f"avatar of {_english(has, [], '', article=True)}", full),
        zh=(short_zh, f"{_chinese(has)}头像", full_zh),
        en_keywords=("avatar", "portrait", "face", *filter(None, [mood[0]])),
        zh_keywords=("头像", "肖像", "人物", *filter(None, [mood[1]])),
        group=GROUP,
        subgroup="portrait",
    )


def _english(has: Sequence[Said], wears: Sequence[Said], mood: str, *, article: bool = False) -> str:
    who = f"{mood} person".strip()
    parts = [en for en, _ in has]
    listed = " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]])) if parts else ""
    phrase = f"{who} with {listed}" if listed else who
    phrase += "".join(f" wearing {en}" for en, _ in wears)
    return f"{article_for(phrase)} {phrase}" if article else phrase


def _chinese(features: Sequence[Said]) -> str:
    said = "、".join(zh for _, zh in features if zh)
    return f"{said}的" if said else ""


def _colour(value: Any) -> tuple[str, str]:
    """The words for `#4a312c`."""
    text = str(value).lstrip("#")
    rgb = (int(text[:2], 16), int(text[2:4], 16), int(text[4:6], 16)) if re.match(r"[0-9a-f]{6}", text) else (0, 0, 0)
    english, chinese, _ = min(_COLOURS, key=lambda colour: distance(colour[2], rgb))
    return english, chinese
