"""`evaluate --ensemble`: several models scored as one."""

import numpy as np
import pytest
import rasterio
from change_sets import write_pairs
from model_files import card_for, trained

from cdengine.errors import UsageError
from cdengine.inference.detect import detect
from cdengine.inference.evaluate import evaluate
from cdengine.inference.evaluateoptions import EvaluateOptions
from cdengine.models.modelfile import save_model


def opened(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def test_default_counts_wherever_it_is_named():
    for named in (("default", "irmad", "cva"), ("irmad", "default", "cva")):
        told = EvaluateOptions("set", model=named, ensemble=True).detect_options(*named)
        assert (told.model, *told.ensemble) == ("irmad", "cva", "default")


def test_an_ensemble_is_scored_as_the_mean_that_detect_makes(tmp_path):
    write_pairs(tmp_path / "set", boxes=((20, 30, 24, 40),), georeferenced=True)
    model = tmp_path / "m.safetensors"
    save_model(model, trained(card_for()), card_for())
    members, data, out = [str(model), "cva"], tmp_path / "set", tmp_path / "out"
    evaluate(data, split="all", model=members, ensemble=True, save_predictions=out)
    detect(*(data / date / "p0.tif" for date in "AB"), tmp_path / "change.tif", members[0], ensemble=members[1:])
    assert np.array_equal(opened(out / "p0.tif"), opened(tmp_path / "change.tif"))
    with pytest.raises(UsageError, match="two or more"):
        evaluate(data, split="all", model="cva", ensemble=True)


def test_a_network_named_twice_is_no_ensemble(tmp_path, monkeypatch):
    write_pairs(tmp_path / "set", boxes=((20, 30, 24, 40),))
    run = tmp_path / "runs" / "x"
    run.mkdir(parents=True)
    model = run / "model.safetensors"
    save_model(model, trained(card_for()), card_for())
    (tmp_path / "copy.safetensors").write_bytes(model.read_bytes())
    monkeypatch.chdir(tmp_path)
    twice = [[run, model], ["runs/x", "./runs/x"], [run, tmp_path / "copy.safetensors"], ["cva", "cva"]]
    for models in twice:
        with pytest.raises(UsageError, match="the same network"):
            evaluate(tmp_path / "set", split="all", model=models, ensemble=True)
    with pytest.raises(UsageError, match="two or more"):
        evaluate(tmp_path / "set", split="all", model=run, ensemble=True)
    assert not evaluate(tmp_path / "set", split="all", model=["runs/x", model]).spread, "one run, whatever it is called"


def test_a_folder_of_runs_is_an_ensemble(tmp_path):
    write_pairs(tmp_path / "set", boxes=((20, 30, 24, 40),))
    for seed in (0, 1):
        (tmp_path / "runs" / str(seed)).mkdir(parents=True)
        card = card_for(threshold=0.4 + 0.2 * seed)
        save_model(tmp_path / "runs" / str(seed) / "model.safetensors", trained(card), card)
    found = evaluate(tmp_path / "set", split="all", model=tmp_path / "runs", ensemble=True)
    assert found.protocol["threshold"] == pytest.approx(0.5) and not found.spread
