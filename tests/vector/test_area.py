from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform_geom

from cdengine.raster.grid import Grid, Window
from cdengine.vector.area import PixelArea, area_m2, areas_m2

EARTH_M2 = 510_065_621_724_088  # of the WGS 84 ellipsoid


def geodesic(polygon: shapely.Polygon, crs: CRS) -> float:
    """Area of the densified polygon with geodesic edges (Karney 2013, as PROJ computes it)."""
    known = pyproj.CRS.from_wkt(crs.to_wkt())
    to_lonlat = pyproj.Transformer.from_crs(known, known.geodetic_crs, always_xy=True)
    geod = known.get_geod()
    dense = shapely.segmentize(polygon, polygon.length / 4000)

    def ring(line: shapely.LinearRing) -> float:
        return abs(geod.polygon_area_perimeter(*to_lonlat.transform(*np.array(line.coords).T))[0])

    return ring(dense.exterior) - sum(ring(hole) for hole in dense.interiors)


@pytest.mark.parametrize(
    ("crs", "polygon"),
    [
        pytest.param("EPSG:32633", shapely.box(4e5, 5e6, 4e5 + 10, 5e6 + 10), id="10 m pixel, UTM"),
        pytest.param(
            "EPSG:32633", shapely.box(1e5, 1e6, 9e5, 9e6).difference(shapely.box(3e5, 2e6, 5e5, 4e6)), id="hole"
        ),
        pytest.param("EPSG:4326", shapely.box(10, 85, 11, 85.09), id="10 km cell at 85 N in degrees"),
        pytest.param("EPSG:4326", shapely.Polygon([(10, 85), (11, 85), (11, 85.1)]), id="triangle at 85 N in degrees"),
        pytest.param("EPSG:4326", shapely.box(0, 60, 30, 80), id="country in degrees"),
        pytest.param("EPSG:4326", shapely.box(175, 10, 185, 20), id="across the antimeridian in degrees"),
        pytest.param("EPSG:3857", shapely.box(0, 1.9e7, 1e4, 1.901e7), id="Web Mercator at 84 N"),
        pytest.param("EPSG:3857", shapely.box(20037508 - 5e5, 0, 20037508 + 5e5, 1e6), id="Web Mercator, antimeridian"),
        pytest.param("EPSG:32661", shapely.box(2e6 - 5e3, 2e6 - 5e3, 2e6 + 5e3, 2e6 + 5e3), id="the pole inside"),
        pytest.param("EPSG:3413", shapely.box(0, 0, 1e4, 1e4), id="the pole as a corner"),
        pytest.param("EPSG:3413", shapely.box(-2e6, -2e6, 2e6, 2e6), id="the Arctic"),
        pytest.param("EPSG:3031", shapely.box(-2e6, -2e6, 3e6, 1e6), id="Antarctica"),
        pytest.param("EPSG:2227", shapely.box(6e6, 2e6, 6.01e6, 2.01e6), id="US feet"),
        pytest.param("EPSG:3035", shapely.box(4e6, 3e6, 5e6, 4e6), id="equal-area"),
    ],
)
def test_within_a_thousandth_of_the_geodesic_area(crs: str, polygon: shapely.Polygon) -> None:
    code = CRS.from_user_input(crs)
    assert area_m2(polygon, code) == pytest.approx(geodesic(polygon, code), rel=1e-4)


def test_grads_are_not_taken_for_degrees() -> None:
    paris = CRS.from_epsg(4807)  # NTF (Paris): grads from the Paris meridian
    area = area_m2(shapely.box(1, 50, 2, 51), paris)
    degrees = shapely.box(0.9, 45, 1.8, 45.9)  # the same on NTF's ellipsoid, east of Paris
    ellipsoid = CRS.from_wkt('GEOGCS["x",DATUM["x",SPHEROID["Clarke 1880 (IGN)",6378249.2,293.4660212936269]],'
                             'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]]')  # fmt: skip
    assert area == pytest.approx(area_m2(degrees, ellipsoid), rel=1e-6)


def test_the_whole_earth_and_a_cap_in_degrees() -> None:
    crs = CRS.from_epsg(4326)
    assert area_m2(shapely.box(-180, -90, 180, 90), crs) == pytest.approx(EARTH_M2, rel=1e-9)
    assert area_m2(shapely.box(-180, 0, 180, 90), crs) == pytest.approx(EARTH_M2 / 2, rel=1e-9)


def test_nearly_the_whole_earth_in_another_projection() -> None:
    web, lonlat = CRS.from_epsg(3857), CRS.from_epsg(4326)
    box = shapely.box(-19e6, -19e6, 19e6, 19e6)
    inner = shapely.geometry.shape(transform_geom(web, lonlat, shapely.geometry.mapping(box)))
    assert area_m2(box, web) == pytest.approx(area_m2(inner, lonlat), rel=1e-3)


def test_multipolygons_add_up_and_empty_ones_are_zero() -> None:
    crs = CRS.from_epsg(32633)
    one, two = shapely.box(4e5, 5e6, 4.1e5, 5.1e6), shapely.box(6e5, 5e6, 6.1e5, 5.1e6)
    both = areas_m2(np.array([shapely.MultiPolygon([one, two]), one, two, shapely.Polygon()]), crs)
    assert both[0] == pytest.approx(both[1] + both[2], rel=1e-9)
    assert both[3] == 0


def test_no_ground_no_area() -> None:
    assert area_m2(shapely.box(0, 0, 1, 1), None) is None
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]')
    assert area_m2(shapely.box(0, 0, 1, 1), local) is None
    assert PixelArea(Grid(local, Affine.identity(), 4, 4)).total(Window(0, 0, 4, 4), np.ones((4, 4), bool)) is None


def test_no_place_on_earth_is_nan_for_that_polygon_only() -> None:
    areas = areas_m2(np.array([shapely.box(0, 1e9, 1, 1e9 + 1), shapely.box(0, 0, 1, 1)]), CRS.from_epsg(3035))
    assert np.isnan(areas[0]) or areas[0] == 0
    assert np.isfinite(areas[1])


def test_a_hundred_thousand_polygons_take_seconds(rng: np.random.Generator) -> None:
    corner = rng.uniform([4e5, 5e6], [5e5, 5.1e6], (100_000, 2))
    boxes = shapely.box(*corner.T, *(corner + 30).T)
    import time

    began = time.perf_counter()
    areas = areas_m2(boxes, CRS.from_epsg(32633))
    assert time.perf_counter() - began < 10
    assert areas == pytest.approx(np.full(100_000, 900.0), rel=2e-3)  # UTM's scale is 0.9996 to 1.0004 there


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", Affine(0.5, 0, 0, 0, -0.5, 88)),
        ("EPSG:32633", Affine(10, 0, 4e5, 0, -10, 5e6)),
        ("EPSG:3413", Affine(10_000, 0, -3e5, 0, -10_000, 3e5)),
        ("EPSG:32633", Affine(70, 30, 4e5, 30, -70, 5e6)),
    ],
)
def test_pixel_areas_add_up_to_the_polygons_area(crs: str, transform: Affine, rng: np.random.Generator) -> None:
    grid = Grid(CRS.from_user_input(crs), transform, 60, 80)
    mask = np.zeros((60, 80), bool)
    mask[11:43, 5:71] = True
    corners = [(5, 11), (71, 11), (71, 43), (5, 43)]
    outline = shapely.Polygon(
        [(transform.a * c + transform.b * r + transform.c, transform.d * c + transform.e * r + transform.f)
         for c, r in corners]
    )  # fmt: skip
    area = PixelArea(grid)
    assert area.on_earth
    whole = area.total(grid.window, mask)
    assert whole == pytest.approx(area_m2(outline, grid.crs), rel=1e-3)
    strips = sum(area.total(window, mask[window.slices]) for window in grid.window.split(7))
    assert strips == pytest.approx(whole, rel=1e-4)
    part = Window(10, 4, 40, 70)
    assert area.total(part, mask[part.slices]) == pytest.approx(whole, rel=1e-3)


def test_pixels_of_half_a_degree_cover_the_earth() -> None:
    grid = Grid(CRS.from_epsg(4326), Affine(0.5, 0, -180, 0, -0.5, 90), 360, 720)
    whole = PixelArea(grid).total(grid.window, np.ones((360, 720), bool))
    assert whole == pytest.approx(510_065_621_724_088, rel=1e-12)  # WGS 84's surface


def test_large_pixels_seen_from_a_satellite() -> None:
    crs = CRS.from_string("+proj=geos +lon_0=-75 +h=35786023 +ellps=GRS80 +sweep=x +units=m")
    grid = Grid(crs, Affine(100_000, 0, -3e6, 0, -100_000, 3e6), 60, 60)
    rows, cols = (a.ravel() for a in np.indices((60, 60)))
    x, y = -3e6 + 1e5 * cols, 3e6 - 1e5 * rows
    finely_cut = areas_m2(np.asarray(shapely.box(x, y - 1e5, x + 1e5, y)), crs)
    assert finely_cut is not None
    whole = PixelArea(grid).total(grid.window, np.ones((60, 60), bool))
    assert whole == pytest.approx(float(finely_cut.sum()), rel=1e-4)


def test_nothing_selected_is_zero() -> None:
    grid = Grid(CRS.from_epsg(32633), Affine(10, 0, 4e5, 0, -10, 5e6), 60, 80)
    assert PixelArea(grid).total(grid.window, np.zeros((60, 80), bool)) == 0
    assert PixelArea(grid).total(Window(3, 3, 0, 5), np.zeros((0, 5), bool)) == 0
