"""What may be opened, and one clear line for everything else (fault matrix, rows 1 to 19)."""

import os
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.env import get_gdal_config
from reading import NORTH_UP, UTM, smooth, write

from cdengine import errors
from cdengine.raster.source import display_uri, fingerprint, gdal_env, inspect, members, open_raster

BAND = (
    '<VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename relativeToVRT="{relative}">{name}'
    "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
)


def vrt(path, body, head=""):
    Path(path).write_text(
        f'{head}<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>{UTM}</SRS>'
        f"<GeoTransform>500000, 10, 0, 5500000, 0, -10</GeoTransform>{body}</VRTDataset>"
    )
    return str(path)


@pytest.fixture
def image(tmp_path, rng):
    return write(tmp_path / "image.tif", smooth(rng, 2, 64, 64), tiled=True, blockxsize=16, blockysize=16)


def refused(error, path, match=None, **options):
    """The error that inspecting the path must raise: of exactly this class, on one line."""
    with pytest.raises(error, match=match) as caught:
        inspect(path, **options)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("BEFORE")
    return str(caught.value)


# ------------------------------------------------------------------ files
def test_missing_folder_empty_and_text(tmp_path):
    refused(errors.NotFoundInputError, tmp_path / "no.tif", "does not exist")
    refused(errors.NotARasterError, tmp_path, "choose a file")
    (tmp_path / "empty.tif").touch()
    refused(errors.NotARasterError, tmp_path / "empty.tif", "0 bytes")
    (tmp_path / "text.tif").write_text("not a raster at all\n" * 50)
    refused(errors.NotARasterError, tmp_path / "text.tif", "no raster format")


@pytest.mark.parametrize("keep", [0.5, -10, 300, -1])
@pytest.mark.parametrize("kind", [{"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG"}, {"compress": "none"}, {"tiled": True}])
def test_truncated_tiffs(tmp_path, rng, keep, kind):
    whole = Path(write(tmp_path / "whole.tif", smooth(rng, 2, 200, 200), **kind)).read_bytes()
    cut = tmp_path / "cut.tif"
    cut.write_bytes(whole[: int(len(whole) * keep) if 0 < keep < 1 else keep])
    refused(errors.CorruptError, cut, "truncated")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # of writing
@pytest.mark.parametrize(("name", "driver"), [("x.png", "PNG"), ("x.jp2", "JP2OpenJPEG")])
def test_truncated_png_and_jpeg2000(tmp_path, rng, name, driver):
    path = tmp_path / name
    with rasterio.open(path, "w", driver=driver, count=3, height=64, width=64, dtype="uint8") as dataset:
        dataset.write(smooth(rng, 3, 64, 64, "uint8"))
    assert inspect(path).height == 64
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refused(errors.CorruptError, path, "truncated")


def test_unfinished_tiff_is_refused_and_a_sparse_one_is_not(tmp_path):
    sparse = tmp_path / "sparse.tif"
    options = {"count": 1, "dtype": "uint8", "height": 4096, "width": 4096, "crs": UTM, "transform": NORTH_UP}
    with rasterio.open(sparse, "w", driver="GTiff", tiled=True, SPARSE_OK=True, **options):
        pass
    assert inspect(sparse).height == 4096
    # What a killed writer leaves: pixels in the file, and a directory that knows of none of them.
    with open(sparse, "ab") as stream:
        stream.write(b"\x55" * (1 << 20))
    refused(errors.CorruptError, sparse, "never finished")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(image):
    os.chmod(image, 0)
    refused(errors.PermissionInputError, image, "permission")


def test_permission_error_is_told_apart(image, monkeypatch):
    def denied(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    refused(errors.PermissionInputError, image, "no permission")


def test_missing_driver_is_named(tmp_path):
    (tmp_path / "x.ecw").write_bytes(b"ecw" * 100)
    refused(errors.DriverError, tmp_path / "x.ecw", "ECW driver")


def test_subdatasets_are_listed(tmp_path, rng):
    container = tmp_path / "two.gpkg"
    options = {"driver": "GPKG", "count": 1, "height": 32, "width": 32, "dtype": "uint8", "crs": UTM}
    for table in ("one", "two"):
        extra = {"APPEND_SUBDATASET": "YES"} if container.exists() else {}
        with rasterio.open(container, "w", RASTER_TABLE=table, transform=NORTH_UP, **options, **extra) as dataset:
            dataset.write(smooth(rng, 1, 32, 32, "uint8"))
    text = refused(errors.SubdatasetsError, container)
    assert "one" in text and "two" in text


@pytest.mark.parametrize(
    "name", ["é x'q&;$(id).tif", "a b#1?x=2.tif", "100%.tif", "x" * 240 + ".tif", "a!b.tif", "-o.tif"]
)
def test_any_file_name_works(tmp_path, rng, name, monkeypatch):
    write(tmp_path / "plain.tif", smooth(rng, 1, 20, 20))
    (tmp_path / "plain.tif").rename(tmp_path / name)
    with open_raster(tmp_path / name) as dataset:
        assert dataset.count == 1
    monkeypatch.chdir(tmp_path)
    assert inspect(name).name == name


# ------------------------------------------------------------------ paths
@pytest.mark.parametrize(
    "path",
    [
        "<VRTDataset rasterXSize='1' rasterYSize='1'/>",
        " <GDAL_WMS/>",
        "/vsimem/x.tif",
        "/vsistdin/",
        "/vsitar/x.tar/y.tif",
        "/vsicurl/file:///etc/passwd",
        "/vsicurl/ftp://host/x.tif",
        "/vsicurl?url=http://host/x.tif",
        "/vsisubfile/0_100,/etc/passwd",
        "/vsizip//vsitar/a.tar/b.zip/c.tif",
        "PG:dbname=x",
        "WMS:http://host",
        "",
    ],
)
def test_kinds_of_path_that_are_never_opened(path):
    refused(errors.PathError, path)


def test_secrets_are_not_shown():
    assert display_uri("/vsicurl/https://me:pw@host/a.tif?sig=SECRET#x") == "/vsicurl/https://host/a.tif"
    assert display_uri("https://host/a.tif?sig=SECRET") == "https://host/a.tif"
    assert display_uri("folder/what?.tif") == "folder/what?.tif"


def test_unreachable_server_is_one_clean_line_without_the_token():
    text = refused(errors.RemoteError, "/vsicurl/http://127.0.0.1:9/x.tif?token=SECRET")
    assert "SECRET" not in text and "127.0.0.1:9/x.tif" in text


def test_zip_members(tmp_path, image):
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.write(image, "in/image.tif")
    path = f"/vsizip/{archive}/in/image.tif"
    assert inspect(path).height == 64
    assert members(path) == (archive,)
    refused(errors.NotFoundInputError, f"/vsizip/{archive}/no.tif", "in/image.tif")
    refused(errors.NotFoundInputError, f"/vsizip/{tmp_path}/no.zip/x.tif")


def test_damaged_zip_and_bomb(tmp_path, image):
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as out:
        out.write(image, "image.tif")
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 255
    archive.write_bytes(data)
    refused(errors.CorruptError, f"/vsizip/{archive}/image.tif", "unpack")
    bomb = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out,
        out.open("big.tif", "w", force_zip64=True) as member,
    ):
        for _ in range(1030):
            member.write(bytes(1 << 20))
    began = time.monotonic()
    refused(errors.CorruptError, f"/vsizip/{bomb}/big.tif", "claim to unpack")
    assert time.monotonic() - began < 1


# ------------------------------------------------------------------ VRT
def test_a_plain_mosaic_opens_and_its_members_are_known(tmp_path, image):
    inner = vrt(tmp_path / "inner.vrt", BAND.format(relative=1, name="image.tif"))
    outer = vrt(tmp_path / "outer.vrt", BAND.format(relative=0, name=inner))
    with open_raster(outer) as dataset:
        assert dataset.read(1).any()
    assert set(members(outer)) == {Path(outer), Path(inner), Path(image)}
    before = fingerprint(outer)
    os.utime(image, ns=(1, 1))
    assert fingerprint(outer) != before


def test_missing_source_is_named_at_once(tmp_path):
    path = vrt(tmp_path / "x.vrt", BAND.format(relative=1, name="gone.tif"))
    refused(errors.VrtSourceError, path, "gone.tif")


def test_truncated_source_is_found_at_once(tmp_path, image):
    data = Path(image).read_bytes()
    Path(image).write_bytes(data[: len(data) // 2])
    refused(errors.CorruptError, vrt(tmp_path / "x.vrt", BAND.format(relative=1, name="image.tif")), "truncated")


@pytest.mark.parametrize(
    "body",
    [
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">'
        "<SourceFilename>/etc/passwd</SourceFilename></VRTRasterBand>",
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTDerivedRasterBand">'
        "<PixelFunctionType>x.y</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage></VRTRasterBand>",
        '<VRTRasterBand dataType="Byte" band="1"><PixelFunctionType>sum</PixelFunctionType></VRTRasterBand>',
        '<VRTRasterBand dataType="Byte" band="1"><SimpleSource><OpenOptions><OOI key="a">b</OOI></OpenOptions>'
        "</SimpleSource></VRTRasterBand>",
        '<VRTRasterBand dataType="Byte" band="1"/><OGRVRTLayer/>',
    ],
)
def test_unsafe_elements(tmp_path, body):
    refused(errors.VrtUnsafeError, vrt(tmp_path / "x.vrt", body))
    refused(errors.VrtUnsafeError, vrt(tmp_path / "renamed.tif", body))  # whatever its name


def test_self_reference_depth_and_entities(tmp_path, image):
    began = time.monotonic()
    path = tmp_path / "self.vrt"
    refused(errors.VrtUnsafeError, vrt(path, BAND.format(relative=1, name="self.vrt")), "names itself")
    name = "image.tif"
    for level in range(50):
        vrt(tmp_path / f"{level}.vrt", BAND.format(relative=1, name=name))
        name = f"{level}.vrt"
    inspect(tmp_path / "3.vrt")
    refused(errors.VrtUnsafeError, tmp_path / "4.vrt", "nested")
    refused(errors.VrtUnsafeError, tmp_path / "49.vrt", "nested")
    bomb = "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'>]>"
    refused(errors.VrtUnsafeError, vrt(tmp_path / "bomb.vrt", "<SRS>&b;</SRS>", head=bomb))
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("name", ["/vsicurl/http://127.0.0.1:9/x.tif", "http://127.0.0.1:9/x.tif"])
def test_remote_source_needs_leave(tmp_path, name):
    path = vrt(tmp_path / "x.vrt", BAND.format(relative=0, name=name))
    refused(errors.RemoteError, path, "--allow-remote")


def test_forbidden_source_of_a_vrt(tmp_path):
    refused(errors.PathError, vrt(tmp_path / "x.vrt", BAND.format(relative=0, name="/vsimem/x.tif")))


def test_file_that_fetches_from_a_server(tmp_path):
    path = tmp_path / "x.xml"
    path.write_text(
        '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/${z}/${x}/${y}.png</ServerUrl></Service><DataWindow>'
        "<UpperLeftX>0</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1</LowerRightX><LowerRightY>0</LowerRightY>"
        "<SizeX>64</SizeX><SizeY>64</SizeY></DataWindow><BandsCount>3</BandsCount></GDAL_WMS>"
    )
    with pytest.raises((errors.RemoteError, errors.NotARasterError)):
        inspect(path)


# ------------------------------------------------------------------ sizes, types, place
def test_absurd_sizes_are_refused_with_the_arithmetic(tmp_path, image):
    path = tmp_path / "huge.vrt"
    band = BAND.format(relative=1, name="image.tif")
    path.write_text(f'<VRTDataset rasterXSize="2000000" rasterYSize="2000000">{band}</VRTDataset>')
    refused(errors.TooLargeError, path, "2,000,000 x 2,000,000 pixels x 1 band")
    path.write_text(f'<VRTDataset rasterXSize="64" rasterYSize="64">{band * 10000}</VRTDataset>')
    refused(errors.TooLargeError, path, "10,000 band")


def test_a_block_that_is_the_whole_large_image_is_refused(tmp_path):
    options = {"count": 3, "height": 9600, "width": 9600, "dtype": "uint8", "tiled": True, "interleave": "pixel"}
    path = tmp_path / "x.tif"
    options |= {"SPARSE_OK": True, "compress": "deflate", "blockxsize": 9600, "blockysize": 9600}
    with rasterio.open(path, "w", driver="GTiff", crs=UTM, transform=NORTH_UP, **options):
        pass
    refused(errors.TooLargeError, path, "276 MB")


def test_complex_pixels_are_refused_with_a_hint(tmp_path):
    path = write(tmp_path / "slc.tif", np.ones((1, 16, 16), np.complex64))
    refused(errors.DtypeError, path, "amplitude")


def test_unusable_transforms(tmp_path, image):
    data = Path(image).read_bytes()
    scale = struct.pack("<3d", 10, 10, 0)
    assert data.count(scale) == 1
    for bad in ((float("nan"), 10), (0, 10), (float("inf"), 10)):
        Path(image).write_bytes(data.replace(scale, struct.pack("<3d", *bad, 0)))
        refused(errors.TransformError, image, "geotransform")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # of writing
def test_ground_control_points_are_warped_and_rpcs_refused(tmp_path, rng):
    points = [GroundControlPoint(r, c, 500000 + 10 * c, 5500000 - 10 * r) for r in (0, 60) for c in (0, 60)]
    pixels = smooth(rng, 1, 60, 60)
    path = tmp_path / "gcp.tif"
    options = {"driver": "GTiff", "count": 1, "height": 60, "width": 60, "dtype": "uint16"}
    with rasterio.open(path, "w", gcps=points, crs=UTM, **options) as dataset:
        dataset.write(pixels)
    raster = inspect(path)
    assert raster.by_gcps and "ground control points" in raster.notes[0]
    assert raster.grid.transform.almost_equals(Affine(10, 0, 500000, 0, -10, 5500000), 1e-3)
    with raster.opened() as view:
        assert np.abs(view.read(1).astype(int) - pixels[0]).max() <= 1
    line = [GroundControlPoint(r, r, 500000 + 10 * r, 5500000 - 10 * r) for r in (0, 20, 40)]
    with rasterio.open(tmp_path / "line.tif", "w", gcps=line, crs=UTM, **options) as dataset:
        dataset.write(pixels)
    refused(errors.TransformError, tmp_path / "line.tif", "control points")
    rpc = dict.fromkeys(("LINE_OFF", "SAMP_OFF", "LAT_OFF", "LONG_OFF", "HEIGHT_OFF"), "0")
    rpc |= dict.fromkeys(("LINE_SCALE", "SAMP_SCALE", "LAT_SCALE", "LONG_SCALE", "HEIGHT_SCALE"), "1")
    for key in ("LINE_NUM_COEFF", "LINE_DEN_COEFF", "SAMP_NUM_COEFF", "SAMP_DEN_COEFF"):
        rpc[key] = " ".join(["1"] + ["0"] * 19)
    with rasterio.open(tmp_path / "rpc.tif", "w", **options) as dataset:
        dataset.write(pixels)
        dataset.update_tags(ns="RPC", **rpc)
    refused(errors.GroundControlError, tmp_path / "rpc.tif", "orthorectify")


def test_scale_and_offset_are_said_not_to_be_applied(image):
    with rasterio.open(image, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.0001, 0.0001), (-0.1, -0.1)
    assert "not applied" in inspect(image).notes[0]


def test_cache_is_set_in_bytes():
    with gdal_env(123 << 20):
        assert get_gdal_config("GDAL_CACHEMAX") == 123 << 20
