"""Fault matrix, writing: locks, full disks, power that fails, signals, many runs at once."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fault_runs import detect, fails
from pairs import make_pair

from cdengine.errors import LockedError
from cdengine.raster.lock import OutputLock

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "cdengine", "detect"]


def pixels(path):
    with rasterio.open(path) as file:
        return file.read(1)


def hidden(folder):
    return sorted(entry.name for entry in folder.iterdir() if entry.name.startswith("."))


def child(code, *arguments, **options):
    """Runs Python code in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False, **options)


# ---------------------------------------------------------------- who writes what
def test_row_62_more_ways_to_name_an_input(folder):
    model, aoi = folder / "m.tif", folder / "aoi.geojson"
    content = (folder / "before.tif").read_bytes()
    fails(folder, "output-is-input", 2, None, None, "--probability", f"{folder}/out/../before.tif", "--overwrite")
    aoi.write_text(
        json.dumps({
            "type": "Polygon",
            "coordinates": [[[9.0, 47.84], [9.01, 47.84], [9.01, 47.86], [9.0, 47.86], [9.0, 47.84]]],
        })
    )  # fmt: skip
    area = aoi.read_bytes()
    fails(folder, "output-is-input", 2, None, None, "--aoi", aoi, "--polygons", aoi, "--overwrite")
    assert (folder / "before.tif").read_bytes() == content and aoi.read_bytes() == area and not model.exists()


def test_row_70_two_runs_of_one_output(folder):
    lock = OutputLock(folder / "out" / "c.tif")
    lock.acquire()
    try:
        with pytest.raises(LockedError, match=str(os.getpid())) as caught:
            detect(folder)
        assert (caught.value.slug, caught.value.exit_code) == ("locked", 6)
        assert [path.name for path in (folder / "out").iterdir()] == [lock.path.name]  # the other run's
    finally:
        lock.release()
    detect(folder)


def test_row_70_locks_of_the_dead_and_of_another_host(folder):
    lock = OutputLock(folder / "out" / "c.tif").path
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    record = {"pid": dead.pid, "host": socket.gethostname(), "started": "1"}
    lock.write_text(json.dumps(record))
    detect(folder)  # taken over
    assert not lock.exists()
    lock.write_text(json.dumps(record | {"host": "elsewhere"}))
    with pytest.raises(LockedError, match=r"elsewhere.*delete"):
        detect(folder, None, None, "--overwrite")
    assert lock.exists()


@pytest.mark.slow
def test_row_71_eight_runs_in_one_folder(tmp_path):
    before, after, _ = make_pair(tmp_path, size=(600, 700), bands=3)
    runs = [
        subprocess.Popen(
            [*COMMAND, before, after, "--output", tmp_path / f"c{i}.tif", "--model", "irmad", "--polygons",
             tmp_path / f"c{i}.gpkg"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for i in range(8)
    ]  # fmt: skip
    for run in runs:
        _, err = run.communicate(timeout=240)
        assert run.returncode == 0, err
    assert len({pixels(tmp_path / f"c{i}.tif").tobytes() for i in range(8)}) == 1
    assert hidden(tmp_path) == []


# ---------------------------------------------------------------- disks
def test_row_64_a_full_disk_at_any_moment(tmp_path):
    """Files may grow to a limit: to nothing, into the parts, the rasters, the polygons; then the space is freed."""
    before, after, _ = make_pair(tmp_path, size=(700, 800), bands=3, seed=8)
    result = child(
        """
        import os, resource, sys
        from pathlib import Path
        import numpy as np, rasterio, cdengine
        from cdengine.errors import CDEngineError
        before, after, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
        names = {"probability": folder / "p.tif", "polygons": folder / "c.gpkg", "overwrite": True,
                 "threshold": 0.2, "tile": 256, "overlap": 0}

        def read(name):
            with rasterio.open(folder / name) as file:
                return file.read(1)

        cdengine.detect(before, after, folder / "c.tif", "cva", **names)
        expected = read("c.tif"), read("p.tif")
        sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
        old = {path.name: path.read_bytes() for path in folder.iterdir()}
        largest, seen = max(sizes.values()), set()
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        limits = [100, 20_000, sizes["c.tif"] // 2, sizes["p.tif"] // 4, sizes["p.tif"] * 9 // 10, largest * 97 // 100,
                  largest - 300]
        for limit in sorted(limits):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                cdengine.detect(before, after, folder / "c.tif", "cva", **names)
                said = "no error"
            except CDEngineError as error:
                said = f"{error.slug} {error.exit_code}"
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            now = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
            kept = sorted(path.name for path in folder.iterdir() if path.is_dir())
            print(limit, said, "old intact" if now == old else f"old {now.keys() ^ old.keys()}", kept)
        cdengine.detect(before, after, folder / "c.tif", "cva", resume=True, **names)
        same = np.array_equal(read("c.tif"), expected[0]) and np.array_equal(read("p.tif"), expected[1], equal_nan=True)
        print("resumed", same, sorted(path.name for path in folder.iterdir() if path.name.startswith(".")))
        """,
        before, after, _made(tmp_path / "out"),
    )  # fmt: skip
    lines = result.stdout.splitlines()
    assert result.returncode == 0 and len(lines) == 8, result.stdout + result.stderr
    for line in lines[:-1]:
        assert "disk-full 6 old intact" in line, result.stdout
    assert ".c.tif.cdengine" in lines[-2]  # finished parts wait for the space
    assert lines[-1] == "resumed True []", result.stdout


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "geojson", "parquet"])
def test_row_64_the_last_bytes_of_polygons(folder, suffix):
    """GDAL says nothing where an index, or the last buffer, does not fit; such a file must not pass for whole."""
    path = folder / "out" / f"c.{suffix}"
    detect(folder, None, None, "--polygons", path, "--threshold", "0.1")
    result = child(
        """
        import resource, sys
        from cdengine.vector.vectorize import vectorize
        from cdengine.errors import OutputError
        raster, path, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        for limit in (20, size // 2, size * 9 // 10, size - 500, size - 1):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                vectorize(raster, path, overwrite=True)
                print("no error")
            except OutputError as error:
                print(error.exit_code)
        """,
        folder / "out" / "c.tif", path, path.stat().st_size,
    )  # fmt: skip
    assert result.stdout.split() == ["6"] * 5, result.stdout + result.stderr


def _made(folder):
    folder.mkdir()
    return folder


def test_row_66_nothing_is_named_before_it_is_on_disk(folder, monkeypatch):
    """Power may fail at any moment: what is renamed was synced before, what the journal lists too."""
    synced, renamed = set(), []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor):
        fsync(descriptor)
        synced.add(os.readlink(f"/proc/self/fd/{descriptor}"))

    def noted_replace(source, target, **options):
        if "part" in Path(source).name:
            renamed.append((str(source), str(source) in synced, Path(target).name))
        replace(source, target, **options)

    parts = []
    from cdengine.inference.journal import Journal

    append = Journal._append

    def noted_append(self, record, mode="a"):
        append(self, record, mode)
        if "band" in record:
            parts.append(str(self.folder / record["file"]) in synced)
        assert str(self._path) in synced

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    monkeypatch.setattr(Journal, "_append", noted_append)
    detect(folder, None, None, "--tile", "64", "--polygons", folder / "out" / "c.gpkg", "--resume")
    assert parts and all(parts)
    assert {name for _, _, name in renamed} >= {"c.tif", "c.gpkg"} and all(done for _, done, _ in renamed)
    assert str(folder / "out") in synced  # the folder's entries too


# ---------------------------------------------------------------- signals and kills
@pytest.mark.parametrize("number", [1, 2])
def test_row_67_during_the_renames_they_are_finished(tmp_path, number):
    """One signal, and two: all outputs are there, whole."""
    before, after, _ = make_pair(tmp_path, size=(200, 240))
    result = child(
        """
        import os, signal, sys
        from cdengine.cli import main
        replace, before, after, folder, number = os.replace, *sys.argv[1:]

        def slow(source, target, **options):
            for _ in range(int(number) if str(target).endswith((".gpkg", ".tif")) else 0):
                os.kill(os.getpid(), signal.SIGTERM)
            replace(source, target, **options)

        os.replace = slow
        sys.argv = ["cdengine", "detect", before, after, "--output", f"{folder}/c.tif", "--model", "cva",
                    "--polygons", f"{folder}/c.gpkg"]
        main.entry()
        """,
        before, after, _made(tmp_path / "out"), number,
    )  # fmt: skip
    assert result.returncode in (0, 130), result.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"c.tif", "c.gpkg"} <= names and not any(name.startswith(".") for name in names), result.stderr
    assert pixels(tmp_path / "out" / "c.tif").shape == (200, 240)


@pytest.fixture(scope="module")
def long_job(tmp_path_factory):
    """A job of some seconds, and its uninterrupted result."""
    folder = tmp_path_factory.mktemp("long")
    before, after, _ = make_pair(folder, size=(1500, 1500), bands=3, compress="deflate")
    argv = [*COMMAND, before, after, "--model", "pca-kmeans", "--tile", "128", "--workers", "1"]
    argv += ["--polygons", "c.gpkg", "--probability", "p.tif", "--output", "c.tif", "--progress", "json"]
    out = _made(folder / "out")
    began = time.monotonic()
    subprocess.run(argv, cwd=out, check=True, capture_output=True, timeout=120)
    return argv, time.monotonic() - began, {name: pixels(out / name) for name in ("c.tif", "p.tif")}


def wait_until_started(process):
    process.stdout.readline()


@pytest.mark.slow
def test_row_65_twenty_kills_and_a_resume(tmp_path, long_job):
    argv, seconds, expected = long_job
    rng = random.Random(5)
    finished = killed = 0
    while killed < 20:
        process = subprocess.Popen([*argv, "--resume"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        wait_until_started(process)
        try:
            # short lives: bands pile up from run to run, so that all phases are met
            process.communicate(timeout=rng.uniform(0.02, 0.6) * seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
            if (tmp_path / "c.tif").exists():  # renamed as a whole, after the others
                assert np.array_equal(pixels(tmp_path / "c.tif"), expected["c.tif"])
            continue
        assert process.returncode == 0
        finished += 1
        for name, values in expected.items():
            assert np.array_equal(pixels(tmp_path / name), values)
        assert hidden(tmp_path) == []
        for path in tmp_path.iterdir():
            path.unlink()
    subprocess.run([*argv, "--resume"], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    for name, values in expected.items():
        assert np.array_equal(pixels(tmp_path / name), values)
    assert hidden(tmp_path) == []


@pytest.mark.slow
def test_row_65_without_resume_the_next_run_sweeps(tmp_path, long_job):
    argv, seconds, expected = long_job
    process = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    wait_until_started(process)
    time.sleep(0.5 * seconds)
    process.kill()
    process.communicate()
    subprocess.run([*argv, "--overwrite"], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert np.array_equal(pixels(tmp_path / "c.tif"), expected["c.tif"])
    assert hidden(tmp_path) == []


@pytest.mark.slow
def test_row_67_at_random_moments(tmp_path, long_job):
    argv, seconds, expected = long_job
    rng = random.Random(6)
    for attempt in range(12):
        process = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until_started(process)
        time.sleep(rng.uniform(0, 0.9) * seconds)
        began = time.monotonic()
        for _ in range(1 + attempt % 2):  # every second time twice
            process.send_signal(rng.choice([signal.SIGTERM, signal.SIGINT]))
        _, err = process.communicate(timeout=20)
        assert time.monotonic() - began < 2.5  # 2 s, and what a busy machine takes to tell
        assert process.returncode in (0, 130), err
        if process.returncode == 130:
            assert list(tmp_path.iterdir()) == [] and err.startswith("error: cancelled")
        else:
            assert np.array_equal(pixels(tmp_path / "c.tif"), expected["c.tif"])
            for path in tmp_path.iterdir():
                path.unlink()


def test_row_67_in_the_first_moment(tmp_path):
    """Row 67: before anything is open."""
    before, after, _ = make_pair(tmp_path, size=(200, 240))
    out = _made(tmp_path / "out")
    argv = [*COMMAND, before, after, "--output", out / "c.tif", "--progress", "json"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until_started(process)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and err.count("\n") == 1
    assert list(out.iterdir()) == []
