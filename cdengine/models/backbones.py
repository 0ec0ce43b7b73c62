"""Feature pyramids from timm for any number of bands, and the Siamese encoder that most architectures begin with."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import timm
import torch
from torch import Tensor, nn


class Backbone(nn.Module):
    """A timm feature extractor with randomly initialised weights.

    Nothing is ever fetched: weights come from the model file, from training, or from what `pretrained` is asked for.
    Swin transformers leave their levels unnormalised; here each level has a layer normalisation behind it, as where
    they are used for segmentation (Liu et al. 2021, section 4.3).

    Attributes:
        name: of timm's list.
        channels: number of channels of each level, finest first.
        strides: pixels of the input per feature pixel of each level, strictly increasing.

    Raises:
        ValueError: timm has no such backbone, it gives no pyramid (plain vision transformers), or not so many levels.
    """

    def __init__(self, name: str = "resnet18", bands: int = 3, levels: int | None = None) -> None:
        """Builds it.

        Args:
            name: of timm's list.
            bands: of the image.
            levels: how many levels exist, counted from the finest; None: all. Stages behind them are not built.
        """
        super().__init__()
        # Only names of timm's own list: create_model would take "hf-hub:…" and "local-dir:…" from a stranger's card.
        names = timm.list_models()
        if name not in names:
            near = get_close_matches(name, names, 1)
            raise ValueError(f"timm has no backbone {name!r}" + (f"; nearest is {near[0]!r}" if near else ""))
        options: dict[str, Any] = {} if levels is None else {"out_indices": tuple(range(levels))}
        if name.startswith("swin"):
            options["strict_img_size"] = False  # windows and masks follow the image
        self.name = name
        self.features = timm.create_model(name, pretrained=False, features_only=True, in_chans=bands, **options)
        pyramid: Any = self.features.feature_info
        self.channels: tuple[int, ...] = tuple(pyramid.channels())
        self.strides: tuple[int, ...] = tuple(pyramid.reduction())
        if any(fine >= coarse for fine, coarse in zip(self.strides, self.strides[1:], strict=False)):
            raise ValueError(f"backbone {name!r} gives levels of strides {self.strides}, which is no pyramid")
        self.channels_last = str(getattr(self.features, "output_fmt", "NCHW")).endswith("NHWC")
        self.norms = nn.ModuleList(nn.LayerNorm(count) for count in self.channels) if self.channels_last else None

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of (B, bands, H, W), finest first: (B, channels[i], H / strides[i], W / strides[i])."""
        features: list[Tensor] = self.features(image)
        if self.norms is None:
            return features
        return [norm(level).permute(0, 3, 1, 2) for norm, level in zip(self.norms, features, strict=True)]


class SiameseEncoder(nn.Module):
    """One backbone with shared weights that looks at both dates.

    Where the dates differ in their number of bands, a 1x1 convolution per date first brings both to the larger
    number, since shared weights need a common input.

    Attributes:
        channels, strides: as of `Backbone`.
    """

    def __init__(
        self, backbone: str = "resnet18", bands_before: int = 3, bands_after: int = 3, levels: int | None = None
    ) -> None:
        """Builds it; arguments as of `Backbone`."""
        super().__init__()
        bands = max(bands_before, bands_after)
        alike = bands_before == bands_after
        self.adapt_before = nn.Identity() if alike else nn.Conv2d(bands_before, bands, 1)
        self.adapt_after = nn.Identity() if alike else nn.Conv2d(bands_after, bands, 1)
        self.backbone = Backbone(backbone, bands, levels)
        self.channels, self.strides = self.backbone.channels, self.backbone.strides

    def forward(self, before: Tensor, after: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Features of each date, finest first.

        Both dates pass as one batch of 2 B: the kernels are better filled, and batch normalisation learns one set of
        statistics that holds for both dates.
        """
        both = self.backbone(torch.cat([self.adapt_before(before), self.adapt_after(after)]))
        pairs = [level.chunk(2) for level in both]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
