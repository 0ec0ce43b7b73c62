"""Batches for one epoch, or for what is left of one: the same samples whatever the workers, processes and stops."""

from __future__ import annotations

import math
import signal
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import connection
from typing import Any

import lightning.pytorch as pl
from torch._C import _remove_worker_pids
from torch.utils.data import DataLoader, Dataset

from cdengine.data.pairs import Sample, collate
from cdengine.data.sampling import PairSampler
from cdengine.errors import CDEngineError
from cdengine.training.config import TrainConfig
from cdengine.training.datasets import TrainingData

DYING_S = 1.0  # a killed process closes its ends of the queues first, and is gone a little later


class Batches(pl.LightningDataModule):
    """Training batches by epoch and validation pairs, for one process of several.

    Lightning asks for a new training loader at every epoch. So an interrupted one is continued by a shorter loader,
    and no loop of Lightning has to be restored.

    Attributes:
        epoch: of ours, that the next loader is for.
        start: batches of it that were trained already.
        colours: of the data set's classes, for pictures.
    """

    def __init__(self, data: TrainingData, config: TrainConfig, world: int, rank: int, pin: bool) -> None:
        super().__init__()
        self._data, self._config, self._world, self._rank, self._pin = data, config, world, rank, pin
        size = config.data.batch_size
        self.per_epoch = config.trainer.epoch_batches or math.ceil(data.windows / (size * world))
        self.validation_batches = len(range(rank, len(data.validation), world))  # type: ignore[arg-type]
        self.epoch, self.start = 0, 0
        self.colours = data.colours
        self._open: dict[str, _Loader] = {}  # the newest of each kind
        self._sampler = PairSampler(
            len(data.train),  # type: ignore[arg-type]
            weights=data.weights,
            draws=self.per_epoch * size * world,
            seed=config.seed,
            rank=rank,
            world=world,
        )

    def train_dataloader(self) -> DataLoader[Sample]:
        """What is left of the epoch."""
        size = self._config.data.batch_size
        self._sampler.set_epoch(self.epoch, self.start * size)
        # a plain list: Lightning would call a sampler's `set_epoch` with its own count of epochs
        return self._loader("train", self._data.train, list(self._sampler), size)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Whole pairs one by one, since their sizes may differ."""
        count = len(self._data.validation)  # type: ignore[arg-type]
        return self._loader("validation", self._data.validation, range(self._rank, count, self._world), 1)

    def reader_died(self) -> bool:
        """Whether a process that reads was ended from outside; waits a moment for one that is just about to end."""
        return any(loader.worker_died() for loader in self._open.values())

    def close(self) -> None:
        """Ends the processes that read, whatever state they are in; never raises for those that were killed."""
        for loader in self._open.values():
            loader.close()
        self._open.clear()

    def on_before_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Raises what went wrong in a worker."""
        if "error" in batch:
            raise batch["error"]
        return batch

    def _loader(self, kind: str, pairs: Dataset[Sample], order: Sequence[Any], size: int) -> DataLoader[Sample]:
        workers = min(self._config.data.workers, math.ceil(len(order) / size))
        self._open[kind] = loader = _Loader(
            _Carrying(pairs),
            size,
            sampler=order,
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=self._pin,
            worker_init_fn=_leave_signals,
        )
        return loader


class _Loader(DataLoader[Sample]):
    """A loader that can be closed, and that tells of a killed worker where a batch is asked for.

    torch would tell of it by an exception out of its signal handler, wherever the program is at that moment: in a
    library's clean-up, which it leaves half done, or in a `__del__`, where nobody can take it. So the workers are taken
    off that handler's list: the next batch finds out within five seconds, as it does where there are no such signals.
    The iterator is held here until `close` has shut it down.
    """

    _iterator_held: Any = None

    def __iter__(self) -> Any:  # noqa: ANN401 -- torch's class for it is private
        self.close()
        held: Any = super().__iter__()
        self._iterator_held = held
        if getattr(held, "_worker_pids_set", False):  # absent without workers
            _remove_worker_pids(id(held))
            held._worker_pids_set = False  # else it would take them off once more at its end
        return held

    def worker_died(self) -> bool:
        """Whether a worker of the last iterator has ended by a signal or an error."""
        workers = getattr(self._iterator_held, "_workers", [])  # absent without workers
        ending = connection.wait([worker.sentinel for worker in workers], DYING_S) if workers else []
        for worker in workers:
            if worker.sentinel in ending:
                worker.join(DYING_S)  # its files are closed, its exit code is still to come
        return any(worker.exitcode not in (None, 0) for worker in workers)

    def close(self) -> None:
        """Ends the workers of the last iterator; one that has ended or has none is left as it is."""
        held, self._iterator_held = self._iterator_held, None
        shut_down = getattr(held, "_shutdown_workers", None)  # absent without workers
        if shut_down is not None:
            with suppress(RuntimeError):  # one killed before it was off the handler's list
                shut_down()


class Fault(dict[str, Any]):
    """An error of ours on its way from a worker; torch would wrap it into a text of many lines."""

    def __init__(self, error: CDEngineError) -> None:
        super().__init__(error=error)


class _Carrying(Dataset[Sample]):
    """Gives a `Fault` where a pair cannot be read."""

    def __init__(self, pairs: Dataset[Sample]) -> None:
        self._pairs = pairs

    def __getitem__(self, item: Any) -> Sample:  # noqa: ANN401 -- an index or a Draw
        try:
            return self._pairs[item]
        except CDEngineError as error:
            return Fault(error)


def _collate(samples: Sequence[Sample]) -> Sample:
    for sample in samples:
        if isinstance(sample, Fault):
            return sample
    return collate(samples)


def _leave_signals(_worker: int) -> None:
    """Workers end when their parent does; the terminal's Ctrl-C, which reaches them too, is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
