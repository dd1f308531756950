from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pinxit.evaluate.asks import Domain
from pinxit.evaluate.prepare import prepare
from pinxit.evaluate.references import References
from pinxit.schema.errors import BadModelFile, Missing
from pinxit.train.data.bank import Bank
from pinxit.train.judge import FIELDS, SIDE, Judge, JudgeConfig, judged, load_judge, save_judge
from pinxit.train.judging import JudgeTask, contrast, focal, harmed, judge_composer, targets
from pinxit.train.loop import Limits
from pinxit.train.recipe import JudgeRecipe, JudgeShape, Optimisation
from pinxit.train.workshop import Job, run

RECIPE = JudgeRecipe(
    kind="judge",
    shape=JudgeShape(widths=(8, 8, 8, 8), embedding=8),
    optimisation=Optimisation(steps=2, batch=8, learning_rate=1e-3, warmup=1),
)


@pytest.fixture(scope="module")
def workshop(drawings: Bank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judges")
    for name in ("judge", "second-judge"):
        job = Job(name=name, recipe=RECIPE, bank=drawings.folder, workshop=folder, limits=Limits())
        assert run(job, lambda _: None).finished
    return folder


def test_a_judge_survives_its_file(workshop: Path, tmp_path: Path) -> None:
    judge = load_judge(workshop / "judge.safetensors")
    save_judge(judge, tmp_path / "again.safetensors")
    again = load_judge(tmp_path / "again.safetensors")
    assert again.config == judge.config
    pictures = torch.randint(0, 256, (3, 3, 200, 130), dtype=torch.uint8)
    first, second = judged(judge, pictures), judged(again, pictures, batch=2)
    for name in FIELDS:
        torch.testing.assert_close(getattr(first, name), getattr(second, name), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(first.embedding.norm(dim=1), torch.ones(3))
    assert first.heat.shape == (3, len(judge.config.concepts), 24, 24)


def test_other_files_are_no_judges(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"nonsense")
    with pytest.raises(BadModelFile, match=r"a\.safetensors is not a judge"):
        load_judge(tmp_path / "a.safetensors")
    with pytest.raises(BadModelFile):
        load_judge(tmp_path / "absent.safetensors")


def test_targets_peak_where_things_are(drawings: Bank) -> None:
    composer = judge_composer(drawings)
    facts = composer.batch(12, np.random.default_rng(0)).facts
    places = {key: at for at, key in enumerate(sorted({row.concept for row in drawings.drawings}))}
    heat, side, mask = targets(facts, places)
    for at, shown in enumerate(facts):
        for thing in shown.objects:
            left, top, right, bottom = thing.box
            row, column = int((top * 24 + bottom * 24) / 2), int((left * 24 + right * 24) / 2)
            assert heat[at, places[thing.drawing.concept], row, column] == 1
            assert mask[at, row, column] == 1
            assert side[at, row, column].exp() == pytest.approx(max(right - left, bottom - top), rel=1e-5)
        wanted = {places[thing.drawing.concept] for thing in shown.objects}
        others = [place for place in places.values() if place not in wanted]
        assert float(heat[at, others].max()) == 0 if others else True


def test_the_losses_prefer_the_truth() -> None:
    heat = torch.zeros(1, 2, 24, 24)
    heat[0, 1, 5, 5] = 1
    right = torch.where(heat >= 1, 4.0, -6.0)
    assert focal(right, heat) < focal(right.roll(3, dims=-1), heat)
    views = torch.nn.functional.normalize(torch.eye(4).repeat_interleave(2, dim=0), dim=1)
    assert contrast(views) < contrast(views.roll(1, dims=0))


def test_harm_keeps_the_shape_and_changes_some() -> None:
    x = torch.rand(6, 3, SIDE, SIDE) * 2 - 1
    worse = harmed(x.clone(), 1.0, np.random.default_rng(0))
    assert worse.shape == x.shape
    assert bool(torch.isfinite(worse).all())
    assert not torch.equal(worse, x)
    torch.testing.assert_close(harmed(x.clone(), 0.0, np.random.default_rng(0)), x)


def test_a_step_is_a_function_of_its_number(drawings: Bank) -> None:
    def loss(step: int) -> float:
        torch.manual_seed(0)
        names = sorted({row.concept for row in drawings.drawings})
        styles = sorted({row.style for row in drawings.drawings})
        judge = Judge(JudgeConfig(concepts=tuple(names), styles=tuple(styles), widths=(8, 8, 8, 8), embedding=8))
        return float(JudgeTask(RECIPE, judge, drawings, seed=0).loss(step)["loss"].detach())

    assert loss(3) == loss(3)
    assert loss(3) != loss(4)


def test_references_hold_what_judging_needs(workshop: Path, drawings: Bank, tmp_path: Path) -> None:
    rows = [drawings.drawings[row] for row in judge_composer(drawings).rows]
    domain = Domain(concepts=(rows[0].concept,), styles=(rows[0].style,), kinds=("single",))
    references = References(prepare(workshop, drawings, tmp_path / "made", domain))
    assert len(references.traces) == len(references.drawings) == len(drawings.rows(split="train"))
    pictures, facts = references.exam
    assert pictures.shape == (64, 3, SIDE, SIDE)
    assert len(facts) == 64
    assert references.domain == domain
    assert "single_object" in references.ceilings["train"]
    assert {row[1] for row in references.drawings} == set(range(len(references.sources)))
    (tmp_path / "made" / "references.json").write_text("{}")
    with pytest.raises(BadModelFile, match="damaged"):
        References(tmp_path / "made")
    with pytest.raises(Missing, match="no judge"):
        References(tmp_path)
    with pytest.raises(Missing, match="no judge yet"):
        prepare(tmp_path, drawings, tmp_path / "other", domain)
