"""`evaluate --ensemble`: several models scored as one."""

import numpy as np
import pytest
import rasterio
from change_sets import write_pairs
from model_files import card_for, trained

from cdengine.errors import UsageError
from cdengine.inference.detect import detect
from cdengine.inference.evaluate import evaluate
from cdengine.models.modelfile import save_model


def opened(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


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
