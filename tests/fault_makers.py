"""Bad inputs, made in a moment from a good pair: each function gets the folder of before.tif and after.tif."""

import hashlib
import json
import os
import struct
import warnings
import zipfile

import geopandas
import numpy as np
import rasterio
from affine import Affine
from pairs import ground, write_raster
from rasterio.transform import from_origin
from shapely.geometry import LineString, Polygon, box

from cdengine.raster.quiet import opened

SIZE = (128, 160)


def pixels(folder, name="before.tif"):
    with rasterio.open(folder / name) as file:
        return file.read()


def missing(folder):
    return folder / "gone.tif"


def a_folder(folder):
    (folder / "dir.tif").mkdir()
    return folder / "dir.tif"


def zero_bytes(folder):
    path = folder / "empty.tif"
    path.touch()
    return path


def text(folder):
    path = folder / "text.tif"
    path.write_text("this is no picture\n" * 50)
    return path


def truncated(folder, keep=0.5):
    data = (folder / "before.tif").read_bytes()
    path = folder / "short.tif"
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def ten_bytes_short(folder):
    data = (folder / "before.tif").read_bytes()
    path = folder / "short.tif"
    path.write_bytes(data[:-10])
    return path


def bad_block(folder):
    """A deflate block in the middle overwritten with noise."""
    path = folder / "block.tif"
    big = np.random.default_rng(1).integers(1, 255, (3, 512, 512), dtype=np.uint8)
    for name in ("good.tif", path.name):  # the same before the damage
        write_raster(folder / name, big, tiled=True, blockxsize=128, blockysize=128, compress="deflate")
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_2_2", "TIFF", bidx=1))
        size = int(file.get_tag_item("BLOCK_SIZE_2_2", "TIFF", bidx=1))
    data = bytearray(path.read_bytes())
    data[offset : offset + size] = bytes([0x55]) * size
    path.write_bytes(data)
    return path


def altered_behind_its_checksum(folder):
    """One byte of pixels: no codec notices."""
    path = folder / "after.tif"
    data = bytearray(path.read_bytes())
    (folder / "after.tif.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  after.tif\n")
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return path


def no_driver(folder):
    path = folder / "scene.ecw"
    path.write_bytes(b"\x65\x02\x01" + bytes(500))
    return path


def inline_vrt(folder):
    return f"<VRTDataset rasterXSize='9' rasterYSize='9'><!-- {folder} --></VRTDataset>"


def vrt(folder, body, name="v.vrt", size=SIZE):
    path = folder / name
    path.write_text(
        f"<VRTDataset rasterXSize='{size[1]}' rasterYSize='{size[0]}'><SRS>EPSG:32632</SRS>"
        "<GeoTransform>500000, 10, 0, 5300000, 0, -10</GeoTransform>" + body + "</VRTDataset>"
    )
    return path


def simple_source(name):
    return (
        "<VRTRasterBand dataType='Byte' band='1'><SimpleSource>"
        f"<SourceFilename relativeToVRT='1'>{name}</SourceFilename><SourceBand>1</SourceBand>"
        "</SimpleSource></VRTRasterBand>"
    )


def vrt_without_source(folder):
    return vrt(folder, simple_source("not_there.tif"))


def vrt_of_itself(folder):
    return vrt(folder, simple_source("v.vrt"))


def vrt_nested(folder):
    for depth in range(50):
        vrt(folder, simple_source(f"n{depth + 1}.vrt" if depth < 49 else "before.tif"), f"n{depth}.vrt")
    return folder / "n0.vrt"


def vrt_raw_band(folder):
    return vrt(
        folder,
        "<VRTRasterBand dataType='Byte' band='1' subClass='VRTRawRasterBand'><SourceFilename relativeToVRT='0'>"
        "/etc/passwd</SourceFilename><ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset>"
        "<LineOffset>10</LineOffset></VRTRasterBand>",
    )


def vrt_python(folder):
    return vrt(
        folder,
        "<VRTRasterBand dataType='Byte' band='1' subClass='VRTDerivedRasterBand'><PixelFunctionLanguage>Python"
        "</PixelFunctionLanguage><PixelFunctionType>f</PixelFunctionType><PixelFunctionCode><![CDATA[\n"
        f"def f(*a, **k):\n    open({str(folder / 'pwned')!r}, 'w').close()\n]]></PixelFunctionCode></VRTRasterBand>",
    )


def vrt_entities(folder):
    path = folder / "bomb.vrt"
    levels = "<!ENTITY e0 'xxxxxxxxxx'>"
    levels += "".join(f"<!ENTITY e{i} '{f'&e{i - 1};' * 10}'>" for i in range(1, 9))
    path.write_text(f"<!DOCTYPE V [{levels}]><VRTDataset rasterXSize='9' rasterYSize='9'>&e8;</VRTDataset>")
    return path


def vrt_remote(folder):
    body = simple_source("/vsicurl/http://127.0.0.1:9/a.tif")
    return vrt(folder, body.replace("relativeToVRT='1'", "relativeToVRT='0'"))


def vrt_huge(folder):
    return vrt(folder, simple_source("before.tif"), size=(2_000_000, 2_000_000))


def many_bands(folder):
    band = "<VRTRasterBand dataType='Byte' band='{}'></VRTRasterBand>"
    return vrt(folder, "".join(band.format(i) for i in range(1, 10_001)))


def damaged_zip(folder):
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "before.tif", "before.tif")
    data = bytearray(path.read_bytes())
    data[200:1200] = bytes(1000)
    path.write_bytes(data)
    return f"/vsizip/{path}/before.tif"


def subdatasets(folder):
    path = folder / "two.gpkg"
    image = pixels(folder)[:1]
    for table, extra in (("one", {}), ("two", {"append_subdataset": "YES"})):
        with rasterio.open(
            path, "w", driver="GPKG", count=1, height=SIZE[0], width=SIZE[1], dtype="uint8", crs="EPSG:32632",
            transform=from_origin(500_000, 5_300_000, 10, 10), raster_table=table, **extra,
        ) as file:  # fmt: skip
            file.write(image)
    return path


def no_crs(folder):
    return write_raster(folder / "nocrs.tif", pixels(folder, "after.tif"), crs=None)


def crs_left_out(folder, name="after.tif"):
    """A date with a geotransform and no CRS, as many programs write it."""
    path = folder / f"nocrs_{name}"
    data = pixels(folder, name)
    with opened(
        path, "w", driver="GTiff", count=len(data), height=SIZE[0], width=SIZE[1], dtype="uint8", photometric="RGB",
        transform=from_origin(500_000, 5_300_000, 10, 10),
    ) as file:  # fmt: skip
        file.write(data)
    return path


def elsewhere(folder):
    return write_raster(folder / "far.tif", pixels(folder), transform=from_origin(600_000, 5_300_000, 10, 10))


def half_a_pixel(folder):
    return write_raster(folder / "half.tif", pixels(folder), transform=from_origin(500_005, 5_300_000, 10, 10))


def much_coarser(folder):
    return write_raster(
        folder / "coarse.tif", pixels(folder)[:, :8, :8], transform=from_origin(499_000, 5_310_000, 1500, 1500)
    )


def singular(folder):
    return write_raster(folder / "sing.tif", pixels(folder), transform=Affine(10, 10, 5e5, 10, 10, 5.3e6))


def nan_transform(folder):
    return write_raster(folder / "nan.tif", pixels(folder), transform=Affine(10, 0, float("nan"), 0, -10, 5.3e6))


def complex_pixels(folder):
    return write_raster(folder / "complex.tif", pixels(folder).astype(np.complex64))


def palette(folder):
    path = folder / "palette.tif"
    write_raster(path, pixels(folder)[:1])
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {i: (i, 255 - i, 0, 255) for i in range(256)})
    return path


def two_bands(folder):
    return write_raster(folder / "two.tif", pixels(folder)[:2])


def ground_control_only_rpc(folder):
    path = folder / "rpc.tif"
    write_raster(path, pixels(folder), crs=None)
    keys = {"LINE_OFF": "64", "SAMP_OFF": "80", "LAT_OFF": "47", "LONG_OFF": "9", "HEIGHT_OFF": "500"}
    keys |= {"LINE_SCALE": "64", "SAMP_SCALE": "80", "LAT_SCALE": "0.1", "LONG_SCALE": "0.1", "HEIGHT_SCALE": "500"}
    for name in ("LINE_NUM_COEFF", "LINE_DEN_COEFF", "SAMP_NUM_COEFF", "SAMP_DEN_COEFF"):
        keys[name] = " ".join(["1"] + ["0"] * 19)
    with opened(path, "r+") as file:
        file.update_tags(ns="RPC", **keys)
    return path


# ---------------------------------------------------------------- models
def pickle_file(folder, name="m.pt"):
    """Unpickling it would create `pwned`."""
    path = folder / name
    code = f"cposix\nsystem\n(S'touch {folder / 'pwned'}'\ntR."
    path.write_bytes(code.encode())
    return path


def pickle_in_disguise(folder):
    return pickle_file(folder, "m.safetensors")


def safetensors(folder, header, payload=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + payload)
    return path


def model_truncated(folder):
    return safetensors(folder, {"w": {"dtype": "F32", "shape": [100], "data_offsets": [0, 400]}}, b"\0" * 50)


def model_header_of_90_mb(folder):
    return safetensors(folder, b"{}", length=90 << 20)


def model_overlapping(folder):
    one = {"dtype": "F32", "shape": [10], "data_offsets": [0, 40]}
    return safetensors(folder, {"a": one, "b": {**one, "data_offsets": [20, 60]}}, b"\0" * 60)


def model_duplicate_keys(folder):
    entry = b'"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
    return safetensors(folder, b"{" + entry + b", " + entry + b"}", b"\0" * 4)


def model_without_card(folder):
    return safetensors(folder, {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4)


def model_with(folder, card):
    header = {"__metadata__": {"cdengine": card if isinstance(card, str) else json.dumps(card)}}
    header["a"] = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    return safetensors(folder, header, b"\0" * 4)


def model_deep_json(folder):
    return model_with(folder, "[" * 100_000)


def model_newer_schema(folder):
    return model_with(folder, {"schema": 999})


# ---------------------------------------------------------------- areas of interest
def aoi(folder, geometry, crs="EPSG:32632"):
    path = folder / "aoi.gpkg"
    geopandas.GeoDataFrame(geometry=geometry, crs=crs).to_file(path)
    return path


def aoi_outside(folder):
    return aoi(folder, [box(0, 0, 10, 10)])


def aoi_lines(folder):
    return aoi(folder, [LineString([(500_100, 5_299_900), (500_900, 5_299_000)])])


def aoi_empty(folder):
    return aoi(folder, geopandas.GeoSeries([], crs="EPSG:32632"))


def aoi_without_crs(folder):
    path = folder / "aoi.shp"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)  # that is the point
        geopandas.GeoDataFrame(geometry=[box(500_100, 5_299_000, 500_900, 5_299_900)]).to_file(path)
    return path


def aoi_bow_tie(folder):
    corners = [(500_100, 5_299_100), (500_900, 5_299_900), (500_900, 5_299_100), (500_100, 5_299_900)]
    return aoi(folder, [Polygon(corners)])


# ---------------------------------------------------------------- odd but good pixels
def with_pixels(folder, change):
    image = ground(np.random.default_rng(3), 3, *SIZE).astype(np.float32)
    change(image)
    return write_raster(folder / "odd.tif", image)


def nan_and_inf(folder):
    def change(image):
        image[0, 5, 5], image[1, 6, 6], image[2, 7, 7], image[0, 8, 8] = np.nan, np.inf, -np.inf, 1e38

    return with_pixels(folder, change)


def constant(folder):
    return with_pixels(folder, lambda image: image.fill(7))


def running_as_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0
