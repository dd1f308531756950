"""`pinxit evaluate`: score a model by what its pictures show, alone or beside another on the same prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pinxit.cli.commands import Command, OpenStudio, Studio
from pinxit.cli.numbers import whole
from pinxit.cli.parser import Arguments, Flag, Operand
from pinxit.cli.request_flags import adapter_flag, given
from pinxit.cli.running import RUN_FLAGS, adopt_model, one_picture, stoppable
from pinxit.cli.terminal import Terminal
from pinxit.cli.watching import counter

if TYPE_CHECKING:
    from PIL import Image

    from pinxit.engine.plan import Plan
    from pinxit.evaluate.asks import Ask
    from pinxit.evaluate.autoencoder import Loss
    from pinxit.evaluate.independent import Graph
    from pinxit.evaluate.references import References
    from pinxit.evaluate.report import Comparison, Report
    from pinxit.evaluate.run import Painted
    from pinxit.schema.request import GenerationRequest
    from pinxit.train.data.bank import Bank

METHOD = ("steps", "sampler", "schedule", "guidance")
"""Fields of a plan that a report tells."""

PICTURES = 240
QUICK_PICTURES = 60
PASSED = 0.9
"""The least share of things in real pictures that a judge must find."""


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:
    """Evaluate; with `--check` only the judge is examined, and the exit code is 1 when it fails."""
    from pinxit.evaluate.references import SHIPPED, References

    folder = arguments.value("judges")
    references = References(Path(folder).expanduser() if folder else SHIPPED)
    if arguments.on("check"):
        return _examine(references, terminal)
    from pinxit.evaluate.report import compare

    count = whole(arguments, "pictures", terminal) or (QUICK_PICTURES if arguments.on("quick") else PICTURES)
    seed = whole(arguments, "seed", terminal, least=0) or 0
    graph = _independent(arguments, terminal)
    bank = arguments.value("data")
    studio = open_studio()
    if refiner := arguments.value("refiner"):
        from pinxit.cli import refining

        both = (arguments.operands.get("MODEL") or None, refiner)
        count = whole(arguments, "pictures", terminal) or refining.PICTURES
        refining.measure(both, bank, studio, references, terminal, count=count, seed=seed, graph=graph)
        return 0
    drawings = _bank(bank)
    requests = _requests(arguments, studio)
    asks = _asks(requests[0], studio, references, count, seed)
    told: list[tuple[Report, Painted]] = []
    for request in requests:
        told.append(_evaluated(request, asks, studio, references, terminal, graph=graph, bank=drawings))
    found = compare(*told[0], *told[1], references) if len(told) > 1 else None
    _tell([report for report, _ in told], found, terminal)
    return 0


def _requests(arguments: Arguments, studio: Studio) -> list[GenerationRequest]:
    """What every picture is painted with: the model with its adapters, then the one to compare it with, if any."""
    from pinxit.schema.request import validated

    fields = {"model": arguments.operands.get("MODEL") or None, **given(arguments, "adapters")}
    against = [{"model": name}] if (name := arguments.value("against")) else []
    return [adopt_model(validated(each), studio) for each in (fields, *against)]


def _bank(folder: str | None) -> Bank | None:
    from pinxit.train.data.bank import Bank

    return None if folder is None else Bank.open(Path(folder).expanduser())


def _asks(request: GenerationRequest, studio: Studio, references: References, count: int, seed: int) -> list[Ask]:
    """The asks of the first model's own domain; a foreign model gets those of the built-in one."""
    from pinxit.evaluate.asks import domain_of, make_asks

    domain = domain_of(studio.model_path(request.model)) or references.domain
    return make_asks(domain, count, seed=seed)


def _evaluated(
    request: GenerationRequest,
    asks: Sequence[Ask],
    studio: Studio,
    references: References,
    terminal: Terminal,
    *,
    graph: Graph | None,
    bank: Bank | None,
) -> tuple[Report, Painted]:
    from pinxit.evaluate.asks import domain_of
    from pinxit.evaluate.report import make_report
    from pinxit.evaluate.run import paint_all

    shown = request.model or terminal.say("check.model")
    method = _method(request, studio)
    # What is measured afterwards takes minutes with a bank, and ends at once when it is told to.
    with stoppable(terminal) as stop, counter(terminal, shown) as watch:

        def paint(ask: Ask) -> Image.Image:
            return one_picture(request.replace(prompt=ask.prompt, seed=ask.seed), {}, studio, stop)

        painted = paint_all(asks, paint, references, watch, sharp=bool(graph or bank))
    losses = None if bank is None else _losses(request, studio, bank)
    domain = domain_of(studio.model_path(request.model))
    report = make_report(shown, painted, references, domain, method=method, graph=graph, losses=losses, bank=bank)
    return report, painted


def _method(request: GenerationRequest, studio: Studio) -> dict[str, object]:
    """How pictures come to be painted, of what counts for their quality: the plan's own fields."""
    made = cast("Mapping[str, object]", studio.plan(request).to_json()["request"])
    return {**{name: made.get(name) for name in METHOD}, "adapters": [str(one) for one in request.adapters]}


def _independent(arguments: Arguments, terminal: Terminal) -> Graph | None:
    """The independent network where it is in the cache, or with `--fetch` from its registry."""
    from pinxit.evaluate.independent import NETWORK, load_network
    from pinxit.studio.paths import cache_folder
    from pinxit.train.data.fetch import fetch, fetched

    cache = cache_folder() / "drawings"
    path = fetch(NETWORK, cache) if arguments.on("fetch") else fetched(NETWORK, cache)
    if path is None:
        terminal.note(terminal.say("evaluate.no-network"))
        return None
    return load_network(path)


def _losses(request: GenerationRequest, studio: Studio, bank: Bank) -> Mapping[str, Loss]:
    """What the model's autoencoder loses on the bank's held-out drawings, computed in float32."""
    from pinxit.engine.residency import Residency
    from pinxit.evaluate.autoencoder import Codec, autoencoder_losses

    resolved = cast("Plan", studio.plan(request)).resolved
    return autoencoder_losses(cast("Codec", Residency().precise(resolved, "vae")), bank)


def _examine(references: References, terminal: Terminal) -> int:
    """Mark the judge on real pictures, the same pictures with their facts exchanged, and noise."""
    import torch

    from pinxit.evaluate.references import marks

    pictures, facts = references.exam
    noise = torch.randint(0, 256, pictures.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    exchanged = facts[1:] + facts[:1]
    rows = {
        "real": marks(references.judge, pictures, facts),
        "shuffled": marks(references.judge, pictures, exchanged),
        "noise": marks(references.judge, noise, facts),
    }
    shares = {name: {task: right / count for task, (right, count) in found.items()} for name, found in rows.items()}
    passed = shares["real"]["single_object"] >= PASSED and all(
        shares[name]["single_object"] <= 1 - PASSED for name in ("shuffled", "noise")
    )
    if terminal.json:
        terminal.send({"event": "examined", "passed": passed, **shares})
    else:
        _table(terminal, {terminal.say(f"evaluate.{name}"): row for name, row in shares.items()})
        terminal.result(terminal.say("evaluate.passed" if passed else "evaluate.failed"))
    return 0 if passed else 1


def _tell(reports: Sequence[Report], found: Comparison | None, terminal: Terminal) -> None:
    if terminal.json:
        first, *others = (report.to_json() for report in reports)
        against = {"against": others[0], "comparison": found.to_json()} if others and found else {}
        terminal.send({"event": "evaluated", **first, **against})
        return
    for report in reports:
        _show(report, terminal)
    if found is not None:
        terminal.result(terminal.say("evaluate.comparison", first=found.first, second=found.second))
        for task, (change, (low, high)) in found.differences.items():
            terminal.result(f"  {_task(task, terminal)}  {100 * change:+.1f}  [{100 * low:+.1f}, {100 * high:+.1f}]")


def _show(report: Report, terminal: Terminal) -> None:
    say = terminal.say
    terminal.result(say("evaluate.heading", model=report.model, count=report.pictures))
    terminal.result(f"  {_told(report.method)}")
    if report.domain is None:
        terminal.result(say("evaluate.foreign"))
    rows: dict[str, Mapping[str, float]] = {}
    for title, scores in (
        ("evaluate.share", report.tasks),
        *((f"evaluate.{name}", scores) for name, scores in report.languages.items()),
        ("evaluate.ceiling", {task: report.ceilings[task] for task in report.tasks if task in report.ceilings}),
        ("evaluate.shuffled", report.shuffled),
        ("evaluate.noise", report.noise),
    ):
        rows[say(title)] = {task: score.share for task, score in scores.items()}
    _table(terminal, rows)
    for group, facts in report.retrieval.items():
        shares = {"first": f"{100 * facts['first']:.0f}", "ten": f"{100 * facts['ten']:.0f}"}
        terminal.result(say("evaluate.retrieval", group=say(f"evaluate.{group}"), cells=int(facts["cells"]), **shares))
    for key, values in (
        ("distances", report.distances),
        ("independent", report.independent),
        ("copying", report.copying),
        ("statistics", report.statistics),
    ):
        if values:
            listed = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
            terminal.result(f"{say(f'evaluate.{key}')}: {listed}")

    if report.autoencoder:
        terminal.result(say("evaluate.autoencoder"))
        for style, loss in report.autoencoder.items():
            name = say("evaluate.all-styles") if style == "all" else style
            terminal.result(f"  {name}: {loss.psnr:.1f} dB, SSIM {loss.ssim:.3f} ({loss.count})")


def _table(terminal: Terminal, rows: Mapping[str, Mapping[str, float]]) -> None:
    """Shares in percent: a line for every task, a column for every row of `rows`."""
    from pinxit.cli.help import columns

    tasks = list(dict.fromkeys(task for row in rows.values() for task in row))
    names = {task: _task(task, terminal) for task in tasks}
    wide = max(columns(name) for name in names.values())
    titles = [" " * (10 - columns(title)) + title for title in rows]
    terminal.result(" " * wide + "  " + "  ".join(titles))
    for task, name in names.items():
        cells = "  ".join(f"{100 * row[task]:>8.1f} %" if task in row else " " * 9 + "-" for row in rows.values())
        terminal.result(name + " " * (wide - columns(name)) + "  " + cells)


def _told(method: Mapping[str, object]) -> str:
    """How the pictures were painted, as flags would say it."""
    words = [f"--{name} {value}" for name, value in method.items() if name != "adapters" and value is not None]
    return " ".join([*words, *(f"--adapter {one}" for one in cast("Sequence[str]", method.get("adapters", ())))])


def _task(task: str, terminal: Terminal) -> str:
    return terminal.say(f"evaluate.task.{task}")


COMMAND = Command(
    name="evaluate",
    about="about.evaluate",
    run=run,
    operands=(Operand(name="MODEL", text="operand.evaluated", required=False),),
    flags=(
        adapter_flag(),
        Flag(name="against", text="flag.against", metavar="MODEL"),
        Flag(name="refiner", text="flag.evaluate-refiner", metavar="MODEL"),
        Flag(name="pictures", text="flag.pictures", metavar="N", default=str(PICTURES)),
        Flag(name="quick", text="flag.quick"),
        Flag(name="seed", text="flag.first-seed", metavar="N", default="0"),
        Flag(name="judges", text="flag.judges", metavar="FOLDER"),
        Flag(name="data", text="flag.evaluate-data", metavar="BANK"),
        Flag(name="fetch", text="flag.evaluate-fetch"),
        Flag(name="check", text="flag.check"),
        *RUN_FLAGS,
    ),
    examples=(
        "pinxit evaluate --quick",
        "pinxit evaluate --adapter few-step --against pinxit",
        "pinxit evaluate ~/models/new --against ~/models/old --json",
    ),
)
