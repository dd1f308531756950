"""The judges that come with the package: they must see what is there, and nothing where nothing is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.evaluate.asks import make_asks
from pinxit.evaluate.cite import nearest_drawings
from pinxit.evaluate.references import References, marks
from pinxit.evaluate.report import compare, make_report
from pinxit.evaluate.run import judge_all, paint_all
from tests.cli.fakes import FakeStudio, call


@pytest.fixture(scope="module")
def references() -> References:
    return References()


def share(found: dict[str, tuple[int, int]], task: str) -> float:
    right, count = found[task]
    return right / count


def test_the_judge_reads_real_pictures_and_fails_on_noise(references: References) -> None:
    pictures, facts = references.exam
    assert share(marks(references.judge, pictures, facts), "single_object") >= 0.9
    assert share(marks(references.judge, pictures, facts[1:] + facts[:1]), "single_object") <= 0.1
    noise = torch.randint(0, 256, pictures.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    assert share(marks(references.judge, noise, facts), "single_object") <= 0.1
    assert share(references.ceilings["train"], "single_object") >= 0.9


def test_a_report_has_its_names(references: References) -> None:
    pictures, _ = references.exam
    asks = make_asks(references.domain, len(pictures))
    painted = judge_all(asks, pictures, references)
    report = make_report("exam", painted, references, references.domain).to_json()
    assert {"single_object", "single_object_ceiling", "single_object_interval"} <= set(report["prompt_following"])
    assert report["retrieval"] is not None
    assert report["kid"] is not None
    json.dumps(report)
    foreign = make_report("foreign", painted, references, None)
    assert set(foreign.tasks) == {"background"}
    assert (foreign.to_json()["kid"], foreign.to_json()["retrieval"]) == (None, None)
    same = compare(foreign, painted, foreign, painted, references)
    assert all(difference == 0 for difference, _ in same.differences.values())


def test_what_is_painted_is_what_is_judged(references: References) -> None:
    asks = make_asks(references.domain, 3)
    counted: list[tuple[int, int]] = []
    red = Image.new("RGB", (256, 256), "red")
    painted = paint_all(asks, lambda _: red, references, lambda done, total: counted.append((done, total)))
    assert counted == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert {reading.ground for reading in painted.readings} == {"red"}
    assert not any(reading.things for reading in painted.readings)


def test_a_real_picture_cites_its_drawing(references: References) -> None:
    pictures, facts = references.exam
    singles = [at for at, shown in enumerate(facts) if shown.kind == "single"]
    found = 0
    for at in singles:
        picture = Image.fromarray(np.ascontiguousarray(pictures[at].permute(1, 2, 0).numpy()))
        thing = facts[at].objects[0].drawing
        names = {(one.name, one.style) for one in nearest_drawings(picture, references, 3)}
        found += (thing.en[0], thing.style) in names
    assert found >= 0.8 * len(singles)


def test_a_foreign_model_is_asked_only_what_needs_no_knowledge_of_it() -> None:
    told = call("evaluate", "stranger", "--pictures", "8", "--json").events[-1]
    assert (told["model"], told["foreign"]) == ("stranger", True)
    assert {name for name in told["prompt_following"] if "_" not in name} == {"background"}
    assert (told["retrieval"], told["kid"], told["copying"]) == (None, None, {})
    assert set(told["statistics"]) == {"brightness", "contrast", "saturation", "border_deviation"}
    assert "object scores would mean nothing" in call("evaluate", "stranger", "--pictures", "2").out


def test_adapters_are_judged_as_they_are_painted_with() -> None:
    studio = FakeStudio()
    words = ("evaluate", "--pictures", "2", "--adapter", "few-step", "--adapter", "dreamy@0.5", "--against", "pinxit")
    told = call(*words, "--json", studio=studio).events[-1]
    used = ["lora:few-step@1.0", "lora:dreamy@0.5"]
    assert told["method"] == {"steps": 4, "sampler": "euler", "schedule": "karras", "guidance": None, "adapters": used}
    assert told["against"]["method"]["adapters"] == []
    painted = [[str(one) for one in request.adapters] for request, _ in studio.asked if request.prompt]
    assert painted == [used, used, [], []]
    out = call(*words).out
    assert "  --steps 4 --sampler euler --schedule karras --adapter lora:few-step@1.0 --adapter lora:dreamy@0.5" in out
    assert call("evaluate", "--pictures", "1", "--adapter", "few-step@99999").code == 3


def test_the_commands(tmp_path: Path, references: References) -> None:
    done = call("evaluate", "--check", "--json")
    assert (done.code, done.events[-1]["passed"]) == (0, True)
    assert call("evaluate", "--check").code == 0
    assert call("evaluate", "--judges", str(tmp_path)).code == 5
    Image.fromarray(np.ascontiguousarray(references.exam[0][0].permute(1, 2, 0).numpy())).save(tmp_path / "a.png")
    cited = call("cite", str(tmp_path / "a.png"), "--count", "2", "--json").events[-1]
    assert (cited["known"], len(cited["nearest"])) == (False, 2)
    assert {"drawing", "similarity", "source"} <= set(cited["nearest"][0])
    told = call("cite", str(tmp_path / "a.png"))
    assert told.code == 0
    assert "not the cause" in told.err
    assert call("cite", str(tmp_path / "absent.png")).code == 5
