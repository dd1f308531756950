"""One object to paint with: the catalogue, the models, and what is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.engine.library import ModelEntry
from pinxit.engine.means import Means
from pinxit.engine.plan import Plan, plan, resolve
from pinxit.plugins.manager import build_catalog
from pinxit.schema.request import GenerationRequest
from pinxit.studio.library import Library

if TYPE_CHECKING:
    from pinxit.engine.residency import Residency
    from pinxit.schema.events import Event


def never() -> bool:
    return False


class Studio:
    """Paints requests in this process. Making one is cheap: torch and weights are loaded by the first picture."""

    def __init__(
        self, *, library: Library | None = None, plugins: Iterable[object] = (), means: Means | None = None
    ) -> None:
        self.means = means or Means()
        self.catalog = build_catalog(plugins)
        self.library = library or Library()
        self._residency: Residency | None = None

    def plan(self, request: GenerationRequest, inputs: Mapping[str, bytes] | None = None) -> Plan:
        """What painting `request` would do, without loading anything. `inputs` holds input pictures by SHA-256."""
        return plan(resolve(request, self.catalog, self.library, inputs), means=self.means)

    def paint(
        self,
        request: GenerationRequest,
        inputs: Mapping[str, bytes] | None = None,
        *,
        output: Path | None = None,
        stop: Callable[[], bool] = never,
        previews: bool = False,
    ) -> Iterator[Event]:
        """Paint `request` as a stream of events; pictures go to `output` (a file or a folder) unless it is None.

        With `previews` every step brings a small picture of what it has come to. Raises PinxitError subclasses; `stop`
        is asked between steps and ends the run with Interrupted.
        """
        made = self.plan(request, inputs)
        from pinxit.engine.preview import TINY, preview_of
        from pinxit.engine.run import run

        show = preview_of(made.resolved, self.catalog.kinds.get(TINY), self.residency.dtype) if previews else None
        yield from run(made, self.residency, output=output, stop=stop, show=show)

    @property
    def residency(self) -> Residency:
        """What is loaded. Imports torch."""
        if self._residency is None:
            from pinxit.engine.residency import Residency

            self._residency = Residency(means=self.means)
        return self._residency

    def models(self) -> tuple[ModelEntry, ...]:
        """Every model that can be asked for by name."""
        return self.library.entries()

    def adapters(self) -> tuple[ModelEntry, ...]:
        """Every adapter that can be asked for by name, of the kinds that can be used."""
        return tuple(entry for kind in self.catalog.adapters for entry in self.library.entries(kind.name))

    def model_path(self, name: str | None) -> Path:
        """Where the model called `name` lies; None is the built-in one. Raises UnknownName."""
        return self.library.find(name).path

    def add_model(self, path: Path) -> str:
        """Make a model at `path` known and return its name."""
        return self.library.adopt(path)
