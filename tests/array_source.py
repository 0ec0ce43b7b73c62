"""A pair in memory, and how a whole pair is detected at once."""

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.warp import reproject

from cdengine.events import Reporter
from cdengine.raster.grid import Window
from cdengine.raster.pair import PixelBlock, SourceInfo


class ArraySource:
    """A pixel source over arrays (C, H, W), in strips of any height."""

    def __init__(self, before, after, valid=None, strip=64, origin=(0, 0)):
        self._before, self._after = before, after
        self._valid = np.ones(before.shape[1:], bool) if valid is None else valid
        self._strip, self._origin = strip, origin
        self.window = Window(*origin, *before.shape[1:])
        self.before, self.after = _info("before.tif", before), _info("after.tif", after)

    def strips(self, workers=2):
        for part in self.window.split(self._strip):
            rows, cols = part.within(self.window).slices
            yield PixelBlock(part, self._before[:, rows, cols], self._after[:, rows, cols], self._valid[rows, cols])


def _info(uri, pixels):
    bands = tuple(range(1, len(pixels) + 1))
    return SourceInfo(uri, bands, ("",) * len(bands), pixels.dtype)


def detect(detector, before, after, valid=None, **source):
    """Prepares on the pair and predicts it as one tile: (H, W)."""
    valid = np.ones(before.shape[1:], bool) if valid is None else valid
    detector.prepare(ArraySource(before, after, valid, **source), Reporter())
    return detector.predict(before[None], after[None], valid[None])[0, 0]


def scene(rng, bands=3, height=96, width=120, dtype=np.uint16, change=(30, 50, 40, 60)):
    """Correlated bands at two dates with other gain and noise; a rectangle (rows, cols) becomes something else."""
    ground = rng.normal(size=(bands, height, width))
    ground[1:] += 0.7 * ground[:1]
    before = 1000 + 150 * ground + rng.normal(0, 20, ground.shape)
    after = 800 + 190 * ground + rng.normal(0, 20, ground.shape)
    truth = np.zeros((height, width), bool)
    top, bottom, left, right = change
    truth[top:bottom, left:right] = True
    shift = np.resize([1000.0, -500.0, 700.0], bands)
    after[:, truth] += shift[:, None]
    if np.dtype(dtype) == np.uint8:
        before, after = before / 10, after / 10
    if np.dtype(dtype).kind in "ui":
        limits = np.iinfo(dtype)
        before, after = (np.clip(np.rint(date), limits.min, limits.max) for date in (before, after))
    return before.astype(dtype), after.astype(dtype), truth


def oscd(folder):
    """before, after, valid, truth of a city; AFTER brought bilinearly onto BEFORE's grid by GDAL's warp."""
    with rasterio.open(folder / "before.tif") as file:
        before, transform, crs = file.read(), file.transform, file.crs
    with rasterio.open(folder / "label.tif") as file:
        truth = file.read(1) == 1
    warped = np.full(before.shape, -1, np.float32)
    with rasterio.open(folder / "after.tif") as file:
        reproject(
            file.read().astype(np.float32),
            warped,
            src_transform=file.transform,
            src_crs=file.crs,
            dst_transform=transform,
            dst_crs=crs,
            dst_nodata=-1,
            resampling=Resampling.bilinear,
        )
    return before, warped, (warped >= 0).all(axis=0), truth
