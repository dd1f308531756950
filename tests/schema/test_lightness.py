from __future__ import annotations

import subprocess
import sys

PROBE = """
import importlib, pkgutil, sys
import pinxit.schema
for module in pkgutil.iter_modules(pinxit.schema.__path__, "pinxit.schema."):
    importlib.import_module(module.name)
print(sorted({"torch", "numpy", "PIL"} & set(sys.modules)))
"""


def test_the_schema_needs_neither_torch_nor_pillow() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
