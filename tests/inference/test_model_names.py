"""What models are called where every file has one name, and that no network counts twice."""

import json
from dataclasses import replace

import pytest
import rasterio
import torch
from change_sets import write_pairs
from model_files import card_for, container, trained
from pairs import make_pair

from cdengine.cli.main import main
from cdengine.errors import UsageError
from cdengine.events import Reporter
from cdengine.inference.choose import resolve
from cdengine.inference.detect import detect
from cdengine.inference.evaluate import evaluate
from cdengine.inference.modelnames import labels
from cdengine.inference.options import DetectOptions
from cdengine.models.modelfile import save_model
from cdengine.models.shipped import shipped_path
from cdengine.raster.checksum import digest

CARD = card_for("fc-ef", tile=64, margin=8)


def card_file(path, name, weight=0.0):
    """A file that holds a card and no network; `weight` makes its bytes its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"w": torch.full((1,), weight)}
    return str(container(tensors, replace(CARD, name=name).to_dict(), path))


def network(path, name, threshold=0.5):
    card = replace(CARD, name=name, threshold=threshold)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, trained(card), card)
    return path


def test_a_file_goes_by_its_cards_name(tmp_path):
    wide, deep = (card_file(tmp_path / name / "model.safetensors", name) for name in ("wide", "deep"))
    assert labels([wide]) == ["wide"]
    assert labels([wide, "cva", deep, "rgb-vhr-v1"]) == ["wide", "cva", "deep", "rgb-vhr-v1"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (("runs/0/model.safetensors", "runs/1/model.safetensors"), ("0", "1")),
        (("one.safetensors", "two.safetensors"), ("one", "two")),
        (("runs/0/model.safetensors", "copy.safetensors"), ("0", "copy")),
        (("a/wide/model.safetensors", "b/wide/model.safetensors"), ("a/wide", "b/wide")),
        (("x.safetensors", "x/model.safetensors"), ("x.safetensors", "model.safetensors")),
    ],
)
def test_equal_names_are_told_apart_by_folder_or_file(tmp_path, monkeypatch, files, told):
    monkeypatch.chdir(tmp_path)
    names = [card_file(tmp_path / file, "net") for file in files]
    assert labels(names) == [f"net ({word})" for word in told]
    assert labels(list(files)) == labels(names), "a relative path is as good"
    other = card_file(tmp_path / "other" / "model.safetensors", "other")
    assert labels([*names, other])[-1] == "other"


def test_a_card_called_like_a_method_or_a_shipped_model(tmp_path):
    cva, own = (card_file(tmp_path / name / "model.safetensors", name) for name in ("cva", "rgb-vhr-v1"))
    assert labels(["cva", cva, "rgb-vhr-v1", own]) == ["cva", "cva (cva)", "rgb-vhr-v1", "rgb-vhr-v1 (rgb-vhr-v1)"]


def test_detect_refuses_to_count_a_network_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = card_file(tmp_path / "runs" / "one" / "model.safetensors", "net")
    card_file(tmp_path / "runs" / "two" / "model.safetensors", "net", weight=1.0)
    card_file(tmp_path / "copy.safetensors", "net")
    (tmp_path / "shipped.safetensors").write_bytes(shipped_path("rgb-vhr-v1").read_bytes())
    twins = [
        (one, one),
        (one, "runs/one/model.safetensors"),
        (one, "runs/../copy.safetensors"),
        ("cva", "cva"),
        ("rgb-vhr-v1", "shipped.safetensors"),
    ]
    for model, other in twins:
        with pytest.raises(UsageError, match="are the same network"):
            resolve(DetectOptions(model=model, ensemble=(other,)), 3, Reporter())
    with pytest.raises(UsageError, match="--ensemble: cva and cva"):
        resolve(DetectOptions(ensemble=("cva", "irmad", "cva")), 3, Reporter())
    choice = resolve(DetectOptions(model=one, ensemble=("runs/two/model.safetensors", "cva")), 3, Reporter())
    assert choice.label == "net (one) + net (two) + cva"


def test_twins_are_one_line_and_wrong_usage(tmp_path, capsys):
    before, after, _ = make_pair(tmp_path, size=(64, 64), bands=3)
    one, copy = (card_file(tmp_path / name, "net") for name in ("one.safetensors", "copy.safetensors"))
    output = tmp_path / "change.tif"
    words = ["detect", str(before), str(after), "--output", str(output), "--model", one, "--ensemble", copy]
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith(f"error: --ensemble: {one} and {copy} are the same")
    assert not output.exists()


def test_detect_tells_members_by_name(tmp_path):
    before, after, _ = make_pair(tmp_path, size=(64, 64), bands=3)
    files = [network(tmp_path / name / "model.safetensors", "net", at) for name, at in (("one", 0.4), ("two", 0.6))]
    output, page = tmp_path / "change.tif", tmp_path / "page.html"
    result = detect(before, after, output, files[0], ensemble=[str(files[1])], device="cpu", report=page)
    with rasterio.open(output) as file:
        tags = file.tags()
    assert tags["CDENGINE_MODEL"] == result.model == "net (one) + net (two)"
    assert (tags["CDENGINE_MEMBER_1"], tags["CDENGINE_MEMBER_2"]) == ("net (one)", "net (two)")
    assert tags["CDENGINE_MODEL_SHA256"] == ",".join(digest(file) for file in files)
    text = page.read_text()
    assert "net (one) + net (two)" in text and "model.safetensors" not in text


def test_evaluate_tells_which_network_it_measured(tmp_path):
    write_pairs(tmp_path / "set", boxes=((20, 30, 24, 40),))
    one, two = (
        network(tmp_path / "runs" / name / "model.safetensors", "net", at) for name, at in (("one", 0.4), ("two", 0.6))
    )
    shared = {"split": "all", "device": "cpu", "overwrite": True}
    written, page = tmp_path / "m.json", tmp_path / "m.html"

    evaluate(tmp_path / "set", model=one, output=written, report=page, **shared)
    protocol = json.loads(written.read_text())["protocol"]
    assert (protocol["model"], protocol["model_sha256"]) == ("net", digest(one))
    assert protocol["model_files"] == [str(one)]
    assert "pairs net finds" in page.read_text() and digest(one) in page.read_text()

    evaluate(tmp_path / "set", model=[one, two], ensemble=True, output=written, report=page, **shared)
    protocol = json.loads(written.read_text())["protocol"]
    assert protocol["model"] == "net (one) + net (two)"
    assert [protocol[f"member_{number}"] for number in (1, 2)] == ["net (one)", "net (two)"]
    assert [protocol[f"member_{number}_model_sha256"] for number in (1, 2)] == [digest(one), digest(two)]
    assert "pairs net (one) + net (two) finds" in page.read_text()

    result = evaluate(tmp_path / "set", model=[tmp_path / "runs", "cva"], output=written, report=page, **shared)
    found = json.loads(written.read_text())
    assert found["protocol"]["models"] == [run["name"] for run in found["runs"]] == ["net (one)", "net (two)", "cva"]
    assert found["protocol"]["models_sha256"] == [digest(one), digest(two), ""]
    assert [run.get("model_files") for run in found["runs"]] == [[str(one)], [str(two)], None]
    assert "net (two), all pixels" in page.read_text() and "net (two)" in result.summary()
