import struct
import zlib

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from PIL import Image
from rasterio.transform import from_origin

from cdengine.data.images import read_bands, read_image, read_stored
from cdengine.errors import (
    BandNumberError,
    CorruptError,
    DtypeError,
    NotARasterError,
    NotFoundInputError,
    TooLargeError,
)
from cdengine.raster.quiet import opened


def write_tif(path, array, **options):
    profile = {"driver": "GTiff", "count": len(array), "height": array.shape[1], "width": array.shape[2]}
    place = {"crs": "EPSG:32631", "transform": from_origin(500000, 5000000, 10, 10)}
    with rasterio.open(path, "w", **profile, dtype=array.dtype, **place, **options) as dataset:
        dataset.write(array)
    return path


def test_png_and_jpeg_equal_gdal(shared_data):
    for name in ("levir256/A/test_2_0000_0000.png", "beijing500/A/beijing_A.jpg"):
        pixels, valid = read_image(shared_data / "vhr_building" / name)
        with opened(shared_data / "vhr_building" / name) as dataset:
            truth = dataset.read()
        assert valid.all() and pixels.dtype == np.uint8
        # GDAL and Pillow interpolate a JPEG's colours a little differently
        assert np.abs(pixels.astype(int) - truth).mean() <= (0 if name.endswith("png") else 1.5)


def test_bands_by_number_and_name(tmp_path, save, rng):
    array = rng.integers(0, 255, (5, 6, 3), dtype=np.uint8)
    path = save(tmp_path / "a.png", array)
    np.testing.assert_array_equal(read_image(path, [3, "green"])[0], np.moveaxis(array, -1, 0)[[2, 1]])
    assert read_bands(path) == ("red", "green", "blue")
    with pytest.raises(BandNumberError, match=r"a\.png: no band 4; it has 3"):
        read_image(path, [4])


def test_alpha_and_palettes(tmp_path, save):
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., :3], rgba[:2, :, 3] = 9, 255
    pixels, valid = read_image(save(tmp_path / "rgba.png", rgba))
    assert pixels.shape == (3, 4, 4) and valid[:2].all() and not valid[2:].any()
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png")[0][:, 0].T.tolist() == [[10, 20, 30], [40, 50, 60]]
    stored = read_stored(tmp_path / "p.png")
    assert stored.values.tolist() == [[[0, 1]]] and stored.palette[1].tolist() == [40, 50, 60]


def test_sixteen_bit_png_keeps_its_bits(tmp_path, rng):
    array = rng.integers(0, 65535, (3, 8, 8), dtype=np.uint16)
    with rasterio.Env(GDAL_PAM_ENABLED="NO"):
        write_tif(tmp_path / "a.tif", array)
        rasterio.shutil.copy(tmp_path / "a.tif", tmp_path / "a.png", driver="PNG")
    pixels, _ = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels, array)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_geotiff_of_any_type_and_band_count(tmp_path, rng, dtype):
    array = (rng.random((5, 7, 9)) * 100).astype(dtype)
    pixels, valid = read_image(write_tif(tmp_path / "a.tif", array))
    assert pixels.dtype == dtype and valid.all()
    np.testing.assert_array_equal(pixels, array)
    assert read_bands(tmp_path / "a.tif") == ("band1", "band2", "band3", "band4", "band5")


def test_nodata_and_nan_are_not_valid(tmp_path):
    array = np.ones((2, 2, 3), np.float32)
    array[0, 0, 0], array[1, 1, 1], array[1, 0, 2] = np.nan, -9999, np.inf
    _, valid = read_image(write_tif(tmp_path / "a.tif", array, nodata=-9999))
    assert valid.tolist() == [[False, True, False], [True, False, True]]


def test_unreadable_files_are_named(tmp_path, save, rng):
    path = save(tmp_path / "a.png", rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptError, match=r"a\.png cannot be decoded"):
        read_image(path)
    path.write_bytes(data[:20])
    with pytest.raises(CorruptError, match=r"a\.png"):
        read_image(path)
    path.write_bytes(b"")
    with pytest.raises(NotARasterError, match="empty"):
        read_image(path)
    path.write_text("hello")
    with pytest.raises(NotARasterError, match=r"a\.png"):
        read_image(path)
    with pytest.raises(NotFoundInputError, match=r"gone\.png does not exist"):
        read_image(tmp_path / "gone.png")
    jpeg = save(tmp_path / "a.jpg", rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    jpeg.write_bytes(jpeg.read_bytes()[:700])
    with pytest.raises(CorruptError, match=r"a\.jpg"):
        read_image(jpeg)
    tif = write_tif(tmp_path / "a.tif", rng.integers(0, 255, (1, 200, 200), dtype=np.uint8))
    tif.write_bytes(tif.read_bytes()[:20000])
    with pytest.raises(CorruptError, match=r"a\.tif"):
        read_image(tif)


def test_a_header_that_nobody_meant(tmp_path, save):
    path = save(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 2**20, 2**20)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(bytes(data))
    with pytest.raises(TooLargeError, match="1,048,576 x 1,048,576"):
        read_image(path)


def test_a_large_picture_is_no_bomb(tmp_path, save):
    path = save(tmp_path / "a.png", np.zeros((9500, 9500), np.uint8))  # Pillow warns from 89 Mpx on
    assert read_image(path)[0].shape == (1, 9500, 9500)


def test_complex_and_vrt_in_disguise(tmp_path):
    with pytest.raises(DtypeError, match="complex"):
        read_image(write_tif(tmp_path / "c.tif", np.ones((1, 4, 4), np.complex64)))
    (tmp_path / "v.tif").write_text('<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>')
    with pytest.raises(NotARasterError):
        read_image(tmp_path / "v.tif")
