"""Fault matrix, pixels: nodata of every kind, every type, tags, layouts and shapes; each against a plain twin."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from fault_runs import change, detect, fails, warned
from model_files import card_for, trained
from pairs import make_pair, write_raster
from rasterio.enums import ColorInterp

from cdengine.events import Reporter
from cdengine.models.modelfile import save_model
from cdengine.raster.grid import Grid
from cdengine.raster.quiet import opened
from cdengine.raster.sink import GeoTiffSink
from cdengine.raster.spec import change_spec

ROOT = Path(__file__).parents[2]
HOLE = (slice(20, 50), slice(60, 90))


def image(folder, name="after.tif"):
    with rasterio.open(folder / name) as file:
        return file.read()


def with_hole(folder, kind):
    """after.tif, its hole declared in one of the ways that exist."""
    pixels, path = image(folder), folder / "hole.tif"
    pixels = np.clip(pixels, 1, 254)
    hole = np.zeros(pixels.shape[1:], bool)
    hole[HOLE] = True
    if kind in ("0", "255"):
        pixels[:, hole] = int(kind)
        write_raster(path, pixels, nodata=int(kind))
    elif kind in ("-9999", "nan", "nan undeclared"):
        floats = pixels.astype(np.float32)
        floats[:, hole] = -9999 if kind == "-9999" else np.nan
        write_raster(path, floats, nodata=None if "un" in kind else float(kind))
    elif kind == "one band only":
        pixels[1, hole] = 0
        write_raster(path, pixels, nodata=0)
    elif kind == "alpha":
        write_raster(path, np.concatenate([pixels, np.where(hole, 0, 255)[None].astype(np.uint8)]))
        with opened(path, "r+") as file:
            file.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    elif kind == "mask":
        write_raster(path, pixels)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), opened(path, "r+") as file:
            file.write_mask(~hole)
    return path, hole


@pytest.mark.parametrize("kind", ["0", "255", "-9999", "nan", "nan undeclared", "one band only", "alpha", "mask"])
def test_row_34_every_kind_of_nodata(folder, kind):
    path, hole = with_hole(folder, kind)
    result, _ = detect(folder, None, path)
    assert np.array_equal(change(folder) == 255, hole)
    assert result.stats["compared_px"] == (~hole).sum()


def test_row_34_no_nodata_at_all(folder):
    path = write_raster(folder / "zeros.tif", np.where(image(folder) < 60, 0, image(folder)))
    detect(folder, None, path)
    assert (change(folder) != 255).all()


TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]


@pytest.mark.parametrize("model", ["cva", "irmad"])
def test_row_39_every_type_gives_the_same(folder, model):
    """Equal numbers in other types are equal numbers."""
    images = {name: image(folder, f"{name}.tif") // 2 for name in ("before", "after")}
    found = {}
    for dtype in TYPES:
        paths = [write_raster(folder / f"{name}_{dtype}.tif", pixels.astype(dtype)) for name, pixels in images.items()]
        detect(folder, *paths, "--overwrite", model=model)
        found[dtype] = change(folder)
    assert {dtype for dtype in TYPES if np.array_equal(found[dtype], found["uint8"])} == set(TYPES)
    assert (found["uint8"] == 1).sum() > 200


def test_row_39_one_bit_images_have_a_colour_table(folder):
    path = write_raster(folder / "bits.tif", (image(folder)[:1] > 110).astype(np.uint8), NBITS=1)
    fails(folder, "dtype", 3, path, path, says="-expand")


def test_row_40_bands_that_are_not_there(folder):
    for number in ("0", "99"):
        fails(folder, "bands", 2, None, None, "--bands-before", f"1,2,{number}", says=number)


def test_row_40_bands_in_any_order(folder):
    detect(folder)
    expected = change(folder)
    detect(folder, None, None, "--bands-before", "3,1,2", "--bands-after", "3,1,2", "--overwrite")
    assert (change(folder) == expected).mean() > 0.999


def test_row_41_scale_and_offset(folder):
    detect(folder)
    expected = change(folder)
    path = folder / "scaled.tif"
    write_raster(path, image(folder))
    with opened(path, "r+") as file:
        file.scales, file.offsets = (0.0001,) * 3, (-0.1,) * 3
    _, events = detect(folder, None, path, "--overwrite")
    assert warned(events, "scale 0.0001", "not applied")
    assert np.array_equal(change(folder), expected)


def test_row_42_values_unlike_the_training_data(folder):
    card = card_for(threshold=0.5)
    save_model(folder / "m.safetensors", trained(card), card)
    paths = [
        write_raster(folder / f"big_{name}.tif", image(folder, f"{name}.tif").astype(np.uint16) * 90 + 20_000)
        for name in ("before", "after")
    ]
    _, events = detect(folder, *paths, model=folder / "m.safetensors")
    assert warned(events, "training data from about")
    _, events = detect(folder, None, None, "--overwrite", model=folder / "m.safetensors")
    assert not warned(events, "training data")


LAYOUTS = {
    "one row a strip": {"blockysize": 1},
    "the whole image a block": {"blockysize": 128},
    "tiles of 16": {"tiled": True, "blockxsize": 16, "blockysize": 16},
    "band by band": {"interleave": "band", "blockysize": 7},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_row_46_layouts(folder, layout):
    detect(folder)
    expected = change(folder)
    paths = [
        write_raster(folder / f"laid_{name}.tif", image(folder, f"{name}.tif"), compress="deflate", **LAYOUTS[layout])
        for name in ("before", "after")
    ]
    detect(folder, *paths, "--overwrite")
    assert np.array_equal(change(folder), expected)


def version(path):
    """42: classic TIFF; 43: BigTIFF."""
    return int.from_bytes(path.read_bytes()[2:4], "little")


@pytest.mark.parametrize(("side", "expected"), [(600, 42), (66_000, 43)])
def test_row_45_big_outputs_are_bigtiff(tmp_path, side, expected):
    """The choice shows in the header, so that 4 GiB need not be written."""
    grid = Grid(None, Affine.identity(), side, side)
    sink = GeoTiffSink(tmp_path / "a.tif", grid, change_spec({}), reporter=Reporter())
    assert version(tmp_path / "a.tif") == expected
    sink.abort()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(200_000, 1_000), (1_000, 200_000)])
def test_row_44_extreme_shapes(tmp_path, shape):
    """200 Mpx of mostly sparse blocks: memory is that of some strips, time that of the pixels."""
    for name, seed in (("before", 1), ("after", 2)):
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", height=shape[0], width=shape[1], count=1, dtype="uint8",
            crs="EPSG:32632", transform=rasterio.transform.from_origin(5e5, 53e5, 10, 10), tiled=True, sparse_ok=True,
            blockxsize=256, blockysize=256, compress="deflate",
        ) as file:  # fmt: skip
            pixels = np.random.default_rng(seed).integers(1, 255, (1, 256, 256), dtype=np.uint8)
            file.write(pixels, window=((256, 512), (256, 512)))
    code = (
        "import resource, sys, cdengine\n"
        "cdengine.detect(*sys.argv[1:3], sys.argv[3], 'cva')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, tmp_path / "before.tif", tmp_path / "after.tif", tmp_path / "c.tif"]
    began = time.monotonic()
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert child.returncode == 0, child.stderr
    assert int(child.stdout) / 1024 < 2300, f"{int(child.stdout) / 1024:.0f} MB"
    assert time.monotonic() - began < 240
    with rasterio.open(tmp_path / "c.tif") as file:
        assert file.shape == shape


@pytest.mark.parametrize("side", [95, 96, 97])
def test_row_43_about_a_tile(tmp_path, side):
    """One less than a tile, exactly one, one more: a point operator gives what one large tile gives."""
    before, after, _ = make_pair(tmp_path, size=(side, side), bands=3, change=(40, 40, 20, 20))
    (tmp_path / "out").mkdir()
    detect(tmp_path, before, after, "--tile", "96")
    tiled = change(tmp_path)
    detect(tmp_path, before, after, "--tile", "512", "--overwrite")
    assert tiled.shape == (side, side) and (tiled == 1).sum() > 200
    assert np.array_equal(change(tmp_path), tiled)
