"""Random two-level models of every family, small enough to paint a whole picture in well under a second on a CPU."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from pinxit.models.common.clip import ClipText
from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.vae import AutoencoderKL
from pinxit.models.pinxit.folder import folder_files
from pinxit.models.pinxit.layout import FOLDER
from pinxit.models.sd1.layout import SINGLE_FILE as SD1_FILE
from pinxit.models.sd2.layout import SINGLE_FILE as SD2_FILE
from pinxit.prompts.bpe_training import train_bpe, vocabulary_files
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.weights.save import save_model

CAPTIONS = ("a red apple on a blue background, 3d style", "a cat", "一只猫，蓝色背景", "two dogs in the snow")


@torch.no_grad()
def seeded(network: nn.Module, seed: int = 0) -> nn.Module:
    """Weights from a fixed seed, scaled so that activations keep their size."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(network.named_parameters()):
        if parameter.ndim >= 2:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
        else:
            bias = 0.0 if name.endswith("bias") else 1.0
            parameter.copy_(bias + 0.1 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def tiny_unet(
    *, context: int, added: int | None = None, head_width: int | None = None, channels: int = 4
) -> UNetConfig:
    """Two levels; with `head_width` the newer form, linear projections and heads of that width."""
    return UNetConfig(
        in_channels=channels,
        out_channels=channels,
        model_channels=head_width or 32,
        channel_mult=(1, 2),
        num_res_blocks=(1, 1),
        transformer_depth=(1, 1),
        transformer_depth_middle=1,
        transformer_depth_output=(1, 1),
        context_dim=context,
        num_heads=None if head_width else 8,
        head_width=head_width,
        linear_projections=head_width is not None,
        adm_in_channels=added,
    )


def make_pinxit(folder: Path, *, levels: int = 3) -> Path:
    """A random model of our own family, as a folder: 64-pixel pictures, an autoencoder of eight channels.

    The autoencoder has `levels` levels: 3 is f4, 5 the f16 of the real model.
    """
    vocabulary, merges = train_bpe(CAPTIONS * 20, 560)
    texts = dict(zip(("vocab.json", "merges.txt"), vocabulary_files(vocabulary, merges), strict=True))
    tokenizer = ClipTokenizer.from_text(texts["vocab.json"], texts["merges.txt"])
    text = ClipTextConfig(
        vocab_size=tokenizer.vocab_size,
        width=32,
        intermediate=64,
        layers=2,
        heads=1,
        activation="gelu",
        projection=32,
        bos_id=tokenizer.bos,
        eos_id=tokenizer.eos,
        pad_id=tokenizer.eos,
    )
    vae = VaeConfig(z_channels=8, channels=32, channel_mult=(*[1] * (levels - 1), 2), num_res_blocks=1, norm_groups=8)
    unet = tiny_unet(context=32, added=32 + 6 * 8, head_width=32, channels=8)
    configs: dict[str, object] = dict(folder_files(unet=unet, vae=vae, text=text, side=64, size_embedding=8))
    configs |= {f"tokenizer_2/{name}": content for name, content in texts.items()}
    networks = {"unet": UNet(unet), "vae": AutoencoderKL(vae), "text_encoder_2": ClipText(text)}
    states = {name: seeded(network, seed).state_dict() for seed, (name, network) in enumerate(networks.items())}
    save_model(states, FOLDER, folder, configs=configs, overwrite=True)
    return folder


def make_sd1(path: Path) -> Path:
    """A random SD 1.x single file: CLIP's real vocabulary, everything else tiny."""
    text = ClipTextConfig(width=64, intermediate=64, layers=2, heads=1)
    vae = VaeConfig(channels=32, channel_mult=(1, 1, 1, 1), num_res_blocks=1)
    networks = {"unet": UNet(tiny_unet(context=64)), "vae": AutoencoderKL(vae), "text_encoder": ClipText(text)}
    states = {name: seeded(network, seed).state_dict() for seed, (name, network) in enumerate(networks.items())}
    save_model(states, SD1_FILE, path, dtype=torch.float16, overwrite=True)
    return path


def make_sd2(path: Path) -> Path:
    """A random SD 2.x single file."""
    text = ClipTextConfig(width=64, intermediate=64, layers=2, heads=1, activation="gelu", projection=64, pad_id=0)
    vae = VaeConfig(channels=32, channel_mult=(1, 1, 1, 1), num_res_blocks=1)
    unet = UNet(tiny_unet(context=64, head_width=64))
    networks = {"unet": unet, "vae": AutoencoderKL(vae), "text_encoder": ClipText(text)}
    states = {name: seeded(network, seed).state_dict() for seed, (name, network) in enumerate(networks.items())}
    save_model(states, SD2_FILE, path, dtype=torch.float16, overwrite=True)
    return path
