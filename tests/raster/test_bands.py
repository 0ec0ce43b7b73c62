"""Choosing bands by number and name, and telling alpha from data."""

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp as C
from reading import smooth, write

from cdengine.errors import BandNumberError, DtypeError
from cdengine.raster.bands import alpha_band, rgb_bands, select


@pytest.fixture
def four(tmp_path, rng):
    return write(tmp_path / "four.tif", smooth(rng, 4, 40, 40), names=["B02", "B03", "B04", "B08"])


@pytest.mark.parametrize(
    ("wanted", "bands"),
    [
        (None, (1, 2, 3, 4)),
        ("4,3,2", (4, 3, 2)),
        (" b08 , B03", (4, 2)),
        ([1, "b04"], (1, 3)),
        ("2,2", (2, 2)),
    ],
)
def test_numbers_and_descriptions(four, wanted, bands):
    with rasterio.open(four) as dataset:
        assert select(dataset, wanted, "BEFORE") == bands


@pytest.mark.parametrize("wanted", ["0", "99", "nir", "-1", "1,,2", "1.5", ""])
def test_a_band_that_is_not_there_lists_those_that_are(four, wanted):
    with rasterio.open(four) as dataset, pytest.raises(BandNumberError, match=r"1 \(B02\), 2 \(B03\)") as caught:
        select(dataset, wanted, "BEFORE")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_tagged_alpha_is_left_out_unless_asked_for(tmp_path, rng):
    pixels = smooth(rng, 4, 32, 32, "uint8")
    varying = write(tmp_path / "rgbn.tif", pixels, photometric="RGB", colours=[C.red, C.green, C.blue, C.alpha])
    with rasterio.open(varying) as dataset:
        assert select(dataset, None, "x") == (1, 2, 3, 4)  # GDAL's tag for any fourth byte band
    pixels[3] = 255
    pixels[3, :8] = 0
    pixels[3, 8] = rng.integers(0, 256, 32)  # a feathered edge
    path = write(tmp_path / "rgba.tif", pixels, photometric="RGB", colours=[C.red, C.green, C.blue, C.alpha])
    with rasterio.open(path) as dataset:
        assert select(dataset, None, "x") == (1, 2, 3)
        assert select(dataset, "4,1", "x") == (4, 1)
        assert rgb_bands(dataset) == (1, 2, 3)


def test_untagged_last_band_of_extremes_is_alpha(tmp_path, rng):
    pixels = smooth(rng, 5, 32, 32)
    pixels[4] = 65535
    pixels[4, :3] = 0
    path = write(tmp_path / "x.tif", pixels)
    with rasterio.open(path) as dataset:
        assert alpha_band(dataset) == 5


def test_rgb_by_name_in_any_order(tmp_path, rng):
    path = write(tmp_path / "x.tif", smooth(rng, 5, 32, 32), names=["nir", "Blue", "GREEN", "red", "swir"])
    with rasterio.open(path) as dataset:
        assert rgb_bands(dataset) == (4, 3, 2)
        assert select(dataset, "red,green,blue", "x") == (4, 3, 2)


def test_four_bands_without_names_are_not_rgb(four):
    with rasterio.open(four) as dataset:
        assert rgb_bands(dataset) is None


def test_palette_is_refused_with_a_remedy(tmp_path):
    path = write(tmp_path / "p.tif", np.ones((1, 8, 8), np.uint8), photometric="palette")
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})
    with rasterio.open(path) as dataset, pytest.raises(DtypeError, match="-expand rgb"):
        select(dataset, None, "BEFORE")


def test_real_alpha_and_near_infrared(shared_data):
    with rasterio.open(shared_data / "georef/uint16_utm21s/before.tif") as dataset:
        assert select(dataset, None, "x") == (1, 2, 3, 4)  # the fifth is an untagged alpha
    with rasterio.open(shared_data / "georef/naip_nd/20090818.tif") as dataset:
        assert select(dataset, None, "x") == (1, 2, 3, 4)  # the fourth is near infrared, tagged as alpha
    with rasterio.open(shared_data / "io_rasterio/RGBA.uint16.tif") as dataset:
        assert select(dataset, None, "x") == (1, 2, 3)
        assert rgb_bands(dataset) == (3, 2, 1)
