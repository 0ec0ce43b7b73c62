"""Training and evaluation through Processing with the fake engine: command lines, checks, figures, models."""

import os

import pytest
from fake_engine import model_file
from test_algorithms import failure, in_task, options, run


@pytest.fixture
def own(qgis, tmp_path):
    """A private folder of models."""
    from qgis.core import QgsSettings

    QgsSettings().setValue("cdengine/models", str(tmp_path / "own"))
    yield tmp_path / "own"
    QgsSettings().remove("cdengine/models")


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data set"
    folder.mkdir()
    return str(folder)


def sets(words):
    """Settings of the recipe: key → value."""
    return dict(word[len("--set=") :].split("=", 1) for word in words if word.startswith("--set="))


def test_train(qgis, fake, own, data, tmp_path, feedback):
    result = run(
        "train",
        {"DATA": data, "NAME": "my model", "ARCHITECTURE": "tinycd", "EPOCHS": 2, "LEARNING_RATE": 0.0001,
         "BANDS_BEFORE": "3, 2,1", "CLASSES": "forest;built up", "SEED": 7, "DEVICE": "cpu",
         "SETTINGS": "loss.dice=2\noptimiser.name=sgd;trainer.ema=0", "RUN": str(tmp_path / "run")},
        feedback,
    )  # fmt: skip
    (words,) = fake.detect_runs()
    assert words[0] == "train" and options(words)["--output"] == str(tmp_path / "run")
    assert sets(words) == {
        "data.layout": '"pairs"',
        "data.root": f'"{data}"', "name": '"my model"', "model.architecture": '"tinycd"', "trainer.epochs": "2",
        "optimiser.learning_rate": "0.0001", "data.bands_before": "[3, 2,1]", "seed": "7",
        "data.classes": '["forest", "built up"]', "loss.dice": "2", "optimiser.name": "sgd", "trainer.ema": "0",
    }  # fmt: skip
    assert options(words)["--device"] == "cpu" and not {"--overwrite", "--resume"} & set(options(words))
    with open(options(words)["--config"]) as recipe:
        assert recipe.read() == "{}\n"
    assert result["F1"] == 0.6 and result["BEST_EPOCH"] == 2 and os.path.isfile(result["REPORT"])
    assert result["MODEL_NAME"] == "my model" and os.listdir(own) == ["my model.safetensors"]
    assert feedback.infos.index("Epoch 1: f1 0.5, iou unknown") < feedback.infos.index("Epoch 2: f1 0.6, iou unknown")
    assert feedback.texts[1:] == ["Epoch 1/2", "Epoch 2/2: 50 % of 100 batches, 3 s left"]
    assert 40 < feedback.percents[-2] < 60, "two epochs are one stage"


def test_model_stands_in_detect_afterwards(qgis, fake, own, data, pair):
    run("train", {"DATA": data, "NAME": "streets", "RUN": "TEMPORARY_OUTPUT"})
    run("detect", {"BEFORE": pair[0], "AFTER": pair[1], "MODEL": "streets", "CHANGE": "TEMPORARY_OUTPUT"})
    assert options(fake.detect_runs()[-1])["--model"] == str(own / "streets.safetensors")
    run("train", {"DATA": data, "NAME": "roads", "ADD_TO_MODELS": False, "RUN": "TEMPORARY_OUTPUT"})
    assert os.listdir(own) == ["streets.safetensors"]


def test_recipe_and_resume(qgis, fake, own, data, tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("data: {root: /somewhere}\n")
    target = str(tmp_path / "run")
    run("train", {"RECIPE": str(recipe), "EPOCHS": 5, "RUN": target})
    words = fake.detect_runs()[-1]
    assert options(words)["--config"] == str(recipe)
    assert sets(words) == {"trainer.epochs": "5"}, "what was left as it is, the recipe decides"
    assert "holds a run" in failure("train", {"DATA": data, "RUN": target})
    run("train", {"DATA": data, "RUN": target, "REPLACE": True})
    assert "'my model' already" in failure("train", {"DATA": data, "RUN": str(tmp_path / "other")})
    assert "--overwrite" in fake.detect_runs()[-1]
    run("train", {"RUN": target, "RESUME": True, "DATA": data, "EPOCHS": 9, "DEVICE": "cpu", "RECIPE": str(recipe)})
    words = fake.detect_runs()[-1]
    assert options(words)["--resume"] == target and sets(words) == {"data.root": f'"{data}"'}
    assert not {"--config", "--output", "--overwrite"} & set(options(words)) and options(words)["--device"] == "cpu"


def test_a_recipe_of_the_engine_goes_by_name(qgis, fake, own, data, tmp_path):
    run("train", {"RECIPE": "senseearth/chain.yaml", "DATA": data, "RUN": str(tmp_path / "run")})
    words = fake.detect_runs()[-1]
    assert options(words)["--config"] == "senseearth/chain.yaml" and sets(words) == {"data.root": f'"{data}"'}


def test_chain(qgis, fake, own, data, tmp_path, feedback):
    """A recipe that trains several models: untouched fields stay out of it, the bar goes over all of its steps."""
    fake("chain")
    recipe, target = tmp_path / "chain.yaml", str(tmp_path / "run")
    recipe.write_text("chain: {teachers: [{}], students: [{name: student}]}\n")
    own.mkdir()
    model_file(str(own / "my model.safetensors"), "my model")
    result = run("train", {"RECIPE": str(recipe), "RUN": target}, feedback)
    words = fake.detect_runs()[-1]
    assert sets(words) == {} and "--device" not in options(words), "all is the recipe's to decide"
    assert feedback.percents == sorted(feedback.percents)
    assert feedback.texts[1:] == [
        "teacher-1 (1 of 4): Epoch 1/2", "teacher-1 (1 of 4): Epoch 2/2: 50 % of 2 batches, 3 s left",
        "pseudo labels (2 of 4): Labelling unchanged areas", "pseudo labels (2 of 4): Drawing the pictures",
        "student (3 of 4): Epoch 1/2", "student (3 of 4): Epoch 2/2: 50 % of 2 batches, 3 s left",
        "evaluation (4 of 4): Measuring",
    ]  # fmt: skip
    assert "teacher-1_score 0.2, student_score 0.3" in feedback.infos and "stage 3 of 4: student" in feedback.infos
    assert result["MODEL_NAME"] == "model" and os.path.isfile(result["MODEL"])
    assert "holds a run" in failure("train", {"RECIPE": str(recipe), "RUN": target})
    run("train", {"RUN": target, "RESUME": True})
    words = fake.detect_runs()[-1]
    assert options(words)["--resume"] == target and not {"--set", "--device", "--config"} & set(options(words))
    run("train", {"RECIPE": str(recipe), "DATA": data, "DEVICE": "cpu", "RUN": str(tmp_path / "second")})
    words = fake.detect_runs()[-1]
    assert sets(words) == {"data.root": f'"{data}"'} and options(words)["--device"] == "cpu"


def test_figures_are_of_no_split_by_name(qgis):
    """A run's are of the validation split, a chain's of the one in its recipe: labels suit both, the help tells."""
    train = qgis.processingRegistry().algorithmById("cdengine:train")
    told = [train.outputDefinition(name).description() for name in train.NUMBERS]
    assert "F1 of the model" in told and not [text for text in told if "split" in text]
    assert "chain.evaluation.split" in train.shortHelpString()


def test_pseudo_labels_for_a_student(qgis, fake, own, data, tmp_path):
    labels = tmp_path / "pseudo"
    parameters = {"DATA": data, "PSEUDO_LABELS": str(labels), "RUN": "TEMPORARY_OUTPUT"}
    assert "Pseudo labels" in failure("train", parameters) and fake.detect_runs() == []
    labels.mkdir()
    run("train", parameters)
    assert sets(fake.detect_runs()[-1])["data.pseudo_labels"] == f'"{labels}"'


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"DATA": None}, "name its folder (or a recipe that names it)"),
        ({"DATA": "/nowhere"}, "/nowhere does not exist"),
        ({"RECIPE": "/nowhere.yaml"}, "/nowhere.yaml does not exist"),
        ({"BANDS_BEFORE": "red,green"}, "has to be numbers"),
        ({"SETTINGS": "loss.dice"}, "has to be KEY=VALUE"),
        ({"RUN": "{data}"}, "has other files in it"),
        ({"RESUME": True, "RUN": "{data}"}, "holds no run that could go on"),
        ({"RESUME": True}, "name the run folder"),
        ({"ARCHITECTURE": "perceptron"}, "ARCHITECTURE"),
    ],
)  # fmt: skip
def test_checks_before_training_starts(qgis, fake, data, wrong, words):
    with open(os.path.join(data, "file"), "w"):
        pass
    given = {name: value.format(data=data) if isinstance(value, str) else value for name, value in wrong.items()}
    assert words in failure("train", {"DATA": data, "RUN": "TEMPORARY_OUTPUT", **given})
    assert fake.detect_runs() == []


def test_cancel_of_training_says_how_to_go_on(qgis, fake, data, tmp_path):
    from qgis.core import QgsProcessingException, QgsProcessingFeedback

    fake("slow")
    (ok, _), seconds = in_task(
        qgis, "train", {"DATA": data, "RUN": str(tmp_path / "run")}, cancel_after=lambda: bool(fake.detect_runs())
    )
    assert not ok and seconds < 2.0
    listener = QgsProcessingFeedback()
    listener.cancel()
    with pytest.raises(QgsProcessingException, match="Resume"):
        run("train", {"DATA": data, "RUN": str(tmp_path / "run")}, listener)


def test_evaluate(qgis, fake, own, data, tmp_path, feedback):
    out = {"OUTPUT": str(tmp_path / "e.json"), "REPORT": str(tmp_path / "e.html"), "LABELS": str(tmp_path / "labels")}
    result = run(
        "evaluate",
        {"DATA": data, "LAYOUT": "second", "SPLIT": "all", "MODEL": "cva;irmad", "ENSEMBLE": True,
         "THRESHOLD_FROM": "val", "CLASSES": "forest;water", **out},
        feedback,
    )  # fmt: skip
    (words,) = fake.detect_runs()
    given = options(words)
    assert words[0] == "evaluate" and given["--data"] == data and given["--layout"] == "second"
    assert words[words.index("--model") + 1 :][:2] == ["cva", "irmad"] and given["--split"] == "all"
    assert words[words.index("--classes") + 1 :][:2] == ["forest", "water"] and given["--threshold-from"] == "val"
    assert given["--output"] == out["OUTPUT"] and given["--save-predictions"] == out["LABELS"]
    assert "--threshold" not in given and "--predictions" not in given and "--csv" not in given
    assert "--ensemble" in words
    assert (result["F1"], result["PRECISION"], result["N_PAIRS"], result["AP"]) == (0.5, 0.4, 2, None)
    assert "Model 1: f1 0.5" in feedback.infos and "  precision: 0.4" in feedback.infos


def test_evaluate_change_maps_made_elsewhere(qgis, fake, data, tmp_path):
    run("evaluate", {"DATA": data, "PREDICTIONS": str(tmp_path), "TILE": 256, "ENSEMBLE": True, "THRESHOLD": 0.4})
    given = options(fake.detect_runs()[-1])
    assert given["--predictions"] == str(tmp_path) and given["--threshold"] == "0.4"
    assert not {"--model", "--tile", "--protocol", "--ensemble"} & set(given)
    assert "nothing to measure" in failure("evaluate", {"DATA": data, "MODEL": ""})
    assert "does not exist" in failure("evaluate", {"DATA": "/nowhere", "MODEL": "cva"})


# ---------------------------------------------------------------- preparation
def test_prepare(qgis, fake, pair, tmp_path, feedback):
    """Labels are a raster, or polygons of any layer; filters of the layer hold."""
    from qgis.core import QgsVectorLayer
    from test_algorithms import count, saved, squares

    labels = QgsVectorLayer(saved(squares(), tmp_path / "labels.gpkg"), "labels", "ogr")
    labels.setSubsetString('"number" < 3')
    out = str(tmp_path / "set")
    result = run(
        "prepare",
        {"BEFORE": pair[0], "AFTER": pair[1], "LABEL": labels, "AOI": squares(1), "PATCH": 64, "OUTPUT": out,
         "CLASS_FIELD": "number"},
        feedback,
    )  # fmt: skip
    (words,) = fake.detect_runs()
    given = options(words)
    assert words[:4] == ["prepare", "pairs", *pair] and given["--output"] == out and given["--patch"] == "64"
    assert count(given["--label"]) == 3 and count(given["--aoi"]) == 1 and given["--class-field"] == "number"
    assert not {"--splits", "--block", "--buffer", "--world-files", "--classes"} & set(given)
    assert (result["N_PATCHES"], result["N_TRAIN"], result["N_INVALID"]) == (12, 8, 1)
    assert (
        result["PICTURE"].endswith("split.png") and "train: 8 patches, 12 % of their pixels changed" in feedback.infos
    )
    run("prepare", {"RECIPE": "single", "BEFORE": pair[0], "LABEL": pair[1], "OUTPUT": out})
    words = fake.detect_runs()[-1]
    assert words[1:3] == ["single", pair[0]] and options(words)["--label"] == pair[1]


def test_prepare_tables_and_downloads(qgis, fake, tmp_path):
    table = tmp_path / "scenes.csv"
    table.write_text("before,after,label\n")
    run("prepare", {"SCENES": str(table), "OUTPUT": "TEMPORARY_OUTPUT"})
    assert fake.detect_runs()[-1][:3] == ["prepare", "pairs", str(table)]
    run("prepare", {"RECIPE": "second", "DOWNLOAD": str(tmp_path), "OUTPUT": "TEMPORARY_OUTPUT"})
    assert fake.detect_runs()[-1][:3] == ["prepare", "second", str(tmp_path)]


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"LABEL": None}, "pairs takes an image before, an image after, and labels"),
        ({"AFTER": None}, "pairs takes an image before"),
        ({"RECIPE": "single"}, "single takes one image"),
        ({"RECIPE": "hiucd"}, "takes the folder of the download"),
        ({"SCENES": "/nowhere.csv"}, "goes without images"),
        ({"BEFORE": None, "AFTER": None, "LABEL": None, "SCENES": "/nowhere.csv"}, "/nowhere.csv does not exist"),
        ({"AFTER": "{before}"}, "same raster"),
        ({"BANDS_BEFORE": [1, 2], "BANDS_AFTER": [1]}, "differ in number"),
        ({"PATCH": 8}, "PATCH"),
    ],
)  # fmt: skip
def test_checks_before_preparation_starts(qgis, fake, pair, tmp_path, wrong, words):
    given = {"BEFORE": pair[0], "AFTER": pair[1], "LABEL": pair[1], "OUTPUT": "TEMPORARY_OUTPUT", **wrong}
    given = {name: value.format(before=pair[0]) if isinstance(value, str) else value for name, value in given.items()}
    assert words in failure("prepare", given)
    assert fake.detect_runs() == []
