"""A pair in memory and small detectors, so that the runner is tested without files and without torch."""

import numpy as np
from affine import Affine
from scipy import ndimage

from cdengine.errors import CDEngineError
from cdengine.inference.detector import BatchTooLarge
from cdengine.raster.grid import Grid, Window
from cdengine.raster.pair import PixelBlock, SourceInfo


class MemoryPair:
    """A source over arrays; `strip` is the height of its strips."""

    def __init__(self, before, after, valid=None, strip=40, window=None):
        self._before, self._after = before, after
        height, width = before.shape[1:]
        self._valid = np.ones((height, width), bool) if valid is None else valid
        self._strip = strip
        self.grid = Grid(None, Affine.identity(), height, width)
        self.window = window or Window(0, 0, height, width)
        self.before, self.after = (
            SourceInfo(name, tuple(range(1, len(image) + 1)), ("",) * len(image), image.dtype)
            for name, image in (("before", before), ("after", after))
        )

    def strips(self, workers=2, start_row=None):
        for part in self.window.split(self._strip):
            if start_row is None or part.row_stop > start_row:
                rows, cols = part.slices
                yield PixelBlock(part, self._before[:, rows, cols], self._after[:, rows, cols], self._valid[rows, cols])


class Difference:
    """A point operator: |after - before| / 255."""

    name, classes, margin, threshold = "difference", (), 0, 0.5

    def prepare(self, source, reporter):
        pass

    def predict(self, before, after, valid):
        change = np.abs(after.astype(np.float32) - before.astype(np.float32)).mean(axis=1, keepdims=True) / 255
        return np.where(valid[:, None], change, 0).astype(np.float32)

    def describe(self):
        return {}


class Constant(Difference):
    """The same value everywhere, one that float32 cannot add up exactly."""

    name = "constant"
    value = np.float32(0.1)

    def predict(self, before, after, valid):
        return np.full((len(before), 1, *before.shape[2:]), self.value, np.float32)


class Smooth(Difference):
    """A 7-pixel mean of the difference: values within 3 pixels of a tile's end are wrong."""

    name, margin = "smooth", 3

    def predict(self, before, after, valid):
        change = Difference.predict(self, before, after, valid)
        return ndimage.uniform_filter(change, (0, 0, 7, 7), mode="nearest").astype(np.float32)


class Uneven(Difference):
    """Depends on the position inside the tile, so that every detail of blending shows."""

    name = "uneven"

    def predict(self, before, after, valid):
        change = Difference.predict(self, before, after, valid)
        ramp = np.linspace(0, 1, change.shape[-1], dtype=np.float32)
        return change * ramp * ramp[:, None]


class Semantic(Difference):
    """Three classes by brightness."""

    name, classes = "semantic", ("low", "middle", "high")

    def predict(self, before, after, valid):
        def scores(image):
            level = image.astype(np.float32).mean(axis=1) / 85
            return np.stack([-np.abs(level - at) for at in (0.5, 1.5, 2.5)], axis=1)

        return np.concatenate([Difference.predict(self, before, after, valid), scores(before), scores(after)], axis=1)


class Hungry(Uneven):
    """Runs out of memory on batches larger than `limit`."""

    name = "hungry"

    def __init__(self, limit):
        self.limit = limit

    def predict(self, before, after, valid):
        if len(before) > self.limit:
            raise BatchTooLarge("too large")
        return super().predict(before, after, valid)


class Crash(CDEngineError):
    """Stands for a process that dies."""


class Crashing(Uneven):
    """Dies at the n-th call."""

    name, concurrency = "uneven", 1

    def __init__(self, calls):
        self.left = calls

    def predict(self, before, after, valid):
        self.left -= 1
        if self.left < 0:
            raise Crash("killed")
        return super().predict(before, after, valid)
