"""The packages that the drawings come from, pinned by version and sha256, and the styles they are drawn in."""

# A table, as long as it must be.
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pinxit.schema.errors import UnknownName

Client = Literal["npm", "pip", "apt"]
Reader = Literal["emoji-webp", "iconify-emoji", "iconify-icons", "openclipart", "portraits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """A manner of drawing and the words that ask for it, the most usual first.

    Styles of one `family` share their outlines: a drawing in one of them gives the others away.
    """

    key: str
    family: str
    en: tuple[str, ...]
    zh: tuple[str, ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """One package of one registry. `sha256` is that of the file the client brings."""

    name: str
    client: Client
    package: str
    version: str
    sha256: str
    licence: str
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Pinned):
    """A package of drawings.

    With `variants` a concept's several drawings are all kept. `tintable` drawings are single-colour shapes, kept white
    so that a composition can give them any colour.
    """

    reader: Reader
    style: str
    weight: float = 1.0
    tintable: bool = False
    variants: bool = False

    @property
    def emoji(self) -> bool:
        """Does it draw emoji, in a style that other sets draw them in too?"""
        return self.reader in ("emoji-webp", "iconify-emoji")


STYLES: tuple[Style, ...] = (
    Style(
        key="3d",
        family="fluent",
        en=("3d", "3d style", "3d render", "3d emoji", "3d emoji style", "soft 3d render", "fluent 3d style"),
        zh=("3D风格", "三维风格", "立体风格", "3D渲染", "3D表情"),
        weight=3.0,
    ),
    Style(
        key="fluent",
        family="fluent",
        en=("glossy style", "glossy", "gradient style", "fluent emoji style", "shiny gradient style"),
        zh=("光泽风格", "渐变风格", "流畅表情风格"),
        weight=1.5,
    ),
    Style(
        key="flat",
        family="fluent",
        en=("flat", "flat style", "flat vector", "flat design", "flat illustration", "fluent flat style"),
        zh=("扁平风格", "扁平化设计", "扁平矢量风格", "扁平插画"),
        weight=2.0,
    ),
    Style(
        key="noto",
        family="noto",
        en=("noto style", "noto emoji style", "cartoon style", "cartoon", "emoji"),
        zh=("卡通风格", "Noto表情风格", "卡通", "表情符号"),
        weight=1.5,
    ),
    Style(
        key="blob",
        family="noto-v1",
        en=("blob style", "blob emoji style", "old noto style"),
        zh=("果冻风格", "圆润表情风格"),
    ),
    Style(
        key="fxemoji",
        family="fxemoji",
        en=("pastel flat style", "firefox emoji style", "fxemoji style"),
        zh=("火狐表情风格", "柔和扁平风格"),
        weight=0.7,
    ),
    Style(
        key="twemoji",
        family="twemoji",
        en=("simple flat style", "twemoji style", "twitter emoji style", "simple icon style"),
        zh=("简洁风格", "简洁表情风格", "推特表情风格"),
    ),
    Style(
        key="emojione",
        family="emojione",
        en=("round flat style", "emojione style", "full flat style"),
        zh=("饱满扁平风格", "饱满扁平表情风格"),
        weight=0.7,
    ),
    Style(
        key="outline",
        family="streamline",
        en=("outlined cartoon style", "bold outline style", "outlined", "sticker style"),
        zh=("描边卡通风格", "粗线条风格", "贴纸风格"),
    ),
    Style(
        key="silhouette",
        family="game-icons",
        en=("silhouette", "monochrome silhouette", "solid icon", "single color icon"),
        zh=("剪影", "单色剪影", "单色图标"),
        weight=0.7,
    ),
    Style(
        key="flat-color",
        family="flat-color-icons",
        en=("flat color icon", "office icon"),
        zh=("扁平彩色图标",),
        weight=0.3,
    ),
    Style(
        key="fluent-color", family="fluent-color", en=("app icon", "gradient app icon"), zh=("应用图标",), weight=0.3
    ),
    Style(
        key="weather",
        family="meteocons",
        en=("weather icon", "weather icon style"),
        zh=("天气图标",),
        weight=0.5,
    ),
    Style(
        key="clipart",
        family="openclipart",
        en=("clip art", "clipart", "clip art style"),
        zh=("剪贴画", "剪贴画风格"),
        weight=0.5,
    ),
)

PORTRAIT_STYLES: tuple[Style, ...] = (
    Style(
        key="open-peeps",
        family="open-peeps",
        en=("hand-drawn portrait style", "open peeps style"),
        zh=("手绘人物风格", "手绘头像风格"),
        weight=0.2,
    ),
    Style(
        key="lorelei",
        family="lorelei",
        en=("black and white portrait style", "ink portrait style"),
        zh=("黑白肖像风格", "黑白线描人像"),
        weight=0.1,
    ),
    Style(
        key="notionists",
        family="notionists",
        en=("line drawing portrait style", "sketched portrait style"),
        zh=("线稿人物风格", "速写头像风格"),
        weight=0.1,
    ),
    Style(
        key="adventurer",
        family="adventurer",
        en=("comic portrait style", "comic avatar style"),
        zh=("漫画头像风格", "漫画人物风格"),
        weight=0.2,
    ),
    Style(
        key="micah",
        family="micah",
        en=("outlined portrait style", "outlined avatar style"),
        zh=("描边头像风格", "描边人物风格"),
        weight=0.2,
    ),
    Style(
        key="personas",
        family="personas",
        en=("flat portrait style", "flat avatar style"),
        zh=("扁平头像风格", "扁平人物风格"),
        weight=0.2,
    ),
    Style(
        key="big-smile",
        family="big-smile",
        en=("smiling mascot style", "cute avatar style"),
        zh=("可爱头像风格", "笑脸头像风格"),
        weight=0.2,
    ),
    Style(
        key="big-ears",
        family="big-ears",
        en=("big-eared cartoon style", "caricature style"),
        zh=("大耳朵卡通风格", "夸张漫画头像"),
        weight=0.2,
    ),
    Style(
        key="toon-head",
        family="toon-head",
        en=("cartoon portrait style", "toon portrait style"),
        zh=("卡通头像风格", "卡通人物肖像"),
        weight=0.2,
    ),
    Style(
        key="miniavs",
        family="miniavs",
        en=("minimal avatar style", "minimal portrait style"),
        zh=("极简头像风格", "极简人物风格"),
        weight=0.2,
    ),
)
"""Styles that draw people alone, from the neck up."""

LABELS = Pinned(
    name="labels",
    client="npm",
    package="emojibase-data",
    version="17.0.0",
    sha256="d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    licence="MIT",
    author="Miles Johnson",
)

PORTRAIT_CORE = Pinned(
    name="portraits-core",
    client="npm",
    package="@dicebear/core",
    version="9.4.3",
    sha256="6ca7dae651c74ad547e548fbe7c41f49aaa377cf4617259277518389bf6b1a3d",
    licence="MIT",
    author="Florian Körner",
)
"""The program that the portrait packages need."""

_THINGS: tuple[Source, ...] = (
    Source(
        name="fluent-3d",
        client="npm",
        package="@lobehub/fluent-emoji-3d",
        version="1.1.0",
        sha256="c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
        licence="MIT",
        author="Microsoft Corporation; packaged by LobeHub",
        reader="emoji-webp",
        style="3d",
    ),
    Source(
        name="fluent-flat",
        client="npm",
        package="@iconify-json/fluent-emoji-flat",
        version="1.2.6",
        sha256="7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
        licence="MIT",
        author="Microsoft Corporation",
        reader="iconify-emoji",
        style="flat",
    ),
    Source(
        name="noto",
        client="npm",
        package="@iconify-json/noto",
        version="1.2.9",
        sha256="3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
        licence="Apache-2.0",
        author="Google Inc",
        reader="iconify-emoji",
        style="noto",
    ),
    Source(
        name="twemoji",
        client="npm",
        package="@iconify-json/twemoji",
        version="1.2.5",
        sha256="19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
        licence="CC-BY-4.0",
        author="Twitter, Inc and other contributors",
        reader="iconify-emoji",
        style="twemoji",
    ),
    Source(
        name="fluent",
        client="npm",
        package="@iconify-json/fluent-emoji",
        version="1.2.7",
        sha256="8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b",
        licence="MIT",
        author="Microsoft Corporation",
        reader="iconify-emoji",
        style="fluent",
    ),
    Source(
        name="noto-v1",
        client="npm",
        package="@iconify-json/noto-v1",
        version="1.2.5",
        sha256="2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37",
        licence="Apache-2.0",
        author="Google Inc",
        reader="iconify-emoji",
        style="blob",
    ),
    Source(
        name="fxemoji",
        client="npm",
        package="@iconify-json/fxemoji",
        version="1.2.2",
        sha256="f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef",
        licence="Apache-2.0",
        author="Mozilla",
        reader="iconify-emoji",
        style="fxemoji",
    ),
    Source(
        name="emojione",
        client="npm",
        package="@iconify-json/emojione",
        version="1.2.3",
        sha256="26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e",
        licence="CC-BY-4.0",
        author="Emoji One (EmojiTwo)",
        reader="iconify-emoji",
        style="emojione",
    ),
    Source(
        name="streamline",
        client="npm",
        package="@iconify-json/streamline-emojis",
        version="1.2.4",
        sha256="5dac87c876b322500989828c5823143e0100d78881627a2e4081a4b897cbfdbc",
        licence="CC-BY-4.0",
        author="Streamline",
        reader="iconify-emoji",
        style="outline",
        variants=True,
    ),
    Source(
        name="game-icons",
        client="npm",
        package="@iconify-json/game-icons",
        version="1.2.4",
        sha256="f5758efb34d91c4f50b941f355f16ee73938625e5996fabc25171288404460a4",
        licence="CC-BY-3.0",
        author="the authors of game-icons (Lorc, Delapouite and others)",
        reader="iconify-icons",
        style="silhouette",
        tintable=True,
    ),
    Source(
        name="flat-color-icons",
        client="npm",
        package="@iconify-json/flat-color-icons",
        version="1.2.3",
        sha256="d8878a9b0f02d749bc8671eb7d47882eb711185cbcefbb365cbfb488773c4786",
        licence="MIT",
        author="Icons8",
        reader="iconify-icons",
        style="flat-color",
    ),
    Source(
        name="fluent-color",
        client="npm",
        package="@iconify-json/fluent-color",
        version="1.2.21",
        sha256="fa2ddaaac7a2a7b902659cea1b5b8c03017ce2ae56295138876b86a36177dfbe",
        licence="MIT",
        author="Microsoft Corporation",
        reader="iconify-icons",
        style="fluent-color",
    ),
    Source(
        name="meteocons",
        client="npm",
        package="@iconify-json/meteocons",
        version="1.2.4",
        sha256="1c0b49c6375c0e35c3ed65db6e41e9811a0cbd2368c13ee27f870f60c6185ff0",
        licence="MIT",
        author="Bas Milius",
        reader="iconify-icons",
        style="weather",
        weight=0.5,
    ),
    Source(
        name="openclipart",
        client="apt",
        package="openclipart-svg",
        version="1:0.18+dfsg-19",
        sha256="989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5",
        licence="public-domain dedication",
        author="the artists of the Open Clip Art Library",
        reader="openclipart",
        style="clipart",
    ),
)

_PORTRAITS: tuple[Source, ...] = (
    Source(
        name="open-peeps",
        client="npm",
        package="@dicebear/open-peeps",
        version="9.4.3",
        sha256="65b664ec00dc69c068051461f2b5bd97c8335af676e36c284e906a3017c23d4f",
        licence="CC0-1.0",
        author="Pablo Stanley (Open Peeps)",
        reader="portraits",
        style="open-peeps",
    ),
    Source(
        name="lorelei",
        client="npm",
        package="@dicebear/lorelei",
        version="9.4.3",
        sha256="78cbba0a6c4d14e1af7c62ffa9a73bd98a8cda02e28690110e199348cd6a9c06",
        licence="CC0-1.0",
        author="Lisa Wischofsky",
        reader="portraits",
        style="lorelei",
    ),
    Source(
        name="notionists",
        client="npm",
        package="@dicebear/notionists",
        version="9.4.3",
        sha256="edb28f4a346e50b9a810b754960cda924cfb2e05763cefddb4acb940dfb96445",
        licence="CC0-1.0",
        author="Zoish (Notionists)",
        reader="portraits",
        style="notionists",
    ),
    Source(
        name="adventurer",
        client="npm",
        package="@dicebear/adventurer",
        version="9.4.3",
        sha256="6edeac04f94ef6177c946918dce012e530200dfcc274b4f954239e33ecbe590c",
        licence="CC-BY-4.0",
        author="Lisa Wischofsky",
        reader="portraits",
        style="adventurer",
    ),
    Source(
        name="micah",
        client="npm",
        package="@dicebear/micah",
        version="9.4.3",
        sha256="b948931f01e97147ce8cdcfc4dfdad5c029bcb1ad57420dc0b22bc0aeb1d3fa7",
        licence="CC-BY-4.0",
        author="Micah Lanier",
        reader="portraits",
        style="micah",
    ),
    Source(
        name="personas",
        client="npm",
        package="@dicebear/personas",
        version="9.4.3",
        sha256="6f5b4765c4d54444ab0330c4a89da53636662de3b04118b827f005a31332d002",
        licence="CC-BY-4.0",
        author="Draftbit",
        reader="portraits",
        style="personas",
    ),
    Source(
        name="big-smile",
        client="npm",
        package="@dicebear/big-smile",
        version="9.4.3",
        sha256="8dbd7b96c9ceaf9dd7c280cdae4f0bb3e43ab2798b7bedbe355fbb3ce30e87bb",
        licence="CC-BY-4.0",
        author="Ashley Seo",
        reader="portraits",
        style="big-smile",
    ),
    Source(
        name="big-ears",
        client="npm",
        package="@dicebear/big-ears",
        version="9.4.3",
        sha256="02fc47ff824b783142e6c85c2ba182ff535a7b40f65bfddfafa2b4f8d86eef50",
        licence="CC-BY-4.0",
        author="The Visual Team",
        reader="portraits",
        style="big-ears",
    ),
    Source(
        name="toon-head",
        client="npm",
        package="@dicebear/toon-head",
        version="9.4.3",
        sha256="b9cd3b5def9fb2c37a9acba2e4b9bd00268b6eaff705d596756e8d921a4580c8",
        licence="CC-BY-4.0",
        author="Johan Melin",
        reader="portraits",
        style="toon-head",
    ),
    Source(
        name="miniavs",
        client="npm",
        package="@dicebear/miniavs",
        version="9.4.3",
        sha256="cebf19ca30a49e88a60824f994f5fa2d9f9f7e2cbc7eb3bcad5b5af166f78274",
        licence="CC-BY-4.0",
        author="Webpixels",
        reader="portraits",
        style="miniavs",
    ),
)

SOURCES: tuple[Source, ...] = (*_THINGS, *_PORTRAITS)


def source_named(name: str, table: tuple[Source, ...] = SOURCES) -> Source:
    """The source called `name`. Raises UnknownName with the nearest names."""
    for source in table:
        if source.name == name:
            return source
    raise UnknownName("drawing source", name, [source.name for source in table], field="sources")


def style_named(key: str) -> Style:
    """The style with this key. Raises UnknownName with the nearest keys."""
    for style in (*STYLES, *PORTRAIT_STYLES):
        if style.key == key:
            return style
    raise UnknownName("drawing style", key, [style.key for style in (*STYLES, *PORTRAIT_STYLES)], field="styles")
