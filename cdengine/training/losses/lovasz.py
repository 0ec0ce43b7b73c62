"""Lovász losses: convex surrogates of 1 − IoU, for one logit (hinge) and for classes (softmax).

Source: Berman, Rannen Triki & Blaschko 2018, "The Lovász-Softmax loss", CVPR, arXiv 1705.08790, algorithm 1, eqs. 8
and 11. In a distributed run each process ranks its own pixels and the losses are averaged: ranking is not a sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cdengine.training.losses.sums import IGNORED, total


def lovasz_hinge(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean over the images of the Lovász extension of 1 − IoU at the hinge errors max(0, 1 − logit · sign).

    Args:
        logits: (B, 1, H, W).
        target: (B, H, W), 0 unchanged, 1 changed, 255 ignored.
        valid: (B, H, W) bool.
    """
    losses = []
    for scores, labels, use in zip(logits[:, 0].float(), target, valid & (target != IGNORED), strict=True):
        truth = (labels[use] == 1).float()
        errors = (1 - scores[use] * (2 * truth - 1)).clamp_min(0)
        losses.append(_extension(errors, truth))
    return _average(losses, logits)


def lovasz_softmax(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean over the classes present of the Lovász extension of 1 − IoU at the errors |truth − softmax|, over the batch.

    Args:
        logits: (B, K, H, W).
        target: (B, H, W), class 0 … K − 1, 255 ignored.
        valid: (B, H, W) bool.
    """
    use = valid & (target != IGNORED)
    labels = target[use]
    probabilities = torch.softmax(logits.float(), 1).movedim(1, -1)[use]
    losses = []
    for number in range(logits.shape[1]):
        truth = (labels == number).float()
        if truth.any():
            losses.append(_extension((truth - probabilities[:, number]).abs(), truth))
    return _average(losses, logits)


def _extension(errors: Tensor, truth: Tensor) -> Tensor:
    """Σ errors in falling order times the growth of the Jaccard loss as each pixel joins the mistaken ones."""
    if errors.numel() == 0:
        return errors.sum()
    ordered, order = torch.sort(errors, descending=True, stable=True)
    right = truth[order]
    positives = right.sum()
    jaccard = 1 - (positives - right.cumsum(0)) / (positives + (1 - right).cumsum(0))
    growth = torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
    return ordered @ growth


def _average(losses: list[Tensor], logits: Tensor) -> Tensor:
    own = torch.stack(losses).sum() if losses else (logits * 0).sum()
    both = total(torch.stack([own, own.new_tensor(float(len(losses)))]))
    return both[0] / both[1].detach().clamp_min(1)
