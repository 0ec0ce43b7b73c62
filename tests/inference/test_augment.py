import numpy as np
import pytest

from cdengine.events import Reporter
from cdengine.inference.augment import VIEWS, Augmented


class Lopsided:
    """Answers with what lies to the left of each pixel: as far from symmetric as can be."""

    name, classes, margin, threshold = "lopsided", ("a",), 3, 0.5
    tile, batch, concurrency = 96, 2, 1

    def prepare(self, source, reporter):
        self.threshold, self.batch = 0.25, 8
        self.source = source

    def predict(self, before, after, valid):
        shifted = np.roll(after[:, :1].astype(np.float32), 1, axis=-1) - before[:, :1]
        rows = np.linspace(0, 1, shifted.shape[-2], dtype=np.float32)[:, None]
        values = np.where(valid[:, None], shifted * rows, 0)
        return np.concatenate([values, values + 1, values + 2], 1)

    def describe(self):
        return {"seen": 1.0}


@pytest.fixture
def tiles(rng):
    before, after = rng.random((2, 3, 12, 20), np.float32), rng.random((2, 2, 12, 20), np.float32)
    return before, after, rng.random((2, 12, 20)) > 0.2


@pytest.mark.parametrize(("mode", "count"), [("flip", 4), ("six", 6), ("d4", 8)])
def test_views_are_distinct_and_undone_exactly(mode, count):
    array = np.arange(15).reshape(1, 3, 5)
    views = VIEWS[mode]
    assert len({(view.apply(array).shape, view.apply(array).tobytes()) for view in views}) == len(views) == count
    assert all(np.array_equal(view.undo(view.apply(array)), array) for view in views)


def symmetries(array):
    """All eight, by NumPy's own turns: an independent list."""
    for turns in range(4):
        turned = np.rot90(array, turns, axes=(-2, -1))
        yield turned
        yield turned[..., ::-1]


def test_six_are_both_mirrors_and_the_turns(tiles):
    """SenseEarth2020's list, turned by NumPy and turned back: their mean, and no other view's."""
    ways = [
        (lambda array: array, lambda array: array),
        (lambda array: array[..., ::-1, :], lambda array: array[..., ::-1, :]),
        (lambda array: array[..., ::-1], lambda array: array[..., ::-1]),
        *(
            (
                lambda array, turns=turns: np.rot90(array, turns, axes=(-2, -1)),
                lambda array, turns=turns: np.rot90(array, -turns, axes=(-2, -1)),
            )
            for turns in (1, 2, 3)
        ),
    ]
    seen = [back(Lopsided().predict(*map(there, tiles))) for there, back in ways]
    result = Augmented(Lopsided(), "six").predict(*tiles)
    np.testing.assert_allclose(result, np.mean(seen, axis=0), atol=1e-6)
    assert all(np.abs(seen[i] - seen[j]).max() > 0.1 for i in range(6) for j in range(i))
    assert not np.allclose(result, Augmented(Lopsided(), "d4").predict(*tiles))


def test_six_turns_with_the_tile_by_half_and_no_further(tiles):
    """The six are no group: a half turn leaves the list as it is, a mirror or a quarter turn does not."""
    detector = Augmented(Lopsided(), "six")
    result = detector.predict(*tiles)
    half = [array[..., ::-1, ::-1] for array in tiles]
    np.testing.assert_allclose(detector.predict(*half), result[..., ::-1, ::-1], atol=1e-6)
    mirrored = detector.predict(*(array[..., ::-1] for array in tiles))
    assert np.abs(mirrored - result[..., ::-1]).max() > 0.01


@pytest.mark.parametrize("mode", list(VIEWS))
def test_what_has_no_north_stays_as_it_is(mode, tiles):
    class PointOperator(Lopsided):
        def predict(self, before, after, valid):
            return (after[:, :1] - before[:, :1]).astype(np.float32)

    result = Augmented(PointOperator(), mode).predict(*tiles)
    assert np.array_equal(result, PointOperator().predict(*tiles))


def test_d4_result_turns_with_the_tile(tiles):
    """The mean over the group is the same wherever north is."""
    detector = Augmented(Lopsided(), "d4")
    expected = symmetries(detector.predict(*tiles))
    inputs = zip(*(symmetries(array) for array in tiles), strict=True)
    for turned, wanted in zip(inputs, expected, strict=True):
        np.testing.assert_allclose(detector.predict(*turned), wanted, atol=1e-6)
    assert not np.allclose(
        Lopsided().predict(*(array[..., ::-1] for array in tiles)), Lopsided().predict(*tiles)[..., ::-1]
    )


def test_flip_is_the_mean_of_four(tiles):
    def flipped(rows, cols):
        views = (array[..., ::rows, ::cols] for array in tiles)
        return Lopsided().predict(*views)[..., ::rows, ::cols]

    expected = np.mean([flipped(rows, cols) for rows in (1, -1) for cols in (1, -1)], axis=0)
    result = Augmented(Lopsided(), "flip").predict(*tiles)
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous


def test_the_rest_is_the_detectors(tiles):
    inner = Lopsided()
    detector = Augmented(inner, "d4")
    detector.prepare("a source", Reporter())
    assert inner.source == "a source"
    assert (detector.name, detector.classes, detector.margin, detector.threshold) == ("lopsided", ("a",), 3, 0.25)
    assert (detector.tile, detector.batch, detector.concurrency) == (96, 8, 1)
    assert detector.describe() == {"seen": 1.0, "tta": "d4"}


def test_inputs_stay_as_they_are(tiles):
    kept = [array.copy() for array in tiles]
    Augmented(Lopsided(), "d4").predict(*tiles)
    assert all(np.array_equal(*pair) for pair in zip(tiles, kept, strict=True))
