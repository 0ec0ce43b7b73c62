"""FC-EF: a U-Net that sees both dates as one image of all their bands (early fusion)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cdengine.models.fully_convolutional import DROPOUT, WIDTHS, Decoder, Encoder


class FCEF(nn.Module):
    """Fully convolutional network with early fusion.

    Source: Caye Daudt, Le Saux & Boulch 2018, "Fully Convolutional Siamese Networks for Change Detection", ICIP,
    arXiv 1810.08462, figure 2(a). What differs: one logit with a sigmoid stands for the paper's two with a softmax.

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
            bands_after: bands of the second date; the two may differ.
            widths: channels of the four levels, finest first.
            dropout: share of the channels that are dropped in training.
        """
        super().__init__()
        self.encoder = Encoder(bands_before + bands_after, widths, dropout)
        self.decoder = Decoder(widths, 1, dropout)
        self.head = nn.Conv2d(widths[0], 1, 3, padding=1)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits of change.

        Args:
            before: (B, bands_before, H, W), normalised.
            after: (B, bands_after, H, W), normalised.

        Returns:
            (B, 1, H, W).
        """
        levels = self.encoder(torch.cat([before, after], 1))
        logits: Tensor = self.head(self.decoder(levels[-1], levels))
        return logits
