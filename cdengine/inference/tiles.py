"""How a window is covered by overlapping tiles, and how much each tile counts at each pixel. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cdengine.errors import UsageError

Array = np.ndarray[Any, np.dtype[Any]]

PHASE = 32  # tiles start at multiples of this, so that networks with strides up to 32 see one phase everywhere


def round_up(length: int, multiple: int = PHASE) -> int:
    """The smallest multiple that is at least `length`."""
    return -(-length // multiple) * multiple


@dataclass(frozen=True)
class Axis:
    """Tiles along one axis of a window of `length` pixels.

    Example: length 1000, tile 512, overlap 64 → stride at most 448, so three tiles; evened out and on the
    32-pixel phase they start at 0, 256, 512, and the last one reaches to 1024 (24 pixels of padding).

    Attributes:
        length: pixels to cover.
        tile: size asked for; a shorter window gets one tile of its own length, rounded up to 32.
        overlap: smallest number of pixels that neighbours share.
        margin: pixels at a tile's inner ends that are not trusted; overlap must be at least twice this.
    """

    length: int
    tile: int
    overlap: int
    margin: int = 0

    @cached_property
    def size(self) -> int:
        """Length of each tile."""
        return min(self.tile, round_up(self.length))

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First pixel of each tile, increasing, multiples of 32."""
        if self.length <= self.size:
            return (0,)
        overlap = min(round_up(max(self.overlap, 2 * self.margin)), self.size - PHASE)
        stride = self.size - overlap
        last = round_up(self.length - self.size)
        gaps = -(-last // stride)
        # Spread evenly: a last tile that is simply moved back would share most of its rows with the one before.
        return (*(last * i // gaps // PHASE * PHASE for i in range(gaps)), last)

    def stop(self, index: int) -> int:
        """One past the last pixel of tile `index` inside the window."""
        return min(self.starts[index] + self.size, self.length)

    def final(self, index: int) -> int:
        """Pixels before this position need no later tile than `index`."""
        return self.starts[index + 1] if index + 1 < len(self.starts) else self.length

    def first_needed(self, index: int) -> int:
        """The first tile that reaches into what is final only with tile `index`."""
        return next(i for i in range(index + 1) if self.starts[i] + self.size > self.starts[index])

    def weights(self, index: int) -> Array:
        """float64 (size,): weight of tile `index` at its own pixels.

        Strictly positive wherever the tile is trusted, 0 on the untrusted margin at inner ends; it does not fade
        towards the window's own ends.
        """
        position = np.arange(self.size, dtype=np.float64)
        weight = np.ones(self.size)
        inner_first, inner_last = index > 0, index + 1 < len(self.starts)
        if inner_first:
            shared = self.starts[index - 1] + self.size - self.starts[index]
            weight = np.minimum(weight, self._ramp(position, shared))
        if inner_last:
            shared = self.starts[index] + self.size - self.starts[index + 1]
            weight = np.minimum(weight, self._ramp(self.size - 1 - position, shared))
        return weight

    def _ramp(self, distance: Array, shared: int) -> Array:
        """Rises over the trusted part of the shared pixels; `distance` counts from the tile's end."""
        length = max(shared - 2 * self.margin, 1)
        rise = np.clip((distance - self.margin + 0.5) / length, 0.5 / length, 1.0)
        return np.where(distance < self.margin, 0.0, rise)

    @cached_property
    def shares(self) -> tuple[Array, ...]:
        """float32 (size,) per tile: what the tile counts against all tiles up to and including it.

        Blending is the running convex combination acc + share (new - acc): with equal values the difference is
        exactly 0, so a constant stays that constant, bit for bit.
        """
        total = np.zeros(self.starts[-1] + self.size)
        shares = []
        for index, start in enumerate(self.starts):
            weight = self.weights(index)
            total[start : start + self.size] += weight
            here = total[start : start + self.size]
            shares.append(np.divide(weight, here, out=np.zeros_like(weight), where=here > 0).astype(np.float32))
        return tuple(shares)


@dataclass(frozen=True)
class Tiling:
    """Tiles of a window in both directions."""

    rows: Axis
    cols: Axis

    @classmethod
    def of(cls, height: int, width: int, tile: int, overlap: int, margin: int) -> Tiling:
        """Tiles of at most `tile` × `tile` pixels over `height` × `width`.

        Raises:
            UsageError: tiles so small that neighbours cannot share what they have to.
        """
        if overlap >= tile:
            raise UsageError(f"--overlap {overlap}: less than the tile's {tile} pixels")
        least = round_up(2 * margin) + PHASE
        if tile < least and max(height, width) > tile:
            raise UsageError(f"--tile {tile}: {least} or more, as neighbours have to share {2 * margin} pixels")
        return cls(Axis(height, tile, overlap, margin), Axis(width, tile, overlap, margin))

    @property
    def tile_pixels(self) -> int:
        """Pixels of all tiles together, overlaps counted each time (what a detector has to compute)."""
        return len(self.rows.starts) * len(self.cols.starts) * self.rows.size * self.cols.size
