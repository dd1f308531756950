"""What a workshop holds beside its model, as files for the engine: the few-step adapter and the preview decoder."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.unet_layouts import UNET_DIFFUSERS
from pinxit.train.diffusion import unet_config
from pinxit.train.lowrank import LowRank
from pinxit.train.preview import PREVIEW, load_preview
from pinxit.train.recipe import UNetShape
from pinxit.train.words import load_text
from pinxit.train.workshop import load_component, load_vae, read_shapes
from pinxit.weights.save import save_tensors

FEW_STEP = "few-step"
PLAIN = {"guidance": 1.0, "guidance_rescale": 0.0, "sampler": "euler", "schedule": "sgm_uniform"}
"""How a distilled student is run, beside its number of steps."""


def extras_of(workshop: Path) -> dict[str, str]:
    """The files that `export_extras` will write, and what to say of them."""
    said = {
        FEW_STEP: (
            f"{FEW_STEP}.safetensors",
            "a LoRA distilled from the model: the same pictures in four plain steps.",
        ),
        PREVIEW: (f"{PREVIEW}/{PREVIEW}.safetensors", "a tiny decoder that shows every step at half size; no more."),
    }
    return dict(file for name, file in said.items() if (workshop / f"{name}.safetensors").is_file())


def export_extras(workshop: Path, folder: Path) -> tuple[Path, ...]:
    """Write into a model's folder what the workshop has of them, in float16; returns the files.

    `few-step.safetensors` is a LoRA in the naming of diffusers, whose metadata says how it is run;
    `preview/preview.safetensors` a tiny autoencoder's decoder.
    """
    shapes, written = read_shapes(workshop), list[Path]()
    if (workshop / f"{FEW_STEP}.safetensors").is_file():
        factors, steps = _few_step(workshop, shapes)
        metadata = {"pinxit.family": "pinxit", "pinxit.defaults": json.dumps({"steps": steps, **PLAIN})}
        written += _save(factors, folder / f"{FEW_STEP}.safetensors", metadata)
    if (workshop / f"{PREVIEW}.safetensors").is_file():
        place = folder / PREVIEW / f"{PREVIEW}.safetensors"
        place.parent.mkdir(exist_ok=True)
        written += _save(dict(load_preview(workshop).state_dict()), place, {"pinxit.family": "pinxit"})
    return tuple(written)


def base_unet(workshop: Path) -> UNet:
    """The workshop's finished U-Net. Raises Missing when there is none."""
    vae, (text, _) = load_vae(workshop), load_text(workshop)
    shape = UNetShape.model_validate(read_shapes(workshop).get("unet", {}))
    unet = UNet(unet_config(shape, z_channels=vae.config.z_channels, text_width=text.config.width))
    load_component(workshop, "unet", unet)
    return unet


def _few_step(workshop: Path, shapes: dict[str, object]) -> tuple[dict[str, Tensor], int]:
    """The adapter's factors under the names of a LoRA file, and its number of steps."""
    shape = shapes.get(FEW_STEP)
    said = shape if isinstance(shape, dict) else {}
    unet: nn.Module = base_unet(workshop)
    adapter = LowRank(unet, int(said["rank"]))
    load_component(workshop, FEW_STEP, adapter)
    return dict(adapter.named_factors("unet", UNET_DIFFUSERS, unet)), int(said["steps"])


def _save(tensors: dict[str, Tensor], place: Path, metadata: dict[str, str]) -> tuple[Path, ...]:
    half = {name: tensor.to(torch.float16) for name, tensor in tensors.items()}
    return save_tensors(half, place, metadata={"format": "pt", **metadata}, overwrite=True)
