"""`pseudolabel` through Processing with the fake engine: command line, checks, results, cancel, a step of a model."""

import os

import pytest
from fake_engine import model_file
from test_algorithms import failure, in_task, options, run
from test_learning import data, own  # noqa: F401 (fixtures)


@pytest.fixture
def models(tmp_path):
    """Three model files, one of them with a space in its name."""
    paths = [str(tmp_path / name) for name in ("w18.safetensors", "w 40.safetensors", "w48.safetensors")]
    for path in paths:
        model_file(path, os.path.basename(path)[:-12])
    return paths


def members(words):
    """What follows --model, up to the next option."""
    rest = words[words.index("--model") + 1 :]
    return rest[: next(index for index, word in enumerate(rest) if word.startswith("--"))]


def test_defaults(qgis, fake, own, data, models, tmp_path, feedback):  # noqa: F811
    result = run("pseudolabel", {"DATA": data, "MODELS": models, "OUTPUT": str(tmp_path / "out")}, feedback)
    (words,) = fake.detect_runs()
    given = options(words)
    assert words[0] == "pseudo-label" and members(words) == models and given["--output"] == str(tmp_path / "out")
    assert (given["--data"], given["--layout"], given["--split"], given["--tta"]) == (data, "second", "train", "six")
    assert given["--min-confidence"] == "0.0" and given["--device"] == "auto"
    assert "--overwrite" not in given and "--label-shift" not in given
    assert not {"--resume", "--classes", "--tile", "--workers"} & set(given)
    assert result["OUTPUT"] == result["PSEUDO_LABELS"] == str(tmp_path / "out")
    assert os.path.isfile(result["REPORT"]) and os.path.isfile(result["PICTURE"])
    assert [result[name] for name in ("N_PAIRS", "LABELLED_SHARE", "AGREEMENT", "SECONDS")] == [10, 0.9, 0.75, 2.5]
    assert "80.0 % of the unchanged pixels were labelled" in feedback.infos
    assert "90.0 % of the pixels have a class now" in feedback.infos and "75.0 % agreement of models" in feedback.infos
    assert feedback.texts[1:] == ["Loading the models", "Labelling unchanged areas: 50 % of 10 pairs, 3 s left"]
    assert feedback.percents == sorted(feedback.percents) and 45 < feedback.percents[-2] < 60


def test_options(qgis, fake, own, data, models, tmp_path):  # noqa: F811
    run(
        "pseudolabel",
        {"DATA": data, "LAYOUT": "senseearth", "SPLIT": "all", "MODELS": models[:1], "TTA": "none", "DEVICE": "cuda:1",
         "MIN_CONFIDENCE": 0.75, "CLASSES": "water;low vegetation", "TILE": 256, "RESUME": True,
         "LABEL_SHIFT": True,
         "CODING": "soft", "BANDS_BEFORE": "4,3,2", "BANDS_AFTER": "3,2,1",
         "OUTPUT": "TEMPORARY_OUTPUT"},
    )  # fmt: skip
    words = fake.detect_runs()[-1]
    given = options(words)
    assert (given["--layout"], given["--split"], given["--tta"]) == ("senseearth", "all", "none")
    assert given["--min-confidence"] == "0.75" and given["--device"] == "cuda:1" and given["--tile"] == "256"
    assert words[words.index("--classes") + 1 :][:2] == ["water", "low vegetation"] and members(words) == models[:1]
    assert (given["--label-coding"], given["--bands-before"], given["--bands-after"]) == ("soft", "4,3,2", "3,2,1")
    assert "--label-shift" in given
    assert "--resume" in given and "--overwrite" not in given, "the engine takes one of them"


def test_hours_of_work_are_not_replaced_unasked(qgis, fake, own, data, models, tmp_path):  # noqa: F811
    parameters = {"DATA": data, "MODELS": models, "OUTPUT": str(tmp_path / "out")}
    run("pseudolabel", parameters)
    assert "tick Resume or Replace" in failure("pseudolabel", parameters)
    assert "tick one of them" in failure("pseudolabel", {**parameters, "RESUME": True, "REPLACE": True})
    assert len(fake.detect_runs()) == 1
    run("pseudolabel", {**parameters, "RESUME": True})
    assert "--resume" in fake.detect_runs()[-1] and "--overwrite" not in fake.detect_runs()[-1]
    run("pseudolabel", {**parameters, "REPLACE": True})
    assert "--overwrite" in fake.detect_runs()[-1] and "--resume" not in fake.detect_runs()[-1]
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "thesis.txt").touch()
    assert "other files" in failure("pseudolabel", {**parameters, "OUTPUT": str(other), "REPLACE": True})


def test_own_models_by_name(qgis, fake, own, data, tmp_path):  # noqa: F811
    own.mkdir()
    for name in ("small", "large"):
        model_file(str(own / f"{name}.safetensors"), name)
    for given in (["small", "large"], "small;large"):
        run("pseudolabel", {"DATA": data, "MODELS": given, "OUTPUT": "TEMPORARY_OUTPUT"})
        assert members(fake.detect_runs()[-1]) == [str(own / f"{name}.safetensors") for name in ("small", "large")]


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"DATA": "/nowhere"}, "/nowhere does not exist"),
        ({"MODELS": None}, "MODELS"),
        ({"MODELS": []}, "choose at least one"),
        ({"MODELS": " ; "}, "choose at least one"),
        ({"MODELS": ["/nowhere.safetensors"]}, "Models: the file /nowhere.safetensors does not exist"),
        ({"MODELS": ["{models[0]}", "{models[0]}"]}, "listed twice"),
        ({"MODELS": ["{pth}"]}, "import-weights"),
        ({"OUTPUT": "{data}"}, "the folder of the data set"),
        ({"TILE": 100}, "not a multiple of 32"),
        ({"TTA": "twelve"}, "TTA"),
        ({"BANDS_AFTER": "red"}, "numbers with commas"),
        ({"LAYOUT": "hiucd"}, "LAYOUT"),
        ({"MIN_CONFIDENCE": 1.5}, "MIN_CONFIDENCE"),
    ],
)
def test_checks_before_it_starts(qgis, fake, own, data, models, tmp_path, wrong, words):  # noqa: F811
    (tmp_path / "w.pth").touch()
    places = {"models": models, "data": data, "pth": tmp_path / "w.pth"}

    def filled(value):
        if isinstance(value, list):
            return [filled(item) for item in value]
        return value.format(**places) if isinstance(value, str) else value

    given = {name: filled(value) for name, value in wrong.items()}
    message = failure("pseudolabel", {"DATA": data, "MODELS": models, "OUTPUT": "TEMPORARY_OUTPUT", **given})
    assert words in message and fake.detect_runs() == []


def test_errors_are_the_engines_own_words(qgis, fake, own, data, models):  # noqa: F811
    fake("model-error")
    parameters = {"DATA": data, "MODELS": models, "OUTPUT": "TEMPORARY_OUTPUT"}
    assert "no model is called 'nonsense'" in failure("pseudolabel", parameters)


def test_cancel(qgis, fake, own, data, models, tmp_path):  # noqa: F811
    from qgis.core import QgsProcessingException, QgsProcessingFeedback

    fake("slow")
    parameters = {"DATA": data, "MODELS": models, "OUTPUT": str(tmp_path / "out")}
    (ok, _), seconds = in_task(qgis, "pseudolabel", parameters, cancel_after=lambda: bool(fake.detect_runs()))
    assert not ok and seconds < 2.0
    listener = QgsProcessingFeedback()
    listener.cancel()
    with pytest.raises(QgsProcessingException, match="Resume"):
        run("pseudolabel", parameters, listener)


def test_in_a_model(qgis, fake, own, data, models, tmp_path):  # noqa: F811
    """A step of a model takes the files from a parameter of the model."""
    from qgis.core import (
        QgsProcessingContext,
        QgsProcessingFeedback,
        QgsProcessingModelAlgorithm,
        QgsProcessingModelChildAlgorithm,
        QgsProcessingModelChildParameterSource,
        QgsProcessingModelParameter,
        QgsProcessingParameterString,
    )

    source = QgsProcessingModelChildParameterSource
    model = QgsProcessingModelAlgorithm("teachers", "t")
    asked = QgsProcessingModelParameter("FILES")
    model.addModelParameter(QgsProcessingParameterString("FILES", "Files"), asked)
    child = QgsProcessingModelChildAlgorithm("cdengine:pseudolabel")
    child.setChildId("label")
    child.addParameterSources("MODELS", [source.fromModelParameter("FILES")])
    child.addParameterSources("DATA", [source.fromStaticValue(data)])
    child.addParameterSources("OUTPUT", [source.fromStaticValue(str(tmp_path / "out"))])
    model.addChildAlgorithm(child)
    results, ok = model.run({"FILES": ";".join(models)}, QgsProcessingContext(), QgsProcessingFeedback())
    assert ok and members(fake.detect_runs()[-1]) == models
    assert results["CHILD_RESULTS"]["label"]["AGREEMENT"] == 0.75
