"""Loaders that can be closed, and that tell of a killed worker in one place."""

from multiprocessing import connection

import pytest
from torch.utils.data import Dataset

from cdengine.training.loaders import _Loader


class Numbers(Dataset):
    def __len__(self):
        return 100

    def __getitem__(self, index):
        return index


def test_a_killed_reader_interrupts_nothing():
    """torch's signal handler would raise wherever the program is: within another library's clean-up, for one."""
    batches = iter(loader := _Loader(Numbers(), num_workers=1))
    assert next(batches) == 0
    (worker,) = batches._workers
    worker.kill()
    connection.wait([worker.sentinel])
    for _ in range(1000):  # the signal has come: Python code runs its handlers between any two steps
        pass
    with pytest.raises((RuntimeError, OSError, EOFError)):  # torch itself, or the queue it reads
        list(batches)
    assert loader.worker_died()
    loader.close()
