"""FC-Siam-conc: a Siamese U-Net whose skip connections carry the features of both dates side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cdengine.models.fully_convolutional import DROPOUT, WIDTHS, Decoder, Encoder, SharedEncoder


class FCSiamConc(nn.Module):
    """Fully convolutional Siamese network with concatenated skips.

    Source: Caye Daudt, Le Saux & Boulch 2018, "Fully Convolutional Siamese Networks for Change Detection", ICIP,
    arXiv 1810.08462, figure 2(b). As in the authors' code the decoder starts from the second date's deepest features.
    What differs: one logit with a sigmoid stands for the paper's two with a softmax; dates of different bands pass
    through a 1x1 convolution each.

    Attributes:
        stride: heights and widths must be multiples of it.
    """

    stride = Encoder.stride

    def __init__(
        self, bands_before: int = 3, bands_after: int = 3, widths: Sequence[int] = WIDTHS, dropout: float = DROPOUT
    ) -> None:
        """Builds the network with random weights.

        Args:
            bands_before: bands of the first date.
            bands_after: bands of the second date.
            widths: channels of the four levels, finest first.
            dropout: share of the channels that are dropped in training.
        """
        super().__init__()
        self.encoder = SharedEncoder(bands_before, bands_after, widths, dropout)
        self.decoder = Decoder(widths, 2, dropout)
        self.head = nn.Conv2d(widths[0], 1, 3, padding=1)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits of change.

        Args:
            before: (B, bands_before, H, W), normalised.
            after: (B, bands_after, H, W), normalised.

        Returns:
            (B, 1, H, W).
        """
        first, second = self.encoder(before, after)
        skips = [torch.cat(pair, 1) for pair in zip(first, second, strict=True)]
        logits: Tensor = self.head(self.decoder(second[-1], skips))
        return logits
