from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from cdengine.cli.main import main


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    values = np.zeros((40, 50), np.uint8)
    values[5:10, 5:10] = 1
    values[20:30, 20:30] = 2
    path = tmp_path / "change.tif"
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": "EPSG:32633", "height": 40, "width": 50}
    with rasterio.open(path, "w", transform=Affine(10, 0, 4e5, 0, -10, 5.1e6), **profile) as file:
        file.write(values, 1)
    return path


def test_writes_the_file_and_says_how_much(raster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = raster.with_name("a.gpkg")
    assert main(["vectorize", str(raster), "--output", str(output), "--values", "2", "--min-area", "100"]) == 0
    assert output.is_file()
    assert capsys.readouterr().out.strip() == f"{output}: 1 polygons, 1.00 ha"


@pytest.mark.parametrize("values", [["--values", "-1,2"], ["--values=-1,2"], ["--values", "-1, 2"]])
def test_values_may_begin_with_a_minus(tmp_path: Path, capsys: pytest.CaptureFixture[str], values: list[str]) -> None:
    """A difference raster: -1 loss, 2 gain."""
    path = tmp_path / "gain.tif"
    pixels = np.zeros((20, 30), np.int16)
    pixels[2:4, 2:7], pixels[10:12, 10:20], pixels[15, 15] = -1, 2, 1
    profile = {"driver": "GTiff", "count": 1, "dtype": "int16", "crs": "EPSG:32633", "height": 20, "width": 30}
    with rasterio.open(path, "w", transform=Affine(10, 0, 4e5, 0, -10, 5.1e6), **profile) as file:
        file.write(pixels, 1)
    assert main(["vectorize", str(path), *values, "--output", str(tmp_path / "a.gpkg")]) == 0
    assert "2 polygons, 3,00" in capsys.readouterr().out


def test_json_events(raster: Path) -> None:
    output = raster.with_name("a.parquet")
    command = [
        sys.executable,
        "-m",
        "cdengine",
        "vectorize",
        str(raster),
        "--output",
        str(output),
        "--progress",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "start" and events[0]["command"] == "vectorize"
    assert {event["stage"] for event in events if event["event"] == "progress"} == {"polygons", "write polygons"}
    assert events[-1]["event"] == "result"
    assert events[-1]["outputs"] == {"polygons": str(output)}
    assert events[-1]["stats"]["polygons"] == 2
    assert events[-1]["stats"]["area_m2"] == pytest.approx(12_500, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--output", "a.shp"], 2, "a.shp"),
        (["--output", "a.gpkg", "--values", "1,x"], 2, "--values"),
        (["--output", "a.gpkg", "--min-area", "-1"], 2, "--min-area"),
        (["--output", "a.gpkg", "--simplfy", "1"], 2, "--simplify"),
        (["--output", "a.gpkg", "--probability", "none.tif"], 3, "none.tif"),
        (["--output", "none/a.gpkg"], 6, "none"),
        ([], 2, "--output"),
    ],
)
def test_failures_are_one_line_with_the_right_code(
    raster: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(raster.parent)
    assert main(["vectorize", raster.name, *arguments]) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and says in lines[0]
    assert [path.name for path in raster.parent.iterdir()] == ["change.tif"]
