"""What `forward` of an architecture gives back: one tensor for binary change, `Logits` where classes come with it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Logits(NamedTuple):
    """Raw scores of a network with three heads, all at the input's size.

    Attributes:
        change: (B, 1, H, W); its sigmoid is the change probability.
        before: (B, K, H, W); its softmax over K is the class probabilities of the first date.
        after: (B, K, H, W), the same for the second date.
    """

    change: Tensor
    before: Tensor
    after: Tensor
