"""`evaluate` from Python: figures of models and of predictions made elsewhere, and the files that come out."""

import csv
import json
import math

import numpy as np
import pytest
import rasterio
from change_sets import BOXES, write_masks, write_pairs, write_second
from memory_pair import Hungry, Semantic
from model_files import card_for, trained
from PIL import Image

import cdengine
from cdengine.assess.binary import BinaryConfusion
from cdengine.errors import (
    Cancelled,
    DatasetError,
    InputError,
    LabelError,
    ModelTaskError,
    OutputExistsError,
    OutputIsInputError,
    UnknownModelError,
    UsageError,
)
from cdengine.events import CollectSink, Reporter
from cdengine.inference.detect import detect
from cdengine.inference.evaluate import evaluate
from cdengine.methods.table import METHODS as METHODS_TABLE
from cdengine.models.modelfile import save_model
from cdengine.raster.quiet import opened as read_quietly

CONTRACT = ("precision", "recall", "f1", "iou", "oa", "kappa", "ap")
CLASSES = ("low", "middle", "high")


def opened(path):
    if path.suffix == ".png":
        return np.asarray(Image.open(path))
    with read_quietly(path) as file:  # without a place on earth rasterio would warn
        return file.read(1)


def numbers(value):
    """All numbers of nested JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, (int, float)) else []


@pytest.fixture
def model(tmp_path):
    """A network with random weights, small tiles and a margin, so that tiles and blending show."""
    card = card_for(tile=64, margin=8, threshold=0.5)
    path = tmp_path / "model.safetensors"
    save_model(path, trained(card), card)
    return path


# ---------------------------------------------------------------- models
def test_a_method_on_pairs_with_and_without_change(tmp_path):
    truths = write_pairs(tmp_path / "set")
    result = evaluate(
        tmp_path / "set", split="all", model="cva",
        output=tmp_path / "m.json", csv=tmp_path / "m.csv", report=tmp_path / "m.html",
    )  # fmt: skip
    written = json.loads((tmp_path / "m.json").read_text())
    assert written["pooled"] == result.pooled and written["images"] == result.images
    assert set(CONTRACT) <= set(written["pooled"]) and all(set(CONTRACT) <= set(row) for row in written["images"])
    assert all(math.isfinite(number) for number in numbers(written))  # p2 has no change at all
    assert [row["name"] for row in written["images"]] == ["p0", "p1", "p2", "p3"]
    assert sum(row["tp"] + row["fn"] for row in result.images) == sum(truth.sum() for truth in truths.values())
    pooled = BinaryConfusion(*(sum(row[name] for row in result.images) for name in ("tp", "fp", "fn", "tn")))
    assert {name: result.pooled[name] for name in pooled.figures()} == pytest.approx(pooled.figures())
    assert result.pooled["f1"] > 0.5 and result.pooled["ap"] > 0.9
    assert result.mean["recall"] == pytest.approx(np.mean([row["recall"] for row in result.images]))
    changed = [row["ap"] for row in result.images if row["tp"] + row["fn"]]
    assert len(changed) == 3 and result.mean["ap"] == pytest.approx(np.mean(changed))
    with open(tmp_path / "m.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["p0", "p1", "p2", "p3", "pooled", "mean"]
    assert float(rows[4]["f1"]) == result.pooled["f1"]
    page = (tmp_path / "m.html").read_text()
    assert page.count("data:image/jpeg") == 4 and "false alarm" in page


@pytest.mark.parametrize("georeferenced", [False, True])
@pytest.mark.parametrize("name", ["irmad", "network"])
def test_saved_predictions_are_those_of_detect(tmp_path, model, name, georeferenced):
    boxes = ((20, 30, 24, 40), (50, 10, 90, 70))
    write_pairs(tmp_path / "set", boxes=boxes, georeferenced=georeferenced, labelled=False, size=(100, 130))
    chosen = str(model) if name == "network" else name
    evaluate(tmp_path / "set", split="all", model=chosen, save_predictions=tmp_path / "out")
    suffix = ".tif" if georeferenced else ".png"
    for number in range(2):
        inputs = [next((tmp_path / "set" / date).glob(f"p{number}.*")) for date in "AB"]
        detect(*inputs, tmp_path / "change.tif", chosen, overwrite=True)
        expected, found = opened(tmp_path / "change.tif"), opened(tmp_path / "out" / f"p{number}{suffix}")
        assert np.array_equal(found, expected if georeferenced else expected * 255)
    if georeferenced:
        with rasterio.open(tmp_path / "out/p0.tif") as one, rasterio.open(inputs[0]) as two:
            assert (one.crs, one.transform, one.nodata) == (two.crs, two.transform, 255)
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_saved_predictions_give_the_same_figures_again(tmp_path, model):
    write_pairs(tmp_path / "set", boxes=BOXES[:2], georeferenced=True)
    first = evaluate(tmp_path / "set", split="all", model=model, save_predictions=tmp_path / "out")
    again = evaluate(tmp_path / "set", split="all", predictions=tmp_path / "out")
    assert again.pooled == {name: first.pooled[name] for name in again.pooled}
    assert "ap" not in again.pooled and "model_sha256" in first.protocol
    assert first.protocol["threshold_source"] == "model card"


def test_tiles_without_overlap_are_images_of_their_own(tmp_path, monkeypatch):
    write_pairs(tmp_path / "set", boxes=((20, 200, 200, 150),), size=(300, 400))
    write_pairs(tmp_path / "cut", boxes=(), size=(300, 400))
    for folder in ("A", "B", "label"):
        whole = Image.open(tmp_path / "set" / folder / "p0.png")
        for top, bottom in ((0, 256), (256, 300)):
            for left, right in ((0, 256), (256, 400)):
                whole.crop((left, top, right, bottom)).save(tmp_path / "cut" / folder / f"{top}_{left}.png")
    tiled = evaluate(tmp_path / "set", split="all", model="cva", protocol="tiles256")
    cut = evaluate(tmp_path / "cut", split="all", model="cva")
    whole = evaluate(tmp_path / "set", split="all", model="cva")
    pixelwise = ("tp", "fp", "fn", "tn", "ap", "ece")
    assert [tiled.pooled[name] for name in pixelwise] == pytest.approx([cut.pooled[name] for name in pixelwise])
    assert tiled.pooled["tp"] != whole.pooled["tp"]  # statistics of a crop are not those of the image
    assert tiled.protocol["protocol"] == "tiles256" and "256 px" in tiled.protocol["tiles"]
    assert whole.protocol["protocol"] == "whole"


def test_batches_shrink_when_memory_runs_out(tmp_path, monkeypatch):
    write_pairs(tmp_path / "set", size=(150, 170))
    results = []
    for limit in (100, 3):
        monkeypatch.setitem(METHODS_TABLE, "hungry", lambda limit=limit: Hungry(limit))
        results.append(evaluate(tmp_path / "set", split="all", model="hungry", tile=64, overlap=32, batch_size=16))
    assert results[0].images == results[1].images


def test_threshold_from_validation(tmp_path):
    for split, seed in (("val", 10), ("test", 20)):
        write_pairs(tmp_path / "set" / split, seed=seed)
    plain = evaluate(tmp_path / "set", model="cva")
    tuned = evaluate(tmp_path / "set", model="cva", threshold_from="val")
    threshold = tuned.protocol["threshold"]
    assert "split val" in tuned.protocol["threshold_source"] and threshold != plain.protocol["threshold"]
    assert tuned.images == evaluate(tmp_path / "set", model="cva", threshold=threshold).images
    on_val = [
        evaluate(tmp_path / "set", split="val", model="cva", threshold=value).pooled["f1"]
        for value in (threshold, threshold - 0.05, threshold + 0.05)
    ]
    assert max(on_val) == on_val[0]
    with pytest.raises(UsageError, match="flatters"):
        evaluate(tmp_path / "set", model="cva", threshold_from="test")
    with pytest.raises(UsageError, match="has pairs of split val"):
        (tmp_path / "names.txt").write_text("val/p0\n")
        evaluate(tmp_path / "set", split="val", model="cva", threshold_from=str(tmp_path / "names.txt"))


def test_mean_and_spread_over_seeds(tmp_path):
    write_pairs(tmp_path / "set")
    models = ["cva", "irmad", "sfa"]
    result = evaluate(tmp_path / "set", split="all", model=models, output=tmp_path / "m.json", csv=tmp_path / "m.csv")
    each = [evaluate(tmp_path / "set", split="all", model=name).pooled["f1"] for name in models]
    assert result.pooled["f1"] == pytest.approx(np.mean(each))
    assert result.spread["f1"] == pytest.approx(np.std(each, ddof=1))
    written = json.loads((tmp_path / "m.json").read_text())
    assert [run["name"] for run in written["runs"]] == models
    assert [run["pooled"]["f1"] for run in written["runs"]] == pytest.approx(each)
    assert len(written["images"]) == 4 and "±" in result.summary()
    with pytest.raises(UsageError, match="one model"):
        evaluate(tmp_path / "set", split="all", model=models, save_predictions=tmp_path / "out")


def test_a_folder_of_runs(tmp_path, model):
    write_pairs(tmp_path / "set", boxes=BOXES[:1])
    for seed in (1, 2):
        (tmp_path / "runs" / f"seed{seed}").mkdir(parents=True)
        (tmp_path / "runs" / f"seed{seed}" / "model.safetensors").write_bytes(model.read_bytes())
    result = evaluate(tmp_path / "set", split="all", model=tmp_path / "runs")
    assert len(result.runs) == 2 and result.spread["f1"] == 0
    one = evaluate(tmp_path / "set", split="all", model=tmp_path / "runs" / "seed1")
    assert one.pooled["f1"] == result.pooled["f1"] and one.spread == {}
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnknownModelError, match="empty"):
        evaluate(tmp_path / "set", split="all", model=tmp_path / "empty")


# ---------------------------------------------------------------- predictions made elsewhere
@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0.25, 0.75)])
def test_predictions_in_every_coding(tmp_path, values):
    truths = write_pairs(tmp_path / "set", coding=1)
    masks = {name: np.where(np.roll(truth, 3, 1), values[1], values[0]) for name, truth in truths.items()}
    write_masks(
        tmp_path / "out", {name: mask.astype(np.float32) if values[0] else mask for name, mask in masks.items()}
    )
    result = evaluate(tmp_path / "set", split="all", predictions=tmp_path / "out")
    expected = sum(
        (BinaryConfusion.of(np.roll(truth, 3, 1), truth.astype(np.uint8)) for truth in truths.values()),
        BinaryConfusion(),
    )
    assert {name: result.pooled[name] for name in ("tp", "fp", "fn", "tn")} == vars(expected)
    assert ("ap" in result.pooled) == (values[0] == 0.25)
    assert result.protocol["protocol"] == "predictions as they are"


def test_what_has_no_prediction_is_told_and_not_scored(tmp_path):
    truths = write_pairs(tmp_path / "set")
    holes = {name: np.where(truth, 0.9, 0.1).astype(np.float32) for name, truth in truths.items()}
    holes["p0"][:10] = np.nan
    write_masks(tmp_path / "out", holes)
    sink = CollectSink()
    result = evaluate(tmp_path / "set", split="all", predictions=tmp_path / "out", reporter=Reporter(sink))
    assert result.protocol["unpredicted_px"] == 10 * 110 and result.pooled["f1"] == 1
    assert any("1,100 labelled pixels" in event.get("message", "") for event in sink.events)
    named = {event["name"]: event["value"] for event in sink.events if event["event"] == "metric"}
    assert named["f1"] == 1 and named["ap"] == 1


def test_wrong_predictions_are_refused(tmp_path):
    truths = write_pairs(tmp_path / "set")
    blank = {name: np.zeros(truth.shape, np.uint8) for name, truth in truths.items()}
    write_masks(tmp_path / "few", {"p0": blank["p0"]})
    with pytest.raises(DatasetError, match=r"no prediction for p1, p2, p3 \(3 of 4"):
        evaluate(tmp_path / "set", split="all", predictions=tmp_path / "few")
    write_masks(tmp_path / "grey", {name: mask + 100 for name, mask in blank.items()})
    with pytest.raises(LabelError, match="100"):
        evaluate(tmp_path / "set", split="all", predictions=tmp_path / "grey")
    write_masks(tmp_path / "loud", {name: np.full(mask.shape, 3.5, np.float32) for name, mask in blank.items()})
    with pytest.raises(InputError, match="no probabilities"):
        evaluate(tmp_path / "set", split="all", predictions=tmp_path / "loud")
    write_masks(tmp_path / "small", {name: mask[:50] for name, mask in blank.items()})
    with pytest.raises(InputError, match=r"p0\.png: is 110 x 90 pixels, the prediction 110 x 50"):
        evaluate(tmp_path / "set", split="all", predictions=tmp_path / "small")


# ---------------------------------------------------------------- classes
def second_codes(rng, classes=3):
    """Both dates' codes of two pairs with equal zero sets."""
    found = {}
    for name in ("a", "b"):
        change = rng.random((40, 50)) < 0.3
        found[name] = tuple((rng.integers(1, classes + 1, change.shape) * change).astype(np.uint8) for _ in range(2))
    return found


def test_semantic_predictions_perfect_and_shifted(tmp_path, rng):
    codes = second_codes(rng)
    write_second(tmp_path / "set", codes)
    for folder, shift in (("same", 0), ("shifted", 2)):
        for index in (0, 1):
            moved = {name: np.roll(dates[index], shift, 0) for name, dates in codes.items()}
            write_masks(tmp_path / folder / f"label{index + 1}", moved)
    options = {"layout": "second", "split": "all", "classes": CLASSES}
    perfect = evaluate(tmp_path / "set", predictions=tmp_path / "same", report=tmp_path / "r.html", **options)
    for name in ("f1", "miou", "sek", "fscd", "score", "semantic_kappa"):
        assert perfect.pooled[name] == pytest.approx(1)
    labelled = np.array(perfect.details["transitions"]["labelled"])
    assert (labelled == perfect.details["transitions"]["right"]).all()
    assert labelled.sum() == sum((dates[0] > 0).sum() for dates in codes.values())
    assert "What became what" in (tmp_path / "r.html").read_text()
    shifted = evaluate(tmp_path / "set", predictions=tmp_path / "shifted", output=tmp_path / "m.json", **options)
    assert 0 < shifted.pooled["score"] < 0.5 and shifted.pooled["fscd"] < 0.5
    pooled, confusion = shifted.pooled, np.array(shifted.details["confusion"])
    assert pooled["score"] == pytest.approx(0.3 * pooled["miou"] + 0.7 * pooled["sek"])
    assert confusion.sum() == 2 * 2 * 40 * 50 and (confusion[1:].sum() == 2 * labelled.sum())
    assert {"miou", "sek", "fscd", "score"} <= set(json.loads((tmp_path / "m.json").read_text())["images"][0])


def test_a_semantic_model_whose_classes_come_in_another_order(tmp_path, monkeypatch, rng):
    monkeypatch.setitem(METHODS_TABLE, "semantic", Semantic)
    write_second(tmp_path / "set", second_codes(rng))
    base = {"layout": "second", "split": "all", "model": "semantic", "threshold": 0.02}
    evaluate(tmp_path / "set", classes=CLASSES, save_predictions=tmp_path / "one", **base)
    other = evaluate(tmp_path / "set", classes=CLASSES[::-1], save_predictions=tmp_path / "two", **base)
    one, two = (opened(tmp_path / folder / "label1/a.png") for folder in ("one", "two"))
    assert one.max() > 0 and np.array_equal(one, np.array([0, 3, 2, 1])[two])
    zeros = [opened(tmp_path / "one" / folder / "a.png") == 0 for folder in ("label1", "label2")]
    assert np.array_equal(*zeros)
    again = evaluate(
        tmp_path / "set", "second", "all", predictions=tmp_path / "two", classes=CLASSES[::-1]
    )  # read back as they were written
    assert again.pooled["score"] == pytest.approx(other.pooled["score"])
    with pytest.raises(ModelTaskError, match="low, middle, high"):
        evaluate(tmp_path / "set", **base)  # SECOND's own six classes


def test_a_model_of_change_alone_is_scored_on_change_alone(tmp_path, rng):
    write_second(tmp_path / "set", second_codes(rng))
    result = evaluate(tmp_path / "set", "second", "all", "cva", classes=CLASSES)
    assert "f1" in result.pooled and "score" not in result.pooled


# ---------------------------------------------------------------- what is refused, and what must not happen
def test_an_unlabelled_split_is_labelled_but_not_measured(tmp_path):
    write_pairs(tmp_path / "set", labelled=False)
    with pytest.raises(DatasetError, match="--save-predictions"):
        evaluate(tmp_path / "set", split="all", model="cva")
    result = evaluate(
        tmp_path / "set", split="all", model="cva", save_predictions=tmp_path / "out", output=tmp_path / "m.json"
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"p{number}.png" for number in range(4)]
    assert result.pooled == {} and json.loads((tmp_path / "m.json").read_text())["images"] == []
    assert "0 labelled pairs" in result.summary()


def test_outputs_never_replace_what_is_there(tmp_path):
    write_pairs(tmp_path / "set")
    before = (tmp_path / "set/label/p0.png").read_bytes()
    with pytest.raises(OutputIsInputError):
        evaluate(tmp_path / "set", split="all", model="cva", save_predictions=tmp_path / "set/label", overwrite=True)
    (tmp_path / "m.json").write_text("mine")
    with pytest.raises(OutputExistsError):
        evaluate(tmp_path / "set", split="all", model="cva", output=tmp_path / "m.json")
    evaluate(tmp_path / "set", split="all", model="cva", save_predictions=tmp_path / "out")
    with pytest.raises(OutputExistsError, match=r"p0\.png"):
        evaluate(tmp_path / "set", split="all", model="cva", save_predictions=tmp_path / "out")
    assert (tmp_path / "m.json").read_text() == "mine" and (tmp_path / "set/label/p0.png").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "either --model or --predictions"),
        ({"model": "cva", "predictions": "x"}, "either --model or --predictions"),
        ({"predictions": "x", "threshold_from": "val"}, "--threshold-from needs --model"),
        ({"predictions": "x", "protocol": "tiles256"}, "needs --model"),
        ({"model": "cva", "protocol": "tiles512"}, "one of whole, tiles256"),
        ({"model": "cva", "protocol": "tiles256", "tile": 512}, "leave out --tile"),
        ({"model": "cva", "threshold": 0.5, "threshold_from": "val"}, "leave out --threshold"),
        ({"model": "cva", "output": "m.txt"}, "--output m.txt: must end in .json"),
        ({"model": "cva", "label_coding": "1=2"}, "label coding"),
        ({"model": "cva", "batch_sise": 2}, "did you mean 'batch_size'"),
    ],
)
def test_wrong_usage(tmp_path, options, says):
    with pytest.raises(UsageError, match=says):
        evaluate(tmp_path, **options)


def test_cancelled_in_the_middle_leaves_nothing(tmp_path):
    write_pairs(tmp_path / "set")
    reporter = Reporter(CollectSink())

    class Stop(CollectSink):
        def emit(self, event):
            if event["event"] == "progress" and event["stage"] == "evaluate":
                reporter.cancellation.cancel()

    reporter._sink = Stop()
    with pytest.raises(Cancelled):
        evaluate(tmp_path / "set", split="all", model="cva", output=tmp_path / "m.json", reporter=reporter)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_public_name():
    assert cdengine.evaluate is evaluate


# ---------------------------------------------------------------- real imagery
def test_second_figures_with_their_own_labels(shared_data):
    folder = shared_data / "semantic/second_fig"
    result = evaluate(folder, "second", "all", predictions=folder)
    assert result.pooled["score"] == result.pooled["f1"] == 1
    assert result.protocol["labelled_pairs"] == 4


def test_two_grids_by_an_index(shared_data, tmp_path):
    """OSCD: georeferenced pairs whose dates differ in size; the label lies on BEFORE's grid."""
    rows = [f"{city},{','.join(str(shared_data / 'oscd' / city / f'{n}.tif') for n in ('before', 'after', 'label'))}"
            for city in ("saclay_e", "beihai")]  # fmt: skip
    (tmp_path / "index.csv").write_text("\n".join(["name,before,after,label", *rows]) + "\n")
    result = evaluate(tmp_path, "index", "all", "irmad", save_predictions=tmp_path / "out")
    assert [row["name"] for row in result.images] == ["saclay_e", "beihai"]
    assert result.pooled["ap"] > 2 * (result.pooled["tp"] + result.pooled["fn"]) / sum(
        result.pooled[name] for name in ("tp", "fp", "fn", "tn")
    )
    with rasterio.open(tmp_path / "out/saclay_e.tif") as one:
        assert one.shape == opened(shared_data / "oscd/saclay_e/label.tif").shape
