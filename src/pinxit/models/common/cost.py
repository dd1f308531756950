"""What the shared networks cost, counted from their configurations: 2 operations per multiply-add, with attention."""

from __future__ import annotations

import math

from pinxit.models.common.configs import MmditConfig, UNetConfig, VaeConfig
from pinxit.models.contract import Cost

TOKENS = 77
CONV = 2 * 9


def unet_cost(config: UNetConfig, height: int, width: int, *, tokens: int = TOKENS, bytes_each: int = 4) -> Cost:
    """One U-Net call on one latent of `height` x `width`."""
    flops: float = CONV * config.in_channels * config.model_channels * height * width
    kept = largest = 0.0
    sizes = [(height, width)]
    for _ in config.channel_mult[1:]:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    widths = [config.model_channels * mult for mult in config.channel_mult]
    before, skips = config.model_channels, [config.model_channels]
    for level, channels in enumerate(widths):
        area = sizes[level][0] * sizes[level][1]
        for depth in config.depths(level):
            flops += _res(before, channels, area) + _transformer(config, channels, depth, area, tokens)
            before = channels
            skips.append(channels)
        if level + 1 < len(widths):
            flops += CONV * channels * channels * sizes[level + 1][0] * sizes[level + 1][1]
            skips.append(channels)
        largest = max(largest, 10.0 * area * channels)
        kept += area * channels * (config.num_res_blocks[level] + 1)
    area = sizes[-1][0] * sizes[-1][1]
    flops += config.middle_blocks * _res(before, before, area)
    flops += _transformer(config, before, config.transformer_depth_middle, area, tokens)
    for level in reversed(range(len(widths))):
        area, channels = sizes[level][0] * sizes[level][1], widths[level]
        for depth in config.output_depths(level):
            flops += _res(before + skips.pop(), channels, area) + _transformer(config, channels, depth, area, tokens)
            before = channels
        if level:
            flops += CONV * channels * channels * sizes[level - 1][0] * sizes[level - 1][1]
    flops += CONV * widths[0] * config.out_channels * height * width
    return Cost(flops=flops, activation_bytes=(largest + kept) * bytes_each)


def _res(before: int, after: int, area: int) -> float:
    shortcut = 2 * before * after if before != after else 0
    return area * (CONV * before * after + CONV * after * after + shortcut)


def _transformer(config: UNetConfig, channels: int, depth: int, area: int, tokens: int) -> float:
    """Projections in and out; per block self- and cross-attention with their projections, and the feed-forward."""
    if not depth:
        return 0.0
    projections = channels * channels * area * (4 + 2 + 12) + 2 * channels * config.context_dim * tokens
    attention = 2 * channels * area * (area + tokens)
    return depth * 2.0 * (projections + attention) + 4.0 * channels * channels * area


def vae_cost(config: VaeConfig, height: int, width: int, *, bytes_each: int = 4) -> Cost:
    """Decoding one latent of `height` x `width`."""
    widths = [config.channels * mult for mult in config.channel_mult]
    levels = len(widths)
    area = height * width
    flops: float = CONV * config.z_channels * widths[-1] * area + 2 * _res(widths[-1], widths[-1], area)
    flops += 8 * widths[-1] ** 2 * area + 4 * area * area * widths[-1]
    before, largest = widths[-1], 0.0
    for level in reversed(range(levels)):
        for _ in range(config.num_res_blocks + 1):
            flops += _res(before, widths[level], area)
            before = widths[level]
        if level:
            area *= 4
            flops += CONV * before * before * area
        largest = max(largest, 4.0 * area * before)
    flops += CONV * before * config.out_channels * area
    return Cost(flops=flops, activation_bytes=largest * bytes_each)


def mmdit_cost(config: MmditConfig, height: int, width: int, *, tokens: int = 2 * TOKENS, bytes_each: int = 4) -> Cost:
    """One call of a multimodal transformer on one latent of `height` x `width`."""
    patch, channels, inner = config.patch, config.width, config.intermediate
    pixels = math.ceil(height / patch) * math.ceil(width / patch)
    both = pixels + tokens
    block = 2.0 * both * (4 * channels**2 + 2 * channels * inner) + 4.0 * both**2 * channels
    second = 2.0 * pixels * 4 * channels**2 + 4.0 * pixels**2 * channels
    vectors = 2.0 * 12 * channels**2
    ends = 2.0 * (pixels * patch**2 * (config.in_channels + config.out_channels) + tokens * config.context) * channels
    flops = config.depth * (block + vectors) + len(config.dual) * second + ends
    return Cost(flops=flops, activation_bytes=both * (6.0 * channels + 2 * inner) * bytes_each)
