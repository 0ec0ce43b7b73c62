"""What happens to results: styles beside files, layers in the project, models, batches, many pairs."""

import gc
import os
import shutil

import pytest
from conftest import make_raster
from test_algorithms import failure, in_task, options, run

KEPT = []  # a renderer dies with its layer


def renderer(path):
    """How a file looks when it is opened."""
    from qgis.core import QgsRasterLayer, QgsVectorLayer

    KEPT.append(QgsRasterLayer(path, "r") if path.endswith(".tif") else QgsVectorLayer(path, "v", "ogr"))
    return KEPT[-1].renderer()


# ---------------------------------------------------------------- styles
def test_style_files_lie_beside_the_outputs(qgis, fake, pair, tmp_path):
    outputs = {"CHANGE": "c.tif", "POLYGONS": "c_polygons.gpkg", "PROBABILITY": "p.tif"}
    paths = {name: str(tmp_path / file) for name, file in outputs.items()}
    run("detect", {"BEFORE": pair[0], "AFTER": pair[1], **paths})
    change = renderer(paths["CHANGE"])
    assert change.type() == "paletted"
    assert [(c.value, c.label, c.color.alpha()) for c in change.classes()] == [(0, "unchanged", 0), (1, "changed", 220)]
    probability = renderer(paths["PROBABILITY"])
    assert probability.type() == "singlebandpseudocolor" and probability.classificationMax() == 1
    polygons = renderer(paths["POLYGONS"])
    assert polygons.type() == "RuleRenderer"
    labels = [rule.label() for rule in polygons.rootRule().children()]
    assert labels[0] == "less than 100 m²" and labels[-1] == "area unknown" and len(labels) == 6


def test_style_of_bytes_and_of_a_style_that_the_user_made(qgis, fake, pair, tmp_path):
    out = {"CHANGE": str(tmp_path / "c.tif"), "PROBABILITY": str(tmp_path / "p.tif")}
    parameters = {"BEFORE": pair[0], "AFTER": pair[1], **out}
    run("detect", parameters)
    (tmp_path / "c.qml").write_text("<qgis>mine</qgis>")
    run("detect", {**parameters, "PROBABILITY_DTYPE": "uint8"})
    assert renderer(out["PROBABILITY"]).classificationMax() == 200
    assert (tmp_path / "c.qml").read_text() == "<qgis>mine</qgis>"


def test_layers_are_loaded_with_names_and_styles(qgis, fake, pair):
    """As the dialog does it: in a task, then loaded on the main thread, after the garbage collector has been by."""
    from qgis.core import (
        QgsProcessingContext,
        QgsProcessingFeedback,
        QgsProcessingOutputLayerDefinition,
        QgsProcessingUtils,
        QgsProject,
        QgsRasterLayer,
    )

    project = QgsProject()
    layers = [QgsRasterLayer(path, name) for path, name in zip(pair, ("1990", "2020"), strict=True)]
    project.addMapLayers(layers)
    context, listener = QgsProcessingContext(), QgsProcessingFeedback()
    context.setProject(project)
    algorithm = qgis.processingRegistry().createAlgorithmById("cdengine:detect")
    wanted = {name: QgsProcessingOutputLayerDefinition("TEMPORARY_OUTPUT", project) for name in ("CHANGE", "POLYGONS")}
    _, ok = algorithm.run({"BEFORE": layers[0].id(), "AFTER": layers[1].id(), **wanted}, context, listener)
    assert ok
    del algorithm
    gc.collect()
    loaded = {}
    for path, details in context.layersToLoadOnCompletion().items():
        layer = QgsProcessingUtils.mapLayerFromString(path, context)
        assert details.postProcessor() is not None
        details.postProcessor().postProcessLayer(layer, context, listener)
        loaded[details.name] = layer
    assert set(loaded) == {"Change: 1990 → 2020", "Changed areas: 1990 → 2020"}
    assert loaded["Change: 1990 → 2020"].renderer().type() == "paletted"
    assert "255" in loaded["Change: 1990 → 2020"].abstract()
    assert loaded["Changed areas: 1990 → 2020"].renderer().type() == "RuleRenderer"


# ---------------------------------------------------------------- many pairs
@pytest.fixture
def folders(tmp_path):
    """Three pairs, one of them of another suffix, and a file without a partner."""
    for date, changed in (("before", False), ("after", True)):
        folder = tmp_path / date
        folder.mkdir()
        for number, name in enumerate(("one", "bad two", "three")):
            make_raster(
                folder / f"{name}.tif", seed=number, changed=changed, origin=(500000.0 + 640 * number, 5000000.0)
            )
    os.rename(tmp_path / "after" / "three.tif", tmp_path / "after" / "three.TIFF")
    shutil.copy(tmp_path / "before" / "one.tif", tmp_path / "before" / "alone.tif")
    (tmp_path / "before" / "one.tif.aux.xml").write_text("<PAMDataset/>")
    return {"BEFORE_FOLDER": str(tmp_path / "before"), "AFTER_FOLDER": str(tmp_path / "after")}


def test_many_pairs(qgis, fake, folders, tmp_path, feedback):
    results = tmp_path / "results"
    result = run(
        "detectpairs", {**folders, "MODEL": "cva", "SAVE_PROBABILITY": True, "RESULTS": str(results)}, feedback
    )
    names = [os.path.basename(words[1]) for words in fake.detect_runs()]
    assert names == ["bad two.tif", "one.tif", "three.tif"]
    assert all(options(words)["--model"] == "cva" for words in fake.detect_runs())
    assert (result["N_PAIRS"], result["N_FAILED"], result["N_CHANGES"], result["CHANGED_AREA_M2"]) == (3, 0, 3, 7500)
    assert sorted(os.path.basename(path) for path in result["POLYGON_LAYERS"]) == [
        "bad two_changes.gpkg", "one_changes.gpkg", "three_changes.gpkg",
    ]  # fmt: skip
    assert {"one_change.tif", "one_change.qml", "one_probability.tif"} <= set(os.listdir(results))
    assert any("alone.tif has no partner" in text for text in feedback.warnings)
    assert feedback.percents == sorted(feedback.percents)


def test_a_bad_pair_does_not_stop_the_others(qgis, fake, folders, tmp_path, feedback):
    fake("one-bad")
    result = run("detectpairs", {**folders, "RESULTS": str(tmp_path / "r")}, feedback)
    assert (result["N_PAIRS"], result["N_FAILED"], len(result["CHANGE_LAYERS"])) == (3, 1, 2)
    assert any("bad two: after.tif covers none" in text for text in feedback.errors)


def test_what_fails_for_every_pair_stops_at_once(qgis, fake, folders, tmp_path):
    fake("model-error")
    assert "no model is called" in failure("detectpairs", {**folders, "RESULTS": str(tmp_path / "r")})
    assert len(fake.detect_runs()) == 1
    fake("error")
    assert "None of the 3 pairs" in failure("detectpairs", {**folders, "RESULTS": str(tmp_path / "r")})


def test_folders_that_make_no_pairs(qgis, fake, folders, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    results = {"RESULTS": str(tmp_path / "r")}
    assert "has a partner" in failure("detectpairs", {**folders, "AFTER_FOLDER": str(empty), **results})
    same = {"BEFORE_FOLDER": folders["AFTER_FOLDER"], "AFTER_FOLDER": folders["AFTER_FOLDER"]}
    assert "same folder" in failure("detectpairs", {**same, **results})
    shutil.copy(tmp_path / "before" / "one.tif", tmp_path / "before" / "one.tiff")
    assert "same name" in failure("detectpairs", {**folders, **results})


def test_cancel_between_and_within_pairs(qgis, fake, folders, tmp_path):
    fake("slow")
    (ok, _), seconds = in_task(
        qgis, "detectpairs", {**folders, "RESULTS": str(tmp_path / "r")}, cancel_after=lambda: bool(fake.detect_runs())
    )
    assert not ok and seconds < 2.0 and len(fake.detect_runs()) == 1


# ---------------------------------------------------------------- models and batches
def test_model_align_detect_vectorize(qgis, fake, pair, tmp_path):
    result = run(
        "align_detect_vectorize",
        {
            "BEFORE": pair[0], "AFTER": pair[1], "MODEL": "irmad", "MIN_AREA": 20, "SIMPLIFY": 0, "FILL_HOLES": 0,
            "align:Aligned": str(tmp_path / "a.tif"), "detect:Change": str(tmp_path / "c.tif"),
            "detect:Probability": "TEMPORARY_OUTPUT", "vectorize:Polygons": str(tmp_path / "v.gpkg"),
        },
    )  # fmt: skip
    align, detect, vectorize = fake.detect_runs()
    assert [words[0] for words in (align, detect, vectorize)] == ["align", "detect", "vectorize"]
    assert detect[2] == options(align)["--output"] == str(tmp_path / "a.tif")
    assert "--polygons" not in options(detect), "vectorize makes them"
    assert vectorize[1] == str(tmp_path / "c.tif") and options(vectorize)["--min-area"] == "20.0"
    assert os.path.isfile(result["vectorize:Polygons"]) and (tmp_path / "v.qml").exists()


def test_model_many_pairs(qgis, fake, folders, tmp_path):
    from qgis.core import QgsVectorLayer

    result = run(
        "detect_many_pairs",
        {
            **folders,
            "MODEL": "cva",
            "MIN_AREA": 0,
            "pairs:Results": str(tmp_path / "r"),
            "merge:Changes": str(tmp_path / "all.gpkg"),
        },
    )
    merged = QgsVectorLayer(result["merge:Changes"], "all", "ogr")
    assert merged.featureCount() == 3
    assert {feature["layer"] for feature in merged.getFeatures()} == {"bad two_changes", "one_changes", "three_changes"}


def test_failure_within_a_model_is_told(qgis, fake, pair, feedback):
    """QGIS itself says only which step failed; the engine's words are in the log."""
    fake("error")
    parameters = {"BEFORE": pair[0], "AFTER": pair[1], "MODEL": "irmad", "MIN_AREA": 0, "SIMPLIFY": 0, "FILL_HOLES": 0}
    outputs = ("align:Aligned", "detect:Change", "vectorize:Polygons")
    failure("align_detect_vectorize", {**parameters, **dict.fromkeys(outputs, "TEMPORARY_OUTPUT")}, feedback)
    assert any("after.tif covers none of before.tif" in text for text in feedback.errors)


def test_cancel_within_a_model(qgis, fake, pair, tmp_path):
    fake("slow")
    (ok, _), seconds = in_task(
        qgis, "align_detect_vectorize",
        {
            "BEFORE": pair[0], "AFTER": pair[1], "MODEL": "irmad", "MIN_AREA": 0, "SIMPLIFY": 0, "FILL_HOLES": 0,
            "vectorize:Polygons": str(tmp_path / "v.gpkg"), "align:Aligned": "TEMPORARY_OUTPUT",
            "detect:Change": "TEMPORARY_OUTPUT",
        },
        cancel_after=lambda: bool(fake.detect_runs()),
    )  # fmt: skip
    assert not ok and seconds < 2.0


def test_batch(qgis, fake, pair, tmp_path):
    """Row after row on one instance of Processing, as the batch dialog does; a bad row leaves the others alone."""
    rows = [
        {"BEFORE": pair[0], "AFTER": pair[1], "CHANGE": str(tmp_path / "0.tif")},
        {"BEFORE": pair[0], "AFTER": pair[0], "CHANGE": str(tmp_path / "1.tif")},
        {"BEFORE": pair[0], "AFTER": pair[1], "CHANGE": str(tmp_path / "2.tif")},
    ]
    for number, row in enumerate(rows):
        if number == 1:
            assert "same raster" in failure("detect", row)
        else:
            run("detect", row)
    assert [(tmp_path / f"{number}.tif").exists() for number in range(3)] == [True, False, True]
