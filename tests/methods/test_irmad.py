"""IR-MAD against a slow implementation of the published formulas, and what makes it IR-MAD."""

import numpy as np
import pytest
from array_source import detect, oscd, scene
from scipy.linalg import eigh
from scipy.stats import chi2

from cdengine.methods.irmad import IRMAD


def reference(x, y, iterations):
    """Nielsen 2007, step by step: x (p, n), y (q, n) with p <= q -> canonical correlations and Z (n,)."""
    p, n = len(x), x.shape[1]
    weights = np.ones(n)
    for _ in range(iterations):
        total = weights.sum()
        stacked = np.vstack([x, y])
        mean = np.array([(row * weights).sum() / total for row in stacked])
        centred = stacked - mean[:, None]
        covariance = np.empty((len(stacked), len(stacked)))
        for i, one in enumerate(centred):
            for j, other in enumerate(centred):
                covariance[i, j] = (weights * one * other).sum() / total
        s11, s12, s22 = covariance[:p, :p], covariance[:p, p:], covariance[p:, p:]
        squares, a = eigh(s12 @ np.linalg.inv(s22) @ s12.T, s11)  # a' S11 a = 1
        rho = np.sqrt(squares[::-1])
        a = a[:, ::-1]
        b = np.linalg.inv(s22) @ s12.T @ a / rho  # b' S22 b = 1
        mads = a.T @ centred[:p] - b.T @ centred[p:]
        z = (mads**2 / (2 * (1 - rho))[:, None]).sum(axis=0)
        weights = chi2.sf(z, p)
    return rho, z


def _correlations(detector):
    return [float(value) for value in detector.describe()["canonical_correlations"].split()]


@pytest.mark.parametrize(("first", "second"), [(4, 4), (2, 4), (4, 3), (1, 1)])
def test_equals_the_reference(first, second, rng):
    before, after, _ = scene(rng, bands=4, dtype=np.float64)
    before, after = before[:first], after[:second]
    detector = IRMAD()
    probability = detect(detector, before, after)
    facts = detector.describe()
    x, y = before.reshape(first, -1), after.reshape(second, -1)
    rho, z = reference(*((x, y) if first <= second else (y, x)), facts["iterations"])
    assert _correlations(detector) == pytest.approx(rho, abs=1e-4)
    statistic = np.sqrt(z).reshape(probability.shape)
    expected = statistic / (statistic + facts["statistic_threshold"])
    np.testing.assert_allclose(probability, expected, atol=2e-4)


def test_equals_the_reference_on_a_real_pair(shared_data):
    before, after, valid, _ = oscd(shared_data / "oscd" / "saclay_e")
    detector = IRMAD()
    detect(detector, before, after, valid)
    iterations = detector.describe()["iterations"]
    rho, _ = reference(before[:, valid].astype(float), after[:, valid].astype(float), iterations)
    assert _correlations(detector) == pytest.approx(rho, abs=2e-4)
    assert 5 < iterations < 50


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_linear_map_of_one_date_changes_nothing(dtype, rng):
    before, after, _ = scene(rng, dtype=np.float64)
    mixing = np.array([[1, 0.3, -2], [0, 5, 1], [0.2, 0, 0.7]])
    mixed = np.einsum("ij,jhw->ihw", mixing, after) + 300
    plain = detect(IRMAD(), before.astype(dtype), after.astype(dtype))
    np.testing.assert_allclose(plain, detect(IRMAD(), before.astype(dtype), mixed.astype(dtype)), atol=2e-3)


def test_dependent_and_constant_bands_add_nothing(rng):
    before, after, _ = scene(rng, dtype=np.float64)
    plain = detect(IRMAD(), before, after)
    constant = np.full_like(before[:1], 5)
    padded = detect(
        IRMAD(), np.concatenate([before, before[:1] + before[1:2]]), np.concatenate([after, constant, after[:1]])
    )
    np.testing.assert_allclose(plain, padded, atol=2e-3)


def test_reweighting_frees_the_statistics_from_the_change(rng):
    # A third of the scene changes; the correlations of the rest are those that the scene was made with.
    before, after, truth = scene(rng, dtype=np.float64, change=(0, 96, 0, 40))
    detector = IRMAD()
    probability = detect(detector, before, after)
    alone = IRMAD()
    detect(alone, before[:, :, 40:], after[:, :, 40:])
    assert _correlations(detector) == pytest.approx(_correlations(alone), abs=0.01)
    assert (probability[truth] >= 0.5).mean() > 0.99
    assert (probability[~truth] >= 0.5).mean() < 0.01


def test_noise_alone_has_next_to_no_change(rng):
    before, after, _ = scene(rng, change=(0, 0, 0, 0))
    assert (detect(IRMAD(), before, after) >= 0.5).mean() < 0.01
