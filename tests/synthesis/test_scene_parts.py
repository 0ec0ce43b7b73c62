"""Parts of the renderer against values worked out by hand."""

import math

import numpy as np
import pytest

from cdengine.synthesis.scenes import noise
from cdengine.synthesis.scenes.geometry import Plot, along, rectangle
from cdengine.synthesis.scenes.light import horizon, towards_sun
from cdengine.synthesis.scenes.sensor import sample
from cdengine.synthesis.scenes.style import TYPICAL, DateStyle


def date(**of):
    from dataclasses import replace

    return replace(DateStyle.sample(np.random.default_rng(1)), **of)


@pytest.mark.parametrize(
    ("azimuth", "rows"), [(180.0, slice(90, 100)), (0.0, slice(101, 111))], ids=["sun in the south", "in the north"]
)
def test_a_tower_of_10_m_casts_10_m_at_45_degrees(azimuth, rows):
    height = np.zeros((200, 200), np.float32)
    height[100, 100] = 10
    sun = towards_sun(date(sun_azimuth=azimuth, sun_elevation=45.0))
    shaded = horizon(height, sun, 1.0) > height + 0.5
    expected = np.zeros_like(shaded)
    expected[rows, 100] = True
    # The tip, where less than half a metre is left, may fall either way.
    assert abs(int(shaded.sum()) - 10) <= 1
    assert not (shaded & ~expected).any()


def test_sun_vector():
    east = towards_sun(date(sun_azimuth=90.0, sun_elevation=30.0))
    np.testing.assert_allclose(east, (math.cos(math.radians(30)), 0, 0.5), atol=1e-12)


def test_cutting_keeps_area_and_marks_the_road():
    plot = Plot(((0, 0), (10, 0), (10, 6), (0, 6)), (1, 2, 3, 4))
    left, right = plot.cut(0.0, 4.0, width=7.0)
    assert left.area == pytest.approx(24)
    assert right.area == pytest.approx(36)
    assert 7.0 in left.sides and 7.0 in right.sides
    assert plot.cut(0.0, 20.0)[1] is None


def test_inset_takes_margin_and_half_the_road():
    plot = Plot(((0, 0), (20, 0), (20, 20), (0, 20)), (4, 0, 0, 0))
    inner = plot.inset(1.0)
    xs, ys = zip(*inner.corners, strict=True)
    assert (min(xs), max(xs)) == pytest.approx((1, 19))
    assert (min(ys), max(ys)) == pytest.approx((3, 19))
    assert plot.inset(11.0) is None


def test_contains_and_rectangle():
    plot = Plot(tuple(rectangle((5, 5), math.pi / 4, 4, 2)), (0,) * 4)
    assert plot.area == pytest.approx(8)
    assert plot.contains((5, 5)) and not plot.contains((5, 7))


def test_points_along_a_line():
    spots = along([(0, 0), (10, 0), (10, 5)], 4.0, offset=1.0)
    np.testing.assert_allclose([spot for spot, _ in spots], [(2, 1), (6, 1), (9, 0), (9, 4)], atol=1e-9)


def test_sampling_keeps_constants_and_means():
    flat = np.full((1, 60, 60), 0.3, np.float32)
    np.testing.assert_allclose(sample(flat, 2, 0.5, (12.5, 12.7), (15, 15)), 0.3, rtol=1e-6)
    rng = np.random.default_rng(0)
    fine = rng.random((1, 80, 80), np.float32)
    one = sample(fine, 2, 0.4, (12.5, 12.5), (20, 20))
    shifted = sample(fine, 2, 0.4, (14.5, 12.5), (20, 20))
    np.testing.assert_allclose(one[:, 1:], shifted[:, :-1], rtol=1e-5)


def test_noise_wraps_around():
    here = noise.cut("middle", 1000, 1010, 60, 40)
    there = noise.cut("middle", 1000 - noise.SIZE, 1010 + noise.SIZE, 60, 40)
    np.testing.assert_array_equal(here, there)
    for texture in noise.bank().values():
        assert abs(float(texture.mean())) < 0.01
        assert float(texture.std()) == pytest.approx(1, abs=1e-3)


def test_scaled_rates_stay_chances():
    assert all(0 <= rate <= 0.9 for rate in vars(TYPICAL.scaled(50)).values())
    assert TYPICAL.scaled(0).built == 0
