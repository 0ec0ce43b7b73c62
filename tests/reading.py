"""Seeded rasters for the tests of reading (`raster/`)."""

import numpy as np
import rasterio
from affine import Affine
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.warp import Resampling, transform

UTM = "EPSG:32632"
NORTH_UP = Affine(10, 0, 500000, 0, -10, 5500000)


def write(path, pixels, transform=NORTH_UP, crs=UTM, **options):
    """Writes (C, H, W) pixels as a GeoTIFF; `mask`, `alpha` and `names` are special."""
    mask, names, colours = options.pop("mask", None), options.pop("names", None), options.pop("colours", None)
    profile = {
        "driver": "GTiff",
        "count": len(pixels),
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "dtype": pixels.dtype.name,
        "crs": crs,
        "transform": transform,
        "compress": "deflate",
        **options,
    }
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as dataset:
        if colours:
            dataset.colorinterp = colours
        dataset.write(pixels)
        if mask is not None:
            dataset.write_mask(mask)
        if names:
            dataset.descriptions = names
    return str(path)


def smooth(rng, bands, height, width, dtype="uint16"):
    """Blobs and gradients: interpolation of them is meaningful."""
    rows, cols = np.mgrid[0:height, 0:width]
    image = np.zeros((bands, height, width))
    for band in image:
        for _ in range(6):
            a, b = rng.uniform(0.02, 0.15, 2)
            band += np.sin(rows * a + rng.uniform(0, 6)) * np.cos(cols * b + rng.uniform(0, 6))
    image = (image - image.min()) / (image.max() - image.min())
    top = {"uint8": 255, "uint16": 9000, "int16": 9000, "float32": 1.0, "float64": 1.0, "int32": 1e6}[dtype]
    return (image * top).astype(dtype)


def noise(rng, bands, height, width):
    return rng.integers(1, 999, (bands, height, width)).astype("uint16")


def joined(blocks):
    blocks = list(blocks)
    return (
        np.concatenate([b.before for b in blocks], axis=1),
        np.concatenate([b.after for b in blocks], axis=1),
        np.concatenate([b.valid for b in blocks]),
    )


def twin(tmp_path, rng, name="b.tif", to=NORTH_UP, crs=UTM, size=(300, 320), dtype="uint16", **options):
    """Two rasters made apart; the second placed by `to` and `crs`."""
    before = write(tmp_path / "a.tif", smooth(rng, 2, 300, 320, dtype), tiled=True, blockxsize=64, blockysize=64)
    after = write(tmp_path / name, smooth(rng, 2, *size, dtype), to, crs, **options)
    return before, after


def latlon(px=10.0, size=(300, 320)):
    """A geographic grid over the same ground as NORTH_UP's first 320 x 300 pixels."""
    (west,), (north,) = transform(UTM, "EPSG:4326", [500000], [5500000])
    return Affine(px / 71600, 0, west, 0, -px / 111200, north)


def zone_33():
    """A grid of the next UTM zone with NORTH_UP's first corner."""
    (x,), (y,) = transform(UTM, "EPSG:32633", [500000], [5500000])
    return Affine(10, 0, x, 0, -10, y)


PLACES = {
    "same": (NORTH_UP, UTM),
    "whole": (NORTH_UP @ Affine.translation(-17, 9), UTM),
    "subpixel": (NORTH_UP @ Affine.translation(2.3, -5.6), UTM),
    "scaled": (NORTH_UP @ Affine.scale(1.04, 0.97), UTM),
    "rotated": (NORTH_UP @ Affine.rotation(12), UTM),
    "sheared": (NORTH_UP @ Affine.shear(5, 3), UTM),
    "southup": (Affine(10, 0, 500000, 0, 10, 5497000), UTM),
    "geographic": (latlon(), "EPSG:4326"),
    "othercrs": (zone_33(), "EPSG:32633"),
}


def gdal_warp(path, pair, bands):
    """The date by GDAL's warper at full extent, all but exact transformer; and where it has data.

    (A WarpedVRT, since rasterio's `reproject` does not hand its tolerance on: it is off by up to 0.02 px here.)
    """
    grid = pair.grid
    place = {
        "crs": grid.crs,
        "transform": grid.transform,
        "height": grid.height,
        "width": grid.width,
        "tolerance": 1e-9,
    }
    with rasterio.open(path) as dataset, WarpedVRT(dataset, resampling=Resampling.bilinear, **place) as view:
        warped = view.read(list(bands))
        masks = np.logical_and.reduce([dataset.read_masks(band) for band in bands])
        where = {"crs": dataset.crs, "transform": dataset.transform}
    return warped, nearest(masks, where, place)


def nearest(mask, where, place):
    """A mask that lies at `where` on the grid of `place`: True where the pixel's centre falls on True."""
    height, width = mask.shape
    options = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": height, "width": width, **where}
    with MemoryFile() as memory:
        with memory.open(**options) as dataset:
            dataset.write(mask.astype("uint8"), 1)
        with memory.open() as dataset, WarpedVRT(dataset, resampling=Resampling.nearest, **place) as view:
            return view.read(1).astype(bool)
