from __future__ import annotations

import numpy as np
import shapely
from tracing import polygonize

from cdengine.vector.coverage import noded, simplify_coverage


def mosaic(rng: np.random.Generator) -> np.ndarray:
    """Blocky classes without background, T-junctions everywhere."""
    seeds = rng.integers(0, 60, (25, 2))
    row, col = np.mgrid[:60, :60]
    nearest = ((row[..., None] - seeds[:, 0]) ** 2 + (col[..., None] - seeds[:, 1]) ** 2).argmin(axis=-1)
    return (1 + nearest % 5).astype(np.uint8)


def test_a_corner_on_a_neighbours_edge_becomes_a_vertex_of_it() -> None:
    labels = np.array([[1, 1, 1, 1], [2, 2, 3, 3]], np.uint8)
    geometry = noded(polygonize(labels, [2]).geometry)
    top = geometry[[int(polygon.bounds[1]) for polygon in geometry].index(0)]
    assert (2.0, 1.0) in top.exterior.coords
    assert shapely.coverage_is_valid(geometry)


def test_noding_changes_no_shape_and_makes_a_coverage(rng: np.random.Generator) -> None:
    geometry = polygonize(mosaic(rng), [7]).geometry
    assert not shapely.coverage_is_valid(geometry)
    with_nodes = noded(geometry)
    assert shapely.coverage_is_valid(with_nodes)
    assert shapely.equals(with_nodes, geometry).all()


def test_common_borders_stay_common(rng: np.random.Generator) -> None:
    geometry = polygonize(mosaic(rng), [7]).geometry
    simple = simplify_coverage(geometry, 3.0, 1.0, 1.0)
    assert shapely.get_num_coordinates(simple).sum() < 0.6 * shapely.get_num_coordinates(geometry).sum()
    assert shapely.coverage_is_valid(simple)
    assert shapely.area(simple).sum() == shapely.area(shapely.union_all(simple))  # neither gaps nor overlaps
    alone = shapely.simplify(geometry, 3.0)
    assert shapely.area(alone).sum() != shapely.area(shapely.union_all(alone))  # what it would be otherwise
