"""SFA against a slow implementation."""

import numpy as np
import pytest
from array_source import detect, scene
from scipy.linalg import eigh
from scipy.stats import chi2

from cdengine.methods.sfa import SlowFeatureAnalysis


def reference(x, y, iterations):
    """Wu 2014: eigenvalues of the last iteration and T (n,)."""
    weights = np.ones(x.shape[1])
    for _ in range(iterations):
        standard = []
        for date in (x, y):
            mean = np.average(date, axis=1, weights=weights)[:, None]
            std = np.sqrt(np.average((date - mean) ** 2, axis=1, weights=weights))[:, None]
            standard.append((date - mean) / std)
        difference = standard[0] - standard[1]
        a = (difference * weights) @ difference.T / weights.sum()
        b = sum((date * weights) @ date.T for date in standard) / (2 * weights.sum())
        eigenvalues, w = eigh(a, b)
        features = w.T @ difference
        t = (features**2 / features.var(axis=1)[:, None]).sum(axis=0)
        weights = chi2.sf(t, len(x))
    return eigenvalues, t


def test_equals_the_reference(rng):
    before, after, _ = scene(rng, dtype=np.float64)
    detector = SlowFeatureAnalysis()
    probability = detect(detector, before, after)
    facts = detector.describe()
    eigenvalues, t = reference(before.reshape(3, -1), after.reshape(3, -1), facts["iterations"])
    assert [float(value) for value in facts["eigenvalues"].split()] == pytest.approx(eigenvalues, abs=1e-4)
    statistic = np.sqrt(t).reshape(probability.shape)
    np.testing.assert_allclose(probability, statistic / (statistic + facts["statistic_threshold"]), atol=2e-4)


def test_slow_features_come_first(rng):
    # Bands 1 and 2 agree but for noise, band 3 is new at the second date.
    before, after, _ = scene(rng, dtype=np.float64, change=(0, 0, 0, 0))
    after[2] = rng.normal(size=after[2].shape)
    detector = SlowFeatureAnalysis()
    detect(detector, before, after)
    slow, _, fast = (float(value) for value in detector.describe()["eigenvalues"].split())
    assert slow < 0.1
    assert fast > 1
