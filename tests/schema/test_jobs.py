from __future__ import annotations

from hypothesis import given

from pinxit.schema.jobs import Job, Paint
from pinxit.schema.request import GenerationRequest
from tests.schema.strategies import requests


@given(requests)
def test_a_job_survives_json(request: GenerationRequest) -> None:
    job: Job = Paint(request=request)
    assert Paint.model_validate_json(job.model_dump_json()) == job
    assert job.kind == "paint"
