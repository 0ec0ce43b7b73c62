"""A plain tracer to compare with, and small grids."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from rasterio.crs import CRS

from cdengine.raster.grid import Grid
from cdengine.vector.polygonize import Patches, Polygonizer


def gdal_polygons(labels: np.ndarray) -> list[tuple[int, str]]:
    """(value, normalised WKT) of the whole raster, traced by GDAL."""
    shapes = rasterio.features.shapes(labels.astype(np.int32), mask=labels != 0, connectivity=4)
    return sorted((int(value), shapely.normalize(shapely.geometry.shape(shape)).wkt) for shape, value in shapes)


def own_polygons(patches: Patches) -> list[tuple[int, str]]:
    return sorted(
        (int(value), shapely.normalize(polygon).wkt)
        for value, polygon in zip(patches.value, patches.geometry, strict=True)
    )


def polygonize(labels: np.ndarray, heights: list[int], probability: np.ndarray | None = None, **options) -> Patches:
    """Feeds strips of the given heights, over and over."""
    polygonizer = Polygonizer(labels.shape[1], **options)
    parts, row, step = [], 0, 0
    while row < labels.shape[0]:
        stop = row + heights[step % len(heights)]
        chance = None if probability is None else probability[row:stop]
        parts.append(polygonizer.add(row, labels[row:stop], chance))
        row, step = stop, step + 1
    parts.append(polygonizer.finish())
    return Patches.join(parts)


@pytest.fixture
def utm() -> Grid:
    return Grid(CRS.from_epsg(32633), Affine(10, 0, 400_000, 0, -10, 5_100_000), 200, 300)


@pytest.fixture
def pixels() -> Grid:
    return Grid(None, Affine.identity(), 200, 300)
