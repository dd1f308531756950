"""The Chinese half of the caption grammar."""

from __future__ import annotations

from collections.abc import Sequence

from pinxit.train.data.colours import BY_KEY
from pinxit.train.data.english import Choices
from pinxit.train.data.facts import BackgroundFacts, ObjectFacts, Place, Relation, SceneFacts, Time

QUALITY = ("高质量", "精美", "高清", "精致", "细节丰富")
_NUMBERS = {2: ("两", "2"), 3: ("三", "3"), 4: ("四", "4"), 5: ("五", "5"), 6: ("六", "6")}
_RELATIONS: dict[Relation, tuple[str, ...]] = {
    "left": ("{0}在{1}的左边", "{0}在{1}左侧", "左边是{0}，右边是{1}"),
    "right": ("{0}在{1}的右边", "{0}在{1}右侧", "右边是{0}，左边是{1}"),
    "above": ("{0}在{1}的上面", "{0}在{1}上方", "上面是{0}，下面是{1}"),
    "below": ("{0}在{1}的下面", "{0}在{1}下方", "下面是{0}，上面是{1}"),
}
_TOGETHER = ("{0}和{1}", "{0}与{1}", "{0}旁边有{1}")
_FORMS = ("{0}", "{0}", "{0}", "一张{0}的图片", "{0}的插画", "画{0}", "{0}的图标", "{0}的图")
_RESERVED_FORMS = ("给我看{0}", "请画出{0}")
_PLACES: dict[Place, tuple[str, ...]] = {
    "meadow": ("在绿色的草地上", "在草地上", "在草原上"),
    "beach": ("在沙滩上", "在海滩上", "在海边"),
    "snow": ("在雪地里", "在雪地上", "在雪中"),
    "desert": ("在沙漠里", "在沙漠中", "在沙丘上"),
    "sea": ("在海上", "在海面上", "在水面上"),
    "mountains": ("在群山前", "在山前", "在山里"),
    "sky": ("在天空中", "在天上", "在云间"),
    "space": ("在太空中", "在宇宙中", "在星空里"),
}
_TAGS: dict[Place, tuple[str, ...]] = {
    "meadow": ("草地", "草原"),
    "beach": ("沙滩", "海滩"),
    "snow": ("雪地", "雪景"),
    "desert": ("沙漠", "沙丘"),
    "sea": ("大海", "海面"),
    "mountains": ("群山", "山"),
    "sky": ("天空", "云"),
    "space": ("太空", "星空"),
}
_TIMES: dict[Time, tuple[str, ...]] = {
    "day": ("", "", "晴天", "白天", "蓝天下"),
    "sunset": ("日落时分", "黄昏", "傍晚"),
    "night": ("夜晚", "夜里", "夜空下"),
}


def things(facts: SceneFacts, choose: Choices, other: float) -> tuple[str, ...]:
    """A noun for each different object; counted when the picture is about a count."""
    first = facts.objects[0]
    if facts.kind == "count":
        number = choose.best_first(_NUMBERS[len(facts.objects)], 0.2)
        colour = f"{_colour(first, choose)}的" if first.colour else ""
        return (f"{number}{first.drawing.measure}{colour}{choose.best_first(first.drawing.zh, other)}",)
    return tuple(_described(thing, choose.best_first(thing.drawing.zh, other), choose) for thing in facts.objects)


def _colour(thing: ObjectFacts, choose: Choices) -> str:
    return choose.best_first(BY_KEY[thing.colour or "white"].zh, 0.3)


def _described(thing: ObjectFacts, name: str, choose: Choices) -> str:
    size = {"big": "大的", "small": "小的", None: ""}[thing.size]
    colour = f"{_colour(thing, choose)}的" if thing.colour else ""
    return f"{size}{colour}{name}"


def _counted(noun: str, thing: ObjectFacts, choose: Choices) -> str:
    """`一只猫`; without the measure word as often, and for things not counted or already counted."""
    uncounted = not thing.drawing.countable or thing.drawing.plural or noun.startswith("一")
    return noun if uncounted or choose.chance(0.4) else f"一{thing.drawing.measure}{noun}"


def bare(nouns: tuple[str, ...]) -> str:
    """The names alone."""
    return "和".join(nouns)


def sentence(facts: SceneFacts, nouns: tuple[str, ...], scene: str, style: str, choose: Choices, reserved: bool) -> str:
    """A phrase for the whole picture, with the scene and perhaps a style in it."""
    if facts.kind == "count":
        phrase = nouns[0]
    elif len(nouns) == 1:
        noun = f"{style}的{nouns[0]}" if style else nouns[0]
        phrase = _counted(noun, facts.objects[0], choose)
    else:
        said = [_counted(noun, thing, choose) for noun, thing in zip(nouns, facts.objects, strict=True)]
        phrase = _related(facts, said, choose)
    if scene:
        return f"{phrase}{'，' if '，' in phrase else ''}{scene}"
    clause = "，" in phrase or (len(nouns) > 1 and "在" in phrase)
    form = choose.one(_RESERVED_FORMS if reserved else _FORMS)
    doubled = form.startswith("一") and phrase.startswith("一")
    return phrase if (clause and not reserved) or doubled else form.format(phrase)


def _related(facts: SceneFacts, said: list[str], choose: Choices) -> str:
    relation = facts.relation
    if relation is None or choose.chance(0.3 if facts.kind == "pair" else 0.6):
        return choose.one(_TOGETHER).format(*said)
    return choose.best_first(_RELATIONS[relation], 0.6).format(*said)


def scene(background: BackgroundFacts, choose: Choices) -> str:
    """`在沙滩上，日落时分`; empty without a landscape."""
    return _where_when(background, choose, _PLACES)


def scene_tag(background: BackgroundFacts, choose: Choices) -> str:
    """`沙滩，日落时分`."""
    return _where_when(background, choose, _TAGS)


def _where_when(facts: BackgroundFacts, choose: Choices, places: dict[Place, tuple[str, ...]]) -> str:
    if facts.place is None or facts.time is None:
        return ""
    when = "" if facts.place == "space" else choose.one(_TIMES[facts.time])
    return "，".join(part for part in (choose.one(places[facts.place]), when) if part)


def background(facts: BackgroundFacts, choose: Choices) -> str:
    """`蓝色背景`, `从红色到白色的渐变背景`."""
    names = [choose.best_first(BY_KEY[key].zh, 0.3) for key in facts.colours]
    if facts.kind == "gradient":
        return choose.one(("从{0}到{1}的渐变背景", "{0}和{1}渐变背景", "渐变背景")).format(*names)
    return choose.best_first(("{0}背景", "纯{0}背景", "{0}的背景", "{0}底"), 0.4).format(names[0])


def joined(parts: Sequence[str]) -> str:
    """Parts of a caption as one line."""
    return "，".join(part for part in parts if part)
