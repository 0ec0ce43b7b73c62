"""Losses of overlap: Dice, and Tversky, which weighs misses and false alarms apart. Blind to how much is unchanged."""

from __future__ import annotations

import torch
from torch import Tensor

from cdengine.training.losses.sums import changed, known, total

SMOOTH = 1.0  # pixels; keeps the quotient finite, and 0 loss where nothing changed and nothing is reported


def dice(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """1 − (2 Σ p y + 1) / (Σ p + Σ y + 1), sums over the labelled pixels of the batch.

    Source: Milletari et al. 2016, "V-Net", arXiv 1606.04797, section 3, with sums in place of sums of squares (as
    Sudre et al. 2017, arXiv 1707.03237, eq. 2 without class weights). Summed over the batch, not per image, since many
    images of a change set hold no change at all.

    Args:
        logits: (B, 1, H, W).
        target: (B, H, W), 0 unchanged, 1 changed, 255 ignored.
        valid: (B, H, W) bool.
    """
    return tversky(logits, target, valid, beta=0.5)


def tversky(logits: Tensor, target: Tensor, valid: Tensor, beta: float = 0.7) -> Tensor:
    """1 − (TP + s) / (TP + α FP + β FN + s), α = 1 − β, with soft counts and s = 1/2.

    Source: Salehi et al. 2017, "Tversky loss function for image segmentation", arXiv 1706.05721, eq. 3. At β = 0.5 it
    is the Dice loss.

    Args:
        logits: (B, 1, H, W).
        target: (B, H, W), 0 unchanged, 1 changed, 255 ignored.
        valid: (B, H, W) bool.
        beta: weight of missed pixels; above 0.5 it favours recall.
    """
    mask, truth = known(target, valid), changed(target)
    probability = torch.sigmoid(logits[:, 0].float())
    hits = (probability * truth * mask).sum()
    false_alarms = (probability * (1 - truth) * mask).sum()
    misses = ((1 - probability) * truth * mask).sum()
    tp, fp, fn = total(torch.stack([hits, false_alarms, misses]))
    smooth = SMOOTH / 2  # Dice counts hits twice
    loss: Tensor = 1 - (tp + smooth) / (tp + (1 - beta) * fp + beta * fn + smooth)
    return loss
