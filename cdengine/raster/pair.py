"""Two dates as one source of pixels on one grid. (The types; `Pair` itself reads them from files.)"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cdengine.raster.grid import Window

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class SourceInfo:
    """What one date delivers.

    Attributes:
        uri: as the user gave it, credentials and query strings removed.
        bands: 1-based numbers of the selected bands.
        names: their descriptions ("" where the file has none).
        dtype: stored dtype of the delivered pixels.
    """

    uri: str
    bands: tuple[int, ...]
    names: tuple[str, ...]
    dtype: np.dtype[Any]

    @property
    def count(self) -> int:
        """Number of selected bands."""
        return len(self.bands)


@dataclass(frozen=True)
class PixelBlock:
    """Pixels of both dates in one window of the grid.

    Attributes:
        window: where.
        before: (C1, h, w), stored dtype.
        after: (C2, h, w), stored dtype, on the same pixels.
        valid: (h, w) bool, True where both dates have data; values elsewhere are unspecified.
    """

    window: Window
    before: Array
    after: Array
    valid: Array


class PixelSource(Protocol):
    """Anything that delivers a pair strip by strip: a `Pair` of files, or a part of one."""

    window: Window
    before: SourceInfo
    after: SourceInfo

    def strips(self, workers: int = 2) -> Iterator[PixelBlock]:
        """Full-width strips of `window` in row order, read ahead by threads; chunk borders are fixed on the grid."""
