"""Sums that run over every process, and the masks that all losses share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, distributed

IGNORED = 255  # a label's "nobody knows"


class _AllSum(torch.autograd.Function):
    """Sum over processes whose gradient, averaged over processes by DDP, is that of one process with all the data.

    Each process computes the same loss L of the sums S. The backward pass adds the N equal gradients dL/dS, which
    DDP's division by N takes back: what remains is Σ_r dL/dS · dS_r/dθ.
    """

    @staticmethod
    def forward(_ctx: Any, value: Tensor) -> Tensor:  # noqa: ANN401 -- torch's own
        summed = value.clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401
        summed = gradients[0].clone()
        distributed.all_reduce(summed)
        return summed


_ALONE = ContextVar("alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """Within the block sums are those of this process; for validation, where processes may differ in their batches."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def total(value: Tensor) -> Tensor:
    """The sum of a tensor's like over all processes; the tensor itself where there is one."""
    there = distributed.is_available() and distributed.is_initialized()
    if not there or _ALONE.get() or distributed.get_world_size() == 1:
        return value
    summed: Tensor = _AllSum.apply(value)
    return summed


def mean(values: Tensor, weights: Tensor) -> Tensor:
    """Σ weights · values / Σ weights over all processes; 0 where nothing has weight."""
    sums = total(torch.stack([(values * weights).sum(), weights.sum()]))
    return sums[0] / sums[1].detach().clamp_min(1e-12)


def known(target: Tensor, valid: Tensor) -> Tensor:
    """(B, H, W) float32: 1 where a pixel has data and a label."""
    return (valid & (target != IGNORED)).float()


def changed(target: Tensor) -> Tensor:
    """(B, H, W) float32: 1 where the label says changed."""
    return (target == 1).float()
