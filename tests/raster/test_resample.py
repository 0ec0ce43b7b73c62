"""Resampled dates equal GDAL's own warp, and nodata never bleeds into data."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from reading import NORTH_UP, PLACES, UTM, gdal_warp, joined, latlon, nearest, smooth, twin, write

from cdengine.raster.grid import Window
from cdengine.raster.pair import Pair

OSCD = ["bercy", "abudhabi", "beihai", "saclay_e", "aguasclaras", "bordeaux", "nantes"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64", "int32"])
def test_resampling_equals_gdals_warper(tmp_path, rng, place, dtype):
    to, crs = PLACES[place]
    before, after = twin(tmp_path, rng, to=to, crs=crs, dtype=dtype)
    with Pair.open(before, after) as pair:
        block = pair.read(pair.grid.window)
        expected, inside = gdal_warp(after, pair, (1, 2))
        assert (block.valid == inside).mean() > 0.9995  # centres on a source pixel's edge may fall to either side
        both = block.valid & inside
        assert both.mean() > 0.3
        difference = np.abs(block.after.astype(float) - expected)[:, both]
        assert difference.max() <= (1e-5 if dtype.startswith("float") else 1 if dtype != "int32" else 10)
        assert pair.alignment.kind == {"same": "same", "whole": "same"}.get(
            place, "warped" if crs != UTM else "resampled"
        )


def test_finer_after_is_averaged_not_skipped(tmp_path, rng):
    """Stripes one fine pixel wide must come out grey, not as whichever stripe the centre hits."""
    fine = np.zeros((1, 400, 400), "uint8")
    fine[:, :, ::2] = 200
    before = write(tmp_path / "a.tif", smooth(rng, 1, 100, 100, "uint8"))
    after = write(tmp_path / "b.tif", fine, NORTH_UP @ Affine.scale(0.25))
    with Pair.open(before, after) as pair:
        inner = pair.read(Window(2, 2, 96, 96)).after
        assert inner.min() >= 95 and inner.max() <= 105
        assert any("4 times as wide" in note for note in pair.notes)
    with Pair.open(before, after, grid="finer") as pair:
        assert pair.grid.height == 400
        assert pair.alignment.resampled == "before"
    with Pair.open(before, after, grid="after") as pair:
        assert np.array_equal(pair.read(pair.window).after, fine)


# ------------------------------------------------------------------ nodata
@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
@pytest.mark.parametrize("way", ["nodata", "nan", "mask", "alpha"])
def test_nodata_never_bleeds_into_data(tmp_path, rng, crs, way):
    hole = np.zeros((300, 320), bool)
    hole[100:140, 50:200] = True
    hole[200, 200] = True
    pixels = np.full((1, 300, 320), 1000, "float32" if way == "nan" else "uint16")
    pixels[0, hole] = {"nodata": 0, "nan": np.nan, "mask": 60000, "alpha": 60000}[way]
    options = {"nodata": 0} if way == "nodata" else {"mask": ~hole} if way == "mask" else {}
    if way == "alpha":
        pixels = np.concatenate([pixels, np.where(hole, 0, 65535).astype("uint16")[None]])
        options = {"ALPHA": "YES"}
    before = write(tmp_path / "a.tif", smooth(rng, 1, 300, 320))
    to = latlon() if crs != UTM else NORTH_UP @ Affine.translation(0.4, 0.3)
    after = write(tmp_path / "b.tif", pixels, to, crs, **options)
    with Pair.open(before, after) as pair:
        block = pair.read(pair.grid.window)
        assert np.allclose(block.after[0, block.valid], 1000, rtol=2e-7, atol=0)
        place = {"crs": UTM, "transform": NORTH_UP, "height": 300, "width": 320, "tolerance": 1e-9}
        expected = nearest(~hole, {"crs": crs, "transform": to}, place)
        assert (block.valid != expected).mean() < 5e-4
        assert not block.valid.all()


# ------------------------------------------------------------------ real pairs
REAL = {
    **{f"oscd/{city}": ("before.tif", "after.tif") for city in OSCD},
    "landsat_taizhou": ("before.tif", "after.tif"),
    "georef/joplin_two_crs": ("pre_tile_337-10160.tif", "post_tile_31500-6161.tif"),
    "georef/naip_nd": ("20090818.tif", "20180716.tif"),
    "georef/landsat_pucallpa": ("1985.tif", "2020.tif"),
    "georef/uint16_utm21s": ("before.tif", "after.tif"),
    "georef/float32_delhi": ("t1_1_2.tif", "t2_1_2.tif"),
    "georef/float32_delhi/": ("t1_5_5.tif", "t2_5_5.tif"),
}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NodataShadowWarning")  # of GDAL's masks, which are compared with
@pytest.mark.parametrize("place", REAL)
def test_real_pairs_equal_gdals_warper(shared_data, place):
    before, after = (str(shared_data / place / name) for name in REAL[place])
    with Pair.open(before, after) as pair:
        block = pair.read(pair.grid.window)
        parts = joined(pair.strips())
        rows, cols = pair.window.slices
        assert np.array_equal(block.after[:, rows, cols], parts[1])
        assert block.valid[rows, cols].sum() == block.valid.sum() > 0
        with rasterio.open(before) as dataset:
            assert np.array_equal(block.before, dataset.read(list(pair.before.bands)))
        expected, inside = gdal_warp(after, pair, pair.after.bands)
        assert (block.valid & ~inside).mean() < 1e-3
        difference = np.abs(block.after.astype(float) - expected)[:, block.valid & inside]
        assert difference.max() <= 1
        assert difference.mean() < 0.03
        same = place.split("/")[-1] in ("abudhabi", "saclay_e", "naip_nd", "joplin_two_crs", "float32_delhi", "")
        assert (pair.alignment.kind != "same") == same
