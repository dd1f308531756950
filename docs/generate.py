"""Write the pages that are made from the code: `python -m docs.generate`, or with `--check` say which are stale."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pinxit.cli.docs import reference
from pinxit.plugins.manager import build_catalog
from pinxit.sampling.samplers import SamplerSpec
from pinxit.sampling.schedules import ScheduleSpec
from pinxit.schema.docs import fields_table

FOLDER = Path(__file__).parent
NOTE = "<!-- Written by `python -m docs.generate` from the code; edit the code instead. -->"


def pages() -> Iterator[tuple[Path, str]]:
    """Every generated page with its text."""
    catalog = build_catalog()
    samplers = table(SAMPLER_HEAD, map(sampler_row, catalog.samplers))
    schedules = table(SCHEDULE_HEAD, map(schedule_row, catalog.schedules))
    yield FOLDER / "fields.md", page("The fields of a request", FIELDS, fields_table("en"))
    yield FOLDER / "fields.zh-CN.md", page("请求的字段", FIELDS_ZH, fields_table("zh-CN"))
    yield FOLDER / "cli.md", page("The command line", CLI, reference("en"))
    yield FOLDER / "samplers.md", page("Samplers", SAMPLERS, samplers)
    yield FOLDER / "schedules.md", page("Schedules", SCHEDULES, schedules)


def page(title: str, opening: str, body: str) -> str:
    return f"{NOTE}\n\n# {title}\n\n{opening}\n\n{body.rstrip()}\n"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" for cells in lines)


def sampler_row(spec: SamplerSpec) -> tuple[str, ...]:
    facts = {"fresh noise": spec.uses_noise, "the unguided estimate": spec.needs_uncond}
    needs = [text for text, is_so in facts.items() if is_so]
    return (f"`{spec.name}`", spec.title, others(spec.aliases), str(spec.calls), ", ".join(needs), spec.summary)


def schedule_row(spec: ScheduleSpec) -> tuple[str, ...]:
    return f"`{spec.name}`", spec.title, others(spec.aliases), "time" if spec.in_time else "noise", spec.summary


def others(aliases: tuple[str, ...]) -> str:
    return ", ".join(f"`{alias}`" for alias in aliases)


FIELDS = """\
A request is one validated value. The same declaration makes the flags of `pinxit paint` (`guidance_rescale` is
`--guidance-rescale`), the recipe inside every picture, and this table. *Automatic* means that the model decides."""
FIELDS_ZH = """\
一个请求就是一个经过校验的值。`pinxit paint` 的选项（`guidance_rescale` 即 `--guidance-rescale`）、每张图片里的配方和\
下面的表格，都出自同一处声明。"""
CLI = """\
Results go to standard output and everything else to standard error: the last line that `pinxit paint` prints is the
path of its last picture. An error is one line that says what happened and one that says what to do; `--trace` adds
Python's own account of it. With `--json` every line is one JSON object whose `event` names its kind. The last one is
`finished` with the paths and seeds of the pictures (`verify` adds `verified` after it), or `failed` with `code`,
`message`, `hint` and `field`.

```json
{"event": "finished", "images": [{"path": "pictures/7-a-red-apple.png", "seed": 7}], "seconds": 4.2}
```

`--output` names a folder, or a file ending in .png, .jpg, .jpeg or .webp, whose suffix then decides the format. A
file holds one picture and is replaced if it exists; asking for several pictures in one file is an error. In a folder
nothing is ever replaced. Pictures appear whole or not at all. The first Ctrl-C ends a run between two steps, a second
one at once; finished pictures stay.

`--model` takes a name, or a path (anything with a folder in it or ending in .safetensors). The language of the texts
is that of `--lang`, PINXIT_LANG, LC_ALL, LC_MESSAGES or LANG, in this order."""
SAMPLERS = """\
For `--sampler`. A sampler takes the steps from noise to picture; *calls* counts the network calls of one step (guidance
doubles them). Samplers that need fresh noise draw it from the seed, so they repeat exactly too."""
SCHEDULES = """\
For `--schedule`. A schedule says which noise levels the steps visit. Those that space their steps in training *time*
begin at the very last timestep, which models with a zero terminal signal-to-noise ratio need; the others space them in
*noise* level."""
SAMPLER_HEAD = ("name", "title", "also", "calls", "needs", "what it does")
SCHEDULE_HEAD = ("name", "title", "also", "spaced in", "what it does")


def main(words: list[str]) -> int:
    stale: list[str] = []
    for path, text in pages():
        if not path.is_file() or path.read_text("utf-8") != text:
            stale.append(path.name)
            if "--check" not in words:
                path.write_text(text, "utf-8")
    if stale:
        print(f"{'stale' if '--check' in words else 'written'}: {', '.join(stale)}")
    if stale and "--check" in words:
        print("Run: python -m docs.generate")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
