"""The optimiser and its learning rate, which is a function of the step alone: nothing to save, nothing to restore."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from cdengine.models.backbones import Backbone
from cdengine.training.config import OptimiserConfig


def build_optimiser(network: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101), Adam or SGD with Nesterov momentum; no decay where it harms.

    Weight decay pulls weights of convolutions and linear layers towards 0. For scales and shifts of norms, biases and
    other vectors 0 is no sensible goal (Goyal et al. 2017, arXiv 1706.02677, section 5.3), so they have none. Adam
    adds the decay to the gradient, AdamW takes it off the weights.

    Each group's learning rate is the schedule's times its "factor": `head_factor` for everything but backbones.
    """
    inside = {id(value) for part in network.modules() if isinstance(part, Backbone) for value in part.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for value in network.parameters():
        if value.requires_grad:
            own_rate = config.head_factor != 1 and id(value) not in inside
            groups.setdefault((own_rate, value.ndim <= 1), []).append(value)
    options: list[dict[str, Any]] = [
        {
            "params": values,
            "weight_decay": 0.0 if vectors else config.weight_decay,
            "factor": config.head_factor if heads else 1.0,
        }
        for (heads, vectors), values in sorted(groups.items(), key=lambda group: group[0])
    ]
    if config.name == "sgd":
        moving = config.momentum > 0
        return torch.optim.SGD(options, config.learning_rate, config.momentum, nesterov=moving)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(options, config.learning_rate)


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
    """Puts the rate into every group, times the group's factor."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]
