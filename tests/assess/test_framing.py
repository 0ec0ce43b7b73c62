"""What a picture shows of a result, and that both dates lie where the results have them."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from pairs import ground, write_raster
from PIL import Image
from rasterio.control import GroundControlPoint

from cdengine.assess.colours import OUTLINE
from cdengine.assess.framing import DETAIL_PX, frame_of
from cdengine.assess.preview import Frame, grid_of, read_pair
from cdengine.assess.quicklook import quicklook
from cdengine.raster.grid import Window
from cdengine.raster.pair import Pair
from cdengine.raster.quiet import opened

UTM = Affine(10, 0, 500_000, 0, -10, 5_300_000)


@pytest.fixture
def scene(rng):
    """Ground of which both dates are cut: (3, 300, 400)."""
    return ground(rng, 3, 300, 400)


def change_raster(path, shape=(200, 300), crs="EPSG:32632", transform=UTM, inside=None):
    """No change but at one place; 255 outside the window `inside`."""
    pixels = np.zeros(shape, np.uint8)
    if inside is not None:
        pixels[...] = 255
        pixels[inside.slices] = 0
        pixels[inside.row + 5 : inside.row + 15, inside.col + 5 : inside.col + 15] = 1
    return write_raster(path, pixels[None], crs=crs, transform=transform, nodata=255)


def whole_frame(path):
    with opened(path) as dataset:
        grid = grid_of(dataset)
    return Frame(grid, grid.window, grid.height, grid.width)


@pytest.mark.parametrize("crs", ["EPSG:32632", None])
def test_the_residual_shift_is_removed(tmp_path, scene, crs):
    """AFTER's content lies 3 rows too far down and 5 columns too far left."""
    before = write_raster(tmp_path / "b.tif", scene[:, 20:220, 20:320], crs=crs)
    after = write_raster(tmp_path / "a.tif", scene[:, 17:217, 25:325], crs=crs)
    one, two = read_pair(before, after, whole_frame(before), (3.0, -5.0))
    assert two.valid[:-3, 5:].all() and not two.valid[-3:].any() and not two.valid[:, :5].any()
    np.testing.assert_array_equal(one.bands[:, :-3, 5:], two.bands[:, :-3, 5:])
    apart = read_pair(before, after, whole_frame(before))[1]
    assert (apart.bands[:, :-3, 5:] != one.bands[:, :-3, 5:]).mean() > 0.5


def test_the_shift_is_in_pixels_of_the_results(tmp_path, scene):
    """AFTER has pixels half as large, so two of them for one of the shift."""
    before = write_raster(tmp_path / "b.tif", scene[:, :100, :150], transform=UTM)
    fine = np.repeat(np.repeat(scene[:, :100, :150], 2, 1), 2, 2)
    after = write_raster(tmp_path / "a.tif", np.roll(fine, (4, 2), (1, 2)), transform=UTM @ Affine.scale(0.5))
    one, two = read_pair(before, after, whole_frame(before), (2.0, 1.0))
    np.testing.assert_array_equal(one.bands[:, 2:-2, 1:-1], two.bands[:, 2:-2, 1:-1])


def test_a_part_is_shown_with_its_surroundings(tmp_path, scene):
    before = write_raster(tmp_path / "b.tif", scene[:, :200])
    part = Window(100, 200, 30, 40)
    change = change_raster(tmp_path / "c.tif", (200, 400), inside=part)
    frame, shown = frame_of(before, before, change, part)
    assert frame.window == Window(84, 184, 62, 72) and shown == "around what was compared"
    assert (frame.height, frame.width) == (62 * 5, 72 * 5)  # pixels stay square
    assert frame_of(before, before, change, Window(0, 0, 20, 30))[0].window == Window(0, 0, 36, 46)
    for compared in (None, Window(0, 0, 200, 400), Window(10, 10, 180, 380)):
        frame, shown = frame_of(before, before, change, compared)
        assert frame.whole and shown == ""
    quicklook(before, before, change, None, tmp_path / "q.png", compared=part)
    with Image.open(tmp_path / "q.png") as image:
        assert (np.asarray(image) == np.uint8(OUTLINE)).all(axis=-1).sum() > 4 * 5 * 10  # ten pixels of 5 a side


def test_a_part_of_a_large_raster_without_overviews_is_affordable(tmp_path):
    side = 40_000
    path = tmp_path / "large.tif"
    profile = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "sparse_ok": True}
    with rasterio.open(path, "w", driver="GTiff", count=1, height=side, width=side, dtype="uint8", crs="EPSG:32632",
                       transform=UTM, **profile) as file:  # fmt: skip
        file.write(np.ones((1, 512, 512), np.uint8), window=rasterio.windows.Window(20_480, 30_720, 512, 512))
    frame, shown = frame_of(path, path, path, Window(30_500, 20_000, 3_000, 4_000))
    assert frame.window == Window(30_300, 19_800, 3_400, 4_400) and shown == "around what was compared"
    frame, shown = frame_of(path, path, path, Window(10_000, 10_000, 28_000, 28_000))
    assert "most change" in shown and frame.window.pixels == DETAIL_PX**2
    assert frame.window.intersect(Window(30_720, 20_480, 512, 512)).pixels == 512 * 512


def test_the_picture_lies_on_the_grid_of_the_results(tmp_path, scene):
    """`--grid after`: AFTER begins 40 rows further down."""
    before = write_raster(tmp_path / "b.tif", scene[:, :200, :300], transform=UTM)
    moved = UTM @ Affine.translation(30, 40)
    after = write_raster(tmp_path / "a.tif", scene[:, 40:240, 30:330], transform=moved)
    change = change_raster(tmp_path / "c.tif", transform=moved)
    frame, _ = frame_of(before, after, change)
    assert frame.grid.transform == moved
    one, two = read_pair(before, after, Frame(frame.grid, frame.window, 200, 300))
    np.testing.assert_array_equal(one.bands[:, :160, :270], two.bands[:, :160, :270])
    assert one.valid[:160, :270].all() and not one.valid[160:].any() and two.valid.all()


@pytest.mark.parametrize("place", ["control points", "stated CRS"])
def test_dates_lie_where_the_pair_has_them(tmp_path, scene, place):
    """A date that its file does not place: the pair knows better than the file."""
    before = write_raster(tmp_path / "b.tif", scene[:, :200, :300], transform=UTM)
    after, moved = tmp_path / "a.tif", UTM @ Affine.translation(30, 40)
    write_raster(after, scene[:, 40:240, 30:330], crs=None)
    with opened(after, "r+") as file:
        if place == "stated CRS":
            file.transform = moved
        else:
            corners = [(0, 0), (0, 300), (200, 0), (200, 300)]
            points = [GroundControlPoint(row, col, *(moved @ (col, row)), 0) for row, col in corners]
            file.gcps = (points, rasterio.crs.CRS.from_epsg(32632))
    with Pair.open(before, str(after), assume_crs="EPSG:32632" if place == "stated CRS" else None) as pair:
        one, two = read_pair(*pair.rasters, whole_frame(before))
        quicklook(*pair.rasters, change_raster(tmp_path / "c.tif"), None, tmp_path / "q.png")
    inner = np.s_[:, 42:, 32:]
    assert two.valid[inner[1:]].all() and not two.valid[:38].any() and not two.valid[:, :28].any()
    assert np.abs(one.bands[inner] - two.bands[inner]).mean() < 1
