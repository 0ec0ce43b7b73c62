"""The folder of the user's models: what is listed, under which names, and what the engine is told."""

import json
import os

import pytest
from fake_engine import model_file

from qgis_plugin.engine import modelfolder


@pytest.fixture
def folder(tmp_path):
    """Models of every kind, and files that are none."""
    path = tmp_path / "models"
    path.mkdir()
    model_file(path / "a.safetensors", "zebra houses")
    model_file(path / "b.safetensors", "fields", ["red", "nir"])
    model_file(path / "c.safetensors", "twice")
    model_file(path / "d.safetensors", "twice")
    model_file(path / "e.safetensors", "irmad")
    model_file(path / "f.safetensors", "rgb-vhr-v1")
    (path / "exported.onnx").write_bytes(b"onnx")
    (path / "weights.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (path / "short.safetensors").write_bytes(b"\x05")
    (path / "huge.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    (path / "binary.safetensors").write_bytes((4).to_bytes(8, "little") + b"\xff\xfe\x00{")
    (path / "deep.safetensors").write_bytes((200_000).to_bytes(8, "little") + b"[" * 200_000)
    (path / "notes.txt").write_text("x")
    (path / "folder.safetensors").mkdir()
    return str(path)


def labels(folder):
    return [model.label for model in modelfolder.models(folder, ["rgb-vhr-v1"])]


def test_listed_by_the_names_on_their_cards(folder):
    """Names that could mean two things give way to file names."""
    assert labels(folder) == [
        "c.safetensors", "d.safetensors", "e.safetensors", "exported.onnx", "f.safetensors", "fields", "zebra houses",
    ]  # fmt: skip
    fields = next(model for model in modelfolder.models(folder) if model.label == "fields")
    assert "fc-ef, binary, bands red nir" in fields.about and fields.path.endswith("b.safetensors")
    assert modelfolder.models(os.path.join(folder, "absent")) == []


def test_what_the_engine_is_told(folder, tmp_path, monkeypatch):
    told = {
        name: modelfolder.resolve(name, folder, ["rgb-vhr-v1"])
        for name in ("fields", "c.safetensors", "irmad", "default", "rgb-vhr-v1", "unheard of")
    }
    assert told["fields"] == os.path.join(folder, "b.safetensors")
    assert told["c.safetensors"] == os.path.join(folder, "c.safetensors")
    assert {name for name, word in told.items() if name == word} == {"irmad", "default", "rgb-vhr-v1", "unheard of"}
    monkeypatch.chdir(tmp_path)
    model_file("here.safetensors", "here")
    os.mkdir("cva")
    assert modelfolder.resolve("here.safetensors", folder) == str(tmp_path / "here.safetensors")
    assert modelfolder.resolve("cva", folder) == "cva", "a folder of that name is no method"


def test_added_under_its_name(tmp_path):
    model_file(tmp_path / "model.safetensors", "Häuser/2024 v1.0")
    own = tmp_path / "own"
    added = modelfolder.add(str(tmp_path / "model.safetensors"), str(own), replace=False)
    assert added.label == "Häuser/2024 v1.0" and os.listdir(own) == ["Häuser_2024 v1.0.safetensors"]
    modelfolder.add(str(tmp_path / "model.safetensors"), str(own), replace=True)
    assert len(os.listdir(own)) == 1
    second = modelfolder.add(str(tmp_path / "model.safetensors"), str(own), replace=False)
    assert second.label == "Häuser_2024 v1.0 2.safetensors" and len(os.listdir(own)) == 2
    (tmp_path / "other.safetensors").write_text("no model")
    with pytest.raises(modelfolder.NoCard):
        modelfolder.add(str(tmp_path / "other.safetensors"), str(own), replace=True)


def test_same_card_as_the_engine_reads(real_python, tmp_path):
    """A model file of the engine's own making."""
    import subprocess

    code = (
        "import sys; from cdengine.models.card import DateInput, ModelCard; from cdengine.models.zoo import build; "
        "from cdengine.models.modelfile import save_model; date = DateInput(('red', 'nir'), (0., 0.), (1., 1.)); "
        "card = ModelCard('my model', 'binary', 'tinycd', date, date); "
        "save_model(sys.argv[1], build('tinycd', card.constructor_arguments()), card)"
    )
    path = str(tmp_path / "m.safetensors")
    subprocess.run([real_python, "-c", code, path], check=True, timeout=300)
    assert modelfolder.read_card(path)["name"] == "my model"
    (model,) = modelfolder.models(str(tmp_path))
    assert model.label == "my model" and "tinycd, binary, bands red nir" in model.about


# ---------------------------------------------------------------- in QGIS
@pytest.fixture
def models(qgis, folder):
    """The setting that names the folder."""
    from qgis.core import QgsSettings

    QgsSettings().setValue("cdengine/models", folder)
    yield folder
    QgsSettings().remove("cdengine/models")


def test_named_in_an_algorithm(qgis, fake, pair, models):
    from test_algorithms import failure, options, run

    run("detect", {"BEFORE": pair[0], "AFTER": pair[1], "MODEL": "zebra houses", "ENSEMBLE": "fields;irmad",
                   "CHANGE": "TEMPORARY_OUTPUT"})  # fmt: skip
    words = fake.detect_runs()[-1]
    assert options(words)["--model"] == os.path.join(models, "a.safetensors")
    place = words.index("--ensemble")
    assert words[place + 1 : place + 3] == [os.path.join(models, "b.safetensors"), "irmad"]
    assert "does not exist" in failure(
        "detect", {"BEFORE": pair[0], "AFTER": pair[1], "MODEL": "gone.safetensors", "CHANGE": "TEMPORARY_OUTPUT"}
    )


def test_listed_in_the_dialog(qgis, window, fake, models):
    from processing.gui.AlgorithmDialog import AlgorithmDialog
    from test_gui import algorithm

    dialog = AlgorithmDialog(algorithm("detect"), parent=window.mainWindow())
    combo = dialog.mainWidget().wrappers["MODEL"]._combo
    shown = [combo.itemText(index) for index in range(combo.count())]
    assert shown[0] == "default" and "fields" in shown and "zebra houses" in shown
    assert shown.index("fields") < shown.index("cva")
    dialog.close()


def test_box_of_the_model_to_start_from(qgis, window, fake, models):
    """Empty at first: nothing is trained further unless it is asked for; methods are no models to train."""
    from processing.gui.AlgorithmDialog import AlgorithmDialog
    from test_gui import algorithm

    dialog = AlgorithmDialog(algorithm("train"), parent=window.mainWindow())
    wrapper = dialog.mainWidget().wrappers["WEIGHTS"]
    shown = [wrapper._combo.itemText(index) for index in range(wrapper._combo.count())]
    assert "fields" in shown and not {"default", "cva"} & set(shown) and not wrapper.parameterValue()
    dialog.close()


def test_default_folder_is_in_the_profile(qgis):
    from qgis.core import QgsApplication

    from qgis_plugin import settings

    assert settings.models_folder() == os.path.join(QgsApplication.qgisSettingsDirPath(), "cdengine", "models")


def test_card_that_is_no_card(tmp_path):
    header = json.dumps({"__metadata__": {"cdengine": "[]"}}).encode()
    (tmp_path / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert modelfolder.models(str(tmp_path)) == []
