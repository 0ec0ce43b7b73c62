"""CVA by hand."""

import numpy as np
import pytest
from array_source import detect

from cdengine.methods.cva import ChangeVectorAnalysis


def test_length_of_the_difference_of_standardised_bands():
    # Band 1: before 0 2 (mean 1, std 1) -> z -1 1; after 30 10 (mean 20, std 10) -> z 1 -1: differences 2, -2.
    # Band 2: before 5 7 -> z -1 1; after 1 3 -> z -1 1: no difference.
    before = np.array([[[0, 2]], [[5, 7]]], np.uint8)
    after = np.array([[[30, 10]], [[1, 3]]], np.uint8)
    detector = ChangeVectorAnalysis("otsu")
    probability = detect(detector, before, after)
    cut = detector.describe()["statistic_threshold"]
    assert probability == pytest.approx(np.full((1, 2), 2 / (2 + cut)))


def test_equals_numpy_in_double_precision(rng):
    before, after = rng.integers(0, 60_000, (2, 5, 40, 50)).astype(np.uint16)
    detector = ChangeVectorAnalysis()
    probability = detect(detector, before, after)

    def standardise(date):
        return (date - date.mean(axis=(1, 2), keepdims=True)) / date.std(axis=(1, 2), keepdims=True)

    length = np.linalg.norm(standardise(after) - standardise(before), axis=0)
    cut = detector.describe()["statistic_threshold"]
    np.testing.assert_allclose(probability, length / (length + cut), rtol=2e-6)
