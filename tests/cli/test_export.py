"""`export`, and that `models` and `detect` take what it wrote."""

import json
import subprocess
import sys

import pytest
from model_files import card_for, trained

from cdengine.cli.main import main
from cdengine.models.modelfile import save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "m.safetensors"
    card = card_for("btc", arguments={"levels": 2, "width": 16})
    save_model(path, trained(card), card)
    return path


def test_onnx_from_the_command_line(model, tmp_path, capsys):
    output = tmp_path / "m.onnx"
    assert main(["export", str(model), "--output", str(output)]) == 0
    assert "ONNX, opset 20; probabilities within" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    assert main(["models", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["architecture"] == "btc"
    assert main(["export", str(model), "--output", str(output)]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("{model}", "--output", "m.pth"), 2, "must be .onnx or .pt2"),
        (("nowhere.safetensors", "--output", "m.onnx"), 4, "no such model file"),
        (("{model}", "--output", "nowhere/m.onnx"), 6, "does not exist"),
        (("{model}",), 2, "--output"),
    ],
)
def test_mistakes_are_told_at_once(arguments, code, says, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *(part.format(model=model) for part in arguments)]) == code
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_help_is_light():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cdengine", "export", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "torch" not in done.stderr and "onnx " not in done.stderr
