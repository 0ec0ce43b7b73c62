"""Splits that do not leak: a scene is cut into blocks, each block goes to one split, patches keep off other splits.

Pure geometry on pixel windows; no file access.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdengine.errors import UsageError
from cdengine.raster.grid import Window

Array = np.ndarray[Any, np.dtype[Any]]

TRAIN = "train"
BLOCK_PATCHES = (4, 3, 2, 1)  # sides of a block in patches, the widest first: wide ones lose least to buffers
BLOCKS_A_SHARE = 4.0  # blocks that the smallest share should have at least
PROPOSALS = 4000  # changes of the splits that are tried: a second at most, and hundreds of blocks fit within a percent


@dataclass(frozen=True)
class Block:
    """A rectangle of a scene that belongs to one split.

    Attributes:
        row, col: place among the scene's blocks.
        window: its pixels.
    """

    row: int
    col: int
    window: Window


@dataclass(frozen=True)
class Patch:
    """A square that is cut.

    Attributes:
        window: its pixels; reaches beyond the scene where that is smaller.
        fresh: the part that no earlier patch of the same block shows.
    """

    window: Window
    fresh: Window


def parse_shares(text: str) -> dict[str, float]:
    """Shares of splits as a user writes them, "train=0.7,val=0.15,test=0.15".

    Raises:
        UsageError: not so written, or they do not add up to 1.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or name == "all" or not _is_share(value):
            raise UsageError(f"--splits {text!r}: give names with shares, such as train=0.7,val=0.15,test=0.15")
        if name in shares:
            raise UsageError(f"--splits {text!r}: {name} is given twice")
        shares[name] = float(value)
    if abs(sum(shares.values()) - 1) > 1e-3:
        raise UsageError(f"--splits {text!r}: shares add up to {sum(shares.values()):g}, not to 1")
    return shares


def _is_share(text: str) -> bool:
    return bool(re.fullmatch(r"\d*\.?\d+", text)) and 0 < float(text) <= 1


def choose_block(windows: Sequence[Window], patch: int, buffer: int, shares: Mapping[str, float]) -> int:
    """Side of the blocks: as wide as leaves enough of them for every share.

    Args:
        windows: of the scenes that are split.
        patch: side of a patch, pixels.
        buffer: pixels between patches of different splits, even.
        shares: of the splits.
    """
    wanted = math.ceil(BLOCKS_A_SHARE / min(shares.values()))
    sides = [patches * patch + buffer for patches in BLOCK_PATCHES]
    return next((side for side in sides if sum(len(cut_blocks(w, side)) for w in windows) >= wanted), sides[-1])


def cut_blocks(window: Window, side: int) -> list[Block]:
    """Blocks of at least `side` pixels a side (the whole, where it is smaller), nearly equal, row by row."""
    rows = np.linspace(window.row, window.row_stop, max(1, window.height // side) + 1).round().astype(int).tolist()
    cols = np.linspace(window.col, window.col_stop, max(1, window.width // side) + 1).round().astype(int).tolist()
    return [
        Block(i, j, Window(rows[i], cols[j], rows[i + 1] - rows[i], cols[j + 1] - cols[j]))
        for i in range(len(rows) - 1)
        for j in range(len(cols) - 1)
    ]


def assign(labelled: Array, changed: Array, shares: Mapping[str, float], seed: int) -> list[str]:
    """Gives each block a split, so that labelled pixels and change are shared out alike.

    Blocks are dealt out at random in proportion to the shares; then single moves and swaps are kept while they bring
    area and change of the splits nearer to what was asked for.

    Args:
        labelled: (N,) labelled pixels of each block.
        changed: (N,) changed pixels of each block.
        shares: of the splits.
        seed: of the dealing.

    Raises:
        UsageError: fewer blocks than splits.
    """
    count, names = len(labelled), list(shares)
    if count < len(names):
        raise UsageError(
            f"{count} block(s) for {len(names)} splits: give a smaller --patch or --block, "
            "or give each scene a split in a table of scenes"
        )
    rng = np.random.default_rng(seed)
    wanted = np.array([shares[name] for name in names])
    amounts = np.stack([part / max(1.0, float(part.sum())) for part in (labelled, changed)])
    # at least one block each, the rest in proportion
    parts = np.maximum(1, np.floor(wanted * count)).astype(int)
    while parts.sum() > count:
        parts[np.argmax(parts)] -= 1
    dealt = np.repeat(np.arange(len(names)), parts).tolist()
    dealt += rng.choice(len(names), count - len(dealt), p=wanted / wanted.sum()).tolist()
    owners = rng.permutation(np.array(dealt))
    _improve(owners, amounts, wanted, rng)
    return [names[owner] for owner in owners.tolist()]


def _improve(owners: Array, amounts: Array, wanted: Array, rng: np.random.Generator) -> None:
    """Hill climbing in place: proposals of a move or a swap, kept where the misfit falls and no split runs empty."""
    splits = len(wanted)
    given = np.stack([amounts[:, owners == split].sum(1) for split in range(splits)], 1)  # (2, splits)
    cost = _misfit(given, wanted)
    for one, two, split, swap in zip(
        *rng.integers(len(owners), size=(2, PROPOSALS)).tolist(),
        rng.integers(splits, size=PROPOSALS).tolist(),
        rng.integers(2, size=PROPOSALS).tolist(),
        strict=True,
    ):
        source, target = int(owners[one]), int(owners[two]) if swap else split
        if source == target or (not swap and (owners == source).sum() == 1):
            continue
        step = amounts[:, one] - (amounts[:, two] if swap else 0)
        trial = given.copy()
        trial[:, source] -= step
        trial[:, target] += step
        found = _misfit(trial, wanted)
        if found < cost - 1e-12:
            cost, given = found, trial
            owners[one] = target
            if swap:
                owners[two] = source


def _misfit(given: Array, wanted: Array) -> float:
    """Squared error of each split's shares of area and of change, relative to the share asked for."""
    return float((((given - wanted) ** 2) / wanted).sum())


def interior(block: Block, owners: Mapping[tuple[int, int], str], buffer: int) -> Window:
    """The part of a block that is `buffer`/2 pixels off every block of another split.

    Corners too: two blocks that touch at a corner keep apart in rows. So patches of different splits are at least
    `buffer` rows or columns apart.

    Args:
        block: one of a scene's.
        owners: place → split, of all blocks of the scene.
        buffer: pixels, even.
    """
    mine, half = owners[block.row, block.col], buffer // 2

    def strange(rows: Sequence[int], cols: Sequence[int]) -> bool:
        return any(owners.get((block.row + i, block.col + j), mine) != mine for i in rows for j in cols)

    top, bottom = half * strange((-1,), (-1, 0, 1)), half * strange((1,), (-1, 0, 1))
    left, right = half * strange((0,), (-1,)), half * strange((0,), (1,))
    inner = block.window
    return Window(
        inner.row + top, inner.col + left, max(0, inner.height - top - bottom), max(0, inner.width - left - right)
    )


def cut_patches(window: Window, side: int, beyond: tuple[bool, bool], least_fresh: float = 0.0) -> Iterator[Patch]:
    """Patches that cover a window, row by row; the last of a row or column is moved back to end with the window.

    Args:
        window: an interior.
        side: of a patch.
        beyond: whether a patch may reach beyond a window that is smaller, in rows and in columns: where the window is
            the scene's full extent, so that nothing but emptiness lies there.
        least_fresh: share of a side that a patch which is moved back must show anew; else it is left out.

    Example: width 600, side 256 → starts 0, 256, 344; the last shows 168 columns again, its fresh part is 88 wide.
    """
    for length, free in ((window.height, beyond[0]), (window.width, beyond[1])):
        if length < 1 or (length < side and not free):
            return
    for row, fresh_row in _starts(window.row, window.height, side, least_fresh):
        for col, fresh_col in _starts(window.col, window.width, side, least_fresh):
            whole = Window(row, col, side, side)
            yield Patch(whole, Window(fresh_row, fresh_col, row + side - fresh_row, col + side - fresh_col))


def _starts(first: int, length: int, side: int, least_fresh: float) -> list[tuple[int, int]]:
    """(start, first fresh pixel) of patches along one axis."""
    starts = [(first + step, first + step) for step in range(0, max(1, length - side + 1), side)]
    end = starts[-1][0] + side
    rest = first + length - end
    if rest > 0 and rest >= least_fresh * side:
        starts.append((first + length - side, end))
    return starts
