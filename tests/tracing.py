"""Polygons of label arrays: GDAL's trace of the whole, and cdengine's of strips, in comparable form."""

from __future__ import annotations

import numpy as np
import rasterio.features
import shapely

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
