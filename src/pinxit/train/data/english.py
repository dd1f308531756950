"""The English half of the caption grammar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from pinxit.train.data.bank import Drawing
from pinxit.train.data.colours import BY_KEY
from pinxit.train.data.facts import BackgroundFacts, ObjectFacts, Place, Relation, SceneFacts, Time
from pinxit.train.data.names import article_for, is_plural, plural_of

T = TypeVar("T")


class Choices(Protocol):
    """Where the grammar's random choices come from."""

    def chance(self, share: float) -> bool: ...
    def one(self, options: Sequence[T]) -> T: ...
    def best_first(self, options: Sequence[T], other: float) -> T: ...


QUALITY = ("high quality", "best quality", "detailed", "clean edges", "masterpiece", "beautiful")
_NUMBERS = {2: ("two", "2"), 3: ("three", "3"), 4: ("four", "4"), 5: ("five", "5"), 6: ("six", "6")}
_BIG = ("big", "large", "huge")
_SMALL = ("small", "little", "tiny")
_RELATIONS: dict[Relation, tuple[str, ...]] = {
    "left": (
        "{0} to the left of {1}",
        "{0} on the left of {1}",
        "{0} on the left and {1} on the right",
        "{0} left of {1}",
    ),
    "right": (
        "{0} to the right of {1}",
        "{0} on the right of {1}",
        "{1} on the left and {0} on the right",
        "{0} right of {1}",
    ),
    "above": ("{0} above {1}", "{0} over {1}", "{0} at the top and {1} at the bottom"),
    "below": ("{0} below {1}", "{0} under {1}", "{0} beneath {1}"),
}
_TOGETHER = ("{0} and {1}", "{0} next to {1}", "{0} with {1}")
_FORMS = (
    "{0}",
    "{0}",
    "{0}",
    "a picture of {0}",
    "an illustration of {0}",
    "a drawing of {0}",
    "an image of {0}",
    "draw {0}",
    "an icon of {0}",
)
_RESERVED_FORMS = ("show me {0}", "{0}, please", "i would like to see {0}")
_PLACES: dict[Place, tuple[str, ...]] = {
    "meadow": ("on a green meadow", "in a meadow", "on the grass", "on green hills"),
    "beach": ("on a beach", "on the beach by the sea", "on a sandy beach"),
    "snow": ("in the snow", "on snow", "in a snowy landscape"),
    "desert": ("in the desert", "on sand dunes", "in a sandy desert"),
    "sea": ("on the sea", "in the ocean", "at sea", "on the water"),
    "mountains": ("in front of mountains", "in the mountains", "with mountains in the background"),
    "sky": ("in the sky", "in a cloudy sky", "high up in the sky"),
    "space": ("in space", "in outer space", "in front of the stars"),
}
_TAGS: dict[Place, tuple[str, ...]] = {
    "meadow": ("meadow", "grass", "green hills"),
    "beach": ("beach", "sea and sand"),
    "snow": ("snow", "winter landscape"),
    "desert": ("desert", "sand dunes"),
    "sea": ("sea", "ocean"),
    "mountains": ("mountains", "mountain landscape"),
    "sky": ("sky", "clouds"),
    "space": ("space", "starry sky"),
}
_TIMES: dict[Time, tuple[str, ...]] = {
    "day": ("", "", "on a sunny day", "in daylight", "under a blue sky"),
    "sunset": ("at sunset", "at dusk", "in the evening light"),
    "night": ("at night", "by night", "under a night sky"),
}


def things(facts: SceneFacts, choose: Choices, other: float) -> tuple[str, ...]:
    """A noun for each different object, without its article; counted when the picture is about a count."""
    first = facts.objects[0]
    name = _name(first.drawing, choose, other)
    if facts.kind == "count":
        number = choose.best_first(_NUMBERS[len(facts.objects)], 0.2)
        colour = f"{_colour(first, choose)} " if first.colour else ""
        return (f"{number} {colour}{plural_of(name)}",)
    return tuple(
        _described(thing, name if thing is first else _name(thing.drawing, choose, other), choose)
        for thing in facts.objects
    )


def _name(drawing: Drawing, choose: Choices, other: float) -> str:
    return choose.best_first(drawing.en, other)


def _colour(thing: ObjectFacts, choose: Choices) -> str:
    return choose.best_first(BY_KEY[thing.colour or "white"].en, 0.3)


def _described(thing: ObjectFacts, name: str, choose: Choices) -> str:
    adjectives: list[str] = []
    if thing.size is not None:
        adjectives.append(choose.best_first(_BIG if thing.size == "big" else _SMALL, 0.5))
    if thing.colour is not None:
        adjectives.append(_colour(thing, choose))
    return " ".join((*adjectives, name))


def with_article(phrase: str, drawing: Drawing) -> str:
    """`a cat`, `an apple`; bare for plurals, for things not counted, and for labels that are no nouns."""
    counted = drawing.countable or drawing.group in ("food-drink", "icons", "travel-places")
    if not counted or is_plural(phrase) or (drawing.group in ("symbols", "flags") and not phrase.endswith(" flag")):
        return phrase
    if phrase.split(" ", 1)[0] in _UNCOUNTED or (not drawing.countable and drawing.group == "food-drink"):
        return phrase
    return f"{article_for(phrase)} {phrase}"


_UNCOUNTED = frozenset({"fire", "bread", "corn", "cheese", "popcorn", "money", "fries", "hot"})


def bare(nouns: tuple[str, ...]) -> str:
    """The names alone."""
    return " and ".join(nouns)


def sentence(facts: SceneFacts, nouns: tuple[str, ...], scene: str, style: str, choose: Choices, reserved: bool) -> str:
    """A noun phrase for the whole picture, with the scene and perhaps a style in it."""
    if facts.kind == "count":
        phrase = nouns[0]
    else:
        said = [with_article(noun, thing.drawing) for noun, thing in zip(nouns, facts.objects, strict=True)]
        phrase = said[0] if len(said) == 1 else _related(facts, said, choose)
    if style and len(facts.objects) == 1 and _is_adjective(style):
        name = nouns[0]
        phrase = f"{article_for(style)} {style} {name}" if phrase != name else f"{style} {name}"
        style = ""
    if scene:
        phrase = f"{phrase} {scene}"
    elif style:
        phrase = f"{phrase} in {style}" if style.endswith("style") else f"{phrase} as {article_for(style)} {style}"
        style = ""
    phrase = choose.one(_RESERVED_FORMS if reserved else _FORMS).format(phrase)
    return f"{phrase}, {style}" if style else phrase


def _is_adjective(style: str) -> bool:
    return style in ("3d", "flat", "cartoon", "glossy", "outlined")


def _related(facts: SceneFacts, said: list[str], choose: Choices) -> str:
    relation = facts.relation
    if relation is None or choose.chance(0.3 if facts.kind == "pair" else 0.6):
        return choose.one(_TOGETHER).format(*said)
    return choose.best_first(_RELATIONS[relation], 0.6).format(*said)


def scene(background: BackgroundFacts, choose: Choices) -> str:
    """`on a beach at sunset`; empty without a landscape."""
    if background.place is None or background.time is None:
        return ""
    when = "" if background.place == "space" else choose.one(_TIMES[background.time])
    return f"{choose.one(_PLACES[background.place])} {when}".strip()


def scene_tag(background: BackgroundFacts, choose: Choices) -> str:
    """`beach, at sunset`."""
    if background.place is None or background.time is None:
        return ""
    when = "" if background.place == "space" else choose.one(_TIMES[background.time])
    return ", ".join(part for part in (choose.one(_TAGS[background.place]), when) if part)


def background(facts: BackgroundFacts, choose: Choices) -> str:
    """`blue background`, `red to white gradient background`."""
    names = [choose.best_first(BY_KEY[key].en, 0.3) for key in facts.colours]
    if facts.kind == "gradient":
        form = choose.one(("{0} to {1} gradient background", "{0} and {1} gradient background", "gradient background"))
        return form.format(*names)
    form = choose.best_first(("{0} background", "on a {0} background", "plain {0} background", "isolated on {0}"), 0.4)
    return form.format(names[0])


def joined(parts: Sequence[str]) -> str:
    """Parts of a caption as one line."""
    return ", ".join(part for part in parts if part)
