"""Caches and token merging in the networks themselves, against the same composed by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pinxit.models.common.configs import UNetConfig
from pinxit.models.common.cost import mmdit_cost, mmdit_flops, unet_cost, unet_flops
from pinxit.models.common.ldm_unet import UNet, embedding, merged_sizes, run
from pinxit.models.common.merging import Match
from pinxit.models.common.mmdit import TIME_WIDTH, MMDiT
from pinxit.models.common.transformer import TransformerBlock
from pinxit.nn import sinusoidal
from pinxit.sampling.shortcuts import Caching, Memory, Merging, Shortcut
from tests.tiny import sd3_config, seeded, tiny_unet

CONFIG = tiny_unet(context=48, head_width=32)
SD15 = UNetConfig(
    in_channels=4,
    out_channels=4,
    model_channels=320,
    channel_mult=(1, 2, 4, 4),
    num_res_blocks=(2, 2, 2, 2),
    transformer_depth=(1, 1, 1, 0),
    transformer_depth_middle=1,
    transformer_depth_output=(1, 1, 1, 0),
    context_dim=768,
    num_heads=8,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def unet() -> Callable[..., Tensor]:
    return seeded(UNet(CONFIG))


def told(caching: Caching, *, step: bool = True) -> Shortcut:
    memory = Memory(caching)
    memory.begin_step(afresh=step)
    memory.begin_call(1.0)
    return Shortcut(memory=memory)


def again(shortcut: Shortcut) -> Shortcut:
    """The same in the next step."""
    assert shortcut.memory is not None
    shortcut.memory.begin_step(afresh=False)
    shortcut.memory.begin_call(0.5)
    return shortcut


def by_hand(unet: UNet, old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor], context: Tensor, branch: int) -> Tensor:
    """The answer for `new` whose part below `branch` was computed for `old`; each is (x, t)."""
    deep = torch.empty(0)
    answer = deep
    for x, t in (old, new):
        emb, h, skips = embedding(unet, CONFIG, t, None), x, []
        for block in unet.input_blocks:
            h = run(block, h, emb, context)
            skips.append(h)
        h = run(unet.middle_block, h, emb, context)
        for place, block in enumerate(unet.output_blocks):
            if place == len(unet.output_blocks) - branch - 1:
                deep = h = h if x is old[0] else deep
            h = torch.cat([h, skips.pop()], dim=1)
            h = run(block, h, emb, context, size=skips[-1].shape[-2:] if skips else None)
        answer = unet.out(h)
    return answer


@pytest.mark.parametrize("branch", range(4))
@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
@torch.no_grad()
def test_a_reusing_call_is_what_is_composed_by_hand(unet: UNet, branch: int, size: tuple[int, int]) -> None:
    old, new = ((drawn(1, 4, *size, seed=seed), torch.tensor([900.0 - 50 * seed])) for seed in (1, 2))
    context = drawn(1, 5, 48, seed=3)
    shortcut = told(Caching(kind="deep", interval=2, branch=branch))
    assert torch.equal(unet(*old, context, shortcut=shortcut), unet(*old, context))
    found = unet(*new, context, shortcut=again(shortcut))
    assert torch.equal(found, by_hand(unet, old, new, context, branch))
    assert not torch.equal(found, unet(*new, context))


@torch.no_grad()
def test_the_block_cache_of_a_u_net_is_a_deep_one_that_looks_first(unet: UNet) -> None:
    x, t, context = drawn(1, 4, 8, 8), torch.tensor([500.0]), drawn(1, 5, 48)
    near, far = x + 0.01 * drawn(1, 4, 8, 8, seed=4), drawn(1, 4, 8, 8, seed=5)
    shortcut = told(Caching(kind="block", interval=9, branch=1, threshold=0.2))
    unet(x, t, context, shortcut=shortcut)
    found = unet(near, t, context, shortcut=again(shortcut))
    assert torch.equal(found, by_hand(unet, (x, t), (near, t), context, 1))
    assert torch.equal(unet(far, t, context, shortcut=again(shortcut)), unet(far, t, context))


@torch.no_grad()
def test_the_block_cache_of_a_transformer_adds_what_the_other_blocks_did() -> None:
    config = sd3_config(variant="3.5-medium").transformer
    network = seeded(MMDiT(config))
    assert isinstance(network, MMDiT)
    context, pooled = drawn(1, 7, config.context), drawn(1, config.pooled)
    x, t = drawn(1, 16, 8, 8), torch.tensor([500.0])
    near = x + 0.01 * drawn(1, 16, 8, 8, seed=4)
    shortcut = told(Caching(kind="block", interval=9, threshold=0.2))
    assert torch.equal(network(x, t, context, pooled, shortcut=shortcut), network(x, t, context, pooled))
    found = network(near, t, context, pooled, shortcut=again(shortcut))
    assert not torch.equal(found, network(near, t, context, pooled))

    c = network.t_embedder(sinusoidal(t, TIME_WIDTH)) + network.y_embedder(pooled)
    words = network.context_embedder(context)
    rest = torch.empty(0)
    picture = rest
    for given in (x, near):
        text, picture = network.joint_blocks[0](words, network.x_embedder(given) + network.positions(4, 4), c)
        if given is x:
            rest = network.joint_blocks[1](text, picture, c)[1] - picture
    patches = network.final_layer(picture + rest, c).unflatten(-1, (2, 2, -1)).unflatten(1, (4, 4))
    assert torch.equal(found, torch.einsum("nhwpqc->nchpwq", patches).flatten(4).flatten(2, 3))
    far = drawn(1, 16, 8, 8, seed=5)
    assert torch.equal(network(far, t, context, pooled, shortcut=again(shortcut)), network(far, t, context, pooled))


def merged_by_hand(x: Tensor, height: int, width: int, ratio: float) -> tuple[list[int], dict[int, int]]:
    """Which tokens stay, and which others each of the rest goes into, one by one."""
    alike = torch.nn.functional.normalize(x, dim=-1)
    stays = [row * width + column for row in range(0, height - 1, 2) for column in range(0, width - 1, 2)]
    sources = [place for place in range(height * width) if place not in stays]
    best = {place: max((float(alike[place] @ alike[to]), -to) for to in stays) for place in sources}
    gone = sorted(sources, key=lambda place: -best[place][0])[: int(ratio * height * width)]
    return stays, {place: -best[place][1] for place in gone}


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 6), (7, 3), (2, 2)])
def test_like_tokens_are_averaged_and_given_back(height: int, width: int, ratio: float) -> None:
    x = drawn(1, height * width, 8)
    match = Match(x, height, width, ratio)
    stays, into = merged_by_hand(x[0], height, width, ratio)
    assert match.merge(x).shape[1] == height * width - len(into)
    wanted = x[0].clone()
    for to in stays:
        group = [to, *(place for place, other in into.items() if other == to)]
        wanted[group] = x[0, group].mean(0)
    assert (match.spread(match.merge(x))[0] - wanted).abs().max() < 1e-6


def test_a_share_of_nothing_merges_nothing_and_a_thin_picture_cannot() -> None:
    for shape, ratio in (((4, 4), 0.0), ((1, 9), 0.5)):
        x = drawn(1, shape[0] * shape[1], 8)
        match = Match(x, *shape, ratio)
        assert torch.equal(match.spread(match.merge(x)), x)


def test_pictures_of_a_batch_merge_as_alone() -> None:
    x = drawn(3, 8 * 8, 16)
    together = Match(x, 8, 8, 0.5)
    merged = together.merge(x)
    for place in range(3):
        alone = Match(x[place : place + 1], 8, 8, 0.5)
        assert torch.equal(alone.merge(x[place : place + 1])[0], merged[place])
        assert torch.equal(alone.spread(merged[place : place + 1])[0], together.spread(merged)[place])


def test_many_tokens_are_compared_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    x = drawn(1, 12 * 12, 8)
    whole = Match(x, 12, 12, 0.5).merge(x)
    monkeypatch.setattr("pinxit.models.common.merging.PIECE", 7)
    assert torch.allclose(Match(x, 12, 12, 0.5).merge(x), whole)


@torch.no_grad()
def test_self_attention_alone_is_merged() -> None:
    block = TransformerBlock(32, heads=2, context=16, cross_only=False)
    seeded(block)
    x, context, match = drawn(1, 16, 32), drawn(1, 3, 16), Match(drawn(1, 16, 32), 4, 4, 0.5)
    h = x + match.spread(block.attn1(match.merge(block.norm1(x))))
    h = h + block.attn2(block.norm2(h), context)
    assert torch.equal(block(x, context, lambda _: match), h + block.ff(block.norm3(h)))
    crossed = seeded(TransformerBlock(32, heads=2, context=16, cross_only=True))
    assert torch.equal(crossed(x, context, lambda _: match), crossed(x, context))


@torch.no_grad()
def test_the_largest_sizes_that_attend_are_merged(unet: UNet) -> None:
    size = (9, 8)
    assert merged_sizes(CONFIG, size, None) == {}
    assert merged_sizes(CONFIG, size, Merging(ratio=0.5)) == {(9, 8): 0.5}
    assert merged_sizes(CONFIG, size, Merging(ratio=0.5, levels=8)) == {(9, 8): 0.5, (5, 4): 0.5}
    x, t, context = drawn(1, 4, *size), torch.tensor([500.0]), drawn(1, 5, 48)
    exact, one, both = (
        unet(x, t, context, shortcut=Shortcut(merging=merging))
        for merging in (Merging(ratio=0.0), Merging(ratio=0.5), Merging(ratio=0.5, levels=2))
    )
    assert torch.equal(exact, unet(x, t, context))
    assert not torch.equal(exact, one)
    assert not torch.equal(one, both)


def test_levels_without_self_attention_are_passed_over() -> None:
    upscaler = tiny_unet(context=8)
    assert upscaler.self_attending == (0, 1)
    assert SD15.self_attending == (0, 1, 2)
    assert replace(upscaler, disable_self_attention=(True, False)).self_attending == (1,)
    assert replace(SD15, transformer_depth=(0, 2, 10, 0), transformer_depth_output=(0, 2, 10, 0)).self_attending == (
        1,
        2,
    )


def test_what_a_reusing_call_costs() -> None:
    whole = unet_flops(SD15, 64, 64)
    assert whole == unet_cost(SD15, 64, 64).flops
    shares = [unet_flops(SD15, 64, 64, Caching(kind="deep", interval=2, branch=branch)) / whole for branch in range(12)]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(0.079, abs=0.001)
    assert shares[2] == pytest.approx(0.380, abs=0.001)
    assert SD15.branches == 12
    merged = [unet_flops(SD15, 128, 128, None, Merging(ratio=ratio)) / whole for ratio in (0.0, 0.25, 0.5, 0.75)]
    assert merged == sorted(merged, reverse=True)
    config = sd3_config(variant="3.5-medium").transformer
    assert mmdit_flops(config, 64, 64) == mmdit_cost(config, 64, 64).flops
    assert 0.4 < mmdit_flops(config, 64, 64, Caching(kind="block", interval=2)) / mmdit_flops(config, 64, 64) < 0.7
