"""`demo` as a newcomer runs it: everything lands where it says, and figures are those of the files."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cdengine.cli.main import main
from cdengine.synthesis.scenes.classes import BUILDING

FILES = ["after.tif", "after_classes.tif", "before.tif", "before_classes.tif", "change.gpkg", "change.tif",
         "change_truth.tif", "probability.tif", "quicklook.png", "report.html"]  # fmt: skip


def test_demo_renders_detects_and_scores(tmp_path):
    folder = tmp_path / "demo"
    arguments = ["demo", "--output", str(folder), "--size", "256", "--model", "cva", "--progress", "json"]
    # A process of its own: with events on stdout, the command line takes hold of the descriptor itself.
    done = subprocess.run([sys.executable, "-m", "cdengine", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir() if not path.name.endswith(".aux.xml")) == FILES
    events = [json.loads(line) for line in done.stdout.splitlines()]
    stages = {event["stage"] for event in events if event["event"] == "progress"}
    assert {"render", "write scenes", "detect"} <= stages
    result = events[-1]
    assert result["event"] == "result"
    assert {Path(path).name for path in result["outputs"].values()} == set(FILES)
    with rasterio.open(folder / "change.tif") as file, rasterio.open(folder / "change_truth.tif") as truth:
        found, real = file.read(1), truth.read(1)
    compared = found != 255
    hits = np.count_nonzero((found == 1) & (real == 1))
    precision, recall = hits / np.count_nonzero(found == 1), hits / np.count_nonzero((real == 1) & compared)
    stats = result["stats"]
    assert stats["precision"] == pytest.approx(precision)
    assert stats["recall"] == pytest.approx(recall)
    assert stats["f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    with rasterio.open(folder / "before_classes.tif") as first, rasterio.open(folder / "after_classes.tif") as second:
        building = (first.read(1) == BUILDING) != (second.read(1) == BUILDING)
    wanted = (real == 1) & building
    hits, false = ((found == 1) & wanted).sum(), ((found == 1) & (real == 0)).sum()
    assert stats["building_precision"] == pytest.approx(hits / (hits + false))
    assert stats["building_recall"] == pytest.approx(hits / (wanted & compared).sum())


def test_demo_says_where_things_are_and_keeps_earlier_ones(tmp_path, capsys):
    folder = tmp_path / "demo"
    arguments = ["demo", "--output", str(folder), "--size", "128", "--model", "cva", "--progress", "none"]
    assert main(arguments) == 0
    out, _ = capsys.readouterr()
    for name in ("change.tif", "change.gpkg", "quicklook.png", "report.html"):
        assert str(folder / name) in out
    assert "precision" in out and "F1" in out
    before = (folder / "before.tif").read_bytes()
    assert main(arguments) == 2
    _, err = capsys.readouterr()
    assert "--overwrite" in err and err.count("\n") == 1
    assert main([*arguments, "--overwrite"]) == 0
    assert (folder / "before.tif").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--size", "64"], 2, "--size 64"),
        (["--seed", "-1"], 2, "--seed -1"),
        (["--size", "big"], 2, "--size"),
    ],
)
def test_wrong_options(tmp_path, capsys, arguments, code, says):
    assert main(["demo", "--output", str(tmp_path / "d"), *arguments]) == code
    assert says in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_folder_that_is_a_file(tmp_path, capsys):
    (tmp_path / "d").write_text("mine")
    assert main(["demo", "--output", str(tmp_path / "d")]) == 6
    assert "the folder cannot be made" in capsys.readouterr().err
    assert (tmp_path / "d").read_text() == "mine"
