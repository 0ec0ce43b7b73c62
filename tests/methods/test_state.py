"""What a method found survives being written down and read back, bit for bit."""

import numpy as np
import pytest
from memory_pair import MemoryPair

from cdengine.events import CollectSink, Reporter
from cdengine.methods.table import METHODS


@pytest.mark.parametrize("name", METHODS)
def test_state_round_trip(name, rng, tmp_path):
    before = rng.integers(1, 255, (3, 60, 70), dtype=np.uint8)
    after = np.where(rng.random((60, 70)) < 0.1, 255 - before, before)
    pair = MemoryPair(before, after)
    fitted, fresh = METHODS[name](), METHODS[name]()
    fitted.prepare(pair, Reporter(CollectSink()))
    np.savez(tmp_path / "state.npz", **fitted.state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        fresh.restore(dict(state))
    batch = before[None], after[None], np.ones((1, 60, 70), bool)
    assert np.array_equal(fitted.predict(*batch), fresh.predict(*batch))
    assert fitted.describe() == fresh.describe()
