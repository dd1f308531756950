"""Reference numbers that the tests compare with. They live beside the tests; the package never reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

REFERENCE: Path = Path(__file__).parent / "reference"


def golden_json(rel: str) -> Any:
    """The parsed JSON at `rel` below the reference folder, such as `goldens/text/tokenizer.json`."""
    return json.loads((REFERENCE / rel).read_text(encoding="utf-8"))


def golden_arrays(rel: str) -> dict[str, np.ndarray[Any, Any]]:
    """Every array of the `.npz` at `rel` below the reference folder."""
    with np.load(REFERENCE / rel) as archive:
        return {name: archive[name] for name in archive.files}
