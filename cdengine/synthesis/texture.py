"""A large textured pair of rasters, quickly and in constant memory: the input of timings, not of accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window as FileWindow
from scipy.ndimage import gaussian_filter

from cdengine.events import Reporter

BLOCK = 512
PATCHES = 2  # changed rectangles in a block; with the sides below, about 4 % of all pixels
SIDES = (40, 120)


def write_texture_pair(
    folder: Path, rows: int, columns: int, reporter: Reporter, *, bands: int = 3, seed: int = 20260101
) -> tuple[Path, Path]:
    """Writes `before.tif` and `after.tif`: uint8, tiled by 512, deflate, 0.5 m pixels in a UTM zone.

    Every block is another cut of one texture, so that the codec meets changing content. The second date has other
    light, its own noise, and rectangles of another texture as changes.

    Args:
        folder: must exist.
        rows: height in pixels.
        columns: width in pixels.
        reporter: told of the rows written.
        bands: of both dates.
        seed: same seed, same pixels.

    Returns:
        Both paths.
    """
    rng = np.random.default_rng(seed)
    ground, other = (_texture(rng, bands) for _ in range(2))
    paths = folder / "before.tif", folder / "after.tif"
    profile = {
        "driver": "GTiff",
        "height": rows,
        "width": columns,
        "count": bands,
        "dtype": "uint8",
        "crs": "EPSG:32631",
        "transform": Affine(0.5, 0, 450_000, 0, -0.5, 5_400_000),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "deflate",
        "predictor": 2,
        "num_threads": "all_cpus",
        "bigtiff": "if_safer",
        # without a word GDAL takes the fourth of four byte bands for alpha
        "photometric": "RGB" if bands == 3 else "MINISBLACK",
        "alpha": "NO",
    }
    with (
        rasterio.open(paths[0], "w", **profile) as before,
        rasterio.open(paths[1], "w", **profile) as after,
        reporter.stage("inputs", rows, "rows") as stage,
    ):
        for row in range(0, rows, BLOCK):
            height = min(BLOCK, rows - row)
            for col in range(0, columns, BLOCK):
                window = FileWindow(col, row, min(BLOCK, columns - col), height)
                first, second = _block(rng, ground, other)
                before.write(first[:, :height, : window.width], window=window)
                after.write(second[:, :height, : window.width], window=window)
                reporter.check()
            stage.advance(height)
    return paths


def _texture(rng: np.random.Generator, bands: int) -> NDArray[np.uint8]:
    """(bands, 1024, 1024): smooth patches with grain, correlated between bands as imagery is."""
    noise = rng.standard_normal((1 + bands, 2 * BLOCK, 2 * BLOCK)).astype(np.float32)
    patches = gaussian_filter(noise[0], 12, mode="wrap") * 12 * 3.5 * 35
    grain = gaussian_filter(noise[1:], (0, 1, 1), mode="wrap") * 3.5 * 9
    texture: NDArray[np.uint8] = np.clip(rng.uniform(90, 150) + patches + grain, 1, 255).astype(np.uint8)
    return texture


def _block(
    rng: np.random.Generator, ground: NDArray[np.uint8], other: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    row, col = rng.integers(0, BLOCK, 2)
    place = np.s_[:, row : row + BLOCK, col : col + BLOCK]
    before = ground[place]
    noise = rng.integers(-4, 5, before.shape, dtype=np.int16)
    after = np.clip(before.astype(np.int16) * 15 // 16 + 12 + noise, 1, 255).astype(np.uint8)
    for _ in range(PATCHES):
        height, width = rng.integers(*SIDES, 2)
        top, left = rng.integers(0, BLOCK - SIDES[1], 2)
        patch = np.s_[:, top : top + height, left : left + width]
        after[patch] = other[place][patch]
    return before, after
