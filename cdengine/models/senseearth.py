"""The SenseEarth2020 network: classes of each date from one shared head, change from the difference of the features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cdengine.models.backbones import SiameseEncoder
from cdengine.models.decoders import pyramid_pool
from cdengine.models.layers import conv_norm_relu, grid_pool, halves, upsample
from cdengine.models.logits import Logits

HEADS = ("fcn", "psp", "deeplabv3plus")
HRNET = {"feature_location": "", "out_indices": (1, 2, 3, 4)}  # the four plain branches of the last stage
DROPOUT = 0.1
RATES = (12, 24, 36)  # of the dilated convolutions, DeepLabV3+ at output stride 8
DETAIL, FUSED = 48, 256  # channels of the finer level and of the fusion in DeepLabV3+


class SenseEarth(nn.Module):
    """Siamese HRNet or dilated ResNet with a semantic head that both dates share and a change head.

    Source: the technical report and slides of the SenseEarth 2020 winners (Yang, Xia & others); HRNet is Sun et al.
    2019, arXiv 1904.04514, whose four branches (widths w, 2w, 4w, 8w) are brought to the finest one's size and joined
    to 15 w channels (section 3.2, HRNetV2); the heads are those of Long et al. 2015 (FCN), Zhao et al. 2017 (PSPNet)
    and Chen et al. 2018 (DeepLabV3+). No class stands for "unchanged", which one date alone cannot tell.

    What differs: the change head tells P(change), the authors' P(unchanged); bilinear resampling keeps pixel edges in
    place everywhere (the authors align corners when they join branches); pooled branches of PSP and DeepLabV3+ have a
    bias in place of batch normalisation, which has no variance to learn from in a single bin; DeepLabV3+ also works
    on HRNet, where the joined branches are the deep features and the finest branch the detailed ones.

    Attributes:
        stride: heights and widths must be multiples of it.
        channels: of the features that the heads see.
    """

    def __init__(
        self,
        bands_before: int = 3,
        bands_after: int = 3,
        backbone: str = "hrnet_w18",
        head: str = "psp",
        lightweight: bool = True,
        classes: int = 6,
    ) -> None:
        """Builds the network with random weights.

        Args:
            bands_before: bands of the first date.
            bands_after: bands of the second date.
            backbone: hrnet_w18, w30, w32, w40, w44, w48, w64 or hrnet_w18_small (widths from 16 on), or a ResNet or
                ResNeXt of timm, which is dilated to stride 8.
            head: of the change: fcn, psp or deeplabv3plus; the classes always have an FCN head.
            lightweight: 3x3 convolutions of the heads are a depthwise and a pointwise one.
            classes: land-cover classes.

        Raises:
            ValueError: unknown head or backbone.
        """
        super().__init__()
        if head not in HEADS:
            raise ValueError(f"head is {head!r}, but must be one of {', '.join(HEADS)}")
        self._joins = backbone.startswith("hrnet")
        options, output_stride = (HRNET, 32) if self._joins else (None, 8)
        self.encoder = SiameseEncoder(backbone, bands_before, bands_after, output_stride=output_stride, options=options)
        strides, widths = self.encoder.strides, self.encoder.channels
        self.stride = max(strides)
        self._factors = [stride // strides[0] for stride in strides]
        self.channels, self._scale = (sum(widths), strides[0]) if self._joins else (widths[-1], strides[-1])
        # The level at a quarter of the input's size.
        self._fine = strides.index(4)
        self.classify = FCNHead(self.channels, classes, lightweight)
        self.change: nn.Module
        if head == "deeplabv3plus":
            self.change = DeepLabHead(self.channels, widths[self._fine], self._scale // 4, lightweight)
        else:
            kind = FCNHead if head == "fcn" else PSPHead
            self.change = kind(self.channels, 1, lightweight)

    def forward(self, before: Tensor, after: Tensor) -> Logits:
        """Logits of change and of classes.

        Args:
            before: (B, bands_before, H, W), normalised.
            after: (B, bands_after, H, W), normalised.
        """
        levels = self.encoder.backbone(self.encoder.join(before, after))
        deep = self._deep(levels)
        classes = self.classify(deep)
        difference = _difference(deep)
        if isinstance(self.change, DeepLabHead):
            # its logits lie at a quarter of the input's size
            change = upsample(self.change(difference, _difference(levels[self._fine])), 4)
        else:
            change = upsample(self.change(difference), self._scale)
        return Logits(change, *halves(upsample(classes, self._scale)))

    def _deep(self, levels: list[Tensor]) -> Tensor:
        """What the heads see: (2 B, channels, H / scale, W / scale)."""
        if not self._joins:
            return levels[-1]
        return torch.cat([upsample(level, factor) for level, factor in zip(levels, self._factors, strict=True)], 1)


def _difference(both: Tensor) -> Tensor:
    first, second = halves(both)
    return (first - second).abs()


def _convolution(channels: int, width: int, lightweight: bool, dilation: int = 1) -> nn.Module:
    """3x3 convolution, batch normalisation, ReLU; the lightweight one is depthwise, normalised, then pointwise."""
    if not lightweight:
        return conv_norm_relu(channels, width, dilation=dilation)
    depthwise = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels, bias=False)
    return nn.Sequential(depthwise, nn.BatchNorm2d(channels), nn.ReLU(inplace=True), conv_norm_relu(channels, width, 1))


class FCNHead(nn.Module):
    """3x3 convolution to a quarter of the channels, dropout, 1x1 convolution."""

    def __init__(self, channels: int, outputs: int, lightweight: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(channels, channels // 4, lightweight),
            nn.Dropout(DROPOUT),
            nn.Conv2d(channels // 4, outputs, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, outputs, h, w)."""
        logits: Tensor = self.body(features)
        return logits


class PSPHead(nn.Module):
    """Means over grids of 1, 2, 3 and 6 cells a side, joined with the features, then an FCN head's layers."""

    BINS = (1, 2, 3, 6)

    def __init__(self, channels: int, outputs: int, lightweight: bool) -> None:
        super().__init__()
        width = channels // 4
        self.pooled = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1), nn.ReLU(inplace=True)) for _ in self.BINS
        )
        self.body = nn.Sequential(
            _convolution(channels + len(self.BINS) * width, width, lightweight),
            nn.Dropout(DROPOUT),
            nn.Conv2d(width, outputs, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, outputs, h, w)."""
        logits: Tensor = self.body(torch.cat([features, *pyramid_pool(features, self.pooled, self.BINS)], 1))
        return logits


class DeepLabHead(nn.Module):
    """Atrous spatial pyramid pooling of the deep differences, fused with the detailed ones at a quarter of the size."""

    def __init__(self, channels: int, detailed: int, factor: int, lightweight: bool) -> None:
        """Builds it.

        Args:
            channels: of the deep features.
            detailed: channels of the features at a quarter of the input's size.
            factor: by which the deep ones are enlarged to meet them.
            lightweight: see `SenseEarth`.
        """
        super().__init__()
        width, self._factor = channels // 8, factor
        dilated = [_convolution(channels, width, lightweight, rate) for rate in RATES]
        self.branches = nn.ModuleList([conv_norm_relu(channels, width, 1), *dilated])
        self.everywhere = nn.Sequential(nn.Conv2d(channels, width, 1), nn.ReLU(inplace=True))
        self.project = nn.Sequential(conv_norm_relu((len(RATES) + 2) * width, width, 1), nn.Dropout(DROPOUT))
        self.detail = conv_norm_relu(detailed, DETAIL, 1)
        self.fuse = nn.Sequential(
            _convolution(width + DETAIL, FUSED, lightweight),
            _convolution(FUSED, FUSED, lightweight),
            nn.Conv2d(FUSED, 1, 1),
        )

    def forward(self, deep: Tensor, detailed: Tensor) -> Tensor:
        """(B, channels, h, w) and (B, detailed, h · factor, w · factor) to (B, 1, h · factor, w · factor)."""
        everywhere = self.everywhere(grid_pool(deep, 1)).expand(-1, -1, *deep.shape[-2:])
        context = self.project(torch.cat([*(branch(deep) for branch in self.branches), everywhere], 1))
        logits: Tensor = self.fuse(torch.cat([upsample(context, self._factor), self.detail(detailed)], 1))
        return logits
