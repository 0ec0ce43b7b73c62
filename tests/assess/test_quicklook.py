"""The quick-look picture on rasters as they come: any type, grid, size; and what a person reads on it."""

import time
import tracemalloc

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

from cdengine.assess import framing
from cdengine.assess.colours import OUTLINE, hatch, probability_colours
from cdengine.assess.preview import Frame, display_bands, grid_of, read_layer, read_pair, stretched
from cdengine.assess.quicklook import file_title, metres_per_pixel, nice_length, quicklook

UTM = Affine(0.5, 0, 455000, 0, -0.5, 5428000)


def write(path, pixels, crs="EPSG:32632", transform=UTM, names=None, overviews=(), **profile):
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    with rasterio.open(path, "w", driver="GTiff", count=len(pixels), height=pixels.shape[1], width=pixels.shape[2],
                       dtype=pixels.dtype, crs=crs, transform=transform, **profile) as file:  # fmt: skip
        file.write(pixels)
        if names:
            file.descriptions = names
        if overviews:
            file.build_overviews(overviews)
    return path


def squares(tmp_path, size=200, crs="EPSG:32632", dtype="uint8", **profile):
    rng = np.random.default_rng(0)
    top = 255 if dtype == "uint8" else 4000
    before = rng.integers(1, top // 2, (3, size, size)).astype(dtype)
    after = before.copy()
    after[:, 40:80, 60:120] = top
    change = np.zeros((size, size), np.uint8)
    change[40:80, 60:120] = 1
    change[:10] = 255
    probability = np.where(change == 255, -1, 0.1 + 0.8 * (change == 1)).astype(np.float32)
    return (
        write(tmp_path / "t1.tif", before, crs, **profile),
        write(tmp_path / "t2.tif", after, crs, **profile),
        write(tmp_path / "change.tif", change, crs, nodata=255),
        write(tmp_path / "probability.tif", probability, crs, nodata=-1),
    )


def has_colour(image, colour):
    return bool((np.asarray(image) == np.uint8(colour)).all(axis=-1).any())


@pytest.mark.parametrize("crs", ["EPSG:32632", None])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_four_panels(tmp_path, crs, dtype):
    out = tmp_path / "q.png"
    quicklook(*squares(tmp_path, crs=crs, dtype=dtype), out, threshold=0.5)
    with Image.open(out) as image:
        assert image.format == "PNG"
        assert image.width > 800 and image.height > 800
        assert has_colour(image, OUTLINE)
        assert has_colour(image, probability_colours([0.9])[0])


def test_without_probability_and_with_uint8_probability(tmp_path):
    before, after, change, probability = squares(tmp_path)
    quicklook(before, after, change, None, tmp_path / "a.png")
    with rasterio.open(probability) as file:
        scaled = np.where(file.read(1) < 0, 255, np.rint(file.read(1) * 200)).astype(np.uint8)
    quicklook(before, after, change, write(tmp_path / "p8.tif", scaled, nodata=255), tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        assert has_colour(image, probability_colours([0.9])[0])


def test_polygons_are_drawn_where_they_lie(tmp_path):
    import geopandas
    from shapely.geometry import box

    before, after, change, probability = squares(tmp_path)
    outline = box(455000 + 30, 5428000 - 40, 455000 + 60, 5428000 - 20)
    table = geopandas.GeoDataFrame({"area_m2": [600.0]}, geometry=[outline], crs="EPSG:32632").to_crs(4326)
    table.to_file(tmp_path / "changes.geojson")
    quicklook(before, after, change, probability, tmp_path / "q.png", polygons=tmp_path / "changes.geojson")
    with Image.open(tmp_path / "q.png") as image:
        assert has_colour(image, OUTLINE)


def test_after_in_another_crs_lands_on_the_same_ground(tmp_path):
    before, after, _, _ = squares(tmp_path)
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    with rasterio.open(after) as file:
        transform, width, height = calculate_default_transform(
            file.crs, "EPSG:4326", file.width, file.height, *file.bounds
        )
        pixels = np.zeros((3, height, width), np.uint8)
        reproject(file.read(), pixels, src_transform=file.transform, src_crs=file.crs, dst_transform=transform,
                  dst_crs="EPSG:4326", resampling=Resampling.nearest)  # fmt: skip
    other = write(tmp_path / "t2_lonlat.tif", pixels, "EPSG:4326", transform, nodata=0)
    with rasterio.open(before) as file:
        grid = grid_of(file)
    frame = Frame(grid, grid.window, 200, 200)
    _, straight = read_pair(before, after, frame)
    _, warped = read_pair(before, other, frame)
    bright = (warped.bands[0] == 255) & warped.valid
    assert (bright[42:78, 62:118]).all()
    assert (bright == (straight.bands[0] == 255)).mean() > 0.97
    assert warped.valid.mean() > 0.95


def test_nan_and_alpha_become_hatch_and_no_warning(tmp_path):
    pixels = np.random.default_rng(1).random((3, 60, 60)).astype(np.float32)
    pixels[:, :20] = np.nan
    first = write(tmp_path / "nan.tif", pixels)
    rgba = np.full((4, 60, 60), 90, np.uint8)
    rgba[3], rgba[3, :, :15] = 255, 0
    second = write(tmp_path / "rgba.tif", rgba, photometric="RGB", alpha="YES", nodata=0)
    with rasterio.open(first) as file:
        frame = Frame(grid_of(file), grid_of(file).window, 60, 60)
    before, after = read_pair(first, second, frame)
    assert not before.valid[:20].any() and before.valid[20:].all()
    assert not after.valid[:, :15].any() and after.valid[:, 15:].all()
    shown, _, _ = stretched(before, after)
    np.testing.assert_array_equal(shown[:20], hatch(60, 60)[:20])


def test_nothing_valid_is_all_hatch(tmp_path):
    empty = write(tmp_path / "empty.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    change = write(tmp_path / "c.tif", np.full((64, 64), 255, np.uint8), nodata=255)
    quicklook(empty, empty, change, None, tmp_path / "q.png")
    assert (tmp_path / "q.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("count", "names", "colours", "expected"),
    [
        (1, None, None, (1,)),
        (2, None, None, (1,)),
        (3, None, None, (1, 2, 3)),
        (4, None, None, (3, 2, 1)),
        (4, ("B02", "B03", "B04", "B08"), None, (3, 2, 1)),
        (5, ("nir", "Red", "Green", "Blue", "swir"), None, (2, 3, 4)),
        (4, None, ("red", "green", "blue", "undefined"), (1, 2, 3)),
    ],
)
def test_bands_to_show(tmp_path, count, names, colours, expected):
    # Values vary, so that no band looks like an alpha band.
    pixels = (
        np.random.default_rng(0).integers(1, 200, (count, 20, 20)).astype(np.uint16 if colours is None else np.uint8)
    )
    path = write(tmp_path / "b.tif", pixels, names=names)
    if colours:
        with rasterio.open(path, "r+") as file:
            file.colorinterp = [rasterio.enums.ColorInterp[colour] for colour in colours]
    with rasterio.open(path) as file:
        assert display_bands(file) == expected


def test_both_dates_share_one_stretch(tmp_path):
    low = np.tile(np.linspace(10, 110, 50), (50, 1)).astype(np.uint8)
    first = write(tmp_path / "a.tif", np.stack([low] * 3))
    second = write(tmp_path / "b.tif", np.stack([low + 40] * 3))
    with rasterio.open(first) as file:
        frame = Frame(grid_of(file), grid_of(file).window, 50, 50)
    one, two, common = stretched(*read_pair(first, second, frame))
    assert common
    same = one[:, 40].mean(), two[:, 40].mean() - 255 * 40 / 131.1
    assert same[0] == pytest.approx(same[1], abs=3)
    dim = write(tmp_path / "dim.tif", (np.stack([low] * 3) / 60).astype(np.uint8))
    assert not stretched(*read_pair(first, dim, frame))[2]


def test_small_changes_survive_decimation(tmp_path):
    change = np.zeros((800, 800), np.uint8)
    change[401, 399] = 1
    path = write(tmp_path / "c.tif", change, nodata=255)
    with rasterio.open(path) as file:
        frame = Frame(grid_of(file), grid_of(file).window, 200, 200)
    assert (read_layer(path, frame, peak=True) == 1).sum() == 1


def test_large_raster_takes_seconds_and_little_memory(tmp_path):
    side = 40_000
    profile = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "sparse_ok": True}
    paths = []
    for name, count in (("a", 3), ("b", 3), ("c", 1)):
        path = tmp_path / f"{name}.tif"
        with rasterio.open(path, "w", driver="GTiff", count=count, height=side, width=side, dtype="uint8",
                           crs="EPSG:32632", transform=UTM, **profile) as file:  # fmt: skip
            block = np.random.default_rng(0).integers(1, 255, (count, 512, 512)).astype(np.uint8)
            spot = rasterio.windows.Window(30208, 20480, 512, 512)
            file.write(block if name != "c" else np.ones((1, 512, 512), np.uint8), window=spot)
        paths.append(path)
    tracemalloc.start()
    began = time.perf_counter()
    quicklook(*paths, None, tmp_path / "q.png")
    seconds, peak = time.perf_counter() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 40
    assert peak < 300e6
    with Image.open(tmp_path / "q.png") as image:
        assert has_colour(image, OUTLINE)  # the detail that is shown is the one with the change


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/data/some folder/t1.tif", "t1.tif"),
        ("https://user:pass@host/a/scene.tif?token=SECRET#x", "scene.tif"),
        ("/vsicurl/https://host/scene.tif?sig=SECRET", "scene.tif"),
        ("a\x00b.tif", "a?b.tif"),
    ],
)
def test_titles_hold_no_secrets(path, shown):
    assert file_title(path) == shown


def test_long_names_are_shortened():
    title = file_title("x" * 300 + "_2024.tif")
    assert len(title) <= 48 and title.endswith("_2024.tif") and "..." in title


def test_lengths_and_ground_width(tmp_path):
    assert [nice_length(x) for x in (1, 3, 7, 99, 100, 0.04)] == pytest.approx([1, 2, 5, 50, 100, 0.02])
    from rasterio.crs import CRS

    from cdengine.raster.grid import Grid

    degrees = Grid(CRS.from_epsg(4326), Affine(0.001, 0, 10, 0, -0.001, 60.05), 100, 100)
    # a thousandth of a degree of longitude at 60 degrees north is 55.8 m on WGS 84
    assert metres_per_pixel(degrees) == pytest.approx(55.8, abs=0.1)
    feet = Grid(CRS.from_epsg(2263), Affine(1, 0, 980000, 0, -1, 200000), 100, 100)
    assert metres_per_pixel(feet) == pytest.approx(0.3048, rel=1e-3)
    assert metres_per_pixel(Grid(None, UTM, 10, 10)) is None


def test_real_pairs(tmp_path, shared_data):
    pairs = [
        ("oscd/abudhabi/before.tif", "oscd/abudhabi/after.tif"),  # grids differ
        ("georef/naip_nd/20090818.tif", "georef/naip_nd/20180716.tif"),
        ("georef/float32_delhi/t1_1_2.tif", "georef/float32_delhi/t2_1_2.tif"),
        ("georef/uint16_utm21s/before.tif", "georef/uint16_utm21s/after.tif"),
        ("opt_sar/shuguang/t1.tif", "opt_sar/shuguang/t2.tif"),
    ]
    done = 0
    for before, after in pairs:
        first, second = shared_data / before, shared_data / after
        if not first.exists():
            continue
        with rasterio.open(first) as file:
            change = write(tmp_path / "c.tif", np.zeros(file.shape, np.uint8), file.crs, file.transform, nodata=255)
        quicklook(first, second, change, None, tmp_path / "q.png")
        done += 1
    assert done >= 4


def test_pictures_are_written_by_this_module_alone():
    assert framing.PANEL_PX <= 1024  # a picture for a screen, not another raster
