"""SNUNet-CD: a Siamese U-Net++ whose four full-resolution outputs are weighed by channel attention (ECAM)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from cdengine.models.dates import CommonBands
from cdengine.models.layers import halves

LEVELS = 5


class SNUNet(nn.Module):
    """Densely connected Siamese network with the ensemble channel attention module.

    Source: Fang, Li, Shao & Li 2021, "SNUNet-CD: A Densely Connected Siamese Network for Change Detection of VHR
    Images", IEEE GRSL, doi 10.1109/LGRS.2021.3056416, figure 1 and equations 1 to 5; layer widths and strides as in
    the authors' published code. As there, the deepest level sees the second date alone, and what is upsampled from the
    encoder is the second date's.

    What differs: one logit stands for two; dates of different bands pass through a 1x1 convolution each; both dates go
    through the encoder as one batch, so that batch normalisation learns one set of statistics for both.

    Attributes:
        stride: heights and widths must be multiples of it.
    """

    stride = 2 ** (LEVELS - 1)

    def __init__(self, bands_before: int = 3, bands_after: int = 3, width: int = 32) -> None:
        """Builds the network with random weights.

        Args:
            bands_before: bands of the first date.
            bands_after: bands of the second date.
            width: channels of the finest level, a multiple of 4; each coarser one has twice as many (the paper tries
                16, 32 and 48).
        """
        super().__init__()
        if width % 4:
            raise ValueError(f"width is {width}, but must be a multiple of 4")
        widths = [width * 2**level for level in range(LEVELS)]
        self.common = CommonBands(bands_before, bands_after)
        inputs = [self.common.bands, *widths[:-1]]
        self.encoder = nn.ModuleList(_Block(*sizes) for sizes in zip(inputs, widths, strict=True))
        # Node (level, step) joins both dates' encoder features, all earlier nodes of its level, and one from below.
        self.nodes = nn.ModuleDict()
        self.up = nn.ModuleDict()
        for step in range(1, LEVELS):
            for level in range(LEVELS - step):
                below = widths[level + 1]
                self.up[_key(level, step)] = nn.ConvTranspose2d(below, below, 2, stride=2)
                self.nodes[_key(level, step)] = _Block(widths[level] * (step + 1) + below, widths[level])
        self.ensemble = _ChannelAttention(width * (LEVELS - 1), 16)
        self.intra = _ChannelAttention(width, 4)
        self.head = nn.Conv2d(width * (LEVELS - 1), 1, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits of change.

        Args:
            before: (B, bands_before, H, W), normalised.
            after: (B, bands_after, H, W), normalised.

        Returns:
            (B, 1, H, W).
        """
        features = torch.cat(self.common(before, after))
        joined: list[list[Tensor]] = []  # per level: what its next node sees from its own level
        newest: list[Tensor] = []  # per level: what the level above upsamples
        for level, block in enumerate(self.encoder):
            if level:
                features = functional.max_pool2d(features, 2)
            if level == LEVELS - 1:
                newest.append(block(halves(features)[1]))
                break
            features = block(features)
            first, second = halves(features)
            joined.append([first, second])
            newest.append(second)
        for step in range(1, LEVELS):
            for level in range(LEVELS - step):
                below = self.up[_key(level, step)](newest[level + 1])
                newest[level] = self.nodes[_key(level, step)](torch.cat([*joined[level], below], 1))
                joined[level].append(newest[level])
        logits: Tensor = self.head(self._weigh(joined[0][2:]))
        return logits

    def _weigh(self, outputs: list[Tensor]) -> Tensor:
        """ECAM: attention of the four outputs' sum inside each, then of all of them together (equations 3 to 5)."""
        inside = self.intra(torch.stack(outputs).sum(0)).repeat(1, len(outputs), 1, 1)
        together = torch.cat(outputs, 1)
        weighed: Tensor = self.ensemble(together) * (together + inside)
        return weighed


def _key(level: int, step: int) -> str:
    return f"{level}_{step}"


class _Block(nn.Module):
    """Two convolutions with a residual connection from behind the first one."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        start = self.first(x)
        return functional.relu(start + self.norm2(self.second(functional.relu(self.norm1(start)))))


class _ChannelAttention(nn.Module):
    """A weight between 0 and 1 for each channel, from its mean and its maximum over the image (Woo et al. 2018)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.excite = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mean, peak = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return torch.sigmoid(sum(self.excite(functional.relu(self.squeeze(each))) for each in (mean, peak)))
