"""Cross-entropies: of change (sigmoid) with a weight for the rare class, and of classes (softmax)."""

from __future__ import annotations

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


def cross_entropy(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean over labelled pixels of −log softmax(logits)[class].

    Args:
        logits: (B, K, H, W).
        target: (B, H, W), class 0 … K − 1, 255 ignored.
        valid: (B, H, W) bool.
    """
    mask = known(target, valid)
    losses = functional.cross_entropy(logits, target.long(), ignore_index=IGNORED, reduction="none")
    return mean(losses, mask)
