"""Accuracy on real imagery, so that a change of a method that costs accuracy is seen."""

import numpy as np
import pytest
import rasterio
from array_source import detect, oscd
from scipy.stats import rankdata

from cdengine.methods.table import METHODS

CITIES = ("aguasclaras", "abudhabi", "beihai", "bercy", "bordeaux", "nantes", "saclay_e")
# Independent implementations give 0.793 for CVA and 0.789 for IR-MAD.
LEAST = {"cva": 0.79, "irmad": 0.785, "pca-kmeans": 0.865, "sfa": 0.785}


def auc(probability, truth):
    ranks, changed = rankdata(probability), truth.sum()
    return (ranks[truth].sum() - changed * (changed + 1) / 2) / (changed * (truth.size - changed))


@pytest.fixture(scope="module")
def cities(shared_data):
    return [oscd(shared_data / "oscd" / city) for city in CITIES]


@pytest.mark.parametrize("name", LEAST)
def test_oscd(name, cities):
    areas, shares = [], []
    for before, after, valid, truth in cities:
        probability = detect(METHODS[name](), before, after, valid)
        areas.append(auc(probability[valid], truth[valid]))
        shares.append((probability[valid] >= 0.5).mean())
        assert len(np.unique(probability[valid])) > 0.5 * valid.sum()  # does not saturate
    assert np.mean(areas) >= LEAST[name]
    assert min(shares) > 0.01
    assert max(shares) < 0.35


@pytest.mark.parametrize(("name", "least", "f1"), [("cva", 0.98, 0.9), ("irmad", 0.99, 0.92), ("sfa", 0.98, 0.8)])
def test_landsat(name, least, f1, shared_data):
    folder = shared_data / "landsat_taizhou"
    before, after, label = (rasterio.open(folder / f"{which}.tif").read() for which in ("before", "after", "label"))
    scored = label[0] > 0
    truth = label[0][scored] == 2
    probability = detect(METHODS[name](), before, after)[scored]
    found = probability >= 0.5
    assert auc(probability, truth) > least
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > f1


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("pair", ["yellowriver_A", "yellowriver_C"])
def test_radar(pair, shared_data):
    folder = shared_data / "sar_sar" / pair
    before, after, label = (rasterio.open(folder / f"{which}.png").read(1) for which in ("t1_sar", "t2_sar", "gt"))
    truth = label > 127
    areas = {}
    for name in ("log-ratio", "cva"):
        probability = detect(METHODS[name](), before[None], after[None])
        areas[name] = auc(probability.ravel(), truth.ravel())
        found = probability >= 0.5
        if name == "log-ratio":
            assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.6
    assert areas["log-ratio"] > 0.9
    assert areas["log-ratio"] > areas["cva"] + 0.15
