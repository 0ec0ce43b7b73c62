"""Online hard example mining: cross-entropy of the hardest pixels alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from cdengine.training.losses.sums import changed, known, total


def ohem(logits: Tensor, target: Tensor, valid: Tensor, share: float = 0.25) -> Tensor:
    """Mean binary cross-entropy of the `share` of labelled pixels where it is highest.

    Source: Shrivastava, Gupta & Girshick 2016, "Training region-based object detectors with online hard example
    mining", CVPR, arXiv 1604.03540, section 4, with pixels in place of regions (as in Wu, Shen & van den Hengel 2016,
    arXiv 1605.06885). In a distributed run each process picks among its own pixels.

    Args:
        logits: (B, 1, H, W).
        target: (B, H, W), 0 unchanged, 1 changed, 255 ignored.
        valid: (B, H, W) bool.
        share: of the labelled pixels, above 0.
    """
    use = known(target, valid) > 0
    losses = functional.binary_cross_entropy_with_logits(logits[:, 0].float(), changed(target), reduction="none")[use]
    count = math.ceil(share * losses.numel())
    hardest = torch.topk(losses, count, sorted=False).values
    sums = total(torch.stack([hardest.sum(), hardest.new_tensor(float(count))]))
    return sums[0] / sums[1].detach().clamp_min(1)
