"""Polygons that adjoin, simplified so that their common borders stay common."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

Array = np.ndarray[Any, np.dtype[Any]]


def simplify_coverage(geometry: Array, tolerance: float, width: float, height: float) -> Array:
    """Visvalingam and Whyatt's method on shared edges (GEOS's coverage simplifier).

    Args:
        geometry: (n,) polygons with integer coordinates whose edges run along the axes and whose insides are apart.
        tolerance: in metres; its square is the area of a triangle that may go.
        width: of a pixel, in metres; one for all, as a common border must be scaled alike on both sides.
        height: of a pixel, in metres.

    Returns:
        (n,) polygons in the same coordinates, their vertices a part of the given ones.
    """
    size = np.array([width, height])
    metric = shapely.transform(noded(geometry), lambda xy: xy * size)
    simple = shapely.coverage_simplify(metric, tolerance)
    return np.asarray(shapely.transform(simple, lambda xy: np.rint(xy / size)))


def noded(geometry: Array) -> Array:
    """Adds to each edge the vertices of all polygons that lie on it, as coverages need (else T-junctions open).

    Args:
        geometry: (n,) polygons with integer coordinates and edges along the axes.
    """
    kind, coordinates, (ring_offset, polygon_offset) = shapely.to_ragged_array(geometry)
    assert kind == shapely.GeometryType.POLYGON
    xy = np.rint(coordinates).astype(np.int64)
    xy -= xy.min(axis=0)
    stride = int(xy.max()) + 1
    is_last = np.zeros(len(xy), dtype=bool)
    is_last[ring_offset[1:] - 1] = True
    following = np.where(is_last[:, None], xy, np.roll(xy, -1, axis=0))

    added = np.zeros(len(xy), dtype=np.int64)  # after each vertex
    found: list[tuple[Array, Array, Array]] = []
    for along, across in ((0, 1), (1, 0)):
        edge = np.flatnonzero((xy[:, across] == following[:, across]) & (xy[:, along] != following[:, along]))
        vertices = np.unique(xy[:, across] * stride + xy[:, along])
        line = xy[edge, across] * stride
        ends = np.sort(np.column_stack([xy[edge, along], following[edge, along]]), axis=1)
        low = np.searchsorted(vertices, line + ends[:, 0], side="right")
        high = np.searchsorted(vertices, line + ends[:, 1], side="left")
        added[edge] = high - low
        found.append((edge, low, vertices))
    place = np.arange(len(xy)) + np.cumsum(added) - added
    result = np.empty((len(xy) + int(added.sum()), 2))
    result[place] = coordinates
    for (along, across), (edge, low, vertices) in zip(((0, 1), (1, 0)), found, strict=True):
        counts = added[edge]
        step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        # Walked backwards, an edge meets the vertices in falling order.
        backwards = np.repeat(following[edge, along] < xy[edge, along], counts)
        rank = np.where(backwards, np.repeat(counts, counts) - 1 - step, step)
        shift = vertices[np.repeat(low, counts) + rank] % stride - np.repeat(xy[edge, along], counts)
        target = np.repeat(place[edge], counts) + 1 + step
        result[target, along] = np.repeat(coordinates[edge, along], counts) + shift
        result[target, across] = np.repeat(coordinates[edge, across], counts)
    total = np.append(place, len(result))
    offsets = (total[ring_offset], polygon_offset)
    return np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, result, offsets))
