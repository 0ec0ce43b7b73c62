from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS
from tracing import polygonize

from cdengine.errors import UsageError
from cdengine.raster.grid import Grid
from cdengine.vector.shape import Shaper, Shaping, to_map


def donut(hole: int, size: int = 20) -> np.ndarray:
    labels = np.zeros((size, size), np.uint8)
    labels[2:-2, 2:-2] = 1
    labels[8 : 8 + hole, 8 : 8 + hole] = 0
    return labels


def test_holes_below_the_limit_are_filled_and_others_kept(utm: Grid) -> None:
    labels = donut(2)
    labels[4, 4] = 0  # a hole of 100 m² beside one of 400 m²
    patches, _ = Shaper(Shaping(fill_holes=250), utm).select(polygonize(labels, [5]))
    assert patches.geometry[0].area == 16 * 16 - 4
    assert len(patches.geometry[0].interiors) == 1


def test_min_area_counts_filled_holes(utm: Grid) -> None:
    patches = polygonize(donut(4), [5])  # 240 pixels, 256 with its hole
    limit = 250 * 100.0
    assert len(Shaper(Shaping(min_area=limit), utm).select(patches)[0]) == 0
    assert len(Shaper(Shaping(min_area=limit, fill_holes=5000), utm).select(patches)[0]) == 1


@pytest.mark.parametrize("fill", [0.0, 1e6])
def test_what_is_dropped_before_tracing_would_have_been_dropped_after(
    fill: float, utm: Grid, rng: np.random.Generator
) -> None:
    labels = (rng.random((200, 300)) < 0.55).astype(np.uint8)
    shaper = Shaper(Shaping(min_area=2000, fill_holes=fill), utm)
    assert shaper.min_pixels() > 1
    early = shaper.select(polygonize(labels, [64], min_pixels=shaper.min_pixels()))[0]
    late = shaper.select(polygonize(labels, [64]))[0]
    assert len(late) == len(early) > 0
    assert shapely.equals_exact(
        early.geometry[np.lexsort(early.first.T)], late.geometry[np.lexsort(late.first.T)]
    ).all()


def test_min_pixels_holds_where_pixels_shrink_towards_the_pole() -> None:
    grid = Grid(CRS.from_epsg(4326), Affine(0.01, 0, 0, 0, -0.01, 80), 6000, 100)  # 80 N to 20 N
    largest = 1112 * 1112 * 0.94  # near 20 N
    assert Shaper(Shaping(min_area=10 * largest), grid).min_pixels() in (9, 10)


def test_areas_and_limits_are_pixels_without_a_crs(pixels: Grid) -> None:
    patches = polygonize(donut(4), [5])
    kept, areas = Shaper(Shaping(min_area=240), pixels).select(patches)
    assert len(kept) == 1 and areas is None
    assert len(Shaper(Shaping(min_area=241), pixels).select(patches)[0]) == 0


def staircase() -> np.ndarray:
    return np.tril(np.ones((60, 60), np.uint8))


def test_simplify_is_in_metres_in_a_projected_crs(utm: Grid) -> None:
    geometry = polygonize(staircase(), [9]).geometry
    fine = Shaper(Shaping(simplify=2), utm).simplified(geometry)
    coarse = Shaper(Shaping(simplify=10), utm).simplified(geometry)  # steps are 10 m, their diagonal 7 m off
    assert shapely.get_num_coordinates(fine)[0] > 100
    assert shapely.get_num_coordinates(coarse)[0] < 8
    assert coarse[0].hausdorff_distance(geometry[0]) <= 1.0  # pixels of 10 m


def test_simplify_is_in_metres_in_degrees_too() -> None:
    """At 60 N a pixel of 2 × 1 ten-thousandths of a degree is 11 m square; so is the tolerance's effect."""
    grid = Grid(CRS.from_epsg(4326), Affine(2e-4, 0, 10, 0, -1e-4, 60), 60, 60)
    geometry = polygonize(staircase(), [9]).geometry
    assert shapely.get_num_coordinates(Shaper(Shaping(simplify=2), grid).simplified(geometry))[0] > 100
    assert shapely.get_num_coordinates(Shaper(Shaping(simplify=11), grid).simplified(geometry))[0] < 8


def test_simplified_polygons_are_never_lost(utm: Grid, rng: np.random.Generator) -> None:
    geometry = polygonize((rng.random((100, 100)) < 0.5).astype(np.uint8), [9]).geometry
    simple = Shaper(Shaping(simplify=500), utm).simplified(geometry)
    assert not shapely.is_empty(simple).any()


def test_map_polygons_follow_the_right_hand_rule(utm: Grid) -> None:
    mapped = to_map(polygonize(donut(4), [5]).geometry, utm.transform)[0]
    assert mapped.exterior.is_ccw and not mapped.interiors[0].is_ccw
    assert mapped.bounds == (400_020, 5_099_820, 400_180, 5_099_980)


@pytest.mark.parametrize("name", ["min_area", "simplify", "fill_holes"])
@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf")])
def test_amounts_that_make_no_sense_are_named(name: str, amount: float) -> None:
    with pytest.raises(UsageError, match="--" + name.replace("_", "-")):
        Shaping(**{name: amount})
