from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cdengine.vector import spill as module
from cdengine.vector.spill import Spill

SCHEMA = pa.schema([pa.field("number", pa.int64()), pa.field("text", pa.string())])


def batch(numbers: np.ndarray) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(numbers), pa.array([str(n) for n in numbers])], schema=SCHEMA)


@pytest.mark.parametrize("waiting", [1, 100, 1 << 20])
def test_comes_out_sorted_by_row_then_column(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    monkeypatch.setattr(module, "_WAITING_BYTES", waiting)
    monkeypatch.setattr(module, "BATCH_ROWS", 17)
    numbers = rng.permutation(200)
    spill = Spill(tmp_path / "a.arrow", SCHEMA)
    for part in np.array_split(numbers, 13):
        spill.write(batch(part), np.column_stack([part // 10, part % 10]))
    batches = list(spill.sorted_batches())
    spill.discard()
    assert np.concatenate([part["number"].to_numpy() for part in batches]).tolist() == list(range(200))
    assert [text for part in batches for text in part["text"].to_pylist()] == [str(n) for n in range(200)]
    assert max(part.num_rows for part in batches) == 17
    assert list(tmp_path.iterdir()) == []


def test_nothing_written_nothing_back(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "a.arrow", SCHEMA)
    assert list(spill.sorted_batches()) == []
    spill.discard()
    assert list(tmp_path.iterdir()) == []
