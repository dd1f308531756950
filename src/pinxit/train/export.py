"""From a workshop to the folder that the engine (and diffusers) loads, with its card, sources and history."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from pinxit.models.common.clip import ClipText
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.vae import AutoencoderKL
from pinxit.models.pinxit.config import REFINER_SIZES
from pinxit.models.pinxit.folder import folder_files
from pinxit.models.pinxit.layout import FOLDER
from pinxit.prompts.known import FILE
from pinxit.train.card import concept_names, history, model_card
from pinxit.train.data.bank import Bank
from pinxit.train.data.concepts import first_keys
from pinxit.train.data.known import as_text, known_words, taught
from pinxit.train.data.names import Labels
from pinxit.train.data.sources import STYLES, source_named
from pinxit.train.diffusion import unet_config
from pinxit.train.extras import base_unet, export_extras, extras_of
from pinxit.train.latents import REFINER
from pinxit.train.measure import autoencoder_psnr
from pinxit.train.recipe import Selection, UNetShape
from pinxit.train.start import SHAPES
from pinxit.train.words import load_text
from pinxit.train.workshop import chosen_keys, load_component, load_vae, read_shapes
from pinxit.weights.save import save_model

SHARD_BYTES = 15 * 2**20


def export(
    workshop: Path,
    bank: Bank,
    destination: Path,
    *,
    overwrite: bool = False,
    wordnet: Path | None = None,
    labels: Labels | None = None,
) -> tuple[Path, ...]:
    """Write the workshop's model as a diffusers folder in float16, in shards of at most 15 MiB.

    Beside the weights go the model card, the attribution of the bank it learned from, recipes with loss curves, the
    words that it was taught (with `wordnet` and `labels`, those that come near them too), and the few-step adapter and
    preview decoder where the workshop has them.
    Raises Missing when a component was never trained, BadInput when `destination` exists and is not to be replaced.
    """
    vae = load_vae(workshop)
    text, _ = load_text(workshop)
    shapes = read_shapes(workshop)
    unet = base_unet(workshop)
    configs = _configs(workshop, unet, vae, text)
    runs = history(workshop)
    configs[SHAPES] = json.dumps(shapes, indent=1)
    configs["training.json"] = json.dumps(runs, indent=1, ensure_ascii=False)
    configs["ATTRIBUTION.md"] = (bank.folder / "attribution.md").read_text("utf-8")
    networks = {"unet": unet, "vae": vae, "text_encoder_2": text}
    selection = Selection.model_validate(runs.get("unet", {}).get("recipe", {}).get("data", {}))
    facts = {
        **{f"parameters, {name}": f"{_millions(network):.1f} M" for name, network in networks.items()},
        **{f"autoencoder, {split} drawings": f"{psnr:.1f} dB" for split, psnr in autoencoder_psnr(vae, bank).items()},
        **{f"samples seen, {name}": f"{run['samples']:,}" for name, run in runs.items()},
    }
    keys = chosen_keys(selection) or first_keys(1000)
    concepts = concept_names(bank, selection, keys)
    styles = {drawing.style: drawing.source for drawing in bank.drawings}
    learned = [styles[style] for style in selection.styles or styles if style in styles]
    sources = [f"{source_named(name).package} {source_named(name).version}" for name in learned]
    drawn = selection.styles or tuple(style.key for style in STYLES)
    configs[FILE] = as_text(known_words(taught(bank, keys, drawn), drawn, wordnet, labels))
    configs["README.md"] = model_card(concepts, facts, sources, extras_of(workshop))
    files = save_model(
        {name: network.state_dict() for name, network in networks.items()},
        FOLDER,
        destination,
        dtype=torch.float16,
        configs=configs,
        max_shard_bytes=SHARD_BYTES,
        overwrite=overwrite,
    )
    return files + export_extras(workshop, destination)


def export_refiner(workshop: Path, destination: Path, *, overwrite: bool = False) -> tuple[Path, ...]:
    """Write the workshop's refiner as a folder of its own: U-Net and text encoder; the autoencoder is the model's.

    Raises Missing when it was never trained, BadInput when `destination` exists and is not to be replaced.
    """
    vae, (text, _) = load_vae(workshop), load_text(workshop)
    shape = UNetShape.model_validate(read_shapes(workshop).get(REFINER, {}))
    widths = {"z_channels": vae.config.z_channels, "text_width": text.config.width}
    unet = UNet(unet_config(shape, **widths, sizes=REFINER_SIZES))
    load_component(workshop, REFINER, unet)
    configs = _configs(workshop, unet, vae, text)
    del configs["vae/config.json"]
    return save_model(
        {"unet": unet.state_dict(), "text_encoder_2": text.state_dict()},
        FOLDER,
        destination,
        dtype=torch.float16,
        configs=configs,
        max_shard_bytes=SHARD_BYTES,
        overwrite=overwrite,
    )


def _configs(workshop: Path, unet: UNet, vae: AutoencoderKL, text: ClipText) -> dict[str, object]:
    """The configuration files of a folder and its tokenizer's."""
    shapes = read_shapes(workshop)
    side = int(str(shapes.get("size", 256)))
    width = UNetShape.model_validate(shapes.get("unet", {})).size_embedding
    configs: dict[str, object] = dict(
        folder_files(unet=unet.config, vae=vae.config, text=text.config, side=side, size_embedding=width)
    )
    for name in ("vocab.json", "merges.txt"):
        configs[f"tokenizer_2/{name}"] = (workshop / "tokenizer" / name).read_text("utf-8")
    return configs


def _millions(network: torch.nn.Module) -> float:
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6
