"""Fault matrix, georeferencing: rasters that lie oddly on earth, against twins that do not."""

import math

import fault_makers as makers
import numpy as np
import pytest
import rasterio
from affine import Affine
from fault_runs import change, detect, fails, warned
from pairs import make_pair, write_raster
from pyproj import Geod
from rasterio.control import GroundControlPoint
from rasterio.transform import from_origin
from rasterio.warp import Resampling, calculate_default_transform, reproject

from cdengine.raster.quiet import opened

LOCAL = 'LOCAL_CS["site",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'


def image(folder, name="after.tif"):
    with rasterio.open(folder / name) as file:
        return file.read(), file.transform


@pytest.mark.parametrize("lacking", ["before.tif", "after.tif"])
def test_row_22_a_stated_crs(folder, lacking):
    expected, _ = detect(folder)
    pixels = change(folder)
    places = {name: folder / name for name in ("before.tif", "after.tif")}
    places[lacking] = makers.crs_left_out(folder, lacking)
    options = ("--assume-crs", "EPSG:32632", "--quicklook", folder / "out" / "q.png", "--overwrite")
    result, events = detect(folder, *places.values(), *options)
    assert np.array_equal(change(folder), pixels)
    assert result.stats["changed_area_m2"] == expected.stats["changed_area_m2"]
    assert any("EPSG:32632 is assumed" in event.get("message", "") for event in events)
    with rasterio.open(folder / "out" / "c.tif") as file:
        assert file.crs.to_epsg() == 32632 and '"assume_crs": "EPSG:32632"' in file.tags()["CDENGINE_PARAMETERS"]


def test_row_22_where_nothing_is_to_be_assumed(folder):
    detect(folder)
    expected = change(folder)
    _, events = detect(folder, None, None, "--assume-crs", "EPSG:3857", "--overwrite")
    assert warned(events, "--assume-crs EPSG:3857 is not used") and np.array_equal(change(folder), expected)


@pytest.mark.parametrize("code", ["EPSG:99999", "utm", "EPSG:5773"])
def test_row_22_a_crs_that_is_none(folder, code):
    fails(folder, "usage", 2, None, makers.crs_left_out(folder), "--assume-crs", code, says=["--assume-crs", code])


def test_row_23_another_crs_equals_the_prewarped_twin(folder):
    pixels, transform = image(folder)
    height, width = pixels.shape[1:]
    bounds = rasterio.transform.array_bounds(height, width, transform)
    place, cols, rows = calculate_default_transform("EPSG:32632", "EPSG:3857", width, height, *bounds)
    moved, back = np.zeros((3, rows, cols), np.uint8), np.zeros_like(pixels)
    reproject(
        pixels, moved, src_transform=transform, src_crs="EPSG:32632", dst_transform=place, dst_crs="EPSG:3857",
        src_nodata=0, dst_nodata=0, resampling=Resampling.bilinear,
    )  # fmt: skip
    other = write_raster(folder / "mercator.tif", moved, crs="EPSG:3857", transform=place, nodata=0)
    reproject(
        moved, back, src_transform=place, src_crs="EPSG:3857", dst_transform=transform, dst_crs="EPSG:32632",
        src_nodata=0, dst_nodata=0, resampling=Resampling.bilinear,
    )  # fmt: skip
    twin = write_raster(folder / "twin.tif", back, nodata=0)
    result, events = detect(folder, None, other)
    assert any("EPSG:3857" in event.get("message", "") for event in events)
    warped = change(folder)
    detect(folder, None, twin, "--overwrite")
    same = change(folder)
    inner = (slice(3, -3), slice(3, -3))
    assert warped.shape == same.shape
    assert (warped[inner] == same[inner]).mean() > 0.999
    assert result.stats["changed_px"] > 200


def test_row_28_four_times_coarser_warns(folder):
    pixels, _ = image(folder)
    coarse = pixels.reshape(3, 32, 4, 40, 4).mean((2, 4)).astype(np.uint8)
    path = write_raster(folder / "coarse.tif", coarse, transform=from_origin(500_000, 5_300_000, 40, 40))
    _, events = detect(folder, None, path)
    assert warned(events, "4")
    assert (change(folder) != 255).all()


@pytest.mark.parametrize("turn", [False, True])
def test_row_28_forced(folder, turn):
    """150 times: a coarse pixel stands for 150 x 150 fine ones, or they for it."""
    coarse = makers.much_coarser(folder)
    pair = (coarse, folder / "before.tif") if turn else (folder / "before.tif", coarse)
    result, events = detect(folder, *pair, "--allow-coarse")
    assert warned(events, "150 times")
    with rasterio.open(pair[0]) as file:
        assert change(folder).shape == file.shape
    assert result.stats["compared_px"] == (1 if turn else 128 * 160)  # the one whose centre lies in the other


def turned(folder, kind):
    """after.tif stored upside down, on its side, or both dates in a rotated and sheared grid."""
    pixels, transform = image(folder)
    height = pixels.shape[1]
    if kind == "south-up":
        place = transform * Affine.translation(0, height) * Affine.scale(1, -1)
        return None, write_raster(folder / "turned.tif", pixels[:, ::-1], transform=place)
    if kind == "on its side":
        # transposed: the first stored index runs east
        place = transform * Affine(0, 1, 0, 1, 0, 0)
        return None, write_raster(folder / "turned.tif", pixels.swapaxes(1, 2).copy(), transform=place)
    place = Affine.translation(500_000, 5_300_000) * Affine.rotation(30) * Affine.shear(10, 0) * Affine.scale(10, -10)
    before = write_raster(folder / "b.tif", image(folder, "before.tif")[0], transform=place)
    return before, write_raster(folder / "turned.tif", pixels, transform=place)


@pytest.mark.parametrize("kind", ["south-up", "on its side", "rotated and sheared"])
def test_row_29_turned_twins(folder, kind):
    straight, _ = detect(folder)
    expected = change(folder)
    before, after = turned(folder, kind)
    result, _ = detect(folder, before, after, "--overwrite")
    assert np.array_equal(change(folder), expected)
    # a shear along a row keeps the area; one place or another in the zone changes it by far less than 0.1 %
    assert result.stats["changed_area_m2"] == pytest.approx(straight.stats["changed_area_m2"], rel=1e-3)


def geodesic(west, north, step, height, width):
    """Area of a rectangle of degrees on the ellipsoid; its edges densified, since parallels are no geodesics."""
    lons = np.linspace(west, west + width * step, 400)
    lats = np.linspace(north, north - height * step, 400)
    lon = np.concatenate([lons, np.full(400, lons[-1]), lons[::-1], np.full(400, lons[0])])
    lat = np.concatenate([np.full(400, lats[0]), lats, np.full(400, lats[-1]), lats[::-1]])
    return abs(Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0])


@pytest.mark.parametrize(("west", "north"), [(10.0, 85.0), (179.98, 60.0), (-180.02, 60.0), (10.0, -0.0)])
def test_row_31_areas_in_degrees(tmp_path, west, north):
    step, size = 0.0005, (128, 160)
    before, after, _ = make_pair(
        tmp_path, size=size, bands=3, change=(40, 40, 20, 20), crs="EPSG:4326",
        transform=from_origin(west, north, step, step),
    )  # fmt: skip
    (tmp_path / "out").mkdir()
    result, _ = detect(tmp_path, before, after, "--polygons", tmp_path / "out" / "c.gpkg")
    assert result.stats["compared_area_m2"] == pytest.approx(geodesic(west, north, step, *size), rel=1e-3)


def test_row_31_at_the_pole(tmp_path):
    """Polar stereographic: the cap between the raster's edges, scale 0.994 at the pole."""
    before, after, _ = make_pair(
        tmp_path, size=(100, 100), bands=3, change=(10, 10, 20, 20), crs="EPSG:32661",
        transform=from_origin(1_995_000, 2_005_000, 100, 100),
    )  # fmt: skip
    (tmp_path / "out").mkdir()
    result, _ = detect(tmp_path, before, after)
    assert result.stats["compared_area_m2"] == pytest.approx(1e8 / 0.994**2, rel=1e-3)


def test_row_32_ground_control_points(folder):
    pixels, transform = image(folder)
    corners = [(0, 0), (0, 160), (128, 0), (128, 160)]
    points = [GroundControlPoint(row, col, *(transform * (col, row)), 0) for row, col in corners]
    path = folder / "gcp.tif"
    write_raster(path, pixels, crs=None)
    with opened(path, "r+") as file:
        file.gcps = (points, rasterio.crs.CRS.from_epsg(32632))
    detect(folder)
    expected = change(folder)
    _, events = detect(folder, None, path, "--overwrite")
    assert warned(events, "ground control points")
    inner = change(folder)[2:-2, 2:-2]
    assert (inner == expected[2:-2, 2:-2]).mean() > 0.999


def test_row_32_local_crs(tmp_path):
    before, after, _ = make_pair(tmp_path, size=(128, 160), bands=3, change=(40, 40, 20, 20), crs=LOCAL)
    (tmp_path / "out").mkdir()
    result, _ = detect(tmp_path, before, after, "--polygons", tmp_path / "out" / "c.gpkg")
    assert result.stats["changed_area_m2"] is None and result.stats["changed_px"] > 0


def test_row_33_a_crs_that_proj_cannot_reach(folder):
    pixels, transform = image(folder)
    path = write_raster(folder / "odd.tif", pixels, crs=LOCAL, transform=transform)
    fails(folder, "proj", 3, None, path, says="doctor")


def test_areas_do_not_depend_on_the_projection(folder):
    """The same ground counted in UTM and in degrees."""
    result, _ = detect(folder)
    assert result.stats["compared_area_m2"] == pytest.approx(128 * 160 * 100 / 0.9996**2, rel=1e-3)
    assert math.isfinite(result.stats["changed_area_m2"])
