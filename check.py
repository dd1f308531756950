"""The one gate, the same on a desk and in CI: style, types, sizes, generated pages, the wheel, the tests.

    python check.py           everything
    python check.py quick     without the type checker and the wheel, for use between two edits

Every stage runs, whatever the ones before it found; the exit code is 0 only when all are content. It needs the extra
`test`, and the standard library until the first stage starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent
SOURCES = ("src", "tests", "docs", "check.py")

WHEEL_BYTES = 100_000_000
FILE_BYTES = 16_000_000
"""Of every file in the repository, so that weights are kept in shards that any host takes."""
SOURCE_LINES = 450
TABLE_MARK = "# A table, as long as it must be."
"""A source file with this line may be longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One part of the gate. `run` returns complaints, none when all is well; `slow` ones are left out of `quick`."""

    name: str
    run: Callable[[], list[str]]
    slow: bool = False


def main(words: list[str]) -> int:
    if words not in ([], ["quick"]):
        print(__doc__)
        return 2
    chosen = [stage for stage in STAGES if not (words and stage.slow)]
    failed = [stage.name for stage in chosen if not passes(stage)]
    failed += [] if tests_pass() else ["tests"]
    if failed:
        print(f"\nNot ready: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


def passes(stage: Stage) -> bool:
    started = time.monotonic()
    complaints = stage.run()
    print(f"{stage.name:<16}{'FAILED' if complaints else 'ok':<8}{time.monotonic() - started:6.1f} s", flush=True)
    for complaint in complaints:
        print(f"    {complaint}", flush=True)
    return not complaints


def tests_pass() -> bool:
    """Run pytest, last and unfiltered, so that its closing line closes the log. Two single-thread workers."""
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    words = ["-m", "pytest", "-v", "-n", "2", "-m", "not parity", "--durations", "10", "--no-header"]
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=quiet, check=False).returncode == 0


def tool(*words: str) -> Callable[[], list[str]]:
    """A stage that is a Python module; its output is the complaint when it fails."""

    def run() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
        )
        return [] if done.returncode == 0 else done.stdout.splitlines() or [f"exit code {done.returncode}"]

    return run


def repository_files() -> Iterator[Path]:
    """Every file that is in git, or would be with `git add --all`."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode()
    for name in sorted(set(filter(None, listed.split("\0")))):
        if (path := ROOT / name).is_file():
            yield path


def sizes() -> list[str]:
    complaints: list[str] = []
    for path in repository_files():
        name, size = path.relative_to(ROOT), path.stat().st_size
        if size > FILE_BYTES:
            complaints.append(f"{name} has {size:,} bytes; the most is {FILE_BYTES:,}. Split it, or make it smaller.")
        if path.suffix == ".py":
            lines = path.read_text("utf-8").splitlines()
            if len(lines) > SOURCE_LINES and TABLE_MARK not in lines:
                complaints.append(f"{name} has {len(lines)} lines; the most is {SOURCE_LINES}. Split it by noun.")
    return complaints


def wheel() -> list[str]:
    """Build the wheel as it would be released; it must hold all of the package and stay small."""
    with tempfile.TemporaryDirectory() as folder:
        complaints = tool("build", "--wheel", "--no-isolation", "--outdir", folder)()
        if complaints:
            return complaints
        built = next(Path(folder).glob("*.whl"))
        inside, size = set(zipfile.ZipFile(built).namelist()), built.stat().st_size
    package = ROOT / "src"
    wanted = {str(path.relative_to(package)) for path in repository_files() if path.is_relative_to(package)}
    complaints = [f"the wheel lacks {name}" for name in sorted(wanted - inside)]
    if size > WHEEL_BYTES:
        complaints.append(f"the wheel has {size:,} bytes; the most is {WHEEL_BYTES:,}")
    return complaints


STAGES = (
    Stage(name="lint", run=tool("ruff", "check", "--output-format", "concise", *SOURCES)),
    Stage(name="format", run=tool("ruff", "format", "--check", *SOURCES)),
    Stage(name="sizes", run=sizes),
    Stage(name="generated docs", run=tool("docs.generate", "--check")),
    Stage(name="types", run=tool("basedpyright", "--pythonpath", sys.executable), slow=True),
    Stage(name="wheel", run=wheel, slow=True),
)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
