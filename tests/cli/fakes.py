"""A studio that paints coloured squares at once, and a way to call the command line without a process."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from pinxit.cli.app import run
from pinxit.cli.commands import COMMANDS, Entry
from pinxit.cli.terminal import Terminal, language_of
from pinxit.engine.means import Means
from pinxit.engine.output import check_output, write_picture
from pinxit.schema.errors import Interrupted, UnknownName
from pinxit.schema.events import Event, Finished, FinishedImage, ImageReady, Planned, StageStarted, Stepped
from pinxit.schema.parts import Size
from pinxit.schema.picture import encode_image, pixels_sha256
from pinxit.schema.record import AdapterFacts, ModelFacts, ModelFile, Record, sigmas_sha256
from pinxit.schema.request import GenerationRequest

SAMPLERS = ("euler", "euler_ancestral", "dpmpp_2m")


@dataclass(frozen=True, slots=True, kw_only=True)
class FakePlan:
    request: GenerationRequest
    notes: tuple[str, ...] = ("a remark",)

    def to_json(self) -> dict[str, object]:
        return {"request": self.request.to_dict(), "notes": list(self.notes)}

    def lines(self) -> list[str]:
        return [f"picture {self.request.size}", *self.notes]


@dataclass
class FakeStudio:
    """Remembers what it was asked. `shift` is added to every colour; `torch` is the version that records name."""

    shift: int = 0
    torch: str = "2.13.0"
    interrupt: Callable[[int], None] | None = None
    error: BaseException | None = None
    means: Means | None = None
    asked: list[tuple[GenerationRequest, Mapping[str, bytes]]] = field(default_factory=list[Any])
    adopted: list[Path] = field(default_factory=list[Path])
    catalog: Any = field(
        default_factory=lambda: SimpleNamespace(samplers=_named(SAMPLERS), schedules=_named(["karras"]))
    )

    def models(self) -> Sequence[Any]:
        return _named(["pinxit", *(path.stem for path in self.adopted)])

    def adapters(self) -> Sequence[Any]:
        return _named(["few-step"])

    def add_model(self, path: Path) -> str:
        self.adopted.append(path)
        return path.stem

    def model_path(self, name: str | None) -> Path:
        return Path(name or "pinxit")

    def plan(self, request: GenerationRequest, inputs: Mapping[str, bytes] | None = None) -> FakePlan:
        if self.error is not None:
            raise self.error
        self.asked.append((request, inputs or {}))
        if request.sampler not in (None, *SAMPLERS):
            raise UnknownName("sampler", request.sampler, SAMPLERS, field="sampler")
        return FakePlan(
            request=request.replace(
                model=request.model or "pinxit",
                size=request.size or Size(width=64, height=64),
                seed=7 if request.seed is None else request.seed,
                steps=request.steps or 4,
                sampler=request.sampler or "euler",
                schedule=request.schedule or "karras",
            )
        )

    def paint(
        self,
        request: GenerationRequest,
        inputs: Mapping[str, bytes] | None = None,
        *,
        output: Path | None = None,
        stop: Callable[[], bool] = lambda: False,
        previews: bool = False,
    ) -> Iterator[Event]:
        plan = self.plan(request, inputs)
        if output is not None:
            check_output(output, plan.request)
        yield Planned(request=plan.request, stages=("encode", "denoise", "decode"), notes=plan.notes)
        finished: list[FinishedImage] = []
        for index in range(request.count):
            recipe = plan.request.image(index)
            yield StageStarted(stage="denoise")
            total = recipe.steps or 0
            for step in range(total):
                preview = Image.new("RGB", (8, 8), (step, 0, 0)) if previews else None
                yield Stepped(index=step, total=total, sigma=1.0, seconds=0.25, image=index, preview=preview)
                if self.interrupt is not None:
                    self.interrupt(step)
                if stop():
                    raise Interrupted("Stopped.", hint="Pictures that were finished are kept.")
            record = self.record_of(recipe)
            image = square(recipe, self.shift)
            path = None if output is None else write_picture(output, encode_image(image, record), recipe)
            seed = recipe.seed or 0
            yield ImageReady(
                index=index, seed=seed, record=record, pixels_sha256=pixels_sha256(image), path=path, image=image
            )
            finished.append(FinishedImage(path=path, seed=seed))
        yield Finished(images=tuple(finished), seconds=1.5)

    def record_of(self, request: GenerationRequest) -> Record:
        files = (ModelFile(name="unet.safetensors", sha256="cd" * 32),)
        return Record(
            engine="pinxit 0.1.0",
            request=request,
            model=ModelFacts(name=request.model or "", family="pinxit", prediction="velocity", files=files),
            adapters=tuple(AdapterFacts(name=one.name, files=files) for one in request.adapters),
            sigmas_sha256=sigmas_sha256((1.0, 0.0)),
            noise="philox",
            dtype="float32",
            threads=2,
            torch=self.torch,
            numerics="cpu",
        )


def square(request: GenerationRequest, shift: int = 0) -> Image.Image:
    """A picture of one colour that follows from the seed."""
    size = request.size or Size(width=64, height=64)
    seed = request.seed or 0
    colour = tuple((seed * factor + shift) % 256 for factor in (3, 5, 7))
    return Image.new("RGB", (size.width, size.height), colour)


def _named(names: Sequence[str]) -> list[Any]:
    return [SimpleNamespace(name=name, title=name.upper()) for name in names]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def call(
    *argv: str,
    studio: FakeStudio | None = None,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    commands: Sequence[Entry] = COMMANDS,
) -> Result:
    """What `pinxit argv...` prints and answers."""
    out, err = io.StringIO(), io.StringIO()
    lang = language_of(argv, environment or {})
    terminal = Terminal(out=out, err=err, input=io.BytesIO(stdin), lang=lang)

    def opened(means: Means | None = None, /) -> FakeStudio:
        made = studio or FakeStudio()
        made.means = means
        return made

    code = run(argv, terminal, open_studio=opened, commands=commands)
    return Result(code=code, out=out.getvalue(), err=err.getvalue())
