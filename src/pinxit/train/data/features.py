"""What the attributes of a drawn portrait are called, checked by hand against the drawings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

FeatureKind = Literal["with", "wearing", "mood", "unwanted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """Words for some values of an attribute; `{hairColor}` in them stands for the name of that attribute's colour."""

    kind: FeatureKind
    attribute: str
    values: tuple[str, ...]
    en: str
    zh: str

    def fits(self, attributes: Mapping[str, object]) -> bool:
        """Does a portrait have this feature?"""
        value = attributes.get(self.attribute)
        return isinstance(value, str) and any(fnmatchcase(value, pattern) for pattern in self.values)


# kind | attribute | values | English | Chinese. The first row of an attribute that fits is the one that is said.
_OPEN_PEEPS = """
unwanted | head | bear | |
unwanted | face | monster, cyclops | |
with | head | afro, longAfro | black afro hair | 黑色爆炸头
with | head | bangs, mediumBangs2 | {headContrastColor} hair with bangs | {headContrastColor}刘海短发
with | head | bangs2, mediumBangs, mediumBangs3 | black hair with bangs | 黑色刘海短发
with | head | bantuKnots, buns | black hair knots | 黑色发髻
with | head | bun, bun2 | black hair in a bun | 黑色丸子头
with | head | grayBun | {headContrastColor} hair in a bun | {headContrastColor}丸子头
with | head | grayMedium | medium {headContrastColor} hair | {headContrastColor}中长发
with | head | cornrows | {headContrastColor} cornrows | {headContrastColor}脏辫
with | head | cornrows2, dreads*, twists* | black dreadlocks | 黑色脏辫
with | head | flatTop* | a black flat top | 黑色平头
with | head | grayShort, short4 | short {headContrastColor} hair | {headContrastColor}短发
with | head | hatBeanie | a {clothingColor} beanie | 戴{clothingColor}毛线帽
with | head | hatHip | a black hat | 戴黑色帽子
with | head | hijab | a black hijab | 戴黑色头巾
with | head | turban | a {clothingColor} turban | 戴{clothingColor}头巾
with | head | longCurly | long black curly hair | 黑色长卷发
with | head | long* | long black hair | 黑色长发
with | head | medium* | medium black hair | 黑色中长发
with | head | mohawk* | a {headContrastColor} mohawk | {headContrastColor}莫西干头
with | head | noHair* | a bald head | 光头
with | head | pomp, shaved*, short* | short black hair | 黑色短发
with | facialHair | moustache* | a moustache | 留小胡子
with | facialHair | goatee* | a goatee | 留山羊胡
with | facialHair | * | a beard | 留胡子
with | mask | medicalMask | a face mask | 戴口罩
with | mask | respirator | a respirator | 戴防毒面具
with | accessories | eyepatch | an eyepatch | 戴眼罩
with | accessories | sunglasses* | sunglasses | 戴墨镜
with | accessories | glasses* | glasses | 戴眼镜
wearing | clothingColor | * | a {clothingColor} shirt | 穿{clothingColor}衣服
mood | face | angry*, rage, veryAngry | angry | 生气
mood | face | smile*, lovingGrin*, cheeky | smiling | 微笑
mood | face | concerned*, fear, hectic | worried | 担心
mood | face | tired | tired | 疲倦
"""
_LORELEI = """
with | hair | * | black hair | 黑发
with | beard | * | a beard | 留胡子
with | glasses | * | glasses | 戴眼镜
with | earrings | * | earrings | 戴耳环
with | freckles | * | freckles | 有雀斑
with | hairAccessories | flowers | flowers in the hair | 头戴鲜花
mood | mouth | happy* | smiling | 微笑
mood | mouth | sad* | sad | 难过
"""
_NOTIONISTS = """
with | beard | * | a beard | 留胡子
with | glasses | * | glasses | 戴眼镜
with | gesture | wave* | a waving hand | 挥手
with | gesture | point* | a pointing hand | 用手指着
with | gesture | ok* | an ok sign | 比OK手势
with | gesture | hand | a raised hand | 举手
with | gesture | handPhone | a phone | 拿着手机
"""
_ADVENTURER = """
with | hair | long* | long {hairColor} hair | {hairColor}长发
with | hair | short* | short {hairColor} hair | {hairColor}短发
with | features | mustache | a moustache | 留小胡子
with | features | freckles | freckles | 有雀斑
with | glasses | * | glasses | 戴眼镜
with | earrings | * | earrings | 戴耳环
"""
_MICAH = """
with | hair | mrT | a {hairColor} mohawk | {hairColor}莫西干头
with | hair | dougFunny, mrClean | a bald head | 光头
with | hair | full | long {hairColor} hair | {hairColor}长发
with | hair | pixie | {hairColor} bobbed hair | {hairColor}波波头
with | hair | dannyPhantom | {hairColor} hair with bangs | {hairColor}刘海发型
with | hair | turban | a {hairColor} turban | 戴{hairColor}头巾
with | hair | fonze | short {hairColor} hair | {hairColor}短发
with | facialHair | beard | a beard | 留胡子
with | facialHair | scruff | stubble | 留胡茬
with | glasses | round | round glasses | 戴圆框眼镜
with | glasses | square | square glasses | 戴方框眼镜
with | earrings | hoop | hoop earrings | 戴圆环耳环
with | earrings | stud | an ear stud | 戴耳钉
wearing | shirt | * | a {shirtColor} shirt | 穿{shirtColor}衬衫
mood | mouth | smile, laughing, smirk | smiling | 微笑
mood | mouth | sad, frown | sad | 难过
mood | mouth | surprised | surprised | 惊讶
"""
_PERSONAS = """
with | hair | bald, balding | a bald head | 光头
with | hair | cap | a cap | 戴帽子
with | hair | beanie | a beanie | 戴毛线帽
with | hair | mohawk | a {hairColor} mohawk | {hairColor}莫西干头
with | hair | curly* | curly {hairColor} hair | {hairColor}卷发
with | hair | pigtails | {hairColor} pigtails | {hairColor}双马尾
with | hair | bob* | {hairColor} bobbed hair | {hairColor}波波头
with | hair | bunUndercut, straightBun | {hairColor} hair in a bun | {hairColor}丸子头
with | hair | long, extraLong, sideShave | long {hairColor} hair | {hairColor}长发
with | hair | * | short {hairColor} hair | {hairColor}短发
with | facialHair | walrus, pyramid | a moustache | 留小胡子
with | facialHair | shadow | stubble | 留胡茬
with | facialHair | * | a beard | 留胡子
with | eyes | glasses | glasses | 戴眼镜
with | eyes | sunglasses | sunglasses | 戴墨镜
with | mouth | pacifier | a pacifier | 含奶嘴
wearing | body | checkered | a checkered {clothingColor} shirt | 穿{clothingColor}格子衬衫
wearing | body | * | a {clothingColor} shirt | 穿{clothingColor}衣服
mood | mouth | smile, bigSmile, smirk | smiling | 微笑
mood | mouth | frown | sad | 难过
mood | mouth | surprise | surprised | 惊讶
"""
_BIG_SMILE = """
with | hair | mohawk | a {hairColor} mohawk | {hairColor}莫西干头
with | hair | wavyBob, curlyBob | wavy {hairColor} hair | {hairColor}卷发
with | hair | curlyShortHair | short curly {hairColor} hair | {hairColor}短卷发
with | hair | bowlCutHair | a {hairColor} bowl cut | {hairColor}锅盖头
with | hair | straightHair | long {hairColor} hair | {hairColor}长直发
with | hair | braids | {hairColor} braids | {hairColor}辫子
with | hair | bunHair, froBun | {hairColor} hair in a bun | {hairColor}丸子头
with | hair | bangs | {hairColor} hair with bangs | {hairColor}刘海发型
with | hair | *haved* | shaved {hairColor} hair | {hairColor}寸头
with | hair | shortHair | short {hairColor} hair | {hairColor}短发
with | accessories | catEars | cat ears | 戴猫耳朵
with | accessories | glasses | glasses | 戴眼镜
with | accessories | sailormoonCrown | a tiara | 戴头冠
with | accessories | clownNose | a clown nose | 戴小丑鼻子
with | accessories | sleepMask | a sleep mask | 戴眼罩
with | accessories | sunglasses | sunglasses | 戴墨镜
with | accessories | faceMask | a face mask | 戴口罩
with | accessories | mustache | a moustache | 留小胡子
mood | eyes | angry | angry | 生气
mood | eyes | sad | sad | 难过
mood | eyes | sleepy | sleepy | 困倦
mood | mouth | *Smile, braces | smiling | 微笑
mood | mouth | openSad | sad | 难过
"""
_BIG_EARS = """
with | hair | long* | long {hairColor} hair | {hairColor}长发
with | hair | short* | short {hairColor} hair | {hairColor}短发
"""
_TOON_HEAD = """
with | rearHair | longWavy | long wavy {hairColor} hair | {hairColor}长卷发
with | rearHair | longStraight | long {hairColor} hair | {hairColor}长发
with | rearHair | * | medium {hairColor} hair | {hairColor}中长发
with | hair | bun | {hairColor} hair in a bun | {hairColor}丸子头
with | hair | spiky | spiky {hairColor} hair | {hairColor}刺猬头
with | hair | * | short {hairColor} hair | {hairColor}短发
with | beard | moustacheTwirl | a moustache | 留小胡子
with | beard | longBeard | a long beard | 留长胡子
with | beard | * | a beard | 留胡子
wearing | clothes | turtleNeck | a {clothesColor} turtleneck | 穿{clothesColor}高领衫
wearing | clothes | openJacket | a {clothesColor} jacket | 穿{clothesColor}外套
wearing | clothes | dress | a {clothesColor} dress | 穿{clothesColor}连衣裙
wearing | clothes | tShirt | a {clothesColor} t-shirt | 穿{clothesColor}T恤
wearing | clothes | shirt | a {clothesColor} shirt | 穿{clothesColor}衬衫
mood | mouth | laugh, smile | smiling | 微笑
mood | mouth | angry | angry | 生气
mood | mouth | sad | sad | 难过
mood | mouth | agape | surprised | 惊讶
"""
_MINIAVS = """
with | hair | balndess, slaughter | a balding head | 秃头
with | hair | ponyTail | a {hairColor} ponytail | {hairColor}马尾辫
with | hair | long | long {hairColor} hair | {hairColor}长发
with | hair | curly | curly {hairColor} hair | {hairColor}卷发
with | hair | * | short {hairColor} hair | {hairColor}短发
with | mustache | pencilThinBeard | a thin beard | 留短胡子
with | mustache | * | a moustache | 留小胡子
with | glasses | * | glasses | 戴眼镜
wearing | body | golf | a {bodyColor} polo shirt | 穿{bodyColor}POLO衫
wearing | body | tShirt | a {bodyColor} t-shirt | 穿{bodyColor}T恤
mood | mouth | * | smiling | 微笑
"""


def _parse(table: str) -> tuple[Feature, ...]:
    kinds: dict[str, FeatureKind] = {"with": "with", "wearing": "wearing", "mood": "mood", "unwanted": "unwanted"}
    rows = ([part.strip() for part in line.split("|")] for line in table.strip().splitlines())
    return tuple(
        Feature(
            kind=kinds[kind],
            attribute=attribute,
            values=tuple(value.strip() for value in values.split(",")),
            en=en,
            zh=zh,
        )
        for kind, attribute, values, en, zh in rows
    )


FEATURES: dict[str, tuple[Feature, ...]] = {
    "open-peeps": _parse(_OPEN_PEEPS),
    "lorelei": _parse(_LORELEI),
    "notionists": _parse(_NOTIONISTS),
    "adventurer": _parse(_ADVENTURER),
    "micah": _parse(_MICAH),
    "personas": _parse(_PERSONAS),
    "big-smile": _parse(_BIG_SMILE),
    "big-ears": _parse(_BIG_EARS),
    "toon-head": _parse(_TOON_HEAD),
    "miniavs": _parse(_MINIAVS),
}
"""By the name of the source."""
