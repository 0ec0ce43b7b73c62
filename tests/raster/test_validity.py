"""One validity mask whatever way a raster says which pixels count: twins that must agree, and GDAL's own masks."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp as C
from reading import smooth, write

from cdengine.raster.bands import select
from cdengine.raster.blocks import BlockReader
from cdengine.raster.source import inspect
from cdengine.raster.validity import Validity


def read(path, bands=None):
    raster = inspect(path)
    with raster.opened() as dataset:
        chosen = select(dataset, bands, "X")
        validity = Validity.of(dataset, chosen, "X")
        dtype = np.result_type(*(dataset.dtypes[b - 1] for b in chosen))
    reader = BlockReader(raster, chosen, validity, dtype)
    pixels, valid = reader.read(reader.window)
    reader.close()
    return pixels, valid, validity


@pytest.fixture
def hole():
    hole = np.zeros((40, 50), bool)
    hole[5:12, 9:30] = True
    hole[39, :] = True
    return hole


@pytest.mark.parametrize("way", ["nodata0", "nodata255", "negative", "nan", "inf", "mask", "alpha", "untagged", "none"])
def test_twins_agree(tmp_path, rng, hole, way):
    dtype = {"negative": "int16", "nan": "float32", "inf": "float32"}.get(way, "uint8")
    pixels = np.clip(smooth(rng, 3, 40, 50, dtype), 1, 254) if dtype == "uint8" else smooth(rng, 3, 40, 50, dtype)
    options, fill = {}, None
    if way in ("nodata0", "nodata255", "negative"):
        fill = options["nodata"] = {"nodata0": 0, "nodata255": 255, "negative": -9999}[way]
    elif way in ("nan", "inf"):
        fill = float(way)
        if way == "nan":
            options["nodata"] = fill
    elif way == "mask":
        options["mask"] = ~hole
    elif way in ("alpha", "untagged"):
        pixels = np.concatenate([pixels, np.where(hole, 0, 255).astype(np.uint8)[None]])
        options["colours"] = [C.gray, C.undefined, C.undefined, C.alpha if way == "alpha" else C.undefined]
    if fill is not None:
        pixels[:3, hole] = fill
    got, valid, _ = read(write(tmp_path / "x.tif", pixels, **options))
    assert got.shape == (3, 40, 50)
    assert np.array_equal(valid, np.ones_like(hole) if way == "none" else ~hole)
    assert np.array_equal(got[:, valid], pixels[:3, valid])


def test_a_pixel_missing_in_one_selected_band_is_out(tmp_path, rng):
    pixels = smooth(rng, 2, 20, 20) + np.uint16(1)
    pixels[0, 3, 4] = pixels[1, 7, 8] = 0
    path = write(tmp_path / "x.tif", pixels, nodata=0)
    _, valid, _ = read(path)
    assert sorted(map(tuple, np.argwhere(~valid).tolist())) == [(3, 4), (7, 8)]
    _, valid, _ = read(path, "2")
    assert np.argwhere(~valid).tolist() == [[7, 8]]


def test_nodata_per_band(tmp_path, rng):
    pixels = smooth(rng, 2, 20, 20) + np.uint16(10)
    one, two = write(tmp_path / "1.tif", pixels[:1], nodata=3), write(tmp_path / "2.tif", pixels[1:], nodata=5)
    with rasterio.open(one, "r+") as a, rasterio.open(two, "r+") as b:
        data = a.read(1)
        data[0, 0], data[1, 1] = 3, 5
        a.write(data, 1)
        data = b.read(1)
        data[0, 0], data[1, 1] = 3, 5
        b.write(data, 1)
    vrt = tmp_path / "both.vrt"
    band = (
        '<VRTRasterBand dataType="UInt16" band="{n}"><NoDataValue>{nodata}</NoDataValue><SimpleSource>'
        '<SourceFilename relativeToVRT="1">{n}.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
        "</VRTRasterBand>"
    )
    vrt.write_text(
        '<VRTDataset rasterXSize="20" rasterYSize="20"><GeoTransform>0,1,0,0,0,-1</GeoTransform>'
        + band.format(n=1, nodata=3)
        + band.format(n=2, nodata=5)
        + "</VRTDataset>"
    )
    _, valid, _ = read(str(vrt))
    assert not valid[0, 0] and not valid[1, 1]  # band 1 is out at (0, 0), band 2 at (1, 1)
    _, valid, _ = read(str(vrt), "1")
    assert not valid[0, 0] and valid[1, 1]


def test_a_mask_band_overrules_nodata(tmp_path, rng, hole):
    pixels = smooth(rng, 1, 40, 50, "uint8")
    pixels[0, 20, 20] = 0
    _, valid, _ = read(write(tmp_path / "x.tif", pixels, nodata=0, mask=~hole))
    assert np.array_equal(valid, ~hole)


def test_alpha_chosen_as_data_masks_nothing(tmp_path, rng):
    pixels = smooth(rng, 4, 40, 50, "uint8")
    pixels[3, 10:] = 0
    path = write(tmp_path / "x.tif", pixels, photometric="RGB", colours=[C.red, C.green, C.blue, C.alpha])
    assert read(path, "1,4")[1].all()


@pytest.mark.parametrize("declared", [b"999", b"-99", b"0.5"])
def test_nodata_that_the_type_cannot_hold_is_ignored_and_said(tmp_path, rng, declared):
    path = Path(write(tmp_path / "x.tif", smooth(rng, 1, 20, 20, "uint8"), nodata=255))
    path.write_bytes(path.read_bytes().replace(b"255\0", declared + b"\0"))
    _, valid, validity = read(str(path))
    assert valid.all()
    assert "cannot occur in uint8" in " ".join(inspect(path).notes + validity.notes)


IO = {
    "RGBA.uint16.tif": 0.4886,
    "alpha.tif": None,
    "all-nodata.tif": 0.0,
    "float_nan.tif": None,
    "float_raster_with_nodata.tif": None,
    "goes.tif": None,
    "red.tif": None,
    "rotated.tif": 1.0,
}


@pytest.mark.parametrize("name", IO)
def test_odd_files_agree_with_gdal(shared_data, name):
    """GDAL's masks of the selected bands, ANDed, with NaN out."""
    path = shared_data / "io_rasterio" / name
    pixels, valid, _ = read(str(path))
    with inspect(path).opened() as dataset:
        chosen = select(dataset, None, "X")
        expected = np.logical_and.reduce([dataset.read_masks(band) != 0 for band in chosen])
    if pixels.dtype.kind == "f":
        expected &= np.isfinite(pixels).all(axis=0)
    assert np.array_equal(valid, expected)
    if IO[name] is not None:
        assert valid.mean() == pytest.approx(IO[name], abs=1e-4)
