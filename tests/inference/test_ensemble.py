import subprocess
import sys

import numpy as np
import pytest

from cdengine.errors import ModelTaskError
from cdengine.events import Reporter
from cdengine.inference.ensemble import Ensemble


class Constant:
    def __init__(self, value, name="constant", classes=(), margin=0, **extra):
        self.value, self.name, self.classes, self.margin, self.threshold = value, name, classes, margin, value
        self.prepared = []
        vars(self).update(extra)

    def prepare(self, source, reporter):
        self.prepared.append(source)
        self.threshold = self.value / 2
        vars(self).update(getattr(self, "later", {}))

    def predict(self, before, after, valid):
        return np.full((len(before), 1 + 2 * len(self.classes), *valid.shape[1:]), self.value, np.float32)

    def describe(self):
        return {"value": self.value}


TILES = (np.zeros((2, 3, 4, 5)), np.zeros((2, 3, 4, 5)), np.ones((2, 4, 5), bool))


def test_mean_of_probabilities_and_thresholds():
    members = [
        Constant(0.25, margin=3, tile=256),
        Constant(0.5, margin=9),
        Constant(0.75, tile=512, batch=4, concurrency=1),
    ]
    ensemble = Ensemble(members)
    ensemble.prepare("a source", Reporter())
    assert [member.prepared for member in members] == [["a source"]] * 3
    result = ensemble.predict(*TILES)
    assert result.dtype == np.float32
    assert np.array_equal(result, np.full((2, 1, 4, 5), 0.5))
    assert (ensemble.threshold, ensemble.margin, ensemble.tile) == (0.25, 9, 512)
    assert (ensemble.batch, ensemble.concurrency) == (4, 1)
    assert ensemble.name == "constant+constant+constant"


def test_says_nothing_where_members_say_nothing():
    ensemble = Ensemble([Constant(0.1)])
    assert not hasattr(ensemble, "tile")  # the runner's default holds
    assert not hasattr(ensemble, "batch")
    assert not hasattr(ensemble, "concurrency")


def test_describes_every_member():
    facts = Ensemble([Constant(0.25, "one"), Constant(0.5, "two")]).describe()
    expected = {"members": 2.0, "member_1": "one", "member_2": "two", "member_1_value": 0.25, "member_2_value": 0.5}
    assert facts == expected


def test_members_must_tell_the_same_classes():
    with pytest.raises(ModelTaskError, match=r"one tells change only, two tells wood, water"):
        Ensemble([Constant(0.1, "one"), Constant(0.1, "two", ("wood", "water"))])
    with pytest.raises(ModelTaskError):  # same names, other order: the channels would be mixed
        Ensemble([Constant(0.1, "one", ("water", "wood")), Constant(0.1, "two", ("wood", "water"))])


def test_identical_members_give_what_one_gives(rng):
    class Noise(Constant):
        def predict(self, before, after, valid):
            return np.random.default_rng(3).random((2, 1, 4, 5), np.float32)

    assert np.array_equal(Ensemble([Noise(0.1)] * 3).predict(*TILES), Noise(0.1).predict(*TILES))


def test_ensembles_and_augmentation_need_no_torch():
    code = "import sys, cdengine.inference.ensemble, cdengine.inference.augment; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
