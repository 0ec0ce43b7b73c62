"""Features wait on disk until all are known, then come out in one fixed order.

A long object is finished after short ones that begin below its first row, and when depends on the strips. Sorting by
the first pixel makes files equal whatever the strips, and lets formats that cannot append be written in one go.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

Array = np.ndarray[Any, np.dtype[Any]]

BATCH_ROWS = 1 << 13  # features handed out at a time
_WAITING_BYTES = 4 << 20  # gathered before they go to disk; also what is read back at a time


class Spill:
    """An Arrow file of features with 24 bytes of memory for each.

    Args:
        path: of the file; `discard` removes it.
        schema: of the batches.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._sink = pa.OSFile(str(path), "wb")
        self._writer: Any = pa.ipc.new_file(self._sink, schema)
        self._waiting: list[pa.RecordBatch] = []
        self._keys: list[Array] = []
        self._sizes: list[int] = []
        self.rows = 0

    def write(self, batch: pa.RecordBatch, first: Array) -> None:
        """Adds features; `first` (n, 2) int64 is what they will be sorted by."""
        self._keys.append(first)
        self._waiting.append(batch)
        self.rows += batch.num_rows
        if sum(waiting.nbytes for waiting in self._waiting) >= _WAITING_BYTES:
            self._flush()

    def sorted_batches(self) -> Iterator[pa.RecordBatch]:
        """All features in order, at most BATCH_ROWS at a time; ends the writing."""
        self._flush()
        self._end()
        if not self.rows:
            return
        keys = np.concatenate(self._keys)
        order = np.lexsort((keys[:, 1], keys[:, 0]))
        starts = np.cumsum([0, *self._sizes])
        with pa.OSFile(str(self._path)) as source:  # not mapped: its pages would count as the process's memory
            reader = pa.ipc.open_file(source)
            for at in range(0, self.rows, BATCH_ROWS):
                yield self._take(reader, starts, order[at : at + BATCH_ROWS])

    def discard(self) -> None:
        """Closes and removes the file."""
        with suppress(OSError):  # a full disk, of which the error that led here speaks
            self._end()
        self._path.unlink(missing_ok=True)

    def _take(self, reader: Any, starts: Array, wanted: Array) -> pa.RecordBatch:  # noqa: ANN401 (untyped)
        """Features by number. Neighbours in the order lie in few batches, so few are touched."""
        batch = np.searchsorted(starts, wanted, side="right") - 1
        grouped = np.argsort(batch, kind="stable")
        parts = [
            reader.get_batch(int(number)).take(pa.array(wanted[grouped][batch[grouped] == number] - starts[number]))
            for number in np.unique(batch)
        ]
        place = np.empty_like(grouped)
        place[grouped] = np.arange(len(grouped))
        table = pa.Table.from_batches(parts, self._schema).combine_chunks().take(pa.array(place))
        return table.combine_chunks().to_batches()[0]

    def _flush(self) -> None:
        if self._waiting:
            batch = pa.Table.from_batches(self._waiting, self._schema).combine_chunks().to_batches()[0]
            self._writer.write_batch(batch)
            self._sizes.append(batch.num_rows)
            self._waiting = []

    def _end(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            finally:
                self._sink.close()
