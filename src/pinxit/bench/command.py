"""`pinxit bench`: measure here and now."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pinxit.bench.builtin import FEW_STEPS, measure_builtin
from pinxit.bench.cold import NoPicture
from pinxit.bench.page import Found, gate, record, recorded
from pinxit.bench.report import Report, machine_facts, text
from pinxit.bench.score import NOISE_LIMIT, PROGRAM
from pinxit.bench.session import Setting, compare, say
from pinxit.bench.stacks import PEERS, STACKS, ours_here
from pinxit.bench.tiers import BUILTIN_ROUNDS, TIERS, Tier, chosen, known_cases, without
from pinxit.engine.machine import Machine, this_machine
from pinxit.engine.places import cache_folder

PAGE = Path("docs/performance.md")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asks for."""

    tier: Tier
    default: str
    threads: int
    noise: float
    cache: Path
    json: bool
    output: Path | None
    page: Path | None
    check: Path | None


def main(argv: Sequence[str]) -> int:
    """Run the command line `argv` and return the exit code: 1 where ours is wrong or slower than recorded."""
    machine = this_machine()
    try:
        options = parse(list(argv), machine)
    except SystemExit as error:
        return int(error.code or 0)
    if options.tier.device != "cpu" and not any(gpu.device.startswith("cuda") for gpu in machine.gpus):
        say("There is no GPU here that torch can use, so there is nothing to measure.")
        return 1
    before = recorded(options.check) if options.check else None
    report = Report(
        tier=options.tier.name,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        threads=options.threads,
        default=options.default,
        machine=machine_facts(machine),
    )

    def save() -> None:
        if options.page is not None:
            record(report.to_json(), options.page)

    setting = Setting(
        tier=options.tier,
        threads=options.threads,
        noise=options.noise,
        cache=options.cache,
        default=options.default,
        machine=machine,
        save=save,
    )
    compare(report, setting)
    if options.tier.builtin:
        _everyday(report)
    save()
    found = report.to_json()
    if options.output is not None:
        options.output.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(json.dumps(found) if options.json else text(found))
    slower = [] if options.check is None else _gated(found, before, options.check)
    wrong = any(row.stack.startswith(PROGRAM) and row.status == "failed" for row in report.rows)
    return 1 if slower or wrong else 0


def parse(argv: list[str], machine: Machine) -> Options:
    """Read the words after `pinxit bench`. Raises SystemExit, as argparse does."""
    parser = argparse.ArgumentParser(
        prog="pinxit bench",
        description="Measure speed and memory, and compare with other programs that are installed. Tiers: quick takes "
        "a minute or two, full most of an hour, sdxl some minutes, gpu and gpu-sdxl need one, builtin looks at the "
        "built-in model alone.",
        epilog=f"For every program to take part: pip install {' '.join(PEERS)}",
    )
    parser.add_argument("tier", nargs="?", default="quick", choices=list(TIERS))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the JSON object to a file, too")
    parser.add_argument(
        "--write-docs",
        type=Path,
        nargs="?",
        const=PAGE,
        metavar="PAGE",
        help=f"bring {PAGE} up to date with what was measured, after every case",
    )
    parser.add_argument("--only", type=_names, default=(), metavar="CASE,...", help="only these cases")
    parser.add_argument("--skip", type=_names, default=(), metavar="CASE,...", help="all but these cases")
    parser.add_argument("--against", type=_names, default=(), metavar="STACK,...", help="only these beside ours")
    parser.add_argument("--resume", action="store_true", help="leave out what the page to be written has of today")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds that count, after one that warms up")
    parser.add_argument(
        "--check",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="FILE",
        help="fail where a ratio is under 0.9 of the recorded one",
    )
    parser.add_argument("--threads", type=int, metavar="N", default=machine.cores, help="processor threads")
    parser.add_argument("--noise", type=float, default=NOISE_LIMIT, metavar="CORES", help="foreign load to put up with")
    parser.add_argument(
        "--cache",
        type=Path,
        default=cache_folder() / "bench-sd15",
        metavar="FOLDER",
        help="where the weights lie, 6 GB and for all programs 15",
    )
    given = parser.parse_args(argv)
    cases = known_cases()
    if unknown := [name for name in (*given.only, *given.skip) if name not in cases]:
        parser.error(f"no case {unknown[0]}; there are {', '.join(cases)}")
    if unknown := [name for name in given.against if name not in STACKS]:
        parser.error(f"no program {unknown[0]}; there are {', '.join(STACKS)}")
    if given.rounds is not None and given.rounds < 1:
        parser.error("--rounds must be at least 1")
    if given.threads < 1:
        parser.error("--threads must be at least 1")
    tier = TIERS[given.tier]
    default = ours_here(machine, tier.device)
    tier = chosen(tier, only=given.only, skip=given.skip, against=given.against, rounds=given.rounds, ours=default)
    if given.resume and given.write_docs is not None:
        tier = without(tier, _of_today(recorded(_kept(given.write_docs, tier))))
    return Options(
        tier=tier,
        default=default,
        threads=given.threads,
        noise=given.noise,
        cache=given.cache,
        json=given.json,
        output=given.output,
        page=given.write_docs,
        check=None if given.check is None else given.check if given.check.name else _kept(PAGE, tier),
    )


def _names(words: str) -> tuple[str, ...]:
    return tuple(word for word in words.split(",") if word)


def _kept(page: Path, tier: Tier) -> Path:
    return page.with_suffix("") / f"{tier.name}.json"


def _of_today(run: Found | None) -> frozenset[tuple[str, str]]:
    """The case and stack of every row that was measured today and came out well."""
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    rows = [] if run is None else run["rows"]
    return frozenset(
        (row["case"], row["stack"]) for row in rows if row.get("date", "").startswith(today) and row["seconds"]
    )


def _gated(found: Found, before: Found | None, path: Path) -> list[str]:
    """What got slower than recorded, said aloud."""
    if before is None:
        say(f"Nothing is recorded in {path}; nothing is checked.")
        return []
    told = gate(found, before)
    for line in told:
        say(f"Slower: {line}.")
    return told


def _everyday(report: Report) -> None:
    for steps in (None, FEW_STEPS):
        try:
            found = measure_builtin(steps=steps, rounds=BUILTIN_ROUNDS)
        except NoPicture as error:
            report.skipped["built-in model"] = str(error)
            return
        report.builtin.append(found)
        name = "own steps" if steps is None else f"{steps} steps"
        say(f"built-in model, {name}: cold {found.cold_seconds:.2f} s, warm {found.warm_seconds:.2f} s")
