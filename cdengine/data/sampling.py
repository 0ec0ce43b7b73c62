"""Which pair comes when: shuffled, or balanced so that rare change is seen often; the same on every machine.

Samplers yield `Draw`s, which carry epoch and turn to the data set: augmentation then depends on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from cdengine.data.agreement import Contradictions, implied_change
from cdengine.data.codings import IGNORE, LabelFormat
from cdengine.data.labels import read_change, read_classes
from cdengine.data.layouts import PairFiles
from cdengine.data.pairs import Draw
from cdengine.errors import LabelError
from cdengine.events import Reporter

Array = np.ndarray[Any, np.dtype[Any]]


def change_shares(files: Sequence[PairFiles], labels: LabelFormat, reporter: Reporter | None = None) -> Array:
    """Share of changed pixels among the labelled ones of each pair, float64 (N,); 0 where nothing is labelled.

    Warns once where the classes of the two dates contradict each other, or the change label (see `agreement`).

    Args:
        files: labelled pairs.
        labels: with a known change coding, as `ChangePairs.labels` has.
        reporter: takes the progress and the warning.

    Raises:
        LabelError: values without a meaning, or labels of a pair that differ in size.
    """
    reporter, contradictions = reporter or Reporter(), Contradictions.among(files)
    channels = labels.channels or (None, None, None)
    shares = np.zeros(len(files))
    for i, pair in enumerate(reporter.each(files, "change shares", len(files), "files")):
        change = None
        if pair.change is not None and labels.change is not None:
            change = read_change(pair.change, labels.change, channels[0])
        if pair.before_classes is not None and pair.after_classes is not None and labels.classes is not None:
            sides = zip((pair.before_classes, pair.after_classes), channels[1:], strict=True)
            before, after = (read_classes(path, labels.classes, channel) for path, channel in sides)
            if not before.shape == after.shape == (before if change is None else change).shape:
                raise LabelError(
                    f"{pair.before_classes}: the labels of {pair.name} differ in size; use one grid for all"
                )
            contradictions.add(pair.before_classes, before, after, change)
            change = implied_change(before, after) if change is None else change
        if change is not None:
            shares[i] = (change == 1).sum() / max(1, (change != IGNORE).sum())
    for line in contradictions.warnings():
        reporter.warning(line)
    return shares


def balanced_weights(shares: Array, balance: float) -> Array:
    """Probability of drawing each pair, (N,), sum 1.

    With probability `balance` a pair is drawn in proportion to the square root of its share of change (its linear
    extent: proportion to the share itself would show few pairs over and over), else each pair alike.
    """
    uniform = np.full(len(shares), 1 / len(shares))
    extent = np.sqrt(shares)
    if not extent.any():
        return uniform
    return np.asarray(balance * extent / extent.sum() + (1 - balance) * uniform)


class PairSampler(Sampler[Draw]):
    """Draws for one process of several, equal numbers for each.

    Attributes:
        epoch: of the next iteration.
    """

    def __init__(
        self,
        count: int,
        *,
        weights: Array | None = None,
        draws: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Takes the number of pairs.

        Args:
            count: N, number of pairs.
            weights: (N,) from `balanced_weights`, drawn with replacement; None: each pair once an epoch.
            draws: per epoch and all processes; None: N.
            shuffle: False: in order, for evaluation; not with weights.
            seed: of the order.
            rank: of this process.
            world: number of processes; an epoch is cut to a multiple of it.
        """
        self._count, self._weights, self._shuffle = count, weights, shuffle
        self._draws = max(world, draws or count)
        self._seed, self._rank, self._world = seed, rank, world
        self.epoch, self._start = 0, 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Chooses the epoch of the next iteration.

        Args:
            epoch: number, from 0.
            start: draws of this process that were used already, when an interrupted epoch goes on.
        """
        self.epoch, self._start = epoch, start

    def __len__(self) -> int:
        return self._draws // self._world - self._start

    def __iter__(self) -> Iterator[Draw]:
        order = self._order()
        start, self._start = self._start, 0
        for turn in range(start * self._world + self._rank, self._draws // self._world * self._world, self._world):
            yield Draw(int(order[turn]), self.epoch, turn)

    def _order(self) -> Array:
        rng = np.random.default_rng([self._seed, self.epoch])
        if self._weights is not None:
            return np.asarray(rng.choice(self._count, self._draws, p=self._weights))
        rounds = -(-self._draws // self._count)
        each = (rng.permutation(self._count) if self._shuffle else np.arange(self._count) for _ in range(rounds))
        return np.concatenate(list(each))[: self._draws]
