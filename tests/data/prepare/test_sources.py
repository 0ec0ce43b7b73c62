import geopandas
import numpy as np
import pytest
import shapely
from pairs import ground, make_pair, write_raster
from rasterio.transform import from_origin

from cdengine.data.codings import CODINGS
from cdengine.data.prepare.sources import (
    PairImages,
    RasterLabel,
    SingleImage,
    change_polygons,
    is_vector,
    settle_change_coding,
)
from cdengine.errors import LabelError, NoCrsError
from cdengine.events import CollectSink, Reporter
from cdengine.raster.grid import Grid, Window
from cdengine.raster.quiet import opened


@pytest.fixture
def images(tmp_path):
    before, after, truth = make_pair(tmp_path / "p", size=(120, 150))
    found = PairImages(before, after, (None, None), "auto", Reporter())
    yield found, truth
    found.close()


def label_of(path, grid, coding=None):
    label = RasterLabel(str(path), grid, Reporter())
    settle_change_coding([label], coding, Reporter())
    return label


def test_pair_reads_any_window_and_beyond(images):
    found, _ = images
    pixels, valid = found.read(Window(100, 140, 40, 30))
    assert pixels["before"].shape == (4, 40, 30) and valid[:20, :10].all() and not valid[20:].any()
    assert found.dates["after"].count == 4


def test_single_image_reads_beyond_too(tmp_path, rng):
    path = write_raster(tmp_path / "i.tif", ground(rng, 3, 50, 60))
    image = SingleImage(path, "3,1", Reporter())
    pixels, valid = image.read(Window(-5, 40, 20, 30))
    assert pixels["image"].shape == (2, 20, 30) and not valid[:5].any() and valid[5:, :20].all()
    with opened(path) as dataset:
        np.testing.assert_array_equal(pixels["image"][0, 5:, :20], dataset.read(3)[:15, 40:])
    image.close()


def test_raster_label_on_another_grid_is_taken_by_the_nearest_pixel(tmp_path, images):
    """A label of half the pixel size, shifted by 20 pixels of the images."""
    found, _ = images
    mask = np.zeros((1, 100, 100), np.uint8)
    mask[0, 20:40, 20:60] = 1
    path = write_raster(tmp_path / "l.tif", mask, transform=from_origin(500_200, 5_299_800, 5, 5))
    label = label_of(path, found.grid)
    whole = label.read(Window(0, 0, 120, 150))
    assert (whole[20:70, 20:70] != 255).all() and (whole == 255).sum() == 120 * 150 - 2500
    assert (whole == 1).sum() == 20 * 40 // 4 and (whole[30:40, 30:50] == 1).all()
    np.testing.assert_array_equal(label.read(Window(25, 10, 30, 40)), whole[25:55, 10:50])
    label.close()


def test_label_without_a_crs_lies_pixel_for_pixel(tmp_path, images, save):
    found, truth = images
    label = label_of(save(tmp_path / "l.png", truth.astype(np.uint8) * 255), found.grid)
    np.testing.assert_array_equal(label.read(found.grid.window), truth)
    assert (label.read(Window(-4, 0, 8, 8))[:4] == 255).all()
    with pytest.raises(NoCrsError, match=r"s\.png \(20 x 10 pixels\)"):
        RasterLabel(str(save(tmp_path / "s.png", np.zeros((10, 20), np.uint8))), found.grid, Reporter())


def test_the_coding_is_found_over_all_scenes(tmp_path, images):
    found, _ = images
    values = [np.full((1, 120, 150), value, np.uint8) for value in (255, 1, 7)]
    paths = [write_raster(tmp_path / f"{i}.tif", array) for i, array in enumerate(values)]
    labels = [RasterLabel(path, found.grid, Reporter()) for path in paths]
    settle_change_coding(labels[:1], None, Reporter())
    assert labels[0].decode == CODINGS["0/255"].apply
    settle_change_coding(labels[:2], None, Reporter())
    assert labels[0].decode == CODINGS["0/1"].apply and (labels[0].read(Window(0, 0, 2, 2)) == 255).all()
    with pytest.raises(LabelError, match=r"2\.tif: values 7.*--label-coding"):
        settle_change_coding(labels, None, Reporter())
    several = write_raster(tmp_path / "b.tif", np.stack([values[0][0], values[1][0]]))
    with pytest.raises(LabelError, match="has 2 bands"):
        RasterLabel(several, found.grid, Reporter())


def test_polygons_in_another_crs(tmp_path, images):
    found, _ = images
    square = shapely.box(500_300, 5_299_500, 500_700, 5_299_900)  # rows 10 to 50, columns 30 to 70
    frame = geopandas.GeoDataFrame(geometry=[square], crs="EPSG:32632").to_crs(4326)
    frame.to_file(tmp_path / "l.geojson")
    label = change_polygons(str(tmp_path / "l.geojson"), found.grid, Reporter())
    truth = np.zeros((120, 150), np.uint8)
    truth[10:50, 30:70] = 1
    assert (label.read(found.grid.window) != truth).sum() <= 60  # a pixel at the edges: GeoJSON rounds
    part = label.read(Window(40, 60, 100, 100))
    assert part[:10, :10].all() and part.shape == (100, 100) and not part[80:].any()


def test_broken_polygons_are_told_of(tmp_path, images):
    found, _ = images
    bow = shapely.Polygon([(500_100, 5_299_900), (500_500, 5_299_500), (500_500, 5_299_900), (500_100, 5_299_500)])
    geopandas.GeoDataFrame(geometry=[bow], crs="EPSG:32632").to_file(tmp_path / "l.gpkg")
    sink = CollectSink()
    change_polygons(str(tmp_path / "l.gpkg"), found.grid, Reporter(sink))
    assert any("repaired" in event.get("message", "") for event in sink.events)


def test_which_paths_are_vectors():
    assert is_vector("a.gpkg|layername=x") and is_vector("A.GeoJSON") and not is_vector("a.tif")


def test_grid_without_place(tmp_path, save, rng):
    path = save(tmp_path / "i.png", ground(rng, 3, 40, 40).transpose(1, 2, 0))
    image = SingleImage(str(path), None, Reporter())
    assert image.grid.crs is None and isinstance(image.grid, Grid)
    image.close()
