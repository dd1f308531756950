"""Less than a whole model: its autoencoder alone, or the model without what painting does not need."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from pinxit.engine.catalog import Catalog
from pinxit.models.common.diffusers_json import vae_json
from pinxit.models.common.measured import vae_config
from pinxit.models.contract import LatentSpec
from pinxit.models.kinds import LATENT, AnyKind
from pinxit.schema.errors import BadInput
from pinxit.studio.convert.model import Chosen, Converted, Wish, apart, chosen, is_single, target_layout, write_known
from pinxit.studio.convert.understanding import Known, open_source, understand
from pinxit.weights.rewrite import our_blobs

VAE = "vae"
SIDE = 512
"""A note in a VAE's config.json on which nothing depends."""


def prune(path: Path, destination: Path, catalog: Catalog, wish: Wish | None = None) -> Converted:
    """Write the model at `path` with what painting needs and nothing else; floats in half precision unless `wish` says.

    The layout stays: a folder stays a folder. Raises what `convert` raises, and UnknownModelFormat for a file that no
    table explains, of which nobody could say what is needed.
    """
    wish = wish or Wish()
    apart(destination, path)
    known = understand(open_source(path), catalog)
    folder = known.match.layout.folder
    if folder == is_single(destination):
        raise BadInput(
            f"{path.name} is a {'folder' if folder else 'single file'}, and {destination.name} would not be one.",
            hint="pinxit models convert changes the layout.",
        )
    wish = replace(wish, dtype=wish.dtype or "F16")
    return write_known(known, replace(chosen(known, wish, destination), did="prune"), destination, wish)


def extract_vae(path: Path, destination: Path, catalog: Catalog, wish: Wish | None = None) -> Converted:
    """Write the VAE of the model at `path` by itself: a single file, or a folder with its config.json.

    Raises BadInput when there is none, and what `convert` raises.
    """
    wish = wish or Wish()
    apart(destination, path)
    known = understand(open_source(path), catalog)
    part = known.match.parts.get(VAE)
    if part is None or part.missing:
        reason = "its VAE is incomplete" if part is not None else f"it holds {', '.join(known.match.parts)}"
        raise BadInput(f"{path.name} holds no whole VAE.", hint=f"Look: {reason}.")
    latent = _latent(known)
    alone = replace(known, family=None, kind=_kind(catalog, known, latent))
    parts = {VAE: our_blobs(part, known.source.blobs)}
    folder = wish.layout == "diffusers" if wish.layout else not is_single(destination)
    layout = target_layout(catalog.kinds.get(VAE).layouts, parts, folder, "VAE")
    told = json.dumps({"scaling_factor": latent.scale, "shift_factor": latent.shift})
    target = Chosen(layout=layout, parts=parts, metadata={LATENT: told}, did="extract-vae")
    return write_known(alone, target, destination, wish)


def _latent(known: Known) -> LatentSpec:
    if known.family is not None:
        return known.family.facts(known.config).latent
    return known.config.latent


def _kind(catalog: Catalog, known: Known, latent: LatentSpec) -> AnyKind:
    """The catalogue's VAE, with the folder's config.json of this one."""
    network = vae_config(known.match)
    if network is None:
        raise BadInput(f"{known.match.header.path.name} holds no VAE.")
    files = {"config.json": vae_json(network, sample_size=SIDE, scale=latent.scale, shift=latent.shift)}
    return replace(catalog.kinds.get(VAE), files=lambda config: files)  # noqa: ARG005  already decided


__all__ = ["extract_vae", "prune"]
