"""`pinxit evaluate --refiner`: the model alone against the model with its refiner, on small things."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pinxit.cli.commands import Studio
from pinxit.cli.running import adopt_model, one_picture, stoppable
from pinxit.cli.terminal import Terminal
from pinxit.cli.watching import counter
from pinxit.schema.errors import BadInput, UsageError

if TYPE_CHECKING:
    from PIL import Image

    from pinxit.engine.plan import Plan
    from pinxit.evaluate.independent import Graph
    from pinxit.evaluate.references import References
    from pinxit.evaluate.refining import Case, Refining
    from pinxit.schema.request import GenerationRequest

PICTURES = 96


def measure(
    names: tuple[str | None, str],
    bank: str | None,
    studio: Studio,
    references: References,
    terminal: Terminal,
    *,
    count: int,
    seed: int,
    graph: Graph | None,
) -> None:
    """Measure the refiner `names[1]` of the model `names[0]` on compositions out of `bank`, and tell the result."""
    from pinxit.engine.residency import Residency
    from pinxit.evaluate.asks import domain_of
    from pinxit.evaluate.autoencoder import Codec
    from pinxit.evaluate.refining import STRENGTHS, SWITCH, measure_refiner, small_things, usual_things
    from pinxit.schema.parts import Refine
    from pinxit.schema.request import GenerationRequest
    from pinxit.train.data.bank import Bank

    if bank is None:
        raise UsageError(terminal.say("error.needs", command="evaluate --refiner", flag="--data BANK"))
    asked = GenerationRequest(model=names[0], passes=(Refine(model=names[1], switch=SWITCH),))
    refined = adopt_model(asked, studio)
    base = refined.replace(passes=())
    domain = domain_of(studio.model_path(base.model))
    if domain is None:
        raise BadInput(terminal.say("error.refiner"), hint=terminal.say("hint.cite"))
    resolved = cast("Plan", studio.plan(refined)).resolved
    side = min(resolved.size.width, resolved.size.height)
    drawings = Bank.open(Path(bank).expanduser())
    small, usual = (make(drawings, domain, count, side=side, seed=seed) for make in (small_things, usual_things))
    shown = (base.model or terminal.say("check.model"), refined.passes[0].model)
    with stoppable(terminal) as stop, counter(terminal, shown[1]) as watch:

        def repaint(case: Case, strength: float, refines: bool) -> Image.Image:
            return _repainted(case, strength, refined if refines else base, studio, stop)

        codec = cast(Codec, Residency().precise(resolved, "vae"))
        found = measure_refiner(small, repaint, codec, references, watch, graph=graph)
        beside = measure_refiner(usual, repaint, codec, references, watch, graph=graph, strengths=STRENGTHS[:1])
    if terminal.json:
        terminal.send(
            {"event": "refined", "model": shown[0], "refiner": shown[1], **found.to_json(), "usual": beside.to_json()}
        )
    else:
        for one in (found, beside):
            _tell(one, shown, terminal)


def _repainted(
    case: Case, strength: float, request: GenerationRequest, studio: Studio, stop: Callable[[], bool]
) -> Image.Image:
    from PIL import Image

    from pinxit.schema.parts import FromImage, ImageRef

    file = io.BytesIO()
    Image.fromarray(case.picture).save(file, "PNG")
    name = hashlib.sha256(file.getvalue()).hexdigest()
    source = FromImage(image=ImageRef(sha256=name), strength=strength)
    asked = request.replace(prompt=case.prompt, seed=case.seed, source=source)
    return one_picture(asked, {name: file.getvalue()}, studio, stop)


def _tell(found: Refining, names: tuple[str, str], terminal: Terminal) -> None:
    say = terminal.say
    terminal.result(
        say("evaluate.refining.heading", model=names[0], refiner=names[1], count=found.pictures, side=found.crop)
    )
    for strength, gains in found.gains.items():
        terminal.result(say("evaluate.refining.strength", strength=f"{strength:g}"))
        for name, gain in gains.items():
            low, high = gain.interval
            terminal.result(
                f"  {say(f'evaluate.refining.{name}', network=found.network)}: {gain.base:.4g} -> {gain.refined:.4g}  "
                f"{gain.difference:+.3g} [{low:+.3g}, {high:+.3g}]  {say(f'evaluate.refining.verdict.{gain.verdict}')}"
            )
    psnr, distance = (found.autoencoder[name] for name in ("psnr", "feature_distance"))
    terminal.result(say("evaluate.refining.autoencoder", psnr=f"{psnr:.2f}", distance=f"{distance:.4g}"))
