"""A workshop out of an exported model, so that training can go on elsewhere: averaged weights, fresh optimizer."""

from __future__ import annotations

import shutil
from pathlib import Path

from torch import nn

from pinxit.models.common.clip import ClipText
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.vae import AutoencoderKL
from pinxit.models.pinxit.config import config_from
from pinxit.models.pinxit.layout import FOLDER
from pinxit.schema.errors import BadModelFile
from pinxit.train.workshop import save_component
from pinxit.weights.folder import read_model
from pinxit.weights.identify import identify
from pinxit.weights.load import load_into
from pinxit.weights.settings import read_json

SHAPES = "shape.json"
"""The recipes' shapes, which an exported folder carries for this purpose."""


def fill_workshop(model: Path, workshop: Path) -> None:
    """Fill an empty workshop from the exported model folder `model`; one that has a component keeps all it has.

    Raises Missing and BadModelFile when the folder is not one that `export` wrote.
    """
    names = {"unet": "unet", "vae": "vae", "text_encoder_2": "text"}
    if any((workshop / f"{name}.safetensors").is_file() for name in names.values()):
        return
    match = identify(read_model(model), [FOLDER])
    config = config_from(match)
    if config.vae is None or config.text_encoder is None or not (model / SHAPES).is_file():
        raise BadModelFile(f"{model} cannot be trained further.", hint="Name a folder that `pinxit export` wrote.")
    shapes = read_json(model / SHAPES)
    networks: dict[str, nn.Module] = {
        "unet": UNet(config.unet),
        "vae": AutoencoderKL(config.vae),
        "text_encoder_2": ClipText(config.text_encoder),
    }
    shutil.copytree(model / "tokenizer_2", workshop / "tokenizer", dirs_exist_ok=True)
    (workshop / "tokenizer" / "tokenizer_config.json").unlink(missing_ok=True)
    for component, network in networks.items():
        dtype = next(network.parameters()).dtype
        load_into(network, match, component, dtype=dtype)
        save_component(workshop, names[component], network, shapes)
