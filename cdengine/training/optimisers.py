"""The optimiser and its learning rate, which is a function of the step alone: nothing to save, nothing to restore."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from cdengine.training.config import OptimiserConfig


def build_optimiser(network: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) or SGD with Nesterov momentum, without decay where it harms.

    Weight decay pulls weights of convolutions and linear layers towards 0. For scales and shifts of norms, biases and
    other vectors 0 is no sensible goal (Goyal et al. 2017, arXiv 1706.02677, section 5.3), so they have none.
    """
    trained = [value for value in network.parameters() if value.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [value for value in trained if value.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [value for value in trained if value.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.name == "sgd":
        moving = config.momentum > 0
        return torch.optim.SGD(groups, config.learning_rate, config.momentum, nesterov=moving)
    return torch.optim.AdamW(groups, config.learning_rate)


def learning_rate(config: OptimiserConfig, step: int, steps: int) -> float:
    """Learning rate of one optimiser step.

    It rises linearly over the first `warmup` of all steps, then falls by half a cosine (Loshchilov & Hutter 2017,
    arXiv 1608.03983, eq. 5, without restarts) or by (1 − t)^power (Chen et al. 2018, arXiv 1606.00915, section 4.1).

    Args:
        config: highest rate, warm-up and shape.
        step: from 0.
        steps: of the whole run.
    """
    warm = round(config.warmup * steps)
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    t = min(1.0, (step - warm) / max(1, steps - warm))
    if config.schedule == "cosine":
        return config.learning_rate * (1 + math.cos(math.pi * t)) / 2
    if config.schedule == "poly":
        return float(config.learning_rate * (1 - t) ** config.power)
    return config.learning_rate


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Puts the rate into every group."""
    for group in optimiser.param_groups:
        group["lr"] = rate
