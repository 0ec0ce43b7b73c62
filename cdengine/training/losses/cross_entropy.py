"""Cross-entropies: of change (sigmoid) with a weight for the rare class, and of classes (softmax)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from cdengine.training.losses.sums import IGNORED, changed, known, mean


def binary_cross_entropy(logits: Tensor, target: Tensor, valid: Tensor, positive_weight: float = 1.0) -> Tensor:
    """Mean over labelled pixels of −w y log p − (1 − y) log(1 − p), p = σ(logit).

    Args:
        logits: (B, 1, H, W).
        target: (B, H, W), 0 unchanged, 1 changed, 255 ignored.
        valid: (B, H, W) bool.
        positive_weight: w, of changed pixels.
    """
    weight = logits.new_tensor(positive_weight)
    losses = functional.binary_cross_entropy_with_logits(
        logits[:, 0], changed(target), pos_weight=weight, reduction="none"
    )
    return mean(losses, known(target, valid))


def cross_entropy(logits: Tensor, target: Tensor, valid: Tensor, weights: Sequence[float] = ()) -> Tensor:
    """Mean over labelled pixels of −log softmax(logits)[class], each weighted by its class.

    Args:
        logits: (B, K, H, W).
        target: (B, H, W), class 0 … K − 1, 255 ignored.
        valid: (B, H, W) bool.
        weights: K numbers, of the classes; () for all alike. The mean is divided by the sum of the weights.
    """
    mask, labels = known(target, valid), target.long()
    losses = functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    if weights:
        mask = mask * logits.new_tensor(weights)[labels.clamp_max(len(weights) - 1)]
    return mean(losses, mask)
