"""Random two-level models of every family, small enough to paint a whole picture in well under a second on a CPU."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

from pinxit.models.common.clip import ClipText
from pinxit.models.common.clip_vision import ClipVision
from pinxit.models.common.configs import ClipTextConfig, MmditConfig, T5Config, UNetConfig, VaeConfig
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.mmdit import MMDiT
from pinxit.models.common.t5 import T5Encoder
from pinxit.models.common.vae import AutoencoderKL
from pinxit.models.common.vision import ClipVisionConfig
from pinxit.models.pinxit.folder import folder_files
from pinxit.models.pinxit.layout import FOLDER
from pinxit.models.sd1.layout import SINGLE_FILE as SD1_FILE
from pinxit.models.sd2.layout import SINGLE_FILE as SD2_FILE
from pinxit.models.sd3.config import Sd3Config, Variant
from pinxit.models.sd3.family import LATENT as SD3_LATENT
from pinxit.models.sd3.folder import folder_files as sd3_files
from pinxit.models.sd3.layout import FOLDER as SD3_FOLDER
from pinxit.models.sd3.layout import SINGLE_FILE as SD3_FILE
from pinxit.models.sdxl.layout import BASE_FILE as SDXL_FILE
from pinxit.models.sdxl.layout import REFINER_FILE
from pinxit.models.unclip.layout import SINGLE_FILE as UNCLIP_FILE
from pinxit.models.unclip.network import ImageNormalizer
from pinxit.models.upscale2.config import KUNetConfig
from pinxit.models.upscale2.layout import SINGLE_FILE as UPSCALE2_FILE
from pinxit.models.upscale2.network import KUNet
from pinxit.models.upscale4.layout import SINGLE_FILE as UPSCALE4_FILE
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


def t5_tokenizer() -> Tokenizer:
    """A tokenizer of T5's kind: the captions' words, and every character they are made of."""
    words = sorted({word for caption in CAPTIONS for word in caption.replace(",", " ,").split()})
    letters = sorted({letter for word in words for letter in word})
    marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces = [
        *marks,
        *((f"\u2581{word}", -2.0) for word in words),
        *((letter, -5.0) for letter in ("\u2581", *letters)),
    ]
    found = Tokenizer(models.Unigram(pieces, unk_id=2))
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")]
    )
    return found


def sd3_config(*, variant: Variant) -> Sd3Config:
    """Two joint blocks, and text encoders of 64 channels; like SD 3.5 with what distinguishes the variant."""
    return Sd3Config(
        variant=variant,
        distilled=None,
        transformer=MmditConfig(
            width=128,
            depth=2,
            heads=2,
            intermediate=512,
            positions=32,
            context=160,
            pooled=128,
            norm=variant != "3-medium",
            dual=(0,) if variant == "3.5-medium" else (),
        ),
        vae=VaeConfig(channels=32, channel_mult=(1, 1, 1, 1), num_res_blocks=1, z_channels=16, quant=False),
        text_encoder=ClipTextConfig(width=64, intermediate=64, layers=2, heads=1, projection=64),
        text_encoder_2=ClipTextConfig(
            width=64, intermediate=64, layers=2, heads=1, activation="gelu", projection=64, pad_id=0
        ),
        text_encoder_3=T5Config(vocab_size=96, width=160, intermediate=96, layers=2, heads=2, inner=64),
        speaks=True,
        projects=True,
        shift=3.0,
        evidence="",
    )


def sd3_states(config: Sd3Config) -> dict[str, dict[str, Tensor]]:
    """Random weights of every part; CLIP-L's projection changes nothing, as in published folders."""
    networks = {
        "transformer": MMDiT(config.transformer),
        **({"vae": AutoencoderKL(config.vae)} if config.vae else {}),
        **({"text_encoder": ClipText(config.text_encoder)} if config.text_encoder else {}),
        **({"text_encoder_2": ClipText(config.text_encoder_2)} if config.text_encoder_2 else {}),
        **({"text_encoder_3": T5Encoder(config.text_encoder_3)} if config.text_encoder_3 else {}),
    }
    states = {name: seeded(network, seed).state_dict() for seed, (name, network) in enumerate(networks.items())}
    table = torch.randn(states["transformer"]["pos_embed"].shape, generator=torch.Generator().manual_seed(9))
    states["transformer"]["pos_embed"] = table
    projection = states["text_encoder"]["text_projection.weight"]
    states["text_encoder"]["text_projection.weight"] = torch.eye(projection.shape[0])
    return states


def make_sd3(folder: Path, config: Sd3Config | None = None) -> Path:
    """A random SD 3 as a folder with all three text encoders and a tokenizer for T5."""
    config = config or sd3_config(variant="3-medium")
    configs = sd3_files(config, SD3_LATENT) | {"tokenizer_3/tokenizer.json": t5_tokenizer().to_str()}
    save_model(sd3_states(config), SD3_FOLDER, folder, configs=configs, dtype=torch.float16, overwrite=True)
    return folder


def make_sd35(path: Path) -> Path:
    """A random SD 3.5 medium in one file, with T5 but without its tokenizer."""
    states = sd3_states(sd3_config(variant="3.5-medium"))
    del states["text_encoder"]["text_projection.weight"]
    save_model(states, SD3_FILE, path, dtype=torch.float16, overwrite=True)
    return path


def make_unclip(path: Path) -> Path:
    """A random unCLIP in one file, with an image tower of 64-pixel pictures and its statistics."""
    text = ClipTextConfig(width=64, intermediate=64, layers=2, heads=1, activation="gelu", projection=64, pad_id=0)
    vision = ClipVisionConfig(width=64, intermediate=64, layers=2, heads=1, patch=16, image=64, projection=32)
    vae = VaeConfig(channels=32, channel_mult=(1, 1, 1, 1), num_res_blocks=1)
    networks = {
        "unet": UNet(tiny_unet(context=64, head_width=64, added=64)),
        "vae": AutoencoderKL(vae),
        "text_encoder": ClipText(text),
        "image_encoder": ClipVision(vision),
        "image_normalizer": ImageNormalizer((1, 32)),
    }
    states = {name: seeded(network, seed).state_dict() for seed, (name, network) in enumerate(networks.items())}
    states["image_normalizer"]["std"] = torch.full((1, 32), 1.5)
    save_model(states, UNCLIP_FILE, path, dtype=torch.float16, overwrite=True)
    return path


def make_upscale4(path: Path) -> Path:
    """A random x4 upscaler in one file: no attention at the first level, only to the text at the second."""
    text = ClipTextConfig(width=64, intermediate=64, layers=2, heads=1, activation="gelu", projection=64, pad_id=0)
    unet = UNetConfig(
        in_channels=7,
        out_channels=4,
        model_channels=32,
        channel_mult=(1, 1, 2),
        num_res_blocks=(1, 1, 1),
        transformer_depth=(0, 1, 1),
        transformer_depth_middle=1,
        transformer_depth_output=(0, 1, 1),
        context_dim=64,
        num_heads=8,
        linear_projections=True,
        num_classes=1000,
        disable_self_attention=(False, True, False),
    )
    vae = VaeConfig(channels=32, channel_mult=(1, 1, 2), num_res_blocks=1)
    networks = {"unet": UNet(unet), "vae": AutoencoderKL(vae), "text_encoder": ClipText(text)}
    states = {name: seeded(network, seed).state_dict() for seed, (name, network) in enumerate(networks.items())}
    save_model(states, UPSCALE4_FILE, path, dtype=torch.float16, overwrite=True)
    return path


def make_upscale2(path: Path) -> Path:
    """A random latent x2 upscaler in one file."""
    text = ClipTextConfig(width=64, intermediate=64, layers=2, heads=1)
    unet = KUNetConfig(
        widths=(64, 128, 128),
        blocks=(2, 2, 2),
        own=(False, False, True),
        cross=(False, True, True),
        context_dim=64,
        condition=128 + 64,
        mapping=128,
        head_width=64,
    )
    vae = VaeConfig(channels=32, channel_mult=(1, 1, 1, 1), num_res_blocks=1)
    networks = {"unet": KUNet(unet), "vae": AutoencoderKL(vae), "text_encoder": ClipText(text)}
    states = {name: seeded(network, seed).state_dict() for seed, (name, network) in enumerate(networks.items())}
    save_model(states, UPSCALE2_FILE, path, dtype=torch.float16, overwrite=True)
    return path


def sdxl_unet(*, levels: int, context: int, added: int) -> UNetConfig:
    """SDXL's form: no attention at the largest size, none at the refiner's smallest; heads of half the first width."""
    depths = (0, *(1 for _ in range(levels - 1))) if levels == 3 else (0, *(1 for _ in range(levels - 2)), 0)
    return UNetConfig(
        in_channels=4,
        out_channels=4,
        model_channels=32,
        channel_mult=(1, 2, 2, 2)[:levels],
        num_res_blocks=(1,) * levels,
        transformer_depth=depths,
        transformer_depth_middle=1,
        transformer_depth_output=depths,
        context_dim=context,
        head_width=16,
        linear_projections=True,
        adm_in_channels=added,
    )


def sdxl_states(*, refiner: bool = False) -> dict[str, dict[str, Tensor]]:
    """Random weights of an SDXL, or of its refiner, which has the second text encoder alone."""
    text = ClipTextConfig(width=64, intermediate=64, layers=3, heads=1)
    pooling = ClipTextConfig(width=64, intermediate=64, layers=3, heads=1, activation="gelu", projection=64, pad_id=0)
    vae = VaeConfig(channels=32, channel_mult=(1, 1, 1, 1), num_res_blocks=1)
    numbers, levels, context = (5, 4, 64) if refiner else (6, 3, 128)
    networks = {
        "unet": UNet(sdxl_unet(levels=levels, context=context, added=64 + numbers * 16)),
        "vae": AutoencoderKL(vae),
        "text_encoder_2": ClipText(pooling),
        **({} if refiner else {"text_encoder": ClipText(text)}),
    }
    first = 10 if refiner else 0
    return {name: seeded(network, first + at).state_dict() for at, (name, network) in enumerate(networks.items())}


def make_sdxl(path: Path) -> Path:
    """A random SDXL in one file, with three levels and both text encoders."""
    save_model(sdxl_states(), SDXL_FILE, path, dtype=torch.float16, overwrite=True)
    return path


def make_refiner(path: Path) -> Path:
    """A random SDXL refiner in one file, whose four levels and one text encoder are its own."""
    save_model(sdxl_states(refiner=True), REFINER_FILE, path, dtype=torch.float16, overwrite=True)
    return path
