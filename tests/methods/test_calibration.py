"""The probability keeps the order of the statistic."""

import numpy as np
import pytest

from cdengine.methods.calibration import probability, statistic_at


@pytest.mark.parametrize("cut", [1e-20, 0.1, 3.3333333, 7e5])
def test_half_at_the_threshold_and_strictly_increasing(cut):
    cut = np.float32(cut)
    steps = np.geomspace(1e-3, 1e3, 5000).astype(np.float32) * cut
    values = probability(steps, float(cut))
    assert values.dtype == np.float32
    assert (np.diff(values) > 0).all()
    assert probability(np.array([0, cut], np.float32), float(cut)).tolist() == [0, 0.5]
    below, above = np.nextafter(cut, np.float32(0)), np.nextafter(cut, np.float32(np.inf))
    assert probability(np.array([below]), float(cut)) <= 0.5 <= probability(np.array([above]), float(cut))


def test_inverse():
    assert statistic_at(0.5, 3.0) == 3.0
    values = np.array([0.1, 3, 40], np.float32)
    back = [statistic_at(float(p), 3.0) for p in probability(values, 3.0)]
    assert back == pytest.approx(values, rel=1e-5)
