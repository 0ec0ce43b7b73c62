"""Small georeferenced pairs with a known change, written in a moment."""

from pathlib import Path

import numpy as np
from rasterio.transform import from_origin
from scipy import ndimage

from cdengine.raster.quiet import opened

UTM = "EPSG:32632"


def write_raster(path, pixels, *, crs=UTM, transform=None, nodata=None, descriptions=None, **profile):
    """Writes (C, H, W) as GeoTIFF and returns the path as text."""
    pixels = np.asarray(pixels)
    transform = from_origin(500_000, 5_300_000, 10, 10) if transform is None else transform
    # GDAL takes the fourth of four byte bands for alpha unless it is told otherwise
    profile = {"driver": "GTiff", "tiled": False, "photometric": "MINISBLACK", **profile}
    if crs is not None:
        profile |= {"crs": crs, "transform": transform}
    count, height, width = pixels.shape
    with opened(
        path, "w", count=count, height=height, width=width, dtype=pixels.dtype, nodata=nodata, **profile
    ) as file:
        file.write(pixels)
        for band, text in enumerate(descriptions or (), 1):
            file.set_band_description(band, text)
    return str(path)


def ground(rng, bands, height, width):
    """Smooth textured ground, uint8."""
    noise = rng.normal(size=(bands, height, width))
    smooth = ndimage.gaussian_filter(noise, (0, 4, 4)) * 60 + ndimage.gaussian_filter(noise, (0, 1, 1)) * 10
    return np.clip(110 + smooth * 4, 30, 200).astype(np.uint8)


def make_pair(folder, *, size=(300, 400), bands=4, seed=5, change=(100, 150, 60, 90), dtype=np.uint8, **profile):
    """before.tif, after.tif and the truth: a rectangle (row, col, height, width) got brighter, the rest is noise."""
    rng = np.random.default_rng(seed)
    before = ground(rng, bands, *size)
    after = np.clip(before.astype(np.int16) * 0.95 + 8 + rng.normal(0, 2, before.shape), 1, 255)
    truth = np.zeros(size, bool)
    if change is not None:
        row, col, height, width = change
        truth[row : row + height, col : col + width] = True
        after[:, truth] = np.clip(240 - 0.5 * after[:, truth], 1, 255)
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    paths = [
        write_raster(folder / f"{name}.tif", pixels.astype(dtype), **profile)
        for name, pixels in (("before", before), ("after", after))
    ]
    return *paths, truth
