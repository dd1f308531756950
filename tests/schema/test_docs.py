from __future__ import annotations

import pytest

from pinxit.schema.docs import fields_table
from pinxit.schema.i18n import LANGUAGES, translate
from pinxit.schema.request import GenerationRequest


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_field_has_one_row_with_its_texts(lang: str) -> None:
    lines = fields_table(lang).splitlines()
    for name in GenerationRequest.model_fields:
        (row,) = [line for line in lines if line.startswith(f"| `{name}` |")]
        assert f"| {translate(f'request.{name}.title', lang)} |" in row
        assert row.endswith(f"{translate(f'request.{name}.help', lang)} |")
    rows = [line for line in lines if line.startswith("|")]
    assert all(line.count("|") - line.count("\\|") == 6 for line in rows)


@pytest.mark.parametrize(
    "row",
    [
        "| `steps` | Steps | whole number, 1–1000 | automatic |",
        "| `guidance` | Guidance | number, 0–100 | automatic |",
        "| `format` | Format | `png`, `jpeg`, `webp` | `png` |",
        "| `source` | Start from | `blank`, `image` | `blank` |",
        "| `size` | Size | size such as 512x768 | automatic |",
        "| `guidance_interval` | Guidance interval | interval such as 0.3,6 | automatic |",
        "| `sampler` | Sampler | name | automatic |",
        "| `prompt` | Prompt | text | empty |",
        "| `seed` | Seed | whole number | automatic |",
    ],
)
def test_values_and_defaults_are_spelt_out(row: str) -> None:
    assert row in fields_table()
