import argparse
import json
import os
import subprocess
import sys

import pytest
from model_files import card_for, container

from cdengine.cli import models
from cdengine.errors import ModelMetadataError, NotSafetensorsError, UsageError
from cdengine.events import Reporter


def answer(*arguments):
    parser = argparse.ArgumentParser()
    models.configure(parser)
    return models.run(parser.parse_args(arguments), Reporter())


@pytest.fixture
def model(tmp_path):
    import torch

    card = card_for(bands=(4, 3), license="CC0-1.0", training={"seed": 7}, arguments={"backbone": "resnet18"})
    return container({"a": torch.zeros(1)}, card.to_dict(), tmp_path / "m.safetensors")


def test_lists_what_model_may_name():
    found = answer().answer
    assert "fc-siam-diff" in found["architectures"]
    assert set(found["methods"]) == {"cva", "irmad", "pca-kmeans", "sfa", "log-ratio"}
    assert all({"name", "task", "sha256"} <= set(entry) for entry in found["shipped"])
    assert "irmad" in answer().text


def test_architectures_of_the_answer_are_in_the_contract():
    contract = (
        "fc-ef fc-siam-conc fc-siam-diff snunet stanet bit changeformer changer tinycd lightcdnet changestar btc "
        "bisrnet senseearth clearscd gold-mit gold-resnet"
    )
    assert set(answer().answer["architectures"]) <= set(contract.split())


def test_shows_a_card(model):
    found = answer(str(model))
    assert found.answer["inputs"]["before"]["count"] == 4
    assert found.answer["schema"] == 1
    shown = {line.split("  ")[0]: line.rsplit("  ", 1)[-1] for line in found.text.splitlines()}
    assert shown["architecture"] == "fc-siam-diff backbone=resnet18"
    assert shown["training: seed"] == "7"
    assert "citation" not in shown  # empty ones are left out


def test_a_method_has_no_card():
    with pytest.raises(UsageError, match="irmad is a training-free method"):
        answer("irmad")


def test_bad_files_are_told(tmp_path):
    path = tmp_path / "m.pth"
    path.write_bytes(b"x" * 100)
    with pytest.raises(NotSafetensorsError):
        answer(str(path))
    import torch

    with pytest.raises(ModelMetadataError, match="inputs is missing"):
        answer(str(container({"a": torch.zeros(1)}, {"schema": 1}, tmp_path / "m.safetensors")))


@pytest.mark.parametrize("with_file", [False, True])
def test_command_loads_no_torch(model, with_file):
    arguments = ["models", *([str(model)] if with_file else []), "--json"]
    command = [sys.executable, "-X", "importtime", "-m", "cdengine", *arguments]
    root = os.path.dirname(os.path.dirname(os.path.dirname(models.__file__)))
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": root})
    assert isinstance(json.loads(done.stdout), dict)
    assert " torch\n" not in done.stderr
