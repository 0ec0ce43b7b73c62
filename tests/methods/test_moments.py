"""Streaming moments against numpy on everything at once."""

import numpy as np
import pytest

from cdengine.methods.moments import Moments, plausible


def test_equals_numpy_and_does_not_depend_on_strips(rng):
    values = rng.normal(size=(3, 50, 41)) * [[[1]], [[30]], [[0.01]]] + [[[5]], [[1e6]], [[0]]]
    usable = rng.random((50, 41)) < 0.7
    usable[7] = False
    results = []
    for strip in (1, 7, 50):
        moments = Moments(3)
        for top in range(0, 50, strip):
            moments.add(values[:, top : top + strip], usable[top : top + strip])
        results.append(moments)
    assert results[0].count == usable.sum()
    np.testing.assert_allclose(results[0].mean, values[:, usable].mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(results[0].covariance(), np.cov(values[:, usable], bias=True), rtol=1e-9)
    for other in results[1:]:
        assert np.array_equal(other.mean, results[0].mean)
        assert np.array_equal(other.covariance(), results[0].covariance())


def test_variance_survives_a_large_offset(rng):
    values = 1e9 + rng.normal(size=(1, 40, 100))
    moments = Moments(1, covariance=False)
    moments.add(values, np.ones((40, 100), bool))
    assert moments.std()[0] == pytest.approx((values - 1e9).std(), rel=1e-6)


def test_std_is_the_same_with_and_without_covariance(rng):
    values = rng.integers(0, 4000, (2, 20, 30)).astype(np.uint16)
    one, two = Moments(2), Moments(2, covariance=False)
    for moments in (one, two):
        moments.add(values, np.ones((20, 30), bool))
    np.testing.assert_allclose(one.std(), two.std(), rtol=1e-12)


def test_what_is_not_usable_may_be_anything():
    values = np.array([[[1.0, np.nan, 3.0], [np.inf, -np.inf, 1e38]]], np.float32)
    moments = Moments(1)
    moments.add(values, np.array([[True, False, True], [False, False, False]]))
    assert (moments.count, moments.mean[0], moments.std()[0]) == (2, 2.0, 1.0)


def test_undeclared_fill_values_are_not_plausible():
    valid = np.array([[True, True, True, False]])
    before = np.array([[[1, 1e38, -3.4e38, 1]]], np.float32)
    after = np.array([[[1, 1, 1, 1]]], np.uint8)
    assert plausible(valid, before, after).tolist() == [[True, False, False, False]]
