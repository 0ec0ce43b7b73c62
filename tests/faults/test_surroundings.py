"""Fault matrix: polygons of odd results, wrong options, and what surrounds a run (terminal, locale, home, names)."""

import os
import subprocess
import sys
import time

import geopandas
import numpy as np
import pytest
from fault_runs import change, detect, fails, warned
from pairs import make_pair, write_raster

from cdengine.vector import stream

COMMAND = [sys.executable, "-m", "cdengine", "detect"]


# ---------------------------------------------------------------- polygons
def test_row_72_nothing_and_everything(folder):
    path = folder / "out" / "c.gpkg"
    detect(folder, None, folder / "before.tif", "--polygons", path)
    assert len(geopandas.read_file(path)) == 0
    detect(folder, None, None, "--polygons", path, "--threshold", "0", "--overwrite")
    frame = geopandas.read_file(path)
    assert len(frame) == 1 and frame.area_px.sum() == 128 * 160
    assert (change(folder) == 1).all()


def noise(folder, side):
    rng = np.random.default_rng(11)
    before = rng.integers(50, 60, (3, side, side), dtype=np.uint8)
    after = rng.integers(50, 60, (3, side, side), dtype=np.uint8)
    after[:, rng.random((side, side)) < 0.08] += 100
    return write_raster(folder / "nb.tif", before), write_raster(folder / "na.tif", after)


def test_row_72_noise_warns(folder, monkeypatch):
    monkeypatch.setattr(stream, "MANY", 5_000)
    before, after = noise(folder, 600)
    path = folder / "out" / "c.gpkg"
    result, events = detect(folder, before, after, "--polygons", path, "--threshold", "0.5")
    assert warned(events, "min-area")
    assert result.stats["polygons"] > stream.MANY
    detect(folder, before, after, "--polygons", path, "--threshold", "0.5", "--min-area", "5000", "--overwrite")
    assert (geopandas.read_file(path).area_m2 >= 5000).all()


@pytest.mark.slow
def test_row_72_noise_of_4096(tmp_path):
    """Hundreds of thousands of specks: a minute and a bounded memory."""
    before, after = noise(tmp_path, 4096)
    code = (
        "import resource, sys, cdengine\n"
        "found = cdengine.detect(*sys.argv[1:3], sys.argv[3], 'cva', threshold=0.5, polygons=sys.argv[4])\n"
        "print(found.stats['polygons'], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, before, after, tmp_path / "c.tif", tmp_path / "c.gpkg"]
    began = time.monotonic()
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=280)
    polygons, peak = map(int, run.stdout.split())
    assert polygons > 500_000 and peak / 1024 < 2500
    assert time.monotonic() - began < 270


# ---------------------------------------------------------------- options
USAGE = {
    "unknown option": (("--treshold", "0.5"), ("--treshold", "did you mean --threshold")),
    "unknown choice": (("--align", "sometimes"), ("--align", "auto", "strict")),
    "no number": (("--tile", "big"), ("--tile", "big")),
    "tile 0": (("--tile", "0"), ("--tile 0", "32")),
    "tile not of 32": (("--tile", "100"), ("--tile 100", "32")),
    "overlap as large as the tile": (("--tile", "64", "--overlap", "64"), ("--overlap 64", "64")),
    "threshold 7": (("--threshold", "7"), ("--threshold 7", "0 to 1")),
    "threshold nan": (("--threshold", "nan"), ("--threshold", "0 to 1")),
    "threshold word": (("--threshold", "high"), ("--threshold", "auto")),
    "batch 0": (("--batch-size", "0"), ("--batch-size 0", "1")),
    "workers 0": (("--workers", "0"), ("--workers 0", "1")),
    "negative area": (("--min-area", "-3"), ("--min-area", "0 or more")),
    "area nan": (("--min-area", "nan"), ("--min-area", "0 or more")),
}


@pytest.mark.parametrize("case", USAGE)
def test_row_75_wrong_options(folder, case):
    arguments, says = USAGE[case]
    fails(folder, "usage", 2, None, None, *arguments, says=says)


# ---------------------------------------------------------------- surroundings
def environment(**more):
    return {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **more}


def test_row_77_nothing_but_the_command(tmp_path):
    """No HOME, no cache that could be written, no UTF-8, no standard output, a path beyond ASCII, a foreign PROJ."""
    folder = tmp_path / "Überflug – 変化"
    before, after, _ = make_pair(folder, size=(128, 160), bands=3)
    bare = environment(
        LC_ALL="C", XDG_CACHE_HOME="/proc/none", TMPDIR=str(tmp_path),
        PROJ_DATA="/nowhere", PROJ_LIB="/nowhere", GDAL_DATA="/nowhere",
    )  # fmt: skip
    # irmad: the default would rightly warn of these pixels of 10 m
    command = [*COMMAND, before, after, "--model", "irmad", "--output", folder / "ç.tif"]
    command += ["--polygons", folder / "ç.gpkg"]
    script = 'exec "$@" >&-'  # stdout closed
    run = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *command, "--report", folder / "ç.html"],
        env=bare, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    assert (folder / "ç.tif").exists() and len(geopandas.read_file(folder / "ç.gpkg")) > 0


def test_row_77_a_reader_that_has_seen_enough(tmp_path):
    before, after, _ = make_pair(tmp_path, size=(128, 160), bands=3)
    command = [*COMMAND, before, after, "--output", tmp_path / "c.tif", "--progress", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=120), err) == (0, b"")
    assert (tmp_path / "c.tif").exists()


def test_row_77_decimals_are_points(tmp_path):
    """German numbers in the environment: tags, GeoJSON and CSV keep their points."""
    before, after, _ = make_pair(tmp_path, size=(128, 160), bands=3, change=(40, 40, 20, 20))
    german = environment(LC_ALL="de_DE.UTF-8", LC_NUMERIC="de_DE.UTF-8", LANG="de_DE.UTF-8", TZ="Asia/Kolkata")
    code = (
        "import locale, sys\n"
        "try:\n    locale.setlocale(locale.LC_ALL, '')\n"
        "except locale.Error:\n    pass\n"
        "from cdengine.cli.main import entry\nsys.argv[0] = 'cdengine'\nentry()"
    )
    command = [sys.executable, "-c", code, "detect", before, after, "--output", tmp_path / "c.tif", "--model", "cva"]
    run = subprocess.run(
        [*command, "--polygons", tmp_path / "c.geojson", "--threshold", "0.5"], env=german, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    import rasterio

    with rasterio.open(tmp_path / "c.tif") as file:
        assert file.tags()["CDENGINE_THRESHOLD"] == "0.5"
        assert file.transform.a == 10
    assert geopandas.read_file(tmp_path / "c.geojson").area_m2.sum() > 0
