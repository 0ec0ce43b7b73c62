"""`align` from the command line: files, figures, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from scipy.ndimage import gaussian_filter

ROOT = Path(__file__).parents[2]


def cdengine(*arguments):
    command = [sys.executable, "-m", "cdengine", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def pair(folder, rng):
    bands = np.stack([gaussian_filter(rng.standard_normal((260, 240)), 2) * 500 + 900]).astype(np.uint16)
    for name, array in (("before", bands), ("after é", np.roll(bands, (2, 5), (1, 2)))):
        profile = {"driver": "GTiff", "count": 1, "height": 260, "width": 240, "dtype": "uint16"}
        profile |= {"crs": "EPSG:32651", "transform": Affine(10, 0, 5e5, 0, -10, 4e6)}
        with rasterio.open(folder / f"{name}.tif", "w", **profile) as dataset:
            dataset.write(array)
    return folder / "before.tif", folder / "after é.tif"


def test_events_and_result(tmp_path, rng):
    run = cdengine("align", *pair(tmp_path, rng), "--output", tmp_path / "o.tif", "--progress", "json")
    events = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 0, run.stderr
    assert events[0]["event"] == "start"
    result = events[-1]
    assert result["event"] == "result"
    assert result["outputs"] == {"aligned": str(tmp_path / "o.tif")}
    assert (result["stats"]["shift_rows_px"], result["stats"]["shift_cols_px"]) == (2, 5)
    assert {"register", "align"} <= {event.get("stage") for event in events}
    again = cdengine("align", *pair(tmp_path, rng), "--output", tmp_path / "o.tif")
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert "--overwrite" in again.stderr


def test_plain_words_for_a_person(tmp_path, rng):
    run = cdengine("align", *pair(tmp_path, rng), "--output", tmp_path / "o.tif", "--cog", "--resampling", "cubic")
    assert run.returncode == 0, run.stderr
    assert "residual shift of AFTER: +2.00 rows, +5.00 columns" in run.stdout


def test_exit_codes(tmp_path, rng):
    before, after = pair(tmp_path, rng)
    cases = {
        2: ("align", before, after, "--output", after, "--overwrite"),
        3: ("align", before, tmp_path / "none.tif", "--output", tmp_path / "o.tif"),
        6: ("align", before, after, "--output", tmp_path / "none" / "o.tif"),
    }
    for code, arguments in cases.items():
        run = cdengine(*arguments)
        assert run.returncode == code, run.stderr
        assert run.stderr.startswith("error: ")
        assert run.stderr.count("\n") == 1
    assert not list(tmp_path.glob(".*"))
