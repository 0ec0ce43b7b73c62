import numpy as np
import pytest
from affine import Affine
from PIL import Image
from rasterio.crs import CRS

from cdengine.data.images import read_image
from cdengine.data.prepare.writer import check_format, write_image, write_label, write_world
from cdengine.errors import OutputError, UsageError
from cdengine.raster.grid import Grid
from cdengine.raster.pair import SourceInfo
from cdengine.raster.quiet import opened

GRID = Grid(CRS.from_epsg(32632), Affine(10, 0, 500_000, 0, -10, 5_300_000), 6, 5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("bands", [1, 3, 4, 5])
@pytest.mark.parametrize("whole", [True, False])
def test_geotiff_gives_back_pixels_validity_place_and_names(tmp_path, rng, dtype, bands, whole):
    pixels = (rng.random((bands, 6, 5)) * 200).astype(dtype)
    pixels[-1] = 255  # as an alpha band would be
    valid = np.ones((6, 5), bool)
    valid[2:4, 1] = whole
    names = tuple(f"B{i}" for i in range(bands))
    write_image(tmp_path / "a.tif", pixels, valid, GRID, names)
    back, mask = read_image(tmp_path / "a.tif")
    assert back.dtype == dtype and back.shape == pixels.shape
    np.testing.assert_array_equal(mask, valid)
    np.testing.assert_array_equal(back[:, valid], pixels[:, valid])
    with opened(tmp_path / "a.tif") as dataset:
        assert (dataset.crs, dataset.transform, dataset.descriptions) == (GRID.crs, GRID.transform, names)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("bands", [1, 3])
def test_png_has_alpha_where_needed(tmp_path, rng, bands):
    pixels = rng.integers(1, 255, (bands, 6, 5), dtype=np.uint8)
    valid = np.ones((6, 5), bool)
    write_image(tmp_path / "a.png", pixels, valid, GRID, ())
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == {1: "L", 3: "RGB"}[bands]
    valid[0] = False
    write_image(tmp_path / "b.png", pixels, valid, GRID, ())
    back, mask = read_image(tmp_path / "b.png")
    np.testing.assert_array_equal(mask, valid)
    np.testing.assert_array_equal(back[:, valid], pixels[:, valid])


def test_world_file_places_the_picture(tmp_path, rng):
    write_image(tmp_path / "a.png", rng.integers(1, 255, (3, 6, 5), dtype=np.uint8), np.ones((6, 5), bool), GRID, ())
    write_world(tmp_path / "a.png", GRID)
    with opened(tmp_path / "a.png") as dataset:
        assert dataset.transform == GRID.transform
    assert "UTM" in (tmp_path / "a.prj").read_text()


def test_labels(tmp_path):
    label = np.array([[0, 1, 255]], np.uint8).repeat(2, 0)
    write_label(tmp_path / "a.tif", label, GRID, 255)
    with opened(tmp_path / "a.tif") as dataset:
        assert dataset.nodata == 255
        np.testing.assert_array_equal(dataset.read(1), label)
    write_label(tmp_path / "a.png", label, GRID, 255)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), label)


def test_png_holds_bytes_of_one_or_three_bands():
    check_format("tif", {"before": SourceInfo("x", (1, 2), ("", ""), np.dtype("uint16"))})
    for count, dtype in ((4, "uint8"), (3, "uint16")):
        info = SourceInfo("x.tif", tuple(range(1, count + 1)), ("",) * count, np.dtype(dtype))
        with pytest.raises(UsageError, match=r"--format png.*before \(x\.tif\)"):
            check_format("png", {"before": info})


def test_a_folder_that_is_gone(tmp_path):
    with pytest.raises(OutputError, match=r"a\.png"):
        write_label(tmp_path / "no" / "a.png", np.zeros((2, 2), np.uint8), GRID, 255)
