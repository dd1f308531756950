"""`pinxit bench`: measure here and now."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pinxit.bench.builtin import FEW_STEPS, NoPicture, measure_builtin
from pinxit.bench.cases import DTYPES, TIERS, Case, Dtype, Tier
from pinxit.bench.driver import Bench, Child, StackError, StackSpec
from pinxit.bench.report import Report, machine_facts, spread_text, text, write_page
from pinxit.bench.score import NOISE_LIMIT, OURS, ratios_of, row_of
from pinxit.bench.stacks import REFERENCE, TARGETS, spec_of, why_absent
from pinxit.engine.machine import this_machine
from pinxit.engine.places import cache_folder

PAGE = Path("docs/performance.md")
CEILING = 2048
"""Rows and columns of the matrices whose product shows what the machine can do."""
Specs = Callable[[str, Dtype], StackSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asks for. `noise` is the number of foreign cores above which a round does not count."""

    tier: Tier
    threads: int
    noise: float
    dtypes: tuple[Dtype, ...]
    cache: Path
    json: bool
    output: Path | None
    page: Path | None


def main(argv: Sequence[str]) -> int:
    """Run the command line `argv` and return the exit code."""
    try:
        options = parse(list(argv))
    except SystemExit as error:
        return int(error.code or 0)
    report = Report(
        tier=options.tier.name,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        threads=options.threads,
        rounds=options.tier.rounds,
        machine=machine_facts(this_machine()),
        cases=options.tier.cases,
    )
    if options.tier.cases:
        _prepare_weights(options, report)
        compare(report, options, lambda name, dtype: spec_of(name, dtype, options.cache / dtype))
    if options.tier.builtin:
        _everyday(report, options)
    found = report.to_json()
    if options.output is not None:
        options.output.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    if options.page is not None:
        write_page(found, options.page)
    print(json.dumps(found) if options.json else text(found))
    return 1 if any(row.stack == OURS and row.status == "failed" for row in report.rows) else 0


def parse(argv: list[str]) -> Options:
    """Read the words after `pinxit bench`. Raises SystemExit, as argparse does."""
    parser = argparse.ArgumentParser(
        prog="pinxit bench",
        description="Measure speed and memory, and compare with other programs that are installed. Tiers: quick takes "
        "a minute or two, full takes an hour, builtin looks at the built-in model alone.",
    )
    parser.add_argument("tier", nargs="?", default="quick", choices=list(TIERS))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the JSON object to a file, too")
    parser.add_argument("--write-docs", type=Path, nargs="?", const=PAGE, metavar="PAGE", help=f"write {PAGE}")
    parser.add_argument("--case", action="append", metavar="NAME", help="only this case; may be given again")
    parser.add_argument("--peer", action="append", metavar="NAME", help="only this program beside ours")
    parser.add_argument("--dtype", action="append", choices=DTYPES, help="only this number format; may be given again")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds that count, after one that warms up")
    parser.add_argument("--threads", type=int, metavar="N", default=this_machine().cores, help="processor threads")
    parser.add_argument("--noise", type=float, default=NOISE_LIMIT, metavar="CORES", help="foreign load to put up with")
    parser.add_argument(
        "--cache",
        type=Path,
        default=cache_folder() / "bench-sd15",
        metavar="FOLDER",
        help="where the weights lie, some 6 GB",
    )
    given = parser.parse_args(argv)
    tier = TIERS[given.tier]
    if given.case:
        known = {case.name: case for each in TIERS.values() for case in each.cases}
        if unknown := [name for name in given.case if name not in known]:
            parser.error(f"no case {unknown[0]}; there are {', '.join(known)}")
        tier = replace(tier, cases=tuple(known[name] for name in given.case), builtin=False)
    if given.peer:
        if unknown := [name for name in given.peer if name not in TARGETS]:
            parser.error(f"no program {unknown[0]}; there are {', '.join(TARGETS)}")
        tier = replace(tier, peers=tuple(given.peer))
    if given.rounds is not None:
        if given.rounds < 1:
            parser.error("--rounds must be at least 1")
        tier = replace(tier, rounds=given.rounds)
    if given.threads < 1:
        parser.error("--threads must be at least 1")
    return Options(
        tier=tier,
        threads=given.threads,
        noise=given.noise,
        dtypes=tuple(given.dtype or DTYPES),
        cache=given.cache,
        json=given.json,
        output=given.output,
        page=given.write_docs,
    )


def compare(report: Report, options: Options, spec: Specs) -> None:
    """Measure every case on every stack that is here, one number format after the other."""
    names = [OURS]
    for name in options.tier.peers:
        if why := why_absent(name):
            report.skipped[name] = why
        else:
            names.append(name)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder=Path(folder), rounds=options.tier.rounds)
        if REFERENCE in names:
            _references(bench, options, spec(REFERENCE, "float32"))
        else:
            _say(f"Without {REFERENCE} no output can be compared.")
        for dtype in options.dtypes:
            _compare_in(report, options, bench, [spec(name, dtype) for name in names])


def _references(bench: Bench, options: Options, spec: StackSpec) -> None:
    _say("Computing what outputs are compared with.")
    with Child(spec, threads=options.threads) as child:
        for case in options.tier.cases:
            try:
                bench.record_reference(case, child)
            except StackError as error:
                _say(f"No reference for {case.name}: {error}")


def _compare_in(report: Report, options: Options, bench: Bench, specs: Sequence[StackSpec]) -> None:
    """All cases in one number format, on stacks that run at the same time and compute in turn."""
    with ExitStack() as stack:
        children: list[Child] = []
        for spec in specs:
            child = stack.enter_context(Child(spec, threads=options.threads))
            try:
                report.versions |= child.ask("versions")["versions"]
                children.append(child)
            except StackError as error:
                report.skipped[f"{spec.name} ({spec.dtype})"] = str(error)
        if children and not report.ceiling:
            report.ceiling.update(children[0].ask("ceiling", size=CEILING)["gflops"])
        for case in options.tier.cases:
            _measure(report, options, bench, case, children)


def _measure(report: Report, options: Options, bench: Bench, case: Case, children: Sequence[Child]) -> None:
    group = bench.measure(case, children)
    for series in group:
        row = row_of(case, series, limit=options.noise)
        report.rows.append(row)
        shown = spread_text(row.seconds) if row.seconds else row.status.upper()
        why = f" - {row.why}" if row.why else ""
        _say(f"{case.name:<16}{series.dtype:<10}{series.stack:<11}{shown}{why}")
    report.ratios += ratios_of(case, group, limit=options.noise)


def _prepare_weights(options: Options, report: Report) -> None:
    """Have the weights written by a process of its own, so that this one stays small. Tells their fingerprints."""
    for dtype in dict.fromkeys(("float32", *options.dtypes)):
        folder = options.cache / dtype
        _say(f"Weights: {folder}")
        options.cache.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "pinxit.bench.weights", str(folder), dtype], check=True)
        told: dict[str, str] = json.loads(folder.with_name(f"{folder.name}.sha256.json").read_text("utf-8"))
        report.weights[dtype] = told
        for name, sha256 in told.items():
            _say(f"  {sha256}  {name}")


def _everyday(report: Report, options: Options) -> None:
    for steps in (None, FEW_STEPS):
        try:
            found = measure_builtin(steps=steps, rounds=max(1, options.tier.rounds - 1))
        except NoPicture as error:
            report.skipped["built-in model"] = str(error)
            return
        report.builtin.append(found)
        name = "own steps" if steps is None else f"{steps} steps"
        _say(f"built-in model, {name}: cold {found.cold_seconds:.2f} s, warm {found.warm_seconds:.2f} s")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
