"""Automatic thresholds against hand-computed cases and direct evaluation of the formulas."""

import numpy as np
import pytest

from cdengine.errors import UsageError
from cdengine.methods.threshold import automatic, kittler_illingworth, otsu

EDGES4 = np.arange(5.0)


def test_otsu_by_hand():
    # centres .5 1.5 2.5 3.5, shares .4 .4 .1 .1; between-class variances of the three borders:
    # .4*.6*(2-.5)^2 = .54, .8*.2*(3-1)^2 = .64, .9*.1*(3.5-1.1667)^2 = .49
    assert otsu(np.array([4, 4, 1, 1]), EDGES4) == 2.0


def test_otsu_takes_the_middle_of_an_empty_gap():
    assert otsu(np.array([3, 0, 0, 3]), EDGES4) == 2.0
    assert otsu(np.array([0, 3, 0, 0, 0, 5, 0]), np.arange(8.0)) == 3.5


@pytest.mark.parametrize("counts", [[0, 0, 0, 0], [0, 7, 0, 0]])
@pytest.mark.parametrize("method", [otsu, kittler_illingworth])
def test_one_class_has_no_threshold(method, counts):
    assert method(np.array(counts), EDGES4) == np.inf


def test_kittler_illingworth_minimises_the_published_criterion(rng):
    values = np.concatenate([rng.normal(3, 0.7, 4000), rng.normal(8, 1.5, 1000)])
    counts, edges = np.histogram(values, 40, (0, 14))
    centres = (edges[1:] + edges[:-1]) / 2
    width = edges[1] - edges[0]
    criterion = []
    for k in range(1, 40):
        j = 1.0
        for part in (slice(0, k), slice(k, None)):
            share = counts[part].sum() / counts.sum()
            if share == 0:
                criterion.append(np.inf)
                break
            mean = np.average(centres[part], weights=counts[part])
            variance = np.average((centres[part] - mean) ** 2, weights=counts[part]) + width**2 / 12
            j += 2 * share * np.log(np.sqrt(variance)) - 2 * share * np.log(share)
        else:
            criterion.append(j)
    assert kittler_illingworth(counts, edges) == pytest.approx(edges[1 + np.argmin(criterion)])


def test_kittler_illingworth_finds_the_error_minimum_of_two_normals(rng):
    # Unequal shares and spreads: the densities 0.9 N(2, 0.5) and 0.1 N(6, 1) cross at 3.67.
    values = np.abs(np.concatenate([rng.normal(2, 0.5, 90_000), rng.normal(6, 1, 10_000)]))
    assert automatic(values, "kittler-illingworth") == pytest.approx(3.67, abs=0.1)


@pytest.mark.parametrize("degrees", [2, 4, 6, 13])
def test_noise_alone_gives_next_to_no_change(rng, degrees):
    statistic = np.sqrt(np.square(rng.normal(size=(degrees, 100_000))).sum(axis=0))
    assert (statistic >= automatic(statistic, "kittler-illingworth")).mean() < 0.002


@pytest.mark.parametrize("method", ["otsu", "kittler-illingworth"])
class TestAutomatic:
    @pytest.mark.parametrize("value", [0.0, 1e-30, 0.3, 5.0, 1e6])
    def test_all_equal_means_no_change(self, method, value):
        assert automatic(np.full(1000, value, np.float32), method) > value

    def test_nothing_sampled(self, method):
        assert automatic(np.zeros(0, np.float32), method) > 0

    def test_rare_change_in_identical_images(self, method):
        statistic = np.zeros(100_000, np.float32)
        statistic[:30] = 4
        assert 0 < automatic(statistic, method) <= 4

    def test_a_wild_value_does_not_hide_the_classes(self, method, rng):
        statistic = np.concatenate([rng.normal(1, 0.2, 9000), rng.normal(5, 0.5, 1000)]).clip(0)
        calm = automatic(statistic, method)
        assert automatic(np.append(statistic, [1e6]), method) == pytest.approx(calm, abs=0.3)
        assert 1.5 < calm < 4

    def test_order_does_not_matter(self, method, rng):
        statistic = rng.gamma(2, size=5000)
        assert automatic(statistic, method) == automatic(rng.permutation(statistic), method)

    def test_tiny_samples(self, method):
        for values in ([3.0], [0.0, 1.0], [0.0, 0.0, 2.0]):
            assert 0 < automatic(np.array(values), method) < np.inf


@pytest.mark.parametrize("method", [otsu, kittler_illingworth])
def test_two_spikes_are_split_in_the_middle(method):
    assert method(np.array([90, 0, 0, 0, 10]), np.arange(6.0)) == 2.5


def test_unknown_method_is_named():
    with pytest.raises(UsageError, match="'rosin' is unknown: use one of kittler-illingworth, otsu"):
        automatic(np.ones(3), "rosin")
