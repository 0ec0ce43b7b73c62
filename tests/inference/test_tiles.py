"""Tiles cover every pixel, never fade at the window's border, and never start off the phase."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdengine.errors import UsageError
from cdengine.inference.tiles import PHASE, Axis, Tiling

axes = st.builds(
    Axis,
    length=st.integers(1, 3000),
    tile=st.sampled_from([64, 128, 256, 512]),
    overlap=st.sampled_from([0, 1, 16, 32, 48]),
    margin=st.sampled_from([0, 3, 8, 16]),
)


def test_example_of_the_docstring():
    axis = Axis(1000, 512, 64)
    assert axis.size == 512
    assert axis.starts == (0, 256, 512)


def test_large_axis_keeps_the_overlap_small():
    axis = Axis(48_000, 512, 64)
    gaps = np.diff(axis.starts)
    assert gaps.max() <= 448 and gaps.min() >= 416
    assert len(axis.starts) == 107


@given(axes)
def test_every_pixel_has_a_trusted_tile(axis):
    assert all(start % PHASE == 0 for start in axis.starts)
    assert list(axis.starts) == sorted(set(axis.starts))
    total = np.zeros(axis.starts[-1] + axis.size)
    for index, start in enumerate(axis.starts):
        total[start : start + axis.size] += axis.weights(index)
        assert axis.stop(index) <= axis.length
    assert (total[: axis.length] > 0).all()
    assert axis.final(len(axis.starts) - 1) == axis.length


@given(axes)
def test_weights_do_not_fade_at_the_border_and_respect_the_margin(axis):
    first, last = axis.weights(0), axis.weights(len(axis.starts) - 1)
    assert first[0] == 1 and last[-1] == 1
    for index in range(1, len(axis.starts)):
        weight = axis.weights(index)
        assert (weight[: axis.margin] == 0).all()
        assert (weight[axis.margin : axis.size - axis.margin] > 0).all()


@given(axes, st.integers(0, 60))
def test_resume_starts_where_carried_rows_begin(axis, index):
    index = min(index, len(axis.starts) - 1)
    first = axis.first_needed(index)
    assert first <= index
    assert all(axis.starts[i] + axis.size <= axis.starts[index] for i in range(first))


def test_tiles_too_small_for_the_margin_are_refused_not_joined_badly():
    assert Tiling.of(500, 500, 64, 8, 4).rows.starts[1] == 32
    with pytest.raises(UsageError, match="--tile 32: 64 or more"):
        Tiling.of(500, 500, 32, 8, 4)
    assert Tiling.of(20, 30, 32, 8, 4).rows.starts == (0,)  # one tile has no neighbours
    with pytest.raises(UsageError, match="--overlap 96"):
        Tiling.of(500, 500, 96, 96, 0)
