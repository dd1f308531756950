"""How a model was trained, where the request knows better than its files."""

from __future__ import annotations

from dataclasses import replace

from pinxit.models.contract import Facts
from pinxit.sampling.targets import TITLES, with_shift, with_sigma_data, with_target, with_zero_terminal
from pinxit.schema.request import GenerationRequest

SAYS_SO = "the request says so"


def as_told(facts: Facts, request: GenerationRequest) -> Facts:
    """The facts with what the request says of the training instead. Raises BadInput for what does not fit the model."""
    process, prediction, said = facts.process, facts.prediction, [facts.evidence]
    if request.prediction is not None:
        process, prediction = with_target(process, request.prediction), request.prediction
        said = [f"{TITLES[request.prediction]}: {SAYS_SO}"]
    if request.zero_terminal_snr is not None:
        ends_in_noise = request.zero_terminal_snr == "yes"
        process = with_zero_terminal(process, ends_in_noise)
        said.append(f"{'' if ends_in_noise else 'no '}zero terminal SNR: {SAYS_SO}")
    if request.shift is not None:
        process = with_shift(process, request.shift)
        said.append(f"shift {request.shift:g}: {SAYS_SO}")
    if request.sigma_data is not None:
        process = with_sigma_data(process, request.sigma_data)
        said.append(f"sigma data {request.sigma_data:g}: {SAYS_SO}")
    return replace(facts, process=process, prediction=prediction, evidence="; ".join(said))
