"""Training the autoencoder: sharp edges, small latents, and a latent space that scales as pictures do.

Two stages make a picture of 256 pixels affordable on a CPU. `inner` trains everything but the outermost level on
128-pixel pictures: that level of the encoder is set to plain 2x2 averaging, which its layers can express exactly, and
a small head reads the decoder's 128-pixel features. `outer` then trains the decoder's outermost level alone, which
learns to double the picture. The result is one ordinary autoencoder. `whole` trains all of it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.common.configs import VaeConfig
from pinxit.models.common.vae import AutoencoderKL, Level
from pinxit.nn import Conv2d, GroupNorm, normed_conv
from pinxit.train.recipe import VaeRecipe, VaeShape

Pictures = Callable[[int, int], Tensor]
"""(step, count) -> uint8 pictures [count, 3, S, S], always the same for the same step."""


def vae_config(shape: VaeShape) -> VaeConfig:
    return VaeConfig(
        z_channels=shape.z_channels,
        channels=shape.channels,
        channel_mult=shape.channel_mult,
        num_res_blocks=shape.num_res_blocks,
        norm_groups=shape.norm_groups,
    )


@torch.no_grad()
def make_outer_encoder_average(vae: AutoencoderKL) -> None:
    """Set the encoder's outermost level to 2x2 averaging of the picture, in its first three channels."""
    encoder = vae.encoder
    outer = cast(Level, encoder.down[0])
    for module in (encoder.conv_in, *outer.modules()):
        if isinstance(module, Conv2d):
            module.weight.zero_()
            cast(Tensor, module.bias).zero_()
    for colour in range(3):
        encoder.conv_in.weight[colour, colour, 1, 1] = 1.0
    averaging = cast(Conv2d, outer.get_submodule("downsample.conv"))
    for channel in range(averaging.out_channels):
        averaging.weight[channel, channel, :2, :2] = 0.25


def is_outer_encoder_average(vae: AutoencoderKL) -> bool:
    """Whether latents can be had from half-size pictures: the stages `inner` and `outer` keep the encoder so."""
    outer = cast(Level, vae.encoder.down[0])
    return all(not bool(block.get_submodule("conv2").get_parameter("weight").any()) for block in outer.block)


def on_device(pictures: Tensor, vae: AutoencoderKL) -> Tensor:
    """uint8 pictures as float32 in -1..1, channels last, where the autoencoder is."""
    x = pictures.to(vae.quant_conv.weight.device).float().div_(127.5).sub_(1)
    return x.contiguous(memory_format=torch.channels_last)


class InnerHead(nn.Module):
    """Reads a picture off the decoder's features one level before the end."""

    def __init__(self, channels: int, *, groups: int) -> None:
        super().__init__()
        self.norm_out = GroupNorm(channels, groups=groups, eps=1e-6)
        self.conv_out = Conv2d(channels, 3, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        return normed_conv(h, self.norm_out, self.conv_out)


def encode_inner(vae: AutoencoderKL, x: Tensor) -> tuple[Tensor, Tensor]:
    """Moments of half-size pictures [B,3,S,S], as the whole encoder gives them for the pictures twice that size."""
    encoder = vae.encoder
    h = F.pad(x, (0, 0, 0, 0, 0, vae.config.channels - x.shape[1]))
    for level in encoder.down[1:]:
        h = level(h)
    h = normed_conv(encoder.mid(h), encoder.norm_out, encoder.conv_out)
    mean, logvar = vae.quant_conv(h).chunk(2, dim=1)
    return mean, logvar.clamp(-30.0, 20.0)


def decode_inner(vae: AutoencoderKL, z: Tensor) -> Tensor:
    """The decoder's features [B,C,S,S] at half size, before its outermost level's upsampling."""
    decoder = vae.decoder
    h = decoder.mid(decoder.conv_in(vae.post_quant_conv(z)))
    for level in reversed(decoder.up[2:]):
        h = level(h)
    for block in cast(Level, decoder.up[1]).block:
        h = block(h)
    return h


def finish_outer(vae: AutoencoderKL, h: Tensor) -> Tensor:
    """The picture at full size from the half-size features."""
    decoder = vae.decoder
    h = cast(Level, decoder.up[1]).resampler(h)
    h = decoder.up[0](h)
    return normed_conv(h, decoder.norm_out, decoder.conv_out)


class AutoencoderTask:
    """One stage of training the autoencoder. `pictures` gives crops at the stage's own scale (`outer`: full size)."""

    def __init__(self, recipe: VaeRecipe, vae: AutoencoderKL, pictures: Pictures) -> None:
        self.recipe = recipe
        self.vae = vae
        self.pictures = pictures
        width = vae.config.channels * vae.config.channel_mult[1]
        self.head = InnerHead(width, groups=vae.config.norm_groups)
        decoder = vae.decoder
        if recipe.stage == "inner":
            make_outer_encoder_average(vae)
            trained: dict[str, nn.Module] = {
                "down": cast(nn.Module, vae.encoder.down[1:]),
                "encoder_mid": nn.ModuleList([vae.encoder.mid, vae.encoder.norm_out, vae.encoder.conv_out]),
                "moments": nn.ModuleList([vae.quant_conv, vae.post_quant_conv]),
                "decoder_mid": nn.ModuleList([decoder.conv_in, decoder.mid]),
                "up": nn.ModuleList([*decoder.up[2:], cast(Level, decoder.up[1]).block]),
                "head": self.head,
            }
        elif recipe.stage == "outer":
            upsample = cast(Level, decoder.up[1]).resampler
            trained = {"outer": nn.ModuleList([upsample, decoder.up[0], decoder.norm_out, decoder.conv_out])}
        else:
            trained = {"vae": vae}
        vae.requires_grad_(False)
        self.networks = nn.ModuleDict(trained).requires_grad_(True)
        self.networks.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's overloads omit this form

    def learning_rates(self, step: int) -> Mapping[str, float]:  # noqa: ARG002 - every step alike
        return {}

    def loss(self, step: int) -> Mapping[str, Tensor]:
        pictures = self.pictures(step, self.recipe.optimisation.batch)
        x = on_device(pictures, self.vae)
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            if self.recipe.stage == "outer":
                return self._outer_loss(x)
            return self._loss(x)

    def _loss(self, x: Tensor) -> dict[str, Tensor]:
        inner = self.recipe.stage == "inner"
        mean, logvar = encode_inner(self.vae, x) if inner else self.vae.encode(x)
        mean, logvar = mean.float(), logvar.float()
        z = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
        if float(torch.rand(())) < self.recipe.equivariance:
            z, x = F.avg_pool2d(z, 2), F.avg_pool2d(x, 2)
        decoded = self.head(decode_inner(self.vae, z)) if inner else self.vae.decode(z)
        terms = self._difference(decoded.float(), x)
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        terms["kl"] = kl
        terms["loss"] = terms["loss"] + self.recipe.kl * kl
        return terms

    def _outer_loss(self, x: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            mean, _ = encode_inner(self.vae, F.avg_pool2d(x, 2))
            features = decode_inner(self.vae, mean)
        return self._difference(finish_outer(self.vae, features).float(), x)

    def _difference(self, decoded: Tensor, x: Tensor) -> dict[str, Tensor]:
        l1 = (decoded - x).abs().mean()
        edges = pyramid_l1(decoded, x)
        psnr = -10 * torch.log10((decoded.detach() - x).square().mean() / 4 + 1e-12)
        return {"loss": l1 + self.recipe.pyramid * edges, "l1": l1, "psnr": psnr}


def pyramid_l1(a: Tensor, b: Tensor, levels: int = 3) -> Tensor:
    """L1 distance over the bands of a Laplacian pyramid (Burt & Adelson 1983), which weighs edges at every scale."""
    difference, total = a - b, a.new_zeros(())
    for _ in range(levels):
        smaller = F.avg_pool2d(difference, 2)
        total = total + (difference - F.interpolate(smaller, scale_factor=2.0, mode="nearest")).abs().mean()
        difference = smaller
    return total


@torch.no_grad()
def latent_statistics(task: AutoencoderTask, batches: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation [z] of each latent channel over `batches` batches of the task's own pictures."""
    vae, latents = task.vae, list[Tensor]()
    for step in range(batches):
        x = on_device(task.pictures(step, task.recipe.optimisation.batch), vae)
        mean, _ = encode_inner(vae, x) if task.recipe.stage == "inner" else vae.encode(x)
        latents.append(mean.transpose(0, 1).flatten(1))
    together = torch.cat(latents, dim=1)
    return together.mean(dim=1), together.std(dim=1)


@torch.no_grad()
def fold_statistics(vae: AutoencoderKL, mean: Tensor, std: Tensor) -> None:
    """Make latents zero-mean and unit-variance per channel by rescaling the two 1x1 convolutions around them.

    `mean` and `std` are [z]. Exact: decode(encode(x)) is unchanged up to rounding, and the scale factor becomes 1.
    """
    z = vae.config.z_channels
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant_bias, post_bias = cast(Tensor, quant.bias), cast(Tensor, post.bias)
    quant.weight[:z] /= std.view(-1, 1, 1, 1)
    quant_bias[:z] = (quant_bias[:z] - mean) / std
    quant_bias[z:] -= 2 * std.log()
    post_bias += post.weight[:, :, 0, 0] @ mean
    post.weight *= std.view(1, -1, 1, 1)
