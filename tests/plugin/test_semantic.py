"""Models with classes: legends of classes and transitions, and the table of transitions; fake and real engine."""

import os
import subprocess
from collections import defaultdict

import pytest
from conftest import HERE, make_raster
from test_algorithms import failure, options, run
from test_results import renderer


def rows(path):
    """A table as QGIS opens it: its fields' types, and its rows."""
    from qgis.core import QgsVectorLayer

    layer = QgsVectorLayer(path, "table", "ogr")
    assert layer.isValid() and not layer.isSpatial()
    found = [{field.name(): feature[field.name()] for field in layer.fields()} for feature in layer.getFeatures()]
    return {field.name(): field.typeName() for field in layer.fields()}, found


# ---------------------------------------------------------------- with the fake engine
@pytest.mark.parametrize("suffix", ["gpkg", "csv", "xlsx"])
def test_table_alone(qgis, fake, pair, tmp_path, feedback, suffix):
    """It is counted from a raster of transitions that nobody asked for, and that is gone afterwards."""
    fake("semantic")
    table = str(tmp_path / "out" / f"table.{suffix}")
    result = run("detect", {"BEFORE": pair[0], "AFTER": pair[1], "CHANGE": str(tmp_path / "c.tif"),
                            "TRANSITION_TABLE": table}, feedback)  # fmt: skip
    words = fake.detect_runs()[0]
    assert words[:3] == ["detect", *pair]
    assert options(words)["--transitions"] == str(tmp_path / "out" / ".table.transitions.tif")
    left = {name for name in os.listdir(tmp_path / "out") if not name.endswith(".csvt")}
    assert left == {f"table.{suffix}"}, "no raster, no half table"
    assert result["TRANSITION_TABLE"] == table
    kinds, found = rows(table)
    (row,) = found
    assert (row["from_class"], row["to_class"], row["pixels"]) == ("forest", "building", 32 * 32)
    assert row["area_m2"] == 2500 and row["area_ha"] == 0.25
    assert "Integer" in kinds["pixels"] and kinds["area_ha"] == "Real" and kinds["from_class"] == "String"
    assert "  forest → building: 0.25 ha, 1,024 pixels" in feedback.infos


def test_a_table_is_replaced_as_a_whole(qgis, fake, pair, tmp_path):
    fake("semantic")
    table = tmp_path / "table.gpkg"
    table.write_text("something else")
    parameters = {"BEFORE": pair[0], "AFTER": pair[1], "CHANGE": str(tmp_path / "c.tif")}
    run("detect", {**parameters, "TRANSITION_TABLE": str(table)})
    assert len(rows(str(table))[1]) == 1
    assert "has to end in .gpkg or .csv or .xlsx" in failure(
        "detect", {**parameters, "TRANSITION_TABLE": str(tmp_path / "t.shp")}
    )


def test_no_classes_no_table(qgis, fake, pair, tmp_path):
    """The engine refuses it for a model without classes; a raster without names is told of."""
    parameters = {"BEFORE": pair[0], "AFTER": pair[1], "CHANGE": str(tmp_path / "c.tif")}
    message = failure("detect", {**parameters, "TRANSITION_TABLE": str(tmp_path / "t.csv")})
    assert "does not name its transitions" in message
    assert not (tmp_path / "t.csv").exists() and not (tmp_path / ".t.transitions.tif").exists()
    run("detect", {**parameters, "TRANSITIONS": str(tmp_path / "t.tif")})
    assert not (tmp_path / "t.qml").exists(), "it keeps the legend of the file"


def test_legends(qgis, fake, pair, tmp_path):
    """Class rasters name all classes; transitions only those that occur; polygons have their colours."""
    fake("semantic")
    names = {"BEFORE_CLASSES": "b.tif", "AFTER_CLASSES": "a.tif", "TRANSITIONS": "t.tif", "POLYGONS": "v.gpkg",
             "CHANGE": "c.tif"}  # fmt: skip
    paths = {name: str(tmp_path / file) for name, file in names.items()}
    run("detect", {"BEFORE": pair[0], "AFTER": pair[1], **paths})
    assert options(fake.detect_runs()[0])["--transitions"] == paths["TRANSITIONS"]
    for name in ("BEFORE_CLASSES", "AFTER_CLASSES"):
        os.remove(paths[name] + ".aux.xml")  # the style file is enough
        drawn = renderer(paths[name])
        assert [(c.value, c.label) for c in drawn.classes()] == [(0, "water"), (1, "forest"), (2, "building")]
        assert [c.color.name() for c in drawn.classes()] == ["#0000ff", "#0a14f5", "#1428eb"]
    (shown,) = renderer(paths["TRANSITIONS"]).classes()
    assert (shown.value, shown.label, shown.color.name()) == (6, "forest → building", "#3c78c3")
    polygons = renderer(paths["POLYGONS"])
    (category,) = polygons.categories()
    assert category.value() == category.label() == "forest → building"
    assert category.symbol().color().name() == "#3c78c3", "as in the raster"


def test_polygons_alone(qgis, fake, pair, tmp_path):
    """Their colours are made up then; every feature has its category; a style of the user's stays."""
    from qgis.core import QgsExpressionContext, QgsExpressionContextUtils, QgsRenderContext, QgsVectorLayer

    fake("semantic")
    path = str(tmp_path / "v.gpkg")
    parameters = {"BEFORE": pair[0], "AFTER": pair[1], "CHANGE": str(tmp_path / "c.tif"), "POLYGONS": path}
    run("detect", parameters)
    layer = QgsVectorLayer(path, "v", "ogr")
    drawn, context = layer.renderer(), QgsRenderContext()
    context.setExpressionContext(QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer)))
    drawn.startRender(context, layer.fields())
    for feature in layer.getFeatures():
        context.expressionContext().setFeature(feature)
        assert drawn.symbolForFeature(feature, context).color().name() == "#d55e00"
    drawn.stopRender(context)
    (tmp_path / "v.qml").write_text("<qgis>mine</qgis>")
    run("detect", parameters)
    assert (tmp_path / "v.qml").read_text() == "<qgis>mine</qgis>"


def test_layers_are_loaded_with_their_legends(qgis, fake, pair):
    """As the dialog does it, the table too."""
    from qgis.core import (
        QgsProcessingContext,
        QgsProcessingFeedback,
        QgsProcessingOutputLayerDefinition,
        QgsProcessingUtils,
        QgsProject,
    )

    fake("semantic")
    project, context, listener = QgsProject(), QgsProcessingContext(), QgsProcessingFeedback()
    context.setProject(project)
    names = ("CHANGE", "POLYGONS", "BEFORE_CLASSES", "TRANSITIONS", "TRANSITION_TABLE")
    wanted = {name: QgsProcessingOutputLayerDefinition("TEMPORARY_OUTPUT", project) for name in names}
    algorithm = qgis.processingRegistry().createAlgorithmById("cdengine:detect")
    results, ok = algorithm.run({"BEFORE": pair[0], "AFTER": pair[1], **wanted}, context, listener)
    assert ok and results["TRANSITION_TABLE"].endswith(".gpkg")
    loaded = {}
    for path, details in context.layersToLoadOnCompletion().items():
        layer = QgsProcessingUtils.mapLayerFromString(path, context)
        details.postProcessor().postProcessLayer(layer, context, listener)
        loaded[details.name.split(":")[0]] = layer
    assert set(loaded) == {"Change", "Changed areas", "Classes before", "Transitions", "Table of transitions"}
    assert [c.label for c in loaded["Transitions"].renderer().classes()] == ["forest → building"]
    assert len(loaded["Classes before"].renderer().classes()) == 3
    assert not loaded["Table of transitions"].isSpatial() and "ellipsoid" in loaded["Table of transitions"].abstract()


def test_no_area_without_a_crs(qgis, tmp_path):
    from qgis.PyQt.QtCore import NULL

    from qgis_plugin import transitions

    found = [transitions.Transition(2, "a", "b", 7, (0, 0, 0, 255)), transitions.Transition(3, "b", "a", 9, (0,) * 4)]
    figures = {"transition_m2 a → b": None}
    transitions.write(str(tmp_path / "t.gpkg"), found, figures)
    _, table = rows(str(tmp_path / "t.gpkg"))
    assert [(row["from_class"], row["pixels"], row["area_ha"]) for row in table] == [("b", 9, NULL), ("a", 7, NULL)]
    assert transitions.told(found, figures) == ["  b → a: 9 pixels", "  a → b: 7 pixels"]


def test_names_of_classes():
    from qgis_plugin.transitions import class_names

    classes = ["a → b", "c", ""]
    names = ["unchanged", *(f"{old} → {new}" for old in classes for new in classes)]
    assert class_names(names) == classes
    assert class_names([]) == class_names(["unchanged"]) == class_names(names[:-1]) == []


def test_colours_do_not_run_out():
    from itertools import islice

    from qgis_plugin.classstyles import spread

    names = [colour.name() for colour in islice(spread(), 60)]
    assert len(set(names)) == 60


# ---------------------------------------------------------------- with the real engine
@pytest.fixture(scope="module")
def scene(real_python, tmp_path_factory):
    """A pair of 128 px, and a model with three classes for it."""
    folder = tmp_path_factory.mktemp("semantic")
    before = make_raster(folder / "before.tif", size=128, seed=1)
    after = make_raster(folder / "after.tif", size=128, seed=2, changed=True)
    model = str(folder / "three.safetensors")
    subprocess.run(
        [real_python, str(HERE / "semantic_model.py"), before, after, model], check=True, timeout=300, cwd=folder
    )
    return {"BEFORE": before, "AFTER": after, "MODEL": model}


@pytest.fixture
def results(qgis, real, scene, tmp_path):
    """All that a detection with classes gives."""
    names = {"CHANGE": "c.tif", "POLYGONS": "v.gpkg", "BEFORE_CLASSES": "b.tif", "AFTER_CLASSES": "a.tif",
             "TRANSITIONS": "t.tif", "TRANSITION_TABLE": "t.csv"}  # fmt: skip
    return run("detect", {**scene, **{name: str(tmp_path / file) for name, file in names.items()}})


def test_real_results(qgis, results):
    """The table's sums are those of the polygons and of the raster; every legend says what its layer has."""
    import numpy as np
    from osgeo import gdal
    from qgis.core import QgsVectorLayer

    _, table = rows(results["TRANSITION_TABLE"])
    areas = defaultdict(float)
    for feature in QgsVectorLayer(results["POLYGONS"], "v", "ogr").getFeatures():
        areas[feature["from_class"], feature["to_class"]] += feature["area_m2"]
    assert len(table) == len(areas) > 4
    for row in table:
        assert row["area_m2"] == pytest.approx(areas[row["from_class"], row["to_class"]], rel=1e-6)
        assert row["area_ha"] == pytest.approx(row["area_m2"] / 1e4)
    assert sum(row["area_m2"] for row in table) == pytest.approx(results["CHANGED_AREA_M2"], rel=1e-9)
    assert sum(row["pixels"] for row in table) == results["CHANGED_PIXELS"]
    codes = gdal.Open(results["TRANSITIONS"]).ReadAsArray()
    legend = {int(entry.value): entry.label for entry in renderer(results["TRANSITIONS"]).classes()}
    assert set(legend) == set(np.unique(codes).tolist()) - {0, 65535}
    counted = {f"{row['from_class']} → {row['to_class']}": row["pixels"] for row in table}
    assert {label: int((codes == code).sum()) for code, label in legend.items()} == counted
    assert {category.value() for category in renderer(results["POLYGONS"]).categories()} == set(counted)
    for name in ("BEFORE_CLASSES", "AFTER_CLASSES"):
        assert [entry.label for entry in renderer(results[name]).classes()] == ["water", "forest", "built up"]


def test_real_map(qgis, results, tmp_path):
    """Drawn: each transition in its colour over the image, which is seen where nothing changed."""
    from osgeo import gdal
    from qgis.core import QgsMapRendererParallelJob, QgsMapSettings, QgsRasterLayer
    from qgis.PyQt.QtCore import QSize
    from qgis.PyQt.QtGui import QColor

    layer = QgsRasterLayer(results["TRANSITIONS"], "t")
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setOutputSize(QSize(128, 128))
    settings.setExtent(layer.extent())
    settings.setDestinationCrs(layer.crs())
    settings.setBackgroundColor(QColor("#010203"))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    picture, codes = job.renderedImage(), gdal.Open(results["TRANSITIONS"]).ReadAsArray()
    colours = {int(entry.value): entry.color.name() for entry in layer.renderer().classes()}
    colours[0] = "#010203"
    assert all(
        picture.pixelColor(column, row).name() == colours[int(codes[row, column])]
        for row in range(0, 128, 3)
        for column in range(0, 128, 3)
    )


def test_real_model_without_classes(qgis, real, scene, tmp_path):
    message = failure(
        "detect",
        {**scene, "MODEL": "cva", "CHANGE": str(tmp_path / "c.tif"), "TRANSITION_TABLE": str(tmp_path / "t.csv")},
    )
    assert "gives no classes" in message and os.listdir(tmp_path) == []
