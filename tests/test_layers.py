"""The architecture as tests: which way imports may point, and what must be importable without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "pinxit"

LAYERS = {
    "schema": 0,
    "prompts": 1,
    "sampling": 1,
    "weights": 1,
    "nn": 1,
    "models": 2,
    "adapters": 3,
    "processors": 3,
    "engine": 4,
    "train": 5,
    "evaluate": 6,
    "plugins": 7,
    "studio": 8,
    "bench": 8,
    "server": 9,
    "web": 9,
    "bots": 9,
    "cluster": 9,
    "cli": 10,
    "__main__": 11,
}
"""A folder imports from folders with a smaller number and from itself. The package's facade stands above all."""

SHARED_MODELS = {"common", "contract", "kinds"}
"""What families and kinds share; every other name in models/ is one of them."""

NAMES_FAMILIES = {
    "pinxit.plugins.builtin": {
        "clip_text",
        "clip_vision",
        "controlnet",
        "embedding",
        "esrgan",
        "hypernetwork",
        "ip_adapter",
        "lora",
        "pinxit",
        "sd1",
        "sd2",
        "sd3",
        "sdxl",
        "t2i_adapter",
        "t5",
        "taesd",
        "unclip",
        "upscale2",
        "upscale4",
        "vae",
    },
    "pinxit.train.export": {"pinxit"},
    "pinxit.train.diffusion": {"pinxit"},
    "pinxit.train.latents": {"pinxit"},
    "pinxit.train.preview": {"taesd"},
    "pinxit.train.start": {"pinxit"},
}
"""Outside a family's own folder only these import it: the list of what we bring, and what keeps our training."""

TORCHLESS = (
    "__init__.py",
    "cli/**/*.py",
    "schema/**/*.py",
    "server/**/*.py",
    "prompts/**/*.py",
    "plugins/**/*.py",
    "studio/__init__.py",
    "studio/inspect/**/*.py",
    "studio/library.py",
    "studio/listing.py",
    "studio/hashes.py",
    "studio/pull.py",
    "studio/studio.py",
    "engine/catalog.py",
    "engine/plan.py",
    "studio/convert/*.py",
    "weights/arrays.py",
    "weights/blobs.py",
    "weights/files.py",
    "weights/gguf.py",
    "weights/header.py",
    "weights/legacy.py",
    "weights/numbers.py",
    "weights/rewrite.py",
    "weights/unpickle/*.py",
    "weights/layout.py",
    "weights/identify.py",
    "models/contract.py",
    "models/kinds.py",
    "models/*/kind.py",
    "models/*/config.py",
    "models/*/layout.py",
    "models/*/family.py",
    "sampling/**/*.py",
)
"""Importing these leaves torch alone, so that help, completion, planning and reading pictures are instant."""

WATCHER = """
import importlib, importlib.abc, sys

class Watcher(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ImportError("it imports torch")

sys.meta_path.insert(0, Watcher())
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(f"{name}: {error}")
print("watched", "torch" in sys.modules)
"""


def module_name(path: Path) -> str:
    parts = ["pinxit", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    return {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def imports() -> dict[str, tuple[str, ...]]:
    """Our modules that each of our modules imports, whether at its top, inside a function or for its types."""
    known = modules()

    def resolved(path: Path) -> Iterator[str]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} has a relative import"
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                yield from (name if name in known else str(node.module) for name in whole)

    return {
        name: tuple(sorted({found for found in resolved(path) if found.split(".")[0] == "pinxit"}))
        for name, path in known.items()
    }


def folder(module: str) -> str:
    """`sampling` for `pinxit.sampling.noise`, and an empty name for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def family(module: str) -> str | None:
    """`sd1` for `pinxit.models.sd1.layout`, None for what is no part of a family."""
    parts = module.split(".")
    return parts[2] if parts[1:2] == ["models"] and len(parts) > 2 and parts[2] not in SHARED_MODELS else None


def test_every_folder_has_a_layer() -> None:
    assert {folder(module) for module in modules()} - {""} <= set(LAYERS)


def test_imports_only_point_down() -> None:
    upward = [
        f"{module} -> {target}"
        for module, targets in imports().items()
        if folder(module)
        for target in targets
        if folder(target) and folder(target) != folder(module) and LAYERS[folder(target)] >= LAYERS[folder(module)]
    ]
    assert not upward


def test_the_package_itself_lends_the_lower_layers_nothing_but_its_version() -> None:
    facade = modules()["pinxit"].read_text("utf-8")
    top_level = [node for node in ast.parse(facade).body if isinstance(node, ast.Import | ast.ImportFrom)]
    ours = [node for node in top_level if isinstance(node, ast.ImportFrom) and str(node.module).startswith("pinxit")]
    assert not ours, "importing the package must import nothing of ours"


def test_families_never_import_one_another() -> None:
    crossings = [
        f"{module} -> {target}"
        for module, targets in imports().items()
        for target in targets
        if family(target) not in {None, family(module), *NAMES_FAMILIES.get(module, ())}
    ]
    assert not crossings


def test_what_must_be_instant_leaves_torch_alone() -> None:
    paths = sorted({path for pattern in TORCHLESS for path in PACKAGE.glob(pattern)})
    names = [module_name(path) for path in paths]
    assert {"pinxit", "pinxit.cli", "pinxit.engine.plan", "pinxit.sampling.samplers.euler"} <= set(names)
    done = subprocess.run([sys.executable, "-c", WATCHER, *names], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("watched False\n", 0), done.stderr
