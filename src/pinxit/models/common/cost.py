"""What the shared networks cost, counted from their configurations: 2 operations per multiply-add, with attention."""

from __future__ import annotations

import math

from pinxit.models.common.configs import MmditConfig, UNetConfig, VaeConfig
from pinxit.models.contract import Cost
from pinxit.sampling.shortcuts import Caching, Merging

TOKENS = 77
CONV = 2 * 9
AROUND_ATTENTION = 7
"""Pictures at its size that a decoder's attention holds at once."""
IN_STRIPES = 6 * 2**20
"""Numbers that the stripes of a decoder's convolutions take: two and a half stripes of them in bfloat16."""


def unet_cost(config: UNetConfig, height: int, width: int, *, tokens: int = TOKENS, bytes_each: int = 4) -> Cost:
    """One U-Net call on one latent of `height` x `width`."""
    kept = largest = 0.0
    for level, (area, channels) in enumerate(zip(_areas(config, height, width), config.widths, strict=True)):
        largest = max(largest, 10.0 * area * channels)
        kept += area * channels * (config.num_res_blocks[level] + 1)
    return Cost(flops=unet_flops(config, height, width, tokens=tokens), activation_bytes=(largest + kept) * bytes_each)


def unet_flops(
    config: UNetConfig,
    height: int,
    width: int,
    caching: Caching | None = None,
    merging: Merging | None = None,
    *,
    tokens: int = TOKENS,
) -> float:
    """The operations of a call that reuses what a cache holds, or for None of a whole one, with `merging` in it."""
    areas = _areas(config, height, width)
    ratios = dict.fromkeys(config.self_attending[: merging.levels], merging.ratio) if merging else {}
    widths = config.widths
    before, skips = config.model_channels, [config.model_channels]
    down: list[float] = [CONV * config.in_channels * before * areas[0]]
    for level, (area, channels) in enumerate(zip(areas, widths, strict=True)):
        for depth in config.depths(level):
            block = _transformer(config, channels, depth, area, tokens, ratios.get(level, 0.0))
            down.append(_res(before, channels, area) + block)
            before = channels
            skips.append(channels)
        if level + 1 < len(widths):
            down.append(CONV * channels * channels * areas[level + 1])
            skips.append(channels)
    middle = config.middle_blocks * _res(before, before, areas[-1])
    middle += _transformer(config, before, config.transformer_depth_middle, areas[-1], tokens)
    up: list[float] = []
    for level in reversed(range(len(widths))):
        area, channels = areas[level], widths[level]
        for depth in config.output_depths(level):
            block = _transformer(config, channels, depth, area, tokens, ratios.get(level, 0.0))
            up.append(_res(before + skips.pop(), channels, area) + block)
            before = channels
        if level:
            up[-1] += CONV * channels * channels * areas[level - 1]
    out = CONV * widths[0] * config.out_channels * areas[0]
    if caching is None:
        return sum(down) + middle + sum(up) + out
    return sum(down[: caching.branch + 1]) + sum(up[-caching.branch - 1 :]) + out


def _areas(config: UNetConfig, height: int, width: int) -> list[int]:
    """Positions of the features at each level."""
    sides = [(height, width)]
    for _ in config.channel_mult[1:]:
        sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    return [high * wide for high, wide in sides]


def _res(before: int, after: int, area: int) -> float:
    shortcut = 2 * before * after if before != after else 0
    return area * (CONV * before * after + CONV * after * after + shortcut)


def _transformer(config: UNetConfig, channels: int, depth: int, area: int, tokens: int, ratio: float = 0.0) -> float:
    """Projections in and out; per block self- and cross-attention with their projections, and the feed-forward.

    Where self-attention merges the share `ratio` of its tokens, a quarter of all is compared with the others first.
    """
    if not depth:
        return 0.0
    own = area - int(ratio * area)
    projections = channels * channels * (4 * own + (2 + 12) * area) + 2 * channels * config.context_dim * tokens
    attention = 2 * channels * (own * own + area * tokens)
    if ratio:
        attention += 3 * channels * area * area // 16
    return depth * 2.0 * (projections + attention) + 4.0 * channels * channels * area


def vae_cost(config: VaeConfig, height: int, width: int, *, bytes_each: int = 4) -> Cost:
    """Decoding one latent of `height` x `width`.

    In memory are what a layer reads, what it writes, and the stripe that it works on.
    """
    widths = [config.channels * mult for mult in config.channel_mult]
    levels = len(widths)
    area = height * width
    flops: float = CONV * config.z_channels * widths[-1] * area + 2 * _res(widths[-1], widths[-1], area)
    flops += 8 * widths[-1] ** 2 * area + 4 * area * area * widths[-1]
    before, largest = widths[-1], AROUND_ATTENTION * area * widths[-1]
    for level in reversed(range(levels)):
        for _ in range(config.num_res_blocks + 1):
            flops += _res(before, widths[level], area)
            largest = max(largest, area * (before + widths[level]))
            before = widths[level]
        if level:
            largest = max(largest, (1 + 4) * area * before)
            area *= 4
            flops += CONV * before * before * area
    flops += CONV * before * config.out_channels * area
    return Cost(flops=flops, activation_bytes=(largest + IN_STRIPES) * bytes_each)


def mmdit_cost(config: MmditConfig, height: int, width: int, *, tokens: int = 2 * TOKENS, bytes_each: int = 4) -> Cost:
    """One call of a multimodal transformer on one latent of `height` x `width`."""
    patch, channels, inner = config.patch, config.width, config.intermediate
    pixels = math.ceil(height / patch) * math.ceil(width / patch)
    both = pixels + tokens
    flops = mmdit_flops(config, height, width, tokens=tokens)
    return Cost(flops=flops, activation_bytes=both * (6.0 * channels + 2 * inner) * bytes_each)


def mmdit_flops(
    config: MmditConfig,
    height: int,
    width: int,
    caching: Caching | None = None,
    merging: Merging | None = None,
    *,
    tokens: int = 2 * TOKENS,
) -> float:
    """The operations of a whole call, or of one that computes the first block alone. Tokens are never merged."""
    del merging
    patch, channels, inner = config.patch, config.width, config.intermediate
    pixels = math.ceil(height / patch) * math.ceil(width / patch)
    both = pixels + tokens
    block = 2.0 * both * (4 * channels**2 + 2 * channels * inner) + 4.0 * both**2 * channels
    second = 2.0 * pixels * 4 * channels**2 + 4.0 * pixels**2 * channels
    vectors = 2.0 * 12 * channels**2
    ends = 2.0 * (pixels * patch**2 * (config.in_channels + config.out_channels) + tokens * config.context) * channels
    if caching is not None:
        return block + vectors + (second if 0 in config.dual else 0.0) + ends
    return config.depth * (block + vectors) + len(config.dual) * second + ends
