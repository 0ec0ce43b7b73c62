"""Batch-balanced contrastive loss of STANet, on the distance of the two dates' features."""

from __future__ import annotations

import torch
from torch import Tensor

from cdengine.training.losses.sums import changed, known, total


def batch_contrastive(distance: Tensor, target: Tensor, valid: Tensor, margin: float = 2.0) -> Tensor:
    """½ [mean over unchanged pixels of D² + mean over changed pixels of max(0, margin − D)²].

    Source: Chen & Shi 2020, "A spatial-temporal attention-based method and a new dataset for remote sensing image
    change detection", Remote Sensing 12(10) 1662, eq. 9; each class has its own mean, which is the balance.

    Args:
        distance: (B, 1, H, W), D ≥ 0, as `models.stanet.STANet.distance` gives it.
        target: (B, H, W), 0 unchanged, 1 changed, 255 ignored.
        valid: (B, H, W) bool.
        margin: distance that changed pixels should reach.
    """
    values = distance[:, 0].float()
    mask, truth = known(target, valid), changed(target)
    still, moved = mask * (1 - truth), mask * truth
    too_near = (margin - values).clamp_min(0)
    sums = total(torch.stack([(values**2 * still).sum(), still.sum(), (too_near**2 * moved).sum(), moved.sum()]))
    return (sums[0] / sums[1].detach().clamp_min(1) + sums[2] / sums[3].detach().clamp_min(1)) / 2
