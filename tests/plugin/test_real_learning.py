"""From a labelled pair to a model that detects, through the real engine (CDENGINE_PYTHON)."""

import json
import os
import shutil
import subprocess

import pytest
from conftest import HERE, make_raster
from test_algorithms import in_task, run
from test_qgis_process import PROGRAM


@pytest.fixture
def own(qgis, tmp_path):
    """A private folder of models."""
    from qgis.core import QgsSettings

    QgsSettings().setValue("cdengine/models", str(tmp_path / "own"))
    yield tmp_path / "own"
    QgsSettings().remove("cdengine/models")


@pytest.fixture
def scene(tmp_path):
    """A pair of 256 px, and its change as polygons in memory."""
    from qgis.core import QgsFeature, QgsGeometry, QgsRectangle, QgsVectorLayer

    paths = [make_raster(tmp_path / f"{name}.tif", size=256, seed=seed, changed=seed == 2) for name, seed in
             (("before", 1), ("after", 2))]  # fmt: skip
    labels = QgsVectorLayer("Polygon?crs=EPSG:32633", "changed", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(500640, 4998720, 501280, 4999360)))
    labels.dataProvider().addFeatures([feature])
    return {"BEFORE": paths[0], "AFTER": paths[1], "LABEL": labels}


SMALL = {"ARCHITECTURE": "fc-ef", "BATCH_SIZE": 2, "CROP": 32, "WORKERS": 0, "DEVICE": "cpu"}


def test_prepare_train_evaluate_detect(qgis, real, own, scene, tmp_path, feedback):
    data = run("prepare", {**scene, "PATCH": 32, "BLOCK": 64, "BUFFER": 0, "OUTPUT": str(tmp_path / "set")})
    assert data["N_TRAIN"] > 0 and data["N_VAL"] > 0 and os.path.isfile(data["PICTURE"])

    trained = run(
        "train",
        {**SMALL, "DATA": data["OUTPUT"], "NAME": "bright squares", "EPOCHS": 2, "RUN": str(tmp_path / "run"),
         "SETTINGS": "trainer.epoch_batches=3;trainer.ema=0.5"},
        feedback,
    )  # fmt: skip
    assert trained["MODEL_NAME"] == "bright squares" and 0 <= trained["F1"] <= 1
    assert {"model.safetensors", "metrics.csv", "config.yaml", "report.html"} <= set(os.listdir(trained["RUN"]))
    told = [line for line in feedback.infos if line.startswith("Epoch ")]
    assert [line.split(":")[0] for line in told] == ["Epoch 1", "Epoch 2"] and all(" f1 " in line for line in told)

    measured = run(
        "evaluate",
        {"DATA": data["OUTPUT"], "MODEL": "bright squares", "SPLIT": "val", "OUTPUT": str(tmp_path / "figures.json")},
    )
    with open(measured["OUTPUT"]) as file:
        assert json.load(file)["pooled"]["f1"] == pytest.approx(measured["F1"])

    found = run(
        "detect",
        {"BEFORE": scene["BEFORE"], "AFTER": scene["AFTER"], "MODEL": "bright squares", "CHANGE": "TEMPORARY_OUTPUT"},
    )
    assert os.path.isfile(found["CHANGE"]) and found["THRESHOLD_USED"] == pytest.approx(trained["THRESHOLD_USED"])


def test_cancelled_training_goes_on(qgis, real, own, scene, tmp_path):
    data = run("prepare", {**scene, "PATCH": 32, "BLOCK": 64, "BUFFER": 0, "OUTPUT": str(tmp_path / "set")})["OUTPUT"]
    folder = tmp_path / "run"
    given = {**SMALL, "DATA": data, "EPOCHS": 300, "SETTINGS": "trainer.epoch_batches=2", "RUN": str(folder)}
    (ok, _), seconds = in_task(
        qgis, "train", given, cancel_after=lambda: (folder / "last.ckpt").exists(), until=120
    )  # fmt: skip
    assert not ok and seconds is not None and seconds < 2.0
    assert not own.exists()
    (ok, _), seconds = in_task(
        qgis, "train", {"RUN": str(folder), "RESUME": True, "DEVICE": "cpu"},
        cancel_after=lambda: len((folder / "metrics.csv").read_text().splitlines()) > 4, until=120,
    )  # fmt: skip
    assert not ok and seconds < 2.0, "it went on, until it was cancelled again"


@pytest.fixture
def classes_set(tmp_path):
    """Six pairs in layout second: the changed square of each was class 2 (ground) and is class 5 (building)."""
    folder = tmp_path / "classes"
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            for date, code in (("1", 2), ("2", 5)):
                for part in ("im", "label"):
                    (folder / split / f"{part}{date}").mkdir(parents=True, exist_ok=True)
                seed = 10 * number + int(date)
                image = make_raster(tmp_path / "image.tif", size=64, seed=seed, changed=date == "2")
                to_png(image, folder / split / f"im{date}" / f"{number}.png")
                square = make_raster(tmp_path / "label.tif", size=64, bands=1)
                fill(square, code)
                to_png(square, folder / split / f"label{date}" / f"{number}.png")
    return folder


CHAIN = """
data: {{root: "{root}", layout: second, batch_size: 2, workers: 0, augmentation: {{crop: 32}}}}
model: {{architecture: bisrnet, arguments: {{backbone: resnet18, width: 16, change_depth: 1}}}}
trainer: {{epochs: 1, epoch_batches: 1, device: cpu, ema: 0.0}}
chain:
  teachers: [{{name: teacher, seed: 1}}]
  students: [{{name: pupil}}]
  pseudo_labels: {{tta: none}}
  evaluation: {{tta: none}}
"""


@pytest.mark.slow
def test_chain(qgis, real, own, classes_set, tmp_path, feedback):
    """Teacher, pseudo labels, student and their comparison in one run."""
    recipe, folder = tmp_path / "chain.yaml", tmp_path / "run"
    recipe.write_text(CHAIN.format(root=classes_set))
    trained = run("train", {"RECIPE": str(recipe), "RUN": str(folder)}, feedback)
    assert trained["MODEL_NAME"] == "pupil" and os.path.isfile(trained["MODEL"]) and os.path.isfile(trained["REPORT"])
    assert all(0 <= trained[name] <= 1 for name in ("SCORE", "MIOU", "F1"))
    steps = [line for line in feedback.infos if line.startswith("stage ")]
    assert [line.split(": ")[1] for line in steps] == ["teacher", "pseudo labels", "pupil", "evaluation"]
    assert "teacher (1 of 4): Epoch 1/1" in feedback.texts
    assert any(text.startswith("pseudo labels (2 of 4): Labelling unchanged areas") for text in feedback.texts)
    assert feedback.percents == sorted(feedback.percents) and feedback.percents[-1] == 100
    resumed = run("train", {"RUN": str(folder), "RESUME": True, "REPLACE": True, "ADD_TO_MODELS": False})
    assert resumed["SCORE"] == pytest.approx(trained["SCORE"]), "nothing was left to do"


# Of layout second, in its order.
CLASSES = ("low vegetation", "ground", "tree", "water", "building", "playground")


def test_pseudo_labels(qgis, real, own, classes_set, tmp_path, feedback):
    """Two models vote, one of them the user's own: real labels stay, and the figures are those of the files."""
    import numpy as np
    from osgeo import gdal

    own.mkdir()
    models = [str(tmp_path / "first.safetensors"), str(own / "second.safetensors")]
    images = [str(classes_set / "train" / f"im{date}" / "0.png") for date in (1, 2)]
    for seed, model in enumerate(models):
        subprocess.run(
            [real, str(HERE / "semantic_model.py"), *images, model, str(seed), *CLASSES], check=True, timeout=300
        )
    labelled = run(
        "pseudolabel",
        {"DATA": str(classes_set), "MODELS": f"{models[0]};second.safetensors", "TTA": "none", "DEVICE": "cpu",
         "OUTPUT": str(tmp_path / "pseudo")},
        feedback,
    )  # fmt: skip
    assert labelled["N_PAIRS"] == 4 and 0 < labelled["LABELLED_SHARE"] < 1 and 0 <= labelled["AGREEMENT"] <= 1
    assert os.path.isfile(labelled["REPORT"]) and os.path.isfile(labelled["PICTURE"]) and labelled["SECONDS"] > 0
    assert any(text.startswith("Labelling unchanged areas") for text in feedback.texts)
    shares = []
    for name in range(4):
        codes = gdal.Open(os.path.join(labelled["PSEUDO_LABELS"], "label2", f"{name}.png")).ReadAsArray()
        given = gdal.Open(str(classes_set / "train" / "label2" / f"{name}.png")).ReadAsArray()
        assert np.array_equal(codes[given > 0], given[given > 0])
        shares.append((codes > 0).mean())
    assert np.mean(shares) == pytest.approx(labelled["LABELLED_SHARE"], abs=1e-5) and min(shares) > (given > 0).mean()


@pytest.mark.skipif(PROGRAM is None, reason="qgis_process is not installed")
def test_in_qgis_process(staged, real_python, scene, tmp_path):
    """As a server would do it."""
    environ = {
        **os.environ,
        "QGIS_PLUGINPATH": str(staged),
        "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path / "profile"),
        "CDENGINE_PYTHON": real_python,
    }

    def call(*words):
        done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=240, env=environ)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    data = tmp_path / "set"
    for folder, path in (("A", scene["BEFORE"]), ("B", scene["AFTER"])):
        (data / folder).mkdir(parents=True)
        shutil.copy(path, data / folder / "one.tif")
    (data / "label").mkdir()
    burn(scene["LABEL"], scene["BEFORE"], data / "label" / "one.tif")
    call("plugins", "enable", "cdengine_qgis")
    told = call("--json", "run", "cdengine:evaluate", "--", f"DATA={data}", "SPLIT=all", "MODEL=cva",
                f"OUTPUT={tmp_path / 'figures.json'}")  # fmt: skip
    results = json.loads(told[told.index("{") :])["results"]
    assert results["F1"] > 0.9 and results["N_PAIRS"] == 1 and (tmp_path / "figures.json").exists()


def to_png(path, target):
    """A raster as a PNG without a place."""
    from osgeo import gdal

    gdal.GetDriverByName("PNG").CreateCopy(str(target), gdal.Open(path))
    os.remove(path)
    os.remove(f"{target}.aux.xml")


def fill(path, code):
    """A code in the changed square, 0 elsewhere."""
    import numpy as np
    from osgeo import gdal

    codes = np.zeros((64, 64), np.uint8)
    codes[16:32, 16:32] = code
    gdal.Open(path, gdal.GA_Update).WriteArray(codes)


def burn(layer, like, path):
    """Polygons as a raster of 0 and 1 on the grid of another."""
    from osgeo import gdal, ogr

    source = gdal.Open(like)
    out = gdal.GetDriverByName("GTiff").Create(str(path), source.RasterXSize, source.RasterYSize, 1, gdal.GDT_Byte)
    out.SetGeoTransform(source.GetGeoTransform())
    out.SetProjection(source.GetProjection())
    memory = ogr.GetDriverByName("Memory").CreateDataSource("polygons")
    drawn = memory.CreateLayer("polygons", geom_type=ogr.wkbPolygon)
    for feature in layer.getFeatures():
        shape = ogr.Feature(drawn.GetLayerDefn())
        shape.SetGeometry(ogr.CreateGeometryFromWkt(feature.geometry().asWkt()))
        drawn.CreateFeature(shape)
    gdal.RasterizeLayer(out, [1], drawn, burn_values=[1])
