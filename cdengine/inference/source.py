"""What a detector sees while it prepares: the pair, limited to the area of interest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cdengine.inference.run import Mask
from cdengine.raster.pair import Pair, PixelBlock


class MaskedSource:
    """A `PixelSource`: pixels outside the area of interest are not valid, so statistics leave them out."""

    def __init__(self, pair: Pair, aoi: Mask | None, workers: int) -> None:
        self._pair, self._aoi, self._workers = pair, aoi, workers
        self.window, self.before, self.after = pair.window, pair.before, pair.after

    def strips(self, workers: int | None = None) -> Iterator[PixelBlock]:
        """Strips of the pair in row order."""
        for block in self._pair.strips(workers or self._workers):
            if self._aoi is not None:
                block = replace(block, valid=block.valid & self._aoi.mask(self._pair.grid, block.window))
            yield block
            del block  # not kept while the next strip is waited for
