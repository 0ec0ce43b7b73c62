"""Seeded rasters for the tests of reading (`raster/`)."""

import numpy as np
import rasterio
from affine import Affine

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
