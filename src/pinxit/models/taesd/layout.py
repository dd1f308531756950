"""The files of a tiny autoencoder: its halves together or apart, in the original names or in diffusers'.

Layers are numbered in one row, `encoder.0`, `encoder.1.conv.0` and so on; layers without weights count as well.

```
encoder  conv, (blocks, halving conv) per level but the last, blocks, conv
decoder  clamp, conv, relu, (blocks, doubling, conv) per level but the last, blocks, conv
```
Sizes, for `enc` and `dec`: `enc_levels`; `enc_blocks[i]`; `enc_first[i]`, the level's first block; `enc_conv[i]`, the
convolution that ends it; `encodes` and `decodes`, 1 where that half is there.
"""

from __future__ import annotations

from dataclasses import dataclass

from pinxit.weights.formula import Scope
from pinxit.weights.layout import ITS_WEIGHT, Layout, Measure, Part, Place, Row, Table, View

CLAMP = 1
"""Layers before the decoder's first convolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """How a sort of file writes the names: what stands before the numbers of each half, None where it has no such half.

    `clamp` is 1 where the decoder's clamp is numbered.
    """

    name: str
    encoder: str | None
    decoder: str | None
    clamp: int = CLAMP


OURS = Spelling(name="original tiny autoencoder", encoder="encoder.", decoder="decoder.")
PREFIXED = Spelling(name="tiny autoencoder with taesd_", encoder="taesd_encoder.", decoder="taesd_decoder.")
ENCODER = Spelling(name="encoder of a tiny autoencoder", encoder="", decoder=None)
DECODER = Spelling(name="decoder of a tiny autoencoder", encoder=None, decoder="")
DIFFUSERS = Spelling(name="diffusers tiny autoencoder", encoder="encoder.layers.", decoder="decoder.layers.", clamp=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """The levels of one half: how many blocks each has, its first block, and the convolution that ends it."""

    blocks: tuple[int, ...] = ()
    first: tuple[int, ...] = ()
    conv: tuple[int, ...] = ()


def _walk(view: View, prefix: str, at: int, *, doubles: bool) -> Half | None:
    """The levels from layer `at` on; None where they do not end, or hold no blocks.

    A level ends with a convolution, the last one with the half's last layer. Where the half `doubles`, a layer without
    weights stands before the others'.
    """
    blocks: list[int] = []
    first: list[int] = []
    conv: list[int] = []
    last = False
    while not last:
        count = 0
        while view.has(f"{prefix}{at + count}.conv"):
            count += 1
        end = at + count
        last = view.has(f"{prefix}{end}") if doubles else not view.has(f"{prefix}{end + 1}")
        end += int(doubles and not last)
        if not view.has(f"{prefix}{end}"):
            return None
        blocks.append(count)
        first.append(at)
        conv.append(end)
        at = end + 1
    return Half(blocks=tuple(blocks), first=tuple(first), conv=tuple(conv)) if any(blocks) else None


def _measure(spelling: Spelling) -> Measure:
    """How files of this spelling are measured. Numbers are given as ours."""
    shift = CLAMP - spelling.clamp
    start = CLAMP - shift

    def sizes(view: View) -> Scope | None:
        encoder = decoder = None
        if spelling.encoder is not None and view.has(f"{spelling.encoder}0"):
            encoder = _walk(view, spelling.encoder, 1, doubles=False)
        if spelling.decoder is not None and view.has(f"{spelling.decoder}{start}"):
            decoder = _walk(view, spelling.decoder, start + 2, doubles=True)
        if encoder is None and decoder is None:
            return None
        return {
            "encodes": int(encoder is not None),
            "decodes": int(decoder is not None),
            **_numbers("enc", encoder or Half(), 0),
            **_numbers("dec", decoder or Half(), shift),
        }

    return sizes


def _numbers(name: str, half: Half, shift: int) -> dict[str, int | tuple[int, ...]]:
    return {
        f"{name}_levels": len(half.blocks),
        f"{name}_blocks": half.blocks,
        f"{name}_first": tuple(at + shift for at in half.first),
        f"{name}_conv": tuple(at + shift for at in half.conv),
    }


def _table(spelling: Spelling) -> Table:
    encoder, decoder = spelling.encoder, spelling.decoder
    less = f"-{CLAMP - spelling.clamp}"
    rows: list[Row] = []
    if encoder is not None:
        rows += [
            Row("encoder.0", f"{encoder}0", e="encodes"),
            Row(
                "encoder.{enc_first[i]+j}.conv.{2*k}",
                f"{encoder}{{enc_first[i]+j}}.conv.{{2*k}}",
                i="enc_levels",
                j="enc_blocks[i]",
                k=3,
            ),
            Row("encoder.{enc_conv[i]}", f"{encoder}{{enc_conv[i]}}", ITS_WEIGHT, i="enc_levels-encodes"),
            Row("encoder.{enc_conv[enc_levels-1]}", f"{encoder}{{enc_conv[enc_levels-1]}}", e="encodes"),
        ]
    if decoder is not None:
        rows += [
            Row("decoder.1", f"{decoder}{{1{less}}}", d="decodes"),
            Row(
                "decoder.{dec_first[i]+j}.conv.{2*k}",
                f"{decoder}{{dec_first[i]+j{less}}}.conv.{{2*k}}",
                i="dec_levels",
                j="dec_blocks[i]",
                k=3,
            ),
            Row("decoder.{dec_conv[i]}", f"{decoder}{{dec_conv[i]{less}}}", ITS_WEIGHT, i="dec_levels-decodes"),
            Row("decoder.{dec_conv[dec_levels-1]}", f"{decoder}{{dec_conv[dec_levels-1]{less}}}", d="decodes"),
        ]
    return Table(name=spelling.name, rows=tuple(rows), measure=_measure(spelling), measure_ours=_measure(OURS))


def _layout(name: str, *spellings: Spelling, folder: bool = False) -> Layout:
    places = tuple(Place(prefix="", table=_table(spelling)) for spelling in spellings)
    return Layout(
        name=name, family="taesd", parts=(Part(component="taesd", places=places, required=True),), folder=folder
    )


WHOLE = _layout("taesd", OURS, PREFIXED)
FOLDER = _layout("taesd-diffusers", DIFFUSERS, folder=True)
ONLY_ENCODER = _layout("taesd-encoder", ENCODER)
ONLY_DECODER = _layout("taesd-decoder", DECODER)
LAYOUTS = (WHOLE, FOLDER, ONLY_ENCODER, ONLY_DECODER)
