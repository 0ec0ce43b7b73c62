"""Two dates with different numbers of bands, brought to one number, so that shared weights can look at both."""

from __future__ import annotations

from torch import Tensor, nn


class CommonBands(nn.Module):
    """A 1x1 convolution per date to the larger number of bands; nothing at all where the numbers agree.

    Attributes:
        bands: of both dates afterwards.
    """

    def __init__(self, bands_before: int, bands_after: int) -> None:
        super().__init__()
        self.bands = max(bands_before, bands_after)
        alike = bands_before == bands_after
        self.before = nn.Identity() if alike else nn.Conv2d(bands_before, self.bands, 1)
        self.after = nn.Identity() if alike else nn.Conv2d(bands_after, self.bands, 1)

    def forward(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """(B, bands_before, H, W) and (B, bands_after, H, W) to two of (B, bands, H, W)."""
        return self.before(before), self.after(after)
