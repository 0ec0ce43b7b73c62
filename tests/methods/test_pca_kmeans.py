"""PCA-k-means against Celik's algorithm spelled out, and its neighbourhoods."""

import numpy as np
import pytest
from array_source import detect, scene

from cdengine.methods.neighbourhood import box_sum, box_weight, correlate, patches
from cdengine.methods.pca_kmeans import PCAKMeans


def celik(difference, size, components):
    """Change mask: eigenvectors of non-overlapping blocks, projected neighbourhoods, nearest of two centres."""
    height, width = difference.shape
    blocks = [
        difference[row : row + size, col : col + size].ravel()
        for row in range(0, height - size + 1, size)
        for col in range(0, width - size + 1, size)
    ]
    mean = np.mean(blocks, axis=0)
    vectors = np.linalg.svd(np.array(blocks) - mean, full_matrices=False)[2][:components]
    padded = np.pad(difference, size // 2, mode="edge")
    features = np.array(
        [
            [vectors @ (padded[row : row + size, col : col + size].ravel() - mean) for col in range(width)]
            for row in range(height)
        ]
    )
    changed = difference > np.quantile(difference, 0.95)
    for _ in range(300):
        centres = features[~changed].mean(axis=0), features[changed].mean(axis=0)
        distances = [np.linalg.norm(features - centre, axis=-1) for centre in centres]
        previous, changed = changed, distances[1] < distances[0]
        if np.array_equal(previous, changed):
            return changed
    raise AssertionError("k-means did not converge")


def _standardise(date):
    return (date - date.mean(axis=(1, 2), keepdims=True)) / date.std(axis=(1, 2), keepdims=True)


@pytest.mark.parametrize("size", [3, 5])
def test_decisions_are_those_of_the_nearest_cluster(size, rng):
    # Whole blocks, so that those that tile the grid are all there is.
    before, after, _ = scene(rng, dtype=np.float64, height=60, width=75)
    detector = PCAKMeans(size)
    probability = detect(detector, before, after)
    difference = np.linalg.norm(_standardise(after) - _standardise(before), axis=0)
    expected = celik(difference, size, detector.describe()["components"])
    assert (expected != (probability >= 0.5)).mean() < 0.002
    assert 0.05 < expected.mean() < 0.4


def test_grades_grow_with_the_change(rng):
    before, after, _ = scene(rng, dtype=np.float64, change=(0, 0, 0, 0))
    for index, amount in enumerate((0, 300, 600, 1200, 2400)):
        after[:, 40:60, 10 + 20 * index : 25 + 20 * index] += amount
    probability = detect(PCAKMeans(), before, after)
    centres = [probability[45:55, 13 + 20 * index : 22 + 20 * index].mean() for index in range(5)]
    assert (np.diff(centres) > 0).all()


def test_even_neighbourhoods_have_no_centre():
    with pytest.raises(ValueError, match="odd"):
        PCAKMeans(4)


def test_neighbourhood_sums_by_hand():
    image = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    assert box_sum(image, 3).tolist() == [[12, 21, 16], [12, 21, 16]]
    assert box_sum(image, 7).tolist() == [[21] * 3] * 2
    valid = np.array([[True, True, False], [False, False, False]])
    assert box_weight(valid, 3).tolist() == [[0.5, 0.5, 1], [0.5, 0.5, 1]]
    assert box_weight(np.zeros((1, 2), bool), 3).tolist() == [[0, 0]]


def test_correlation_is_the_product_with_the_patches(rng):
    image, kernel = rng.random((6, 9)).astype(np.float32), rng.random((5, 5))
    expected = np.einsum("k,khw->hw", kernel.ravel(), patches(image, 5))
    np.testing.assert_allclose(correlate(image, kernel), expected, rtol=1e-5)
    assert patches(image, 5)[12].tolist() == image.tolist()  # the middle one is the image itself
    assert patches(image, 5)[0, 2, 2] == image[0, 0]
