"""The named colours of backgrounds and silhouettes, in both languages, and how far apart two colours look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Rgb = tuple[int, int, int]

_JITTER = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedColour:
    """A colour word: English and Chinese names, best first, and its middle in sRGB."""

    key: str
    en: tuple[str, ...]
    zh: tuple[str, ...]
    rgb: Rgb


COLOURS: tuple[NamedColour, ...] = (
    NamedColour(key="red", en=("red",), zh=("红色",), rgb=(220, 40, 45)),
    NamedColour(key="orange", en=("orange",), zh=("橙色", "橘色"), rgb=(245, 140, 30)),
    NamedColour(key="yellow", en=("yellow",), zh=("黄色",), rgb=(250, 215, 50)),
    NamedColour(key="green", en=("green",), zh=("绿色",), rgb=(60, 165, 75)),
    NamedColour(key="teal", en=("teal",), zh=("蓝绿色", "水鸭色"), rgb=(20, 130, 130)),
    NamedColour(key="cyan", en=("cyan", "turquoise"), zh=("青色",), rgb=(70, 210, 225)),
    NamedColour(key="blue", en=("blue",), zh=("蓝色",), rgb=(45, 105, 220)),
    NamedColour(key="navy", en=("navy blue", "dark blue", "navy"), zh=("深蓝色", "海军蓝"), rgb=(25, 35, 95)),
    NamedColour(key="purple", en=("purple", "violet"), zh=("紫色",), rgb=(130, 60, 180)),
    NamedColour(key="pink", en=("pink",), zh=("粉色", "粉红色"), rgb=(250, 150, 190)),
    NamedColour(key="brown", en=("brown",), zh=("棕色", "褐色"), rgb=(125, 80, 45)),
    NamedColour(key="beige", en=("beige", "cream"), zh=("米色", "米黄色"), rgb=(240, 225, 195)),
    NamedColour(key="gray", en=("gray", "grey"), zh=("灰色",), rgb=(150, 152, 156)),
    NamedColour(key="black", en=("black",), zh=("黑色",), rgb=(20, 20, 22)),
)

WHITE = NamedColour(key="white", en=("white",), zh=("白色",), rgb=(255, 255, 255))

BY_KEY: dict[str, NamedColour] = {colour.key: colour for colour in (*COLOURS, WHITE)}


def distance(first: Rgb, second: Rgb) -> float:
    """How different two sRGB colours look: the weighted Euclidean distance with the mean of red (0 to about 765)."""
    red, green, blue = (a - b for a, b in zip(first, second, strict=True))
    mean = (first[0] + second[0]) / 2
    return float(((2 + mean / 256) * red**2 + 4 * green**2 + (2 + (255 - mean) / 256) * blue**2) ** 0.5)


def nearest_named(rgb: Rgb) -> NamedColour:
    """The named colour that looks most like `rgb`."""
    return min((*COLOURS, WHITE), key=lambda colour: distance(colour.rgb, rgb))


def jittered(colour: NamedColour, rng: np.random.Generator) -> Rgb:
    """A shade of this colour that still deserves its name."""
    for _ in range(4):
        red, green, blue = (
            int(np.clip(level + step, 0, 255))
            for level, step in zip(colour.rgb, rng.normal(0, _JITTER / 1.5, 3).clip(-_JITTER, _JITTER), strict=True)
        )
        if nearest_named((red, green, blue)) is colour:
            return red, green, blue
    return colour.rgb
