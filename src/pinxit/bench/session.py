"""A run of the comparison: what is needed is made, stacks that fit side by side run in turn, case after case."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pinxit.bench.cases import PROCESS, Case
from pinxit.bench.cold import measure_processes
from pinxit.bench.driver import Bench, Child, Series, StackError, StackSpec, environment
from pinxit.bench.report import Report, spread_text
from pinxit.bench.score import ratios_of, row_of
from pinxit.bench.stacks import GIB, REFERENCE, STACKS, Stack, spec_of, why_absent
from pinxit.bench.tiers import Tier, Turn
from pinxit.engine.machine import Machine, this_machine

CEILING = 2048
"""Rows and columns of the matrices whose product shows what the machine can do."""
SHARE = 0.8
"""Of the machine's memory, for all stacks that are loaded at once."""
WEIGHTS = ("float32", "bfloat16")
JUDGED = "sd15"
"""The model whose reference outputs are worth a run of their own."""
RIVALS = {"float32": "pinxit-fp32", "int8": "pinxit-int8", "float16": "pinxit-compiled"}
"""Which of ours runs beside a program that computes so, next to what users get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all measurements of a run share. `noise` is the number of foreign cores above which a round does not count,
    `default` the stack of ours that users get, `save` is called whenever there is more to tell.
    """

    tier: Tier
    threads: int
    noise: float
    cache: Path
    default: str
    machine: Machine
    save: Callable[[], None]
    spec: Callable[[str, Path, str], StackSpec] = spec_of

    @property
    def reference(self) -> str:
        """The stack whose outputs the others are compared with."""
        return REFERENCE if self.tier.device == "cpu" else "diffusers-fp16"


@dataclass(slots=True, kw_only=True)
class _Done:
    """What has been measured of one model, by case and stack; and which processes have warmed up at which size."""

    series: dict[tuple[str, str], Series] = field(default_factory=dict[tuple[str, str], Series])
    warmed: set[tuple[Child, int, int]] = field(default_factory=set[tuple[Child, int, int]])


def compare(report: Report, setting: Setting) -> None:
    """Measure every case of the tier on every stack that is here."""
    for model in dict.fromkeys(turn.case.model for turn in setting.tier.turns):
        turns = [turn for turn in setting.tier.turns if turn.case.model == model]
        root = setting.cache if model == JUDGED else setting.cache / model
        asked = list(dict.fromkeys(name for turn in turns for name in turn.stacks))
        names = [name for name in STACKS if name in asked and _ready(name, root, model, report, setting)]
        turns = [replace(turn, stacks=tuple(name for name in turn.stacks if name in names)) for turn in turns]
        with tempfile.TemporaryDirectory() as folder:
            _compare_model(report, setting, turns, root, Path(folder))


def _compare_model(report: Report, setting: Setting, turns: Sequence[Turn], root: Path, scratch: Path) -> None:
    bench = Bench(folder=scratch, references=_references(root, setting.reference), reference_stack=setting.reference)
    computed = [turn for turn in turns if turn.case.kind not in PROCESS]
    names = [name for name in STACKS if any(name in turn.stacks for turn in computed)]
    names.sort(key=lambda name: name != setting.reference)
    _judge(report, setting, bench, computed, root)
    done = _Done()
    for group in groups(names, setting.default, _budget(setting.machine)):
        specs = [setting.spec(name, root, setting.tier.device) for name in group]
        _compare_group(report, setting, bench, computed, specs, done)
    for turn in turns:
        if turn.case.kind in PROCESS and turn.stacks:
            specs = [setting.spec(name, root, setting.tier.device) for name in turn.stacks]
            found = measure_processes(turn.case, specs, turn.rounds, environment(setting.threads, scratch))
            _tell(report, setting, turn.case, found, found)


def groups(names: Sequence[str], default: str, budget: float) -> list[list[str]]:
    """Which stacks are loaded side by side: every one with `default`, and with ours that computes as it does, within
    `budget` GiB. A stack that does not fit at all is alone with its company.
    """
    found: list[list[str]] = []
    for name in names:
        if name == default or any(name in group for group in found):
            continue
        rival = RIVALS.get(STACKS[name].numbers)
        company = [one for one in dict.fromkeys((default, rival, name)) if one is not None and one in names]
        if found and _gib({*found[-1], *company}) <= budget:
            found[-1] = list(dict.fromkeys((*found[-1], *company)))
        else:
            found.append(company)
    return found or [[name for name in names if name == default]]


def _gib(names: Iterable[str]) -> float:
    return sum(STACKS[name].gib for name in names)


def _budget(machine: Machine) -> float:
    return float("inf") if machine.memory is None else SHARE * machine.memory / GIB


def _compare_group(
    report: Report, setting: Setting, bench: Bench, turns: Sequence[Turn], specs: Sequence[StackSpec], done: _Done
) -> None:
    """The cases in which these stacks take part, on processes that run at the same time and compute in turn."""
    with ExitStack() as stack:
        children: list[Child] = []
        for spec in specs:
            child = stack.enter_context(Child(spec, threads=setting.threads, scratch=bench.folder))
            try:
                report.versions |= child.ask("versions")["versions"]
                children.append(child)
            except StackError as error:
                report.skipped[spec.name] = str(error)
        if children and not report.ceiling:
            report.ceiling.update(children[0].ask("ceiling", size=CEILING)["gflops"])
        for turn in turns:
            _measure(report, setting, bench, turn, children, done)


def _measure(
    report: Report, setting: Setting, bench: Bench, turn: Turn, children: Sequence[Child], done: _Done
) -> None:
    """One case on the processes that take part. What runs only once is not run again beside other stacks."""
    case, taking = turn.case, [child for child in children if child.spec.name in turn.stacks]
    before = {name: series for (of, name), series in done.series.items() if of == case.name}
    if all(child.spec.name in before for child in taking):
        return
    running = taking if turn.rounds else [child for child in taking if child.spec.name not in before]

    def warm(child: Child) -> None:
        key = (child, case.height, case.width)
        if key not in done.warmed:
            small = replace(case, name=f"{case.name}-warm", steps=1)
            child.ask("run", case=asdict(small), output=str(bench.folder / "warm.npy"), watched=False)

    found = bench.measure(case, running, turn.rounds, warm)
    done.warmed |= {(child, case.height, case.width) for child in running if case.kind == "image"}
    again = [before[child.spec.name] for child in taking if child not in running]
    _tell(report, setting, case, [one for one in found if one.stack not in before], [*found, *again])
    done.series |= {(case.name, one.stack): one for one in found if one.stack not in before}


def _tell(report: Report, setting: Setting, case: Case, fresh: Sequence[Series], group: Sequence[Series]) -> None:
    for series in fresh:
        row = row_of(case, series, limit=setting.noise)
        report.rows.append(row)
        shown = spread_text(row.seconds) if row.seconds else row.status.upper()
        say(f"{case.name:<16}{series.stack:<18}{shown}{f' - {row.why}' if row.why else ''}")
    known = {(one.case, one.ours, one.peer) for one in report.ratios}
    ratios = ratios_of(case, group, setting.default, limit=setting.noise)
    report.ratios += [one for one in ratios if (one.case, one.ours, one.peer) not in known]
    setting.save()


def _judge(report: Report, setting: Setting, bench: Bench, turns: Sequence[Turn], root: Path) -> None:
    """Compute what outputs are compared with, where nothing is kept of it and no stack of this run will bring it."""
    missing = [
        turn.case
        for turn in turns
        if turn.case.model == JUDGED
        and setting.reference not in turn.stacks
        and any(STACKS[name].compared for name in turn.stacks)
        and not bench.reference(turn.case).is_file()
    ]
    if not missing:
        return
    if not _ready(setting.reference, root, JUDGED, report, setting):
        say("Outputs cannot be compared.")
        return
    say("Computing what outputs are compared with.")
    spec = setting.spec(setting.reference, root, setting.tier.device)
    with Child(spec, threads=setting.threads, scratch=bench.folder) as child:
        for case in missing:
            try:
                bench.record_reference(case, child)
            except StackError as error:
                say(f"No reference for {case.name}: {error}")


def _references(root: Path, stack: str) -> Path:
    """Where the outputs of `stack` are kept that others are compared with: one folder for the weights and the programs'
    versions, and beside it one for a stack that computes less exactly than `REFERENCE`.
    """
    files = [root / f"{dtype}.sha256.json" for dtype in WEIGHTS]
    facts = [file.read_text("utf-8") for file in files if file.is_file()][:1]
    facts += [_version(name) for name in ("diffusers", "transformers", "torch")]
    name = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    folder = root / "references" / (name if stack == REFERENCE else f"{name}-{stack}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _ready(name: str, root: Path, model: str, report: Report, setting: Setting) -> bool:
    """Whether the stack can be measured; what it reads is made. Otherwise the report says why not."""
    stack = STACKS[name]
    why = why_absent(name, setting.machine)
    if not why and stack.weights in WEIGHTS:
        _write_weights(root / stack.weights, stack.weights, model, report)
    if not why and stack.converter:
        why = _converted(stack, root)
    if why:
        report.skipped[name] = why
    return not why


def _converted(stack: Stack, root: Path) -> str:
    """Empty, or why what the stack reads is not there and cannot be made. It is made in a process of its own."""
    done = root / f"{stack.made}.done"
    if done.is_file():
        return ""
    free = this_machine().available
    if free is not None and free < stack.converting * GIB:
        return f"converting the weights takes {stack.converting:.0f} GiB of memory, {free / GIB:.1f} are free"
    say(f"Making {root / stack.made}, once.")
    options = json.dumps({"weights": str(root / stack.weights)})
    words = [sys.executable, "-m", "pinxit.bench.child", "convert", stack.converter, options]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        return f"converting the weights failed: {_last_words(ended)}"
    done.parent.mkdir(exist_ok=True)
    done.write_text("", "ascii")
    return ""


def _last_words(ended: subprocess.CompletedProcess[str]) -> str:
    """What a child process says of its failure, in its answer or where it broke off before that."""
    lines = (ended.stdout.strip() or ended.stderr.strip() or f"code {ended.returncode}").splitlines()
    try:
        return str(json.loads(lines[-1])["error"])
    except (ValueError, KeyError, TypeError):
        return lines[-1][:300]


def _write_weights(folder: Path, dtype: str, model: str, report: Report) -> None:
    """Have the weights written by a process of its own, so that this one stays small. Tells their fingerprints."""
    key = dtype if model == JUDGED else f"{model} {dtype}"
    if key in report.weights:
        return
    say(f"Weights: {folder}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "pinxit.bench.weights", str(folder), dtype, model], check=True)
    told: Mapping[str, str] = json.loads(folder.with_name(f"{folder.name}.sha256.json").read_text("utf-8"))
    report.weights[key] = told
    for name, sha256 in told.items():
        say(f"  {sha256}  {name}")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
