"""What every family's layouts must do with the header of a real checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from pinxit.models.common.clip import ClipText
from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.vae import AutoencoderKL
from pinxit.weights.header import Header
from pinxit.weights.identify import Match


def networks(unet: UNetConfig, vae: VaeConfig | None, text: ClipTextConfig | None) -> dict[str, nn.Module]:
    """The networks of these configurations, without memory."""
    with torch.device("meta"):
        built: dict[str, nn.Module] = {"unet": UNet(unet)}
        if vae is not None:
            built["vae"] = AutoencoderKL(vae)
        if text is not None:
            built["text_encoder"] = ClipText(text)
    return built


def explains_everything(match: Match, built: Mapping[str, nn.Module], header: Header) -> None:
    """Every tensor is mapped or dropped with a reason, every parameter is set, writing gives the same names back."""
    assert match.missing == ()
    assert match.unexpected == ()
    assert all(match.dropped.values())
    mapped = {name for part in match.parts.values() for entry in part.entries for name in entry.theirs}
    assert mapped | set(match.dropped) == set(header.tensors)
    assert not mapped & set(match.dropped)
    for component, network in built.items():
        part = match.part(component)
        ours = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        assert dict(part.shapes) == ours
        written: dict[str, tuple[int, ...]] = {}
        for entry in match.layout.names_for(component, ours, place=part.place):
            shapes = entry.theirs_shapes(tuple(ours[name] for name in entry.ours))
            written.update(zip(entry.theirs, shapes, strict=True))
        assert written == {name: header.shapes[name] for entry in part.entries for name in entry.theirs}
