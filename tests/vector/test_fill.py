from __future__ import annotations

import numpy as np
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from cdengine.raster.grid import Window
from cdengine.vector.fill import Fill

WHOLE = Window(0, 0, 40, 50)


def gdal(polygon: shapely.Geometry) -> np.ndarray:
    return rasterio.features.rasterize([polygon], out_shape=(40, 50)).astype(bool)


@settings(max_examples=150, deadline=None)
@given(
    points=st.lists(st.tuples(st.floats(-20, 70), st.floats(-20, 60)), min_size=3, max_size=8),
    rows=st.integers(1, 40),
)
def test_equals_gdals_pixel_centre_rule_strip_by_strip(points: list[tuple[float, float]], rows: int) -> None:
    polygon = shapely.MultiPoint(points).convex_hull.difference(shapely.box(20.3, 11.2, 24.7, 17.9))
    parts = shapely.get_parts(shapely.get_parts(polygon))
    polygon = shapely.union_all([part for part in parts if part.geom_type == "Polygon"])
    if polygon.is_empty:
        return
    fill = Fill(polygon, WHOLE)
    own = np.vstack([fill.mask(window) for window in WHOLE.split(rows)])
    # A centre closer to the outline than rounding may go either way.
    row, col = np.nonzero(own != gdal(polygon))
    assert (shapely.distance(shapely.points(col + 0.5, row + 0.5), polygon.boundary) < 1e-6).all()


def test_extent_is_tight() -> None:
    fill = Fill(shapely.Polygon([(10, 5), (20, 5), (20, 30), (10, 30)]), WHOLE)
    assert fill.extent() == Window(5, 10, 25, 10)
    assert Fill(shapely.box(10.6, 5.6, 11.4, 6.4), WHOLE).extent() is None  # between centres
    assert Fill(shapely.box(100, 100, 110, 110), WHOLE).extent() is None


def test_adjoining_polygons_share_no_pixel() -> None:
    left, right = shapely.box(0, 0, 10.5, 40), shapely.box(10.5, 0, 50, 40)
    both = Fill(left, WHOLE).mask(WHOLE).astype(int) + Fill(right, WHOLE).mask(WHOLE)
    assert (both == 1).all()


def test_more_than_256_crossings_at_one_place() -> None:
    slits = shapely.union_all([shapely.box(3 + n / 1000, 0, 3 + n / 1000 + 0.0005, 40) for n in range(300)])
    assert not Fill(slits, WHOLE).mask(WHOLE).any()


def test_windows_apart_from_the_polygon_are_empty() -> None:
    fill = Fill(shapely.box(10, 5, 20, 30), WHOLE)
    assert not fill.mask(Window(31, 0, 9, 50)).any()
    assert not fill.mask(Window(0, 30, 40, 5)).any()
    assert fill.mask(Window(10, 12, 3, 3)).all()
