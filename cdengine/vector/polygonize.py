"""Labels in strips → polygons in pixel coordinates, each finished as soon as its last row has passed.

Runs of equal pixels are the nodes of a graph, so 4-connected components are found without touching pixels twice.
Between strips only the last row, and the corners of components that reach it, are carried; no geometry is ever
united, hence time is linear however many strips an object crosses, and the result does not depend on the strips.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cdengine.events import Reporter
from cdengine.vector.rings import pack, trace

Array = np.ndarray[Any, np.dtype[Any]]

BLOCK_PIXELS = 1 << 20  # worked on at a time: fits caches, and noise of that size takes less than a second
# Probabilities are summed as multiples of 2**-24 (float32's own step below 1). Such sums are exact in float64 up to
# 5e8 pixels, so means do not depend on how the rows came.
PROBABILITY_STEPS = float(1 << 24)


@dataclass(frozen=True)
class Patches:
    """Connected pixels of one value, many at a time; all arrays have one entry a patch.

    Attributes:
        geometry: shapely polygons, x = column, y = row of the pixel lattice, integers, valid.
        value: the label, int64.
        pixels: number of pixels, int64.
        probability: mean, float64; NaN where none was given.
        first: (n, 2) int64, row and column of the first pixel in reading order, which identifies the patch.
    """

    geometry: Array
    value: Array
    pixels: Array
    probability: Array
    first: Array

    def __len__(self) -> int:
        return len(self.geometry)

    def take(self, which: Array) -> Patches:
        """The patches at the given positions, or where a mask is True."""
        return Patches(
            self.geometry[which], self.value[which], self.pixels[which], self.probability[which], self.first[which]
        )

    @staticmethod
    def join(parts: list[Patches]) -> Patches:
        """All parts, one after the other."""
        if not parts:
            return Patches(
                np.empty(0, dtype=object),
                np.empty(0, dtype=np.int64),
                np.empty(0, dtype=np.int64),
                np.empty(0),
                np.empty((0, 2), dtype=np.int64),
            )
        if len(parts) == 1:
            return parts[0]
        return Patches(
            np.concatenate([part.geometry for part in parts]),
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.pixels for part in parts]),
            np.concatenate([part.probability for part in parts]),
            np.concatenate([part.first for part in parts]),
        )


@dataclass
class _Open:
    """Components that reach the last row seen, and what is known of each."""

    of_run: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))  # of the last row's runs
    pixels: Array = field(default_factory=lambda: np.empty(0))
    total: Array = field(default_factory=lambda: np.empty(0))
    corners: list[list[Array]] = field(default_factory=list)


@dataclass(frozen=True)
class _Components:
    """Components of one strip together with those open before it."""

    of_open: Array  # component of each one that was open
    of_run: Array  # component of each run of the strip, the carried row included
    still_open: Array  # bool per component
    last_row: slice  # the runs of the strip's last row
    pixels: Array  # float64, exact: so far
    total: Array  # sum of probability steps so far
    value: Array


class Polygonizer:
    """Takes strips of labels from top to bottom and hands back what is finished."""

    def __init__(self, width: int, *, min_pixels: int = 1, reporter: Reporter | None = None) -> None:
        """Sets up for strips of a width.

        Args:
            width: columns of every strip.
            min_pixels: patches with fewer pixels are dropped before they are traced.
            reporter: asked between blocks whether to stop.
        """
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        self._width, self._min_pixels = width, min_pixels
        self._reporter = reporter or Reporter()
        self._next_row: int | None = None
        self._above: Array = np.zeros(width, dtype=np.uint8)
        self._open = _Open()

    def add(self, row: int, labels: Array, probability: Array | None = None) -> Patches:
        """Takes the next strip.

        Args:
            row: of the strip's first row; rows that were left out count as background.
            labels: (h, width) integers, 0 is background.
            probability: (h, width) floats in 0 … 1, finite wherever the label is not 0; None when there are none.

        Returns:
            The patches that ended above the strip's last row.

        Raises:
            ValueError: a row that was seen already, or a wrong shape.
        """
        if labels.ndim != 2 or labels.shape[1] != self._width:
            raise ValueError(f"labels have shape {labels.shape}, expected (rows, {self._width})")
        if probability is not None and probability.shape != labels.shape:
            raise ValueError(f"probability has shape {probability.shape}, labels {labels.shape}")
        parts = []
        if self._next_row is not None and row != self._next_row:
            if row < self._next_row:
                raise ValueError(f"row {row} comes after row {self._next_row - 1}: strips must go downwards")
            parts.append(self.finish())
        rows = max(1, BLOCK_PIXELS // self._width)
        for start in range(0, labels.shape[0], rows):
            self._reporter.check()
            part = None if probability is None else probability[start : start + rows]
            parts.append(self._block(row + start, labels[start : start + rows], part))
        return Patches.join([part for part in parts if len(part)])

    def finish(self) -> Patches:
        """Ends all patches at the last row seen, and hands back those that were open."""
        if self._next_row is None:
            return Patches.join([])
        patches = self._block(self._next_row, np.zeros((1, self._width), dtype=np.uint8), None)
        self._next_row = None
        return patches

    def _block(self, row: int, labels: Array, probability: Array | None) -> Patches:
        height, width = labels.shape
        # One carried row above, one column of background on either side: no border is special from here on.
        padded = np.zeros((height + 1, width + 2), dtype=np.promote_types(labels.dtype, self._above.dtype))
        padded[0, 1:-1] = self._above
        padded[1:, 1:-1] = labels
        column_step = padded[:, 1:] != padded[:, :-1]  # (h + 1, w + 1), at lattice columns
        row_step = padded[1:] != padded[:-1]  # (h, w + 2), at lattice rows
        either = column_step[1:] | column_step[:-1]

        found = padded[:, 1:] != 0
        begin = np.flatnonzero(column_step & found)  # of runs, as positions in (h + 1, w + 1)
        components = self._connect(padded, begin, np.flatnonzero(either & ~row_step[:, 1:] & found[1:]), probability)
        at = np.flatnonzero(either & (row_step[:, 1:] | row_step[:, :-1]))
        run, corner = _corners(padded, begin, at, row)
        patches = self._close(components, components.of_run[run], corner)
        self._above, self._next_row = padded[-1, 1:-1].copy(), row + height
        return patches

    def _connect(self, padded: Array, begin: Array, touching: Array, probability: Array | None) -> _Components:
        """Components of the strip's runs and the open ones.

        Args:
            padded: (h + 1, w + 2) labels.
            begin: first pixel of each run.
            touching: first pixel of each stretch that two runs of one value share across a row border, in the
                numbering of the (h, w + 1) lower pixels.
            probability: (h, w) or None.
        """
        stride = self._width + 1
        carried, opened = len(self._open.of_run), len(self._open.corners)
        node = np.concatenate([self._open.of_run, np.arange(opened, opened + len(begin) - carried)])
        upper = node[np.searchsorted(begin, touching, side="right") - 1]
        lower = node[np.searchsorted(begin, touching + stride, side="right") - 1]
        nodes = opened + len(begin) - carried
        graph = coo_array((np.ones(len(upper)), (upper, lower)), shape=(nodes, nodes))
        count, component = connected_components(graph, directed=False)
        of_run = component[node]

        fresh, own = begin[carried:], of_run[carried:]
        end = np.flatnonzero((padded[1:, 1:] != padded[1:, :-1]) & (padded[1:, :-1] != 0)) + stride
        pixels = np.bincount(own, weights=end - fresh, minlength=count)
        total = np.zeros(count)
        if probability is not None and len(fresh):
            steps = np.rint(probability[padded[1:, 1:-1] != 0].astype(np.float64) * PROBABILITY_STEPS)
            lengths = end - fresh
            sums = np.add.reduceat(steps, np.cumsum(lengths) - lengths)
            total = np.bincount(own, weights=sums, minlength=count)
        np.add.at(pixels, component[:opened], self._open.pixels)
        np.add.at(total, component[:opened], self._open.total)
        value = np.zeros(count, dtype=np.int64)
        value[of_run] = padded[:, 1:].ravel()[begin] if len(begin) else 0
        still_open = np.zeros(count, dtype=bool)
        last_row = slice(int(np.searchsorted(begin, (padded.shape[0] - 1) * stride)), None)
        still_open[of_run[last_row]] = True
        return _Components(component[:opened], of_run, still_open, last_row, pixels, total, value)

    def _close(self, components: _Components, component: Array, corner: Array) -> Patches:
        """Traces what has ended, and keeps what has not.

        Args:
            components: of the strip.
            component: of each corner.
            corner: the strip's corners, packed.
        """
        ended = ~components.still_open & (components.pixels >= self._min_pixels)
        number = np.cumsum(ended) - 1
        mine = ended[component]
        owners, corners = [number[component[mine]]], [corner[mine]]
        for old, where in enumerate(components.of_open):
            if ended[where]:
                for piece in self._open.corners[old]:
                    owners.append(np.full(len(piece), number[where]))
                    corners.append(piece)
        self._carry(components, component, corner)

        count = int(ended.sum())
        geometry, first = trace(np.concatenate(owners), np.concatenate(corners), count)
        pixels = components.pixels[ended]
        return Patches(
            geometry,
            components.value[ended],
            pixels.astype(np.int64),
            components.total[ended] / pixels / PROBABILITY_STEPS,
            first,
        )

    def _carry(self, components: _Components, component: Array, corner: Array) -> None:
        """Replaces the open components by those of this strip that reach its last row."""
        kept = components.still_open
        number = np.cumsum(kept) - 1
        pieces: list[list[Array]] = [[] for _ in range(int(kept.sum()))]
        for old, where in enumerate(components.of_open):
            if kept[where]:
                new, older = number[where], self._open.corners[old]
                if len(pieces[new]) < len(older):  # the shorter list moves: n log n altogether
                    pieces[new], older = older, pieces[new]
                pieces[new].extend(older)
        mine = kept[component]
        owner, corner = number[component[mine]], corner[mine]
        order = np.argsort(owner, kind="stable")
        present, start = np.unique(owner[order], return_index=True)
        for new, piece in zip(present, np.split(corner[order], start[1:]), strict=False):
            pieces[new].append(piece)
        last = components.of_run[components.last_row]
        self._open = _Open(number[last], components.pixels[kept], components.total[kept], pieces)


def _corners(padded: Array, begin: Array, at: Array, row: int) -> tuple[Array, Array]:
    """Corners of all outlines.

    Args:
        padded: (h + 1, w + 2) labels.
        begin: first pixel of each run, in the numbering of (h + 1, w + 1) pixels that starts left at the first column.
        at: lattice points to look at, in the numbering (h, w + 1).
        row: of the strip's first row, so of lattice row 0 here.

    Returns:
        The run and the packed corner (see `rings.pack`) of each, in no particular order.
    """
    stride = padded.shape[1] - 1
    lattice_row, col = np.divmod(at, stride)
    flat, corner = padded.ravel(), at + lattice_row
    nw, ne = flat[corner], flat[corner + 1]
    sw, se = flat[corner + stride + 1], flat[corner + stride + 2]
    north, south, west, east = nw == ne, sw == se, nw == sw, ne == se
    main, anti = nw == se, ne == sw
    runs, corners = [], []
    # (value, equals its neighbour in the row, in the column, the opposite pixel, offset, whether on the main diagonal)
    for value, in_row, in_column, opposite, offset, diagonal in (
        (nw, north, west, main, -1, True),
        (ne, north, east, anti, 0, False),
        (sw, south, west, anti, stride - 1, False),
        (se, south, east, main, stride, True),
    ):
        # Alone, or with its one diagonal pixel only: an outer corner. With all but the opposite one: an inner corner.
        present = value != 0
        for chosen, horizontal in (
            (present & ~in_row & ~in_column, diagonal),
            (present & in_row & in_column & ~opposite, not diagonal),
        ):
            which = np.flatnonzero(chosen)
            runs.append(np.searchsorted(begin, at[which] + offset, side="right") - 1)
            corners.append(pack(lattice_row[which] + row, col[which], horizontal))
    return np.concatenate(runs), np.concatenate(corners)
