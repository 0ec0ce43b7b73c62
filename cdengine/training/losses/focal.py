"""Focal loss: cross-entropy in which easy pixels count for little."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cdengine.training.losses.sums import changed, known, mean


def focal(logits: Tensor, target: Tensor, valid: Tensor, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """Mean over labelled pixels of −α_t (1 − p_t)^γ log p_t.

    Source: Lin et al. 2017, "Focal loss for dense object detection", arXiv 1708.02002, eq. 5 (the mean over all pixels
    stands for the paper's division by the number of matched anchors).

    Args:
        logits: (B, 1, H, W).
        target: (B, H, W), 0 unchanged, 1 changed, 255 ignored.
        valid: (B, H, W) bool.
        gamma: γ; 0 gives α-weighted cross-entropy.
        alpha: weight of changed pixels; unchanged ones have 1 − alpha.
    """
    scores, truth = logits[:, 0].float(), changed(target)
    entropy = functional.binary_cross_entropy_with_logits(scores, truth, reduction="none")  # −log p_t
    weight = alpha * truth + (1 - alpha) * (1 - truth)
    # 1 − p_t = σ(−logit) of changed and σ(logit) of unchanged pixels: no cancellation, as 1 − exp(−entropy) has
    doubt = torch.sigmoid(scores * (1 - 2 * truth))
    return mean(weight * doubt**gamma * entropy, known(target, valid))
