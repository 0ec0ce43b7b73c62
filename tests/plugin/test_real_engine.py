"""The same through the real engine (CDENGINE_PYTHON); skipped where there is none."""

import json
import os
import re
import subprocess

import pytest
from conftest import SHARED, make_raster
from test_algorithms import failure, in_task, run, squares


def pixels(path):
    from osgeo import gdal

    return gdal.Open(path).ReadAsArray()


def test_same_pixels_as_the_command_line(qgis, real, pair, tmp_path):
    import numpy as np

    result = run(
        "detectwithoutmodel",
        {"BEFORE": pair[0], "AFTER": pair[1], "METHOD": "irmad", "CHANGE": str(tmp_path / "q.tif"),
         "POLYGONS": str(tmp_path / "q.gpkg"), "PROBABILITY": "TEMPORARY_OUTPUT"},
    )  # fmt: skip
    subprocess.run(
        [real, "-m", "cdengine", "detect", *pair, "--model", "irmad", "--output", str(tmp_path / "c.tif")],
        check=True, timeout=120,
    )  # fmt: skip
    changed = pixels(result["CHANGE"])
    assert np.array_equal(changed, pixels(str(tmp_path / "c.tif")))
    assert changed[20:30, 20:30].mean() > 0.9 and (changed[40:] == 1).mean() < 0.05
    assert result["CHANGED_PIXELS"] == (changed == 1).sum()
    assert result["CHANGED_AREA_M2"] == pytest.approx(100 * result["CHANGED_PIXELS"], rel=0.01)
    assert result["N_CHANGES"] >= 1 and 0 < result["CHANGED_PERCENT"] < 100 and result["THRESHOLD_USED"] == 0.5


@pytest.mark.parametrize("name", ["detect", "align", "vectorize", "prepare", "train", "pseudolabel", "evaluate"])
def test_every_option_of_the_command_has_a_parameter(qgis, real, name):
    """What the command line can, the dialog can; what the plugin itself always says is left out."""
    command = qgis.processingRegistry().createAlgorithmById(f"cdengine:{name}").COMMAND
    text = subprocess.run(
        [real, "-m", "cdengine", command, "--help"], capture_output=True, text=True, check=True
    ).stdout
    known = set(re.findall(r"^ +(--[a-z-]+)", text.split("options:", 1)[1], re.MULTILINE))
    own = {"--overwrite", "--progress", "--cancel-on-stdin-close", "--debug"}
    if name == "train":
        own |= {"--set", "--output", "--resume"}
    algorithm = qgis.processingRegistry().createAlgorithmById(f"cdengine:{name}")
    assert known - own == {field.option for field in algorithm.FIELDS if field.option}


def test_every_architecture_can_be_chosen(qgis, real):
    told = json.loads(
        subprocess.run([real, "-m", "cdengine", "models", "--json"], capture_output=True, check=True).stdout
    )
    definition = qgis.processingRegistry().algorithmById("cdengine:train").parameterDefinition("ARCHITECTURE")
    assert set(told["architectures"]) == set(definition.options())


def test_area_of_interest_from_memory(qgis, real, pair):
    result = run(
        "detect", {"BEFORE": pair[0], "AFTER": pair[1], "MODEL": "cva", "AOI": squares(2), "CHANGE": "TEMPORARY_OUTPUT"}
    )
    valid = pixels(result["CHANGE"]) != 255
    assert 0.02 < valid.mean() < 0.2 and valid[10:30, 0:8].all()


def test_errors_are_the_engines_own_words(qgis, real, pair, tmp_path):
    message = failure(
        "detect", {"BEFORE": pair[0], "AFTER": pair[1], "MODEL": "nonsense", "CHANGE": str(tmp_path / "c.tif")}
    )
    assert "nonsense" in message and "Traceback" not in message
    five = make_raster(tmp_path / "five.tif", bands=5)
    message = failure("detect", {"BEFORE": pair[0], "AFTER": five, "MODEL": "cva", "CHANGE": str(tmp_path / "c.tif")})
    assert "band" in message and not (tmp_path / "c.tif").exists()


def test_align_and_vectorize(qgis, real, pair, tmp_path):
    aligned = run("align", {"BEFORE": pair[0], "AFTER": pair[1], "ALIGN": "auto", "OUTPUT": str(tmp_path / "a.tif")})
    assert pixels(aligned["OUTPUT"]).shape == (3, 64, 64)
    change = run("detect", {"BEFORE": pair[0], "AFTER": pair[1], "MODEL": "cva", "CHANGE": "TEMPORARY_OUTPUT"})
    polygons = run("vectorize", {"INPUT": change["CHANGE"], "MIN_AREA": 1000, "OUTPUT": str(tmp_path / "v.fgb")})
    assert polygons["N_CHANGES"] >= 1 and polygons["CHANGED_AREA_M2"] > 1000


def test_model(qgis, real, pair, tmp_path):
    result = run(
        "align_detect_vectorize",
        {"BEFORE": pair[0], "AFTER": pair[1], "MODEL": "cva", "MIN_AREA": 0, "SIMPLIFY": 0, "FILL_HOLES": 0,
         "detect:Change": "TEMPORARY_OUTPUT", "align:Aligned": "TEMPORARY_OUTPUT",
         "vectorize:Polygons": str(tmp_path / "v.gpkg")},
    )  # fmt: skip
    assert os.path.isfile(result["vectorize:Polygons"])


def test_cancel(qgis, real, pair, tmp_path):
    """A real run of some length is gone, with all it started, within two seconds; nothing is left beside the output."""
    before = make_raster(tmp_path / "big_before.tif", size=3000, seed=1)
    after = make_raster(tmp_path / "big_after.tif", size=3000, seed=2, changed=True)
    out = tmp_path / "out"
    out.mkdir()
    run(
        "detect", {"BEFORE": pair[0], "AFTER": pair[1], "MODEL": "cva", "CHANGE": "TEMPORARY_OUTPUT"}
    )  # probes are done now
    (ok, _), seconds = in_task(
        qgis, "detect",
        {"BEFORE": before, "AFTER": after, "MODEL": "sfa", "CHANGE": str(out / "c.tif"),
         "POLYGONS": str(out / "c.gpkg")},
        cancel_after=lambda: any(out.iterdir()), until=120,  # its lock and parts: the engine is at work
    )  # fmt: skip
    assert seconds is not None, "the run was over before its cancel"
    assert not ok and seconds < 2.0
    assert not (out / "c.tif").exists() and not (out / "c.gpkg").exists()


@pytest.mark.parametrize("city", ["beihai", "saclay_e"])
def test_real_scenes(qgis, real, city, tmp_path):
    import numpy as np
    from osgeo import gdal

    folder = SHARED / "oscd" / city
    if not folder.is_dir():
        pytest.skip(f"real imagery is not beside this checkout ({folder} does not exist)")
    result = run(
        "detectwithoutmodel",
        {"BEFORE": str(folder / "before.tif"), "AFTER": str(folder / "after.tif"), "METHOD": "irmad",
         "CHANGE": str(tmp_path / "c.tif"), "POLYGONS": str(tmp_path / "c.gpkg"), "MIN_AREA": 500},
    )  # fmt: skip
    source, made = gdal.Open(str(folder / "before.tif")), gdal.Open(result["CHANGE"])
    assert made.GetGeoTransform() == pytest.approx(source.GetGeoTransform())
    assert (made.RasterXSize, made.RasterYSize) == (source.RasterXSize, source.RasterYSize)
    assert 0 < (np.asarray(made.ReadAsArray()) == 1).mean() < 0.5
    assert result["N_CHANGES"] > 0
