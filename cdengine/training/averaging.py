"""Averaged weights: a copy of the network that follows it slowly and predicts more evenly than any single step."""

from __future__ import annotations

import copy

import torch
from torch import nn

WARM = 10  # steps after which the average begins to forget the random start


class AveragedNetwork(nn.Module):
    """Exponential moving average of parameters and buffers.

    a ← d a + (1 − d) w with d = min(decay, (1 + n) / (WARM + n)) at the n-th update (Polyak & Juditsky 1992; the
    growing decay as in TensorFlow's ExponentialMovingAverage), so that short runs are averaged too. Running statistics
    of batch normalisation are averaged as well; whole numbers are copied.

    Attributes:
        network: the copy; never trained, always in eval mode when used.
    """

    updates: torch.Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._count: int | None = None  # of updates, so that the device need not be asked

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Takes one step of the network into the average."""
        if self._count is None:
            self._count = int(self.updates)
        decay = min(self.decay, (1 + self._count) / (WARM + self._count))
        self._count += 1
        self.updates += 1
        averages, values = [], []
        for average, value in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if average.is_floating_point():
                averages.append(average)
                values.append(value)
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, values, 1 - decay)

    def train(self, mode: bool = True) -> AveragedNetwork:
        """Stays in eval mode, whatever the module around it does."""
        return super().train(False)
