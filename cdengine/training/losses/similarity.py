"""Semantic consistency: the two dates' class probabilities agree where nothing changed and differ where it did."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cdengine.training.losses.sums import changed, known, mean


def similarity(before: Tensor, after: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean over labelled pixels of 1 − cos(p, q) where unchanged and max(0, cos(p, q)) where changed.

    Source: Ding et al. 2022, "Bi-temporal semantic reasoning for the semantic change detection in HR remote sensing
    images", IEEE TGRS, arXiv 2108.06103, eq. 8.

    Args:
        before: (B, K, H, W) logits of the first date; p is their softmax.
        after: (B, K, H, W), likewise q.
        target: (B, H, W), 0 unchanged, 1 changed, 255 ignored.
        valid: (B, H, W) bool.
    """
    cosine = functional.cosine_similarity(torch.softmax(before.float(), 1), torch.softmax(after.float(), 1), dim=1)
    truth = changed(target)
    losses = truth * cosine.clamp_min(0) + (1 - truth) * (1 - cosine)
    return mean(losses, known(target, valid))
