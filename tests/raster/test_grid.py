"""Grid and Window: hand-computed cases."""

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from cdengine.raster.grid import Grid, Window

UTM = CRS.from_epsg(32632)


def test_windows_intersect_and_become_relative():
    one, other = Window(2, 3, 10, 10), Window(5, 8, 20, 2)
    assert one.intersect(other) == Window(5, 8, 7, 2)
    assert one.intersect(Window(50, 50, 3, 3)).pixels == 0
    assert Window(5, 8, 7, 2).within(one) == Window(3, 5, 7, 2)


def test_strips_break_at_fixed_rows_whatever_the_window():
    whole = [strip.row_stop for strip in Window(0, 0, 700, 5).split(256)]
    part = [strip.row_stop for strip in Window(300, 1, 300, 2).split(256)]
    assert whole == [256, 512, 700]
    assert part == [512, 600]


@pytest.mark.parametrize("angle", [0, 30, 90, 180])
def test_bounds_hold_all_corners(angle):
    grid = Grid(UTM, Affine.translation(1000, 2000) @ Affine.rotation(angle) @ Affine.scale(2, -2), 30, 50)
    left, bottom, right, top = grid.bounds
    cols, rows = grid.outline()
    x = grid.transform.a * cols + grid.transform.b * rows + grid.transform.c
    y = grid.transform.d * cols + grid.transform.e * rows + grid.transform.f
    assert np.allclose([left, bottom, right, top], [x.min(), y.min(), x.max(), y.max()])


def test_bounds_of_south_up_grid_are_ordered():
    assert Grid(UTM, Affine(10, 0, 0, 0, 10, 0), 4, 3).bounds == (0, 0, 30, 40)


def test_crop_keeps_pixels_where_they_are():
    grid = Grid(UTM, Affine(10, 1, 100, -1, -10, 900), 40, 40)
    part = grid.crop(Window(5, 7, 3, 4))
    assert part.transform @ (0, 0) == pytest.approx(grid.transform @ (7, 5))
    assert (part.height, part.width) == (3, 4)


def test_same_pixels_looks_at_every_corner():
    grid = Grid(UTM, Affine(10, 0, 0, 0, -10, 0), 1000, 1000)
    assert grid.same_pixels(Grid(UTM, Affine(10, 0, 0.005, 0, -10, 0), 1000, 1000))
    assert not grid.same_pixels(Grid(UTM, Affine(10.0001, 0, 0, 0, -10, 0), 1000, 1000))  # 0.01 px at the far corner
    assert not grid.same_pixels(Grid(CRS.from_epsg(32633), grid.transform, 1000, 1000))
