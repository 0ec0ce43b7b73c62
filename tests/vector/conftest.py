"""Small grids."""

from __future__ import annotations

import pytest
from affine import Affine
from rasterio.crs import CRS

from cdengine.raster.grid import Grid


@pytest.fixture
def utm() -> Grid:
    return Grid(CRS.from_epsg(32633), Affine(10, 0, 400_000, 0, -10, 5_100_000), 200, 300)


@pytest.fixture
def pixels() -> Grid:
    return Grid(None, Affine.identity(), 200, 300)
