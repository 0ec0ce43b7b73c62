import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdengine.data.prepare.blocks import (
    Patch,
    assign,
    choose_block,
    cut_blocks,
    cut_patches,
    interior,
    parse_shares,
)
from cdengine.errors import UsageError
from cdengine.raster.grid import Window

SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}


def test_shares_as_written():
    assert parse_shares("train=0.7, val=.15,test=0.15") == SHARES
    assert parse_shares("test=1") == {"test": 1.0}
    for wrong in ("train", "train=0.5", "train=0.5,train=0.5", "all=1", "a/b=1", "train=1.5,val=-0.5", "", "train=x"):
        with pytest.raises(UsageError, match="--splits"):
            parse_shares(wrong)


def test_blocks_tile_the_window_without_slivers():
    window = Window(5, 7, 1000, 430)
    blocks = cut_blocks(window, 200)
    counted = np.zeros((1010, 440), int)
    for block in blocks:
        counted[block.window.slices] += 1
        assert block.window.height >= 200 and block.window.width >= 200
    assert counted.sum() == window.pixels and counted.max() == 1
    assert [block.window for block in cut_blocks(window, 2000)] == [window]


def test_block_side_leaves_enough_of_them():
    large, small = Window(0, 0, 20000, 20000), Window(0, 0, 400, 400)
    assert choose_block([large], 256, 64, SHARES) == 4 * 256 + 64
    assert choose_block([small], 64, 16, SHARES) == 64 + 16
    assert choose_block([small] * 20, 64, 16, SHARES) == 2 * 64 + 16


def test_the_last_patch_is_moved_back_and_its_fresh_part_told():
    """The example of the docstring: width 600, side 256."""
    patches = list(cut_patches(Window(0, 0, 256, 600), 256, (False, False)))
    assert [patch.window.col for patch in patches] == [0, 256, 344]
    assert patches[2].fresh == Window(0, 512, 256, 88)
    assert len(list(cut_patches(Window(0, 0, 256, 600), 256, (False, False), least_fresh=0.5))) == 2


def test_a_small_scene_gets_a_patch_that_reaches_beyond():
    assert list(cut_patches(Window(0, 0, 100, 300), 128, (False, False))) == []
    patches = list(cut_patches(Window(3, 0, 100, 300), 128, (True, False)))
    assert [patch.window for patch in patches] == [Window(3, col, 128, 128) for col in (0, 128, 172)]
    assert patches[0] == Patch(Window(3, 0, 128, 128), Window(3, 0, 128, 128))


def gap(one: Window, two: Window) -> int:
    rows = max(one.row - two.row_stop, two.row - one.row_stop)
    cols = max(one.col - two.col_stop, two.col - one.col_stop)
    return max(rows, cols)


@settings(max_examples=50, deadline=None)
@given(
    height=st.integers(20, 300),
    width=st.integers(20, 300),
    patch=st.sampled_from([16, 32, 50]),
    buffer=st.integers(0, 20).map(lambda half: 2 * half),
    wide=st.integers(1, 4),
    seed=st.integers(0, 10**6),
)
def test_patches_of_different_splits_keep_their_distance(height, width, patch, buffer, wide, seed):
    window = Window(seed % 13, seed % 7, height, width)
    blocks = cut_blocks(window, wide * patch + buffer)
    rng = np.random.default_rng(seed)
    owners = {(block.row, block.col): "abc"[rng.integers(3)] for block in blocks}
    beyond = tuple(max(getattr(block, axis) for block in blocks) == 0 for axis in ("row", "col"))
    found = []
    for block in blocks:
        inner = interior(block, owners, buffer)
        patches = list(cut_patches(inner, patch, beyond))
        assert patches  # a block always has room for one
        counted = np.zeros((window.row_stop + patch, window.col_stop + patch), int)
        for item in patches:
            counted[item.fresh.slices] += 1
            assert item.fresh.intersect(item.window) == item.fresh
        assert counted[inner.slices].min() == counted.max() == 1  # every pixel once, none twice
        found += [(owners[block.row, block.col], item.window) for item in patches]
    for i, (split, one) in enumerate(found):
        for other, two in found[:i]:
            assert split == other or gap(one, two) >= buffer


def test_splits_share_area_and_change():
    rng = np.random.default_rng(1)
    labelled = rng.integers(8000, 10000, 40)
    changed = np.where(rng.random(40) < 0.6, rng.lognormal(5, 1.2, 40), 0)
    owners = np.array(assign(labelled, changed, SHARES, 0))
    for name, share in SHARES.items():
        assert abs(labelled[owners == name].sum() / labelled.sum() - share) < 0.02
        assert abs(changed[owners == name].sum() / changed.sum() - share) < 0.02


def test_splits_follow_the_seed_and_none_is_empty():
    labelled, changed = np.full(12, 100), np.zeros(12)
    first = assign(labelled, changed, SHARES, 3)
    assert first == assign(labelled, changed, SHARES, 3) and set(first) == set(SHARES)
    assert len({tuple(assign(labelled, changed, SHARES, seed)) for seed in range(10)}) > 3
    for seed in range(30):
        assert set(assign(np.array([1, 0, 0]), np.array([1, 0, 0]), SHARES, seed)) == set(SHARES)
    with pytest.raises(UsageError, match=r"2 block\(s\) for 3 splits.*--patch"):
        assign(labelled[:2], changed[:2], SHARES, 0)
