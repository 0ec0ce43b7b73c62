"""The written file is what was sent, looks right in GDAL, and a failing disk is told, whenever it fails."""

import json
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.shutil import copy as rasterio_copy

from cdengine.errors import Cancelled, OutputError
from cdengine.events import Cancellation, Reporter
from cdengine.raster.grid import Grid
from cdengine.raster.overviews import halve, overview_factors
from cdengine.raster.quiet import opened
from cdengine.raster.sink import GeoTiffSink
from cdengine.raster.spec import (
    RasterSpec,
    change_spec,
    class_colours,
    classes_spec,
    probability_spec,
    transitions_spec,
)

ROOT = Path(__file__).parents[2]
NAN = float("nan")


def grid(height, width, crs="EPSG:32651"):
    place = Affine(10, 0, 500000, 0, -10, 4_000_000) if crs else Affine.identity()
    return Grid(CRS.from_string(crs) if crs else None, place, height, width)


def write(path, array, spec, row=0, col=0, shape=None, **options):
    shape = shape or array.shape[1:]
    with GeoTiffSink(path, grid(*shape), spec, reporter=Reporter(), **options) as sink:
        sink.write(row, array, col)
    return path


def gdalinfo(path):
    if not shutil.which("gdalinfo"):
        pytest.skip("gdalinfo (gdal-bin) is not installed")
    return json.loads(subprocess.run(["gdalinfo", "-json", path], capture_output=True, check=True, text=True).stdout)


def random(rng, spec, height, width):
    if spec.dtype == "float32":
        return rng.random((spec.count, height, width), np.float32)
    return rng.integers(0, max(2, len(spec.categories)), (spec.count, height, width)).astype(spec.dtype)


SPECS = {
    "change": change_spec({}),
    "probability": probability_spec("float32", {}),
    "probability8": probability_spec("uint8", {}),
    "classes": classes_spec(["water", "forest", "built"], {}),
    "transitions": transitions_spec(["water", "forest", "built"], {}),
}


@pytest.mark.parametrize("cog", [False, True])
@pytest.mark.parametrize("name", SPECS)
def test_pixels_come_back(tmp_path, rng, name, cog):
    spec = SPECS[name]
    values = random(rng, spec, 700, 1100)
    path = write(tmp_path / "a.tif", values, spec, cog=cog)
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), values)
        assert dataset.descriptions == spec.descriptions
        assert dataset.overviews(1) == [2, 4]
        assert dataset.block_shapes == [(512, 512)]
        assert dataset.profile["compress"] == "deflate"
        assert str(dataset.nodata) == str(float(spec.nodata))
    assert {p.name for p in tmp_path.iterdir()} <= {"a.tif", "a.tif.aux.xml"}


@settings(max_examples=25, deadline=None)
@given(data=st.data(), height=st.integers(1, 90), width=st.integers(1, 70))
def test_any_split_of_the_rows_gives_the_same_file(tmp_path_factory, data, height, width):
    """Blocks are 16 to 96 pixels here; gaps, narrow arrays and odd heights come as they like."""
    spec = change_spec({})
    expected = np.full((1, height, width), 255, np.uint8)
    path = tmp_path_factory.mktemp("split") / "a.tif"
    seed = np.random.default_rng(height * 100 + width)
    with GeoTiffSink(path, grid(height, width), spec, reporter=Reporter()) as sink:
        sink.block_rows  # noqa: B018
        row = 0
        while row < height:
            row += data.draw(st.integers(0, 7))
            rows = data.draw(st.integers(1, 40))
            col = data.draw(st.integers(0, width - 1))
            cols = data.draw(st.integers(1, width - col))
            rows = min(rows, height - row)
            if rows <= 0:
                break
            part = seed.integers(0, 2, (1, rows, cols)).astype(np.uint8)
            sink.write(row, part, col)
            expected[:, row : row + rows, col : col + cols] = part
            row += rows
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 600), (600, 1), (7, 5), (511, 513), (512, 512), (513, 1025)])
@pytest.mark.parametrize("crs", ["EPSG:32651", None])
def test_odd_sizes_with_and_without_crs(tmp_path, rng, shape, crs):
    spec = SPECS["change"]
    values = random(rng, spec, *shape)
    with GeoTiffSink(tmp_path / "a.tif", grid(*shape, crs), spec, reporter=Reporter()) as sink:
        sink.write(0, values)
    with opened(tmp_path / "a.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(), values)
        assert (dataset.crs is None) == (crs is None)


@pytest.mark.parametrize("cog", [False, True])
@pytest.mark.parametrize("name", ["change", "probability", "transitions"])
def test_what_was_never_written_is_nodata_and_takes_no_room(tmp_path, name, cog):
    spec = SPECS[name]
    rows = np.zeros((1, 10, 100), spec.dtype)
    path = write(tmp_path / "a.tif", rows, spec, row=1600, col=40, shape=(3000, 3000), cog=cog)
    for level in (None, 0, 2):
        with rasterio.open(path, **({} if level is None else {"OVERVIEW_LEVEL": level})) as dataset:
            values = dataset.read(1)
            factor = round(3000 / dataset.width)
            assert spec.is_fill(values[: 1600 // factor]).all()
            assert spec.is_fill(values[-(-1610 // factor) :]).all()
            assert (values[1604 // factor, 60 // factor : 100 // factor] == 0).all()
    assert path.stat().st_size < 30_000


def test_classes_of_usual_names_have_usual_colours():
    water, strange, tree, wood = class_colours(("Water", "kelp", "tree", "forest"))
    assert water[2] > water[0] and tree[1] > max(tree[0], tree[2])
    assert len({water, strange, tree, wood}) == 4 and all(colour[3] == 255 for colour in (water, strange, tree, wood))


def test_names_colours_and_tags_are_seen_by_gdal(tmp_path, rng):
    tags = {"CDENGINE_VERSION": "1.2", "CDENGINE_BEFORE": "é <b>.tif"}
    for cog in (False, True):
        path = write(tmp_path / f"{cog}.tif", random(rng, SPECS["change"], 40, 40), change_spec(tags), cog=cog)
        info = gdalinfo(path)
        band = info["bands"][0]
        assert band["categories"] == ["unchanged", "changed"]
        assert band["colorInterpretation"] == "Palette"
        assert band["colorTable"]["entries"] == [[220, 220, 220, 0], [215, 48, 39, 255]]
        assert band["description"] == "change"
        assert band["noDataValue"] == 255
        assert info["metadata"][""].items() >= tags.items()
        assert (info["metadata"]["IMAGE_STRUCTURE"].get("LAYOUT") == "COG") == cog
    (tmp_path / "False.tif.aux.xml").unlink()  # somebody copies the raster alone: still in colour
    assert gdalinfo(tmp_path / "False.tif")["bands"][0]["colorTable"]["entries"][1] == [215, 48, 39, 255]


def test_transitions_and_scaled_probability_are_seen_by_gdal(tmp_path, rng):
    path = write(tmp_path / "t.tif", random(rng, SPECS["transitions"], 40, 40), SPECS["transitions"])
    band = gdalinfo(path)["bands"][0]
    assert band["categories"][:3] == ["unchanged", "water → water", "water → forest"]
    assert band["categories"][1 + 1 * 3 + 2] == "forest → built"
    assert band["colorTable"]["count"] == 10
    path = write(tmp_path / "p.tif", random(rng, SPECS["probability8"], 40, 40), SPECS["probability8"])
    assert gdalinfo(path)["bands"][0]["scale"] == pytest.approx(0.005)


def test_cog_layout_reduced_images_come_first(tmp_path, rng):
    """What makes a TIFF cloud-optimized: directories at the head, smallest image first, the full one last."""
    path = write(tmp_path / "a.tif", random(rng, SPECS["change"], 2100, 1500), SPECS["change"], cog=True)
    with rasterio.open(path) as dataset:
        first = [int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))]
        heads = [int(dataset.get_tag_item("IFD_OFFSET", "TIFF", bidx=1))]
        for level in range(len(dataset.overviews(1))):
            first.append(int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1, ovr=level)))
            heads.append(int(dataset.get_tag_item("IFD_OFFSET", "TIFF", bidx=1, ovr=level)))
    assert first == sorted(first, reverse=True)
    assert heads == sorted(heads)
    assert max(heads) < min(first)


# ---------------------------------------------------------------- overviews
def test_factors():
    assert overview_factors(512, 512) == []
    assert overview_factors(513, 10) == [2]
    assert overview_factors(10, 16384) == [2, 4, 8, 16, 32]


def test_average_by_hand():
    spec = RasterSpec("uint8", 255, ("a",))
    values = np.array([[[0, 3, 255, 255, 7], [4, 4, 255, 200, 255], [1, 2, 3, 4, 5]]], np.uint8)
    np.testing.assert_array_equal(halve(values, spec), [[[3, 200, 7], [2, 4, 5]]])
    spec = RasterSpec("float32", NAN, ("a",))
    values = np.array([[[0, NAN], [1, 2], [NAN, NAN]]], np.float32)
    np.testing.assert_array_equal(halve(values, spec), np.array([[[1], [NAN]]], np.float32))
    spec = RasterSpec("int16", 2, ("a",))
    np.testing.assert_array_equal(halve(np.array([[[1, 3], [1, 3]]], np.int16), spec), [[[3]]])  # data, so not 2
    spec = RasterSpec("uint16", None, ("a",))
    np.testing.assert_array_equal(halve(np.array([[[1, 2, 9]]], np.uint16), spec), [[[2, 9]]])


def test_mode_by_hand():
    spec = SPECS["change"]
    for four, wanted in {
        (0, 0, 0, 1): 0,
        (0, 0, 1, 1): 1,
        (0, 1, 255, 255): 1,
        (0, 255, 255, 255): 0,
        (255, 255, 255, 255): 255,
        (0, 0, 1, 255): 0,
        (1, 2, 3, 4): 4,
        (3, 3, 1, 2): 3,
        (2, 2, 2, 9): 2,
        (1, 1, 255, 255): 1,
    }.items():
        for turn in range(4):
            values = np.array([*four[turn:], *four[:turn]], np.uint8).reshape(1, 2, 2)
            assert halve(values, spec) == wanted, four


def test_mode_equals_a_count_of_values(rng):
    values = rng.choice([0, 1, 2, 255], (1, 64, 64)).astype(np.uint8)
    small = halve(values, SPECS["classes"])
    for row in range(32):
        for col in range(32):
            four = [v for v in values[0, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2].ravel() if v != 255]
            best = max(four, key=lambda v: (four.count(v), v), default=255)
            assert small[0, row, col] == best


def test_averages_agree_with_gdal(tmp_path, rng):
    """GDAL's own builder on a copy, all pixels valid: the same up to rounding."""
    spec = SPECS["probability"]
    path = write(tmp_path / "a.tif", random(rng, spec, 1400, 1100), spec)
    other = tmp_path / "gdal.tif"
    with rasterio.open(path) as dataset:
        rasterio_copy(dataset, other, driver="GTiff")
    with rasterio.open(other, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.average)
    for level in (0, 1):
        with rasterio.open(path, OVERVIEW_LEVEL=level) as ours, rasterio.open(other, OVERVIEW_LEVEL=level) as theirs:
            assert ours.shape == theirs.shape
            inside = slice(0, 1400 >> level + 1), slice(0, 1100 >> level + 1)
            np.testing.assert_allclose(ours.read(1)[inside], theirs.read(1)[inside], atol=1e-6)


# ---------------------------------------------------------------- failures
def test_misuse_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="not in order"),
        GeoTiffSink(tmp_path / "a.tif", grid(40, 40), SPECS["change"], reporter=Reporter()) as sink,
    ):
        sink.write(5, np.zeros((1, 5, 40), np.uint8))
        sink.write(9, np.zeros((1, 5, 40), np.uint8))
    with (
        pytest.raises(ValueError, match="expected 1 of uint8"),
        GeoTiffSink(tmp_path / "a.tif", grid(40, 40), SPECS["change"], reporter=Reporter()) as sink,
    ):
        sink.write(5, np.zeros((1, 5, 40), np.uint16))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cog", [False, True])
@pytest.mark.parametrize("limit", [2_000, 200_000, 500_000, 1_300_000])
def test_full_disk_at_any_moment(tmp_path, limit, cog):
    """The limit lets the file grow to the header, some rows, almost all rows, or into the overviews."""
    code = """
        import resource, signal, sys
        from pathlib import Path
        import numpy as np
        from affine import Affine
        from cdengine.errors import CDEngineError
        from cdengine.events import Reporter
        from cdengine.raster.grid import Grid
        from cdengine.raster.sink import GeoTiffSink
        from cdengine.raster.spec import probability_spec
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
        rng, grid = np.random.default_rng(1), Grid(None, Affine.identity(), 1100, 1100)
        spec = probability_spec("uint8", {})
        try:
            with GeoTiffSink(Path(sys.argv[1]), grid, spec, cog=sys.argv[3] == "True", reporter=Reporter()) as sink:
                for row in range(0, 1100, 100):
                    sink.write(row, rng.integers(0, 200, (1, 100, 1100)).astype(np.uint8))
        except CDEngineError as error:
            print(type(error).__name__, error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), tmp_path / "a.tif", str(limit), str(cog)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert child.stdout.startswith("DiskFullError"), child.stdout + child.stderr
    assert child.stdout.count("\n") == 1
    assert set(child.stderr.splitlines()) <= {"_tiffWriteProc: File too large."}  # libtiff's own print
    assert list(tmp_path.iterdir()) == []


def test_silently_altered_pixels_are_noticed(tmp_path, rng, monkeypatch):
    """A disk that swallows a write without an error: the reopened file is compared with what was sent."""
    with (
        pytest.raises(OutputError, match="does not read back"),
        GeoTiffSink(tmp_path / "a.tif", grid(700, 700), SPECS["change"], reporter=Reporter()) as sink,
    ):
        sink.write(0, random(rng, SPECS["change"], 512, 700))
        sink._dataset.close()
        with rasterio.open(sink._work, "r+") as dataset:
            dataset.write(np.zeros((1, 512, 700), np.uint8), window=((0, 512), (0, 700)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cog", [False, True])
def test_cancel_takes_effect_within_a_second_after_the_last_row(tmp_path, rng, cog):
    cancellation = Cancellation()
    began = []

    def cancel():
        time.sleep(0.3)
        began.append(time.monotonic())
        cancellation.cancel()

    spec = RasterSpec("float32", NAN, ("a", "b"))
    with pytest.raises(Cancelled):
        sink = GeoTiffSink(tmp_path / "a.tif", grid(6000, 6000), spec, cog=cog, reporter=Reporter(None, cancellation))
        with sink:
            for row in range(0, 6000, 1500):
                sink.write(row, np.full((2, 1500, 6000), row, np.float32))
            threading.Thread(target=cancel).start()
    assert time.monotonic() - began[0] < 1.5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_height(tmp_path):
    code = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from affine import Affine
        from cdengine.events import Reporter
        from cdengine.raster.grid import Grid
        from cdengine.raster.sink import GeoTiffSink
        from cdengine.raster.spec import probability_spec
        height = int(sys.argv[2])
        grid = Grid(None, Affine.identity(), height, 8192)
        rows = np.random.default_rng(1).random((1, 512, 8192), np.float32)
        with GeoTiffSink(Path(sys.argv[1]), grid, probability_spec("float32", {}), reporter=Reporter()) as sink:
            for row in range(0, height, 512):
                sink.write(row, rows)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    peaks = []
    for height in (8192, 32768):
        command = [sys.executable, "-c", textwrap.dedent(code), tmp_path / "a.tif", str(height)]
        peaks.append(int(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout))
    assert peaks[1] < 1.05 * peaks[0]
