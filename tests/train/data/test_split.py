from __future__ import annotations

import hashlib

import numpy as np

from pinxit.train.data import split
from pinxit.train.data.twins import Looks, smallest_twin, untwinned


def test_the_lot_is_the_documented_hash() -> None:
    digest = int(hashlib.sha1(b"1F431|noto").hexdigest(), 16)
    assert split.cell_is_drawn("1F431", "noto") == (digest % 20 == 0)


def test_cells_are_held_out_of_concepts_in_four_styles() -> None:
    styles = ("3d", "flat", "noto", "twemoji")
    concepts = [f"{code:X}" for code in range(0x1F300, 0x1F500)]
    cells = split.held_out_cells(dict.fromkeys(concepts, styles))
    assert cells == {(key, style) for key in concepts for style in styles if split.cell_is_drawn(key, style)}
    assert 0.035 < len(cells) / (4 * len(concepts)) < 0.065
    assert not split.held_out_cells(dict.fromkeys(concepts, styles[:3]))


def test_reserved_pairs_do_not_depend_on_order_and_shares_are_right() -> None:
    pairs = [(f"a{index}", f"b{index}") for index in range(3000)]
    held = [split.pair_is_held_out(*pair) for pair in pairs]
    assert held == [split.pair_is_held_out(other, one) for one, other in pairs]
    assert 15 < sum(held) < 50
    assert 250 < sum(split.count_is_held_out(one, 5) for one, _ in pairs) < 350
    assert not any(split.count_is_held_out(one, 4) for one, _ in pairs)
    assert 15 < sum(split.tint_is_held_out(one, "red") for one, _ in pairs) < 50
    assert 200 < sum(split.chinese_is_held_out(one) for one, _ in pairs) < 300


def test_look_alikes_are_found_and_repeats_only_in_their_set() -> None:
    looks = Looks()
    gray, dark = (128,) * 64, (20,) * 64
    for hash_, thumb, family in ((0, gray, "a"), (0b111, gray, "b"), (0b111, dark, "b"), (2**127 - 1, gray, "b")):
        looks.add(hash_, thumb, family)
    assert looks.pairs().tolist() == [[0, 1]]
    assert looks.repeats(0b1, gray, "a")
    assert not looks.repeats(0b1, gray, "c")
    assert not looks.repeats(2**64 - 1, gray, "a")
    assert not looks.repeats(0b1, dark, "a")
    assert len(looks) == 4
    assert Looks().pairs().shape == (0, 2)


def test_chains_of_twins_share_their_smallest_row() -> None:
    pairs = np.array([[1, 2], [2, 5], [3, 4]])
    assert smallest_twin(6, pairs) == [0, 1, 1, 3, 3, 1]


def test_a_row_whose_twin_was_given_up_is_given_up_too() -> None:
    pairs = np.array([[0, 1], [1, 2], [3, 4]])
    assert untwinned({1, 2, 3, 4, 5}, pairs) == {3, 4, 5}
