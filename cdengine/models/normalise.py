"""Stored pixel values to what a network sees, on the device; the same for training and for inference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cdengine.models.card import DateInput

# Beyond this many standard deviations a value is a defect (a stray 1e38, say), and one defect must not drive a whole
# receptive field to infinity. No statistic of real imagery comes near.
LIMIT = 100.0


class Normaliser(nn.Module):
    """(x * scale - mean) / std per band, 0 (the mean) where a pixel is invalid, never NaN, within ±`LIMIT`.

    Its constants are buffers that no state dict holds: they live in the model card.
    """

    gain: Tensor
    offset: Tensor

    def __init__(self, date: DateInput) -> None:
        super().__init__()
        mean = torch.tensor(date.mean, dtype=torch.float64)
        std = torch.tensor(date.std, dtype=torch.float64)
        self.register_buffer("gain", (date.scale / std).float().view(1, -1, 1, 1), persistent=False)
        self.register_buffer("offset", (-mean / std).float().view(1, -1, 1, 1), persistent=False)
        ends = torch.tensor([[0.0], [255.0]]) * self.gain.flatten() + self.offset.flatten()
        self._bytes_fit = bool(ends.abs().max() <= LIMIT)  # bytes then need no limit, as they nearly always do

    def forward(self, image: Tensor, valid: Tensor, out: Tensor | None = None) -> Tensor:
        """Normalises.

        Args:
            image: (B, C, H, W), any real dtype.
            valid: (B, H, W) bool.
            out: float32 (B, C, H, W) that takes the values, of any strides; a new tensor by default.

        Returns:
            float32 (B, C, H, W).
        """
        # One kernel for every dtype, and the caller's tensor stays as it is.
        values = torch.mul(image, self.gain) if out is None else torch.mul(image, self.gain, out=out)
        values += self.offset
        if image.dtype != torch.uint8 or not self._bytes_fit:
            values.nan_to_num_(nan=0.0, posinf=LIMIT, neginf=-LIMIT).clamp_(-LIMIT, LIMIT)
        return values.masked_fill_(~valid.unsqueeze(1), 0.0)
