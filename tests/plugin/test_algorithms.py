"""Algorithms run through Processing with the fake engine: command lines, results, checks, cancel."""

import os
import time

import pytest
from conftest import make_raster
from test_process import alive


def run(name, parameters, feedback=None):
    import processing

    return processing.run(f"cdengine:{name}", parameters, feedback=feedback)


def failure(name, parameters, feedback=None):
    from qgis.core import QgsProcessingException

    with pytest.raises(QgsProcessingException) as caught:
        run(name, parameters, feedback)
    return str(caught.value)


def options(words):
    """Option → its value, as `--option=value` gives it; "" for those without."""
    return dict([*word.split("=", 1), ""][:2] for word in words if word.startswith("--"))


def test_detect(qgis, fake, pair, tmp_path, feedback):
    result = run(
        "detect",
        {
            "BEFORE": pair[0],
            "AFTER": pair[1],
            "MODEL": "irmad",
            "BANDS_BEFORE": [3, 2, 1],
            "BANDS_AFTER": [3, 2, 1],
            "THRESHOLD": 0.6,
            "MIN_AREA": 50,
            "TILE": 256,
            "TTA": "d4",
            "COG": True,
            "CHANGE": str(tmp_path / "new folder" / "change ü.tif"),
            "POLYGONS": str(tmp_path / "changes.gpkg"),
            "PROBABILITY": str(tmp_path / "p.tif"),
            "REPORT": str(tmp_path / "r.html"),
        },
        feedback,
    )
    words = fake.detect_runs()[0]
    assert words[:3] == ["detect", *pair]
    given = options(words)
    assert given["--model"] == "irmad" and given["--bands-before"] == "3,2,1" and given["--threshold"] == "0.6"
    assert given["--tile"] == "256" and given["--tta"] == "d4" and given["--min-area"] == "50.0"
    assert {"--cog", "--overwrite", "--cancel-on-stdin-close"} <= set(words) and given["--on-corrupt"] == "error"
    assert words[words.index("--progress") + 1] == "json"
    assert not {"--overlap", "--resume", "--quicklook", "--allow-remote"} & set(given)
    assert os.path.isfile(result["CHANGE"]) and os.path.isfile(result["POLYGONS"]) and os.path.isfile(result["REPORT"])
    assert result["CHANGED_AREA_M2"] == 2500.0 and result["N_CHANGES"] == 1 and result["CHANGED_PERCENT"] == 25.0
    assert any("Fake CPU" in text for text in feedback.infos)
    assert feedback.warnings == ["grids differ"]
    assert feedback.percents == sorted(feedback.percents) and feedback.percents[-1] == 100
    assert "Detecting changes" in " ".join(feedback.texts)


def test_only_what_is_wanted_is_made(qgis, fake, pair):
    result = run(
        "detectwithoutmodel", {"BEFORE": pair[0], "AFTER": pair[1], "METHOD": "cva", "CHANGE": "TEMPORARY_OUTPUT"}
    )
    words = fake.detect_runs()[0]
    assert options(words)["--model"] == "cva"
    assert not {"--polygons", "--probability", "--report"} & set(options(words))
    assert options(words)["--output"] == result["CHANGE"] and os.path.isfile(result["CHANGE"])


def test_temporary_outputs(qgis, fake, pair):
    result = run(
        "detect", {"BEFORE": pair[0], "AFTER": pair[1], "CHANGE": "TEMPORARY_OUTPUT", "POLYGONS": "TEMPORARY_OUTPUT"}
    )
    assert result["POLYGONS"].endswith(".gpkg") and os.path.isfile(result["POLYGONS"])


def test_align_and_vectorize(qgis, fake, pair, tmp_path):
    out = run("align", {"BEFORE": pair[0], "AFTER": pair[1], "OUTPUT": str(tmp_path / "a.tif")})["OUTPUT"]
    words = fake.detect_runs()[-1]
    assert words[0] == "align" and options(words)["--align"] == "register" and options(words)["--output"] == out
    run("vectorize", {"INPUT": pair[0], "PROBABILITY": pair[1], "OUTPUT": str(tmp_path / "v.geojson")})
    words = fake.detect_runs()[-1]
    assert words[:2] == ["vectorize", pair[0]] and options(words)["--probability"] == pair[1]


def test_values_that_begin_with_a_minus(qgis, fake, pair):
    run("vectorize", {"INPUT": pair[0], "VALUES": "-1,1", "OUTPUT": "TEMPORARY_OUTPUT"})
    assert "--values=-1,1" in fake.detect_runs()[-1]


# ---------------------------------------------------------------- inputs
def test_layers_of_the_project(qgis, fake, pair):
    from qgis.core import QgsProject, QgsRasterLayer

    layers = [QgsRasterLayer(path, name) for path, name in zip(pair, ("1990", "2020"), strict=True)]
    QgsProject.instance().addMapLayers(layers)
    try:
        run("detect", {"BEFORE": layers[0], "AFTER": layers[1].id(), "CHANGE": "TEMPORARY_OUTPUT"})
        run("detect", {"BEFORE": "1990", "AFTER": "2020", "CHANGE": "TEMPORARY_OUTPUT"})
    finally:
        QgsProject.instance().removeAllMapLayers()
    assert [words[1:3] for words in fake.detect_runs()] == [list(pair)] * 2


def test_virtual_file_systems(qgis, fake, pair, tmp_path):
    import zipfile

    archive = tmp_path / "both.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for path in pair:
            out.write(path, os.path.basename(path))
    inside = [f"/vsizip/{archive}/{os.path.basename(path)}" for path in pair]
    run("detect", {"BEFORE": inside[0], "AFTER": inside[1], "CHANGE": "TEMPORARY_OUTPUT"})
    assert fake.detect_runs()[0][1:3] == inside
    assert "not found" in failure(
        "detect", {"BEFORE": inside[0] + "x", "AFTER": inside[1], "CHANGE": "TEMPORARY_OUTPUT"}
    )


def test_relative_paths(qgis, fake, pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("detect", {"BEFORE": "before.tif", "AFTER": "after.tif", "CHANGE": "out.tif"})
    words = fake.detect_runs()[0]
    assert words[1:3] == list(pair) and options(words)["--output"] == str(tmp_path / "out.tif")


def squares(count=4):
    """Polygons in memory with an attribute."""
    from qgis.core import QgsFeature, QgsGeometry, QgsRectangle, QgsVectorLayer

    layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=number:integer", "areas", "memory")
    features = []
    for number in range(count):
        feature = QgsFeature(layer.fields())
        x = 500000 + 100 * number
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(x, 4999700, x + 80, 4999900)))
        feature.setAttributes([number])
        features.append(feature)
    layer.dataProvider().addFeatures(features)
    return layer


def count(path):
    from qgis.core import QgsVectorLayer

    return QgsVectorLayer(path, "x", "ogr").featureCount()


def area_given(fake, pair, aoi):
    run("detect", {"BEFORE": pair[0], "AFTER": pair[1], "AOI": aoi, "CHANGE": "TEMPORARY_OUTPUT"})
    return options(fake.detect_runs()[-1])["--aoi"]


def saved(layer, path, **settings):
    from qgis.core import QgsCoordinateTransformContext, QgsVectorFileWriter

    writing = QgsVectorFileWriter.SaveVectorOptions()
    for name, value in settings.items():
        setattr(writing, name, value)
    QgsVectorFileWriter.writeAsVectorFormatV3(layer, str(path), QgsCoordinateTransformContext(), writing)
    return str(path)


def test_area_of_interest(qgis, fake, pair, tmp_path):
    """Memory layers, filters and selections reach the engine as files with exactly those features."""
    from qgis.core import QgsProcessingFeatureSourceDefinition, QgsProject, QgsVectorFileWriter, QgsVectorLayer

    memory = squares()
    assert count(area_given(fake, pair, memory)) == 4
    path = saved(memory, tmp_path / "areas.gpkg")
    assert area_given(fake, pair, path) == path
    filtered = QgsVectorLayer(path, "filtered", "ogr")
    filtered.setSubsetString('"number" < 3')
    assert count(area_given(fake, pair, filtered)) == 3
    chosen = QgsVectorLayer(path, "chosen", "ogr")
    QgsProject.instance().addMapLayer(chosen)
    chosen.selectByExpression('"number" = 2')
    try:
        assert count(area_given(fake, pair, QgsProcessingFeatureSourceDefinition(chosen.id(), True))) == 1
    finally:
        QgsProject.instance().removeAllMapLayers()
    overwrite = QgsVectorFileWriter.ActionOnExistingFile.CreateOrOverwriteLayer
    saved(squares(2), path, layerName="second", actionOnExistingFile=overwrite)
    assert count(area_given(fake, pair, f"{path}|layername=second")) == 2


# ---------------------------------------------------------------- what is refused
def test_same_raster_twice(qgis, fake, pair):
    assert "same raster" in failure("detect", {"BEFORE": pair[0], "AFTER": pair[0], "CHANGE": "TEMPORARY_OUTPUT"})
    assert fake.detect_runs() == []


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"TILE": 100}, "not a multiple of 32; 96 would be"),
        ({"TILE": 64, "OVERLAP": 64}, "smaller than the tile"),
        ({"BANDS_BEFORE": [1, 9]}, "band 9 does not exist"),
        ({"BANDS_BEFORE": [1, 2], "BANDS_AFTER": [1]}, "differ in number"),
        ({"ON_CORRUPT": "ignore"}, "ON_CORRUPT"),
        ({"MODEL": "/nowhere/model.safetensors"}, "does not exist"),
        ({"CHANGE": "/tmp/x.png"}, "end in .tif"),
        ({"POLYGONS": "/tmp/x.shp"}, "end in .gpkg"),
        ({"POLYGONS": "memory:"}, "written to a file"),
        ({"POLYGONS": "ogr:dbname='/tmp/x.gpkg' table=\"y\" (geom)"}, "written to a file"),
        ({"CHANGE": "/tmp/same.tif", "PROBABILITY": "/tmp/same.tif"}, "the same file"),
        ({"THRESHOLD": 1.5}, "THRESHOLD"),
        ({"TTA": "mirror"}, "TTA"),
    ],
)  # fmt: skip
def test_checks_before_anything_starts(qgis, fake, pair, wrong, words):
    message = failure("detect", {"BEFORE": pair[0], "AFTER": pair[1], "CHANGE": "TEMPORARY_OUTPUT", **wrong})
    assert words in message
    assert fake.runs() == []


def test_output_is_input(qgis, fake, pair):
    assert "would overwrite the input Image before" in failure(
        "detect", {"BEFORE": pair[0], "AFTER": pair[1], "CHANGE": pair[0]}
    )


def test_places_apart(qgis, fake, pair, tmp_path):
    far = make_raster(tmp_path / "far.tif", origin=(700000.0, 5000000.0))
    assert "share no ground" in failure("detect", {"BEFORE": pair[0], "AFTER": far, "CHANGE": "TEMPORARY_OUTPUT"})
    degrees = make_raster(tmp_path / "degrees.tif", epsg=4326, origin=(14.999, 45.156), pixel=0.0001)
    run("detect", {"BEFORE": pair[0], "AFTER": degrees, "CHANGE": "TEMPORARY_OUTPUT"})
    bare = make_raster(tmp_path / "bare.tif", epsg=None)
    assert "image after has no coordinate reference system" in failure(
        "detect", {"BEFORE": pair[0], "AFTER": bare, "CHANGE": "TEMPORARY_OUTPUT"}
    )
    for name, out in (("align", "OUTPUT"), ("detect", "CHANGE")):
        run(name, {"BEFORE": pair[0], "AFTER": bare, "ASSUME_CRS": "EPSG:32633", out: "TEMPORARY_OUTPUT"})
        assert options(fake.detect_runs()[-1])["--assume-crs"] == "EPSG:32633"


def test_web_services_are_refused_with_a_remedy(qgis, fake, pair):
    from qgis.core import QgsProject, QgsRasterLayer

    layer = QgsRasterLayer("type=xyz&url=file:///nowhere/{z}/{x}/{y}.png&zmax=3&zmin=0", "tiles", "wms")
    QgsProject.instance().addMapLayer(layer)
    try:
        message = failure("detect", {"BEFORE": layer.id(), "AFTER": pair[1], "CHANGE": "TEMPORARY_OUTPUT"})
    finally:
        QgsProject.instance().removeAllMapLayers()
    assert "not from a raster file" in message and "Export" in message


def test_no_engine(qgis, pair, monkeypatch):
    monkeypatch.delenv("CDENGINE_PYTHON", raising=False)
    able, why = qgis.processingRegistry().algorithmById("cdengine:detect").canExecute()
    assert not able and "Install the engine" in why
    message = failure("detect", {"BEFORE": pair[0], "AFTER": pair[1], "CHANGE": "TEMPORARY_OUTPUT"})
    assert "not set up" in message and "Engine Python" in message and "CDENGINE_PYTHON" in message
    monkeypatch.setenv("CDENGINE_PYTHON", "/nowhere/python")
    assert "/nowhere/python, which does not exist" in failure(
        "detect", {"BEFORE": pair[0], "AFTER": pair[1], "CHANGE": "TEMPORARY_OUTPUT"}
    )


@pytest.mark.parametrize(
    "scenario, words",
    [
        ("error", "after.tif covers none of before.tif: check its CRS"),
        ("missing", "does not have the package cdengine"),
        ("crash", "segmentation fault"),
        ("noresult", "without a result"),
        ("newer", "update the QGIS plugin"),
    ],
)
def test_engine_failures_reach_the_user(qgis, fake, pair, scenario, words, tmp_path):
    from qgis_plugin import settings

    cache = settings.surroundings().cache
    if os.path.exists(cache):
        os.remove(cache)
    fake(scenario)
    out = tmp_path / "c.tif"
    message = failure("detect", {"BEFORE": pair[0], "AFTER": pair[1], "CHANGE": str(out)})
    assert words in message and "Traceback" not in message
    assert not out.exists() and not out.with_suffix(".qml").exists()
    if os.path.exists(cache):
        os.remove(cache)


def test_engine_that_is_unwell_says_so(qgis, fake, pair, feedback):
    from qgis_plugin import settings

    cache = settings.surroundings().cache
    if os.path.exists(cache):
        os.remove(cache)
    fake("unwell")
    run("detect", {"BEFORE": pair[0], "AFTER": pair[1], "CHANGE": "TEMPORARY_OUTPUT"}, feedback)
    assert any("torch: no; get it" in text for text in feedback.warnings)
    os.remove(cache)


# ---------------------------------------------------------------- tasks and cancel
def in_task(qgis, name, parameters, cancel_after=None, until=30.0):
    """Runs as the dialog does, in another thread; returns (ok, seconds from cancel to end)."""
    from qgis.core import QgsProcessingAlgRunnerTask, QgsProcessingContext, QgsProcessingFeedback, QgsProject

    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    listener = QgsProcessingFeedback()
    algorithm = qgis.processingRegistry().createAlgorithmById(f"cdengine:{name}")
    task = QgsProcessingAlgRunnerTask(algorithm, parameters, context, listener)
    ended = []
    task.executed.connect(lambda ok, results: ended.append((ok, results)))
    qgis.taskManager().addTask(task)
    began, cancelled_at, longest = time.monotonic(), None, 0.0
    while not ended and time.monotonic() - began < until:
        turn = time.monotonic()
        qgis.processEvents()
        longest = max(longest, time.monotonic() - turn)
        if cancel_after is not None and cancelled_at is None and cancel_after():
            cancelled_at = time.monotonic()
            listener.cancel()
        time.sleep(0.01)
    assert ended, "the task did not end"
    assert longest < 0.5, "the window froze"
    return ended[0], None if cancelled_at is None else time.monotonic() - cancelled_at


@pytest.mark.parametrize("scenario", ["slow", "silent", "stubborn", "doctor-slow"])
def test_cancel(qgis, fake, pair, tmp_path, scenario):
    from qgis_plugin import settings

    cache = settings.surroundings().cache
    if scenario == "doctor-slow" and os.path.exists(cache):
        os.remove(cache)
    fake(scenario)
    out = tmp_path / "c.tif"
    wanted = 1 if scenario == "doctor-slow" else len(fake.runs()) + 1

    def started():
        return len(fake.runs()) >= wanted and (scenario == "doctor-slow" or fake.detect_runs())

    (ok, _), seconds = in_task(
        qgis, "detect", {"BEFORE": pair[0], "AFTER": pair[1], "CHANGE": str(out)}, cancel_after=started
    )
    assert not ok and seconds is not None and seconds < 2.0
    assert not any(alive(run["pid"]) for run in fake.runs())
    assert not out.exists()


def test_task_gives_results(qgis, fake, pair):
    (ok, results), _ = in_task(qgis, "detect", {"BEFORE": pair[0], "AFTER": pair[1], "CHANGE": "TEMPORARY_OUTPUT"})
    assert ok and os.path.isfile(results["CHANGE"])
