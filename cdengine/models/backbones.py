"""Feature pyramids from timm for any number of bands, and the Siamese encoder that most architectures begin with."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

import timm
import torch
from torch import Tensor, nn

from cdengine.models.layers import halves

# Names that timm lacks for networks that it can build.
# ResNet v1c: three 3x3 convolutions in place of the 7x7 one (He et al. 2019, "Bag of Tricks", figure 2b).
# Mix transformers (Xie et al. 2021, SegFormer, table 6): what timm calls PVT v2, with these widths, depths and ratios.
_MIX = {"num_heads": (1, 2, 5, 8), "mlp_ratios": (4, 4, 4, 4)}
OWN_NAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet18c": ("resnet18", {"stem_type": "deep", "stem_width": 32}),
    "mit_b0": ("pvt_v2_b0", {**_MIX, "depths": (2, 2, 2, 2)}),
    "mit_b1": ("pvt_v2_b1", {**_MIX, "depths": (2, 2, 2, 2)}),
    "mit_b2": ("pvt_v2_b2", {**_MIX, "depths": (3, 4, 6, 3)}),
    "mit_b3": ("pvt_v2_b3", {**_MIX, "depths": (3, 4, 18, 3)}),
    "mit_b4": ("pvt_v2_b4", {**_MIX, "depths": (3, 8, 27, 3)}),
    "mit_b5": ("pvt_v2_b5", {**_MIX, "depths": (3, 6, 40, 3)}),
}


class Backbone(nn.Module):
    """A timm feature extractor with randomly initialised weights.

    Nothing is ever fetched: weights come from the model file, from training, or from `pretrained.load_backbone`. Swin
    transformers leave their levels unnormalised; here each level has a layer normalisation behind it, as where they
    are used for segmentation (Liu et al. 2021, section 4.3).

    Attributes:
        name: as asked for.
        timm_name: of timm's list.
        channels: number of channels of each level, finest first.
        strides: pixels of the input per feature pixel of each level, increasing.
    """

    def __init__(
        self,
        name: str = "resnet18",
        bands: int = 3,
        levels: int | None = None,
        output_stride: int = 32,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Builds it.

        Args:
            name: of timm's list, or one of `OWN_NAMES`: resnet18c, mit_b0 to mit_b5.
            bands: of the image.
            levels: how many levels exist, counted from the finest; None: all. Stages behind them are not built.
            output_stride: 32, or 16 or 8: then the deepest stages are dilated in place of strided (ResNets).
            options: further arguments of the timm model, for architectures with sizes of their own.

        Raises:
            ValueError: there is no such backbone, it gives no pyramid (plain vision transformers), or not so many
                levels.
        """
        super().__init__()
        self.name = name
        self.timm_name, settings = _settings(name)
        settings.update(options or {})
        if levels is not None:
            settings["out_indices"] = tuple(range(levels))
        if output_stride != 32:
            settings["output_stride"] = output_stride
        self.features = timm.create_model(
            self.timm_name, pretrained=False, features_only=True, in_chans=bands, **settings
        )
        ends, blocks = getattr(self.features, "_stage_out_idx", None), getattr(self.features, "blocks", None)
        if isinstance(ends, dict) and isinstance(blocks, nn.Sequential):
            self.features.blocks = blocks[: max(ends)]  # timm leaves EfficientNets' unused stages there
        pyramid: Any = self.features.feature_info
        self.channels: tuple[int, ...] = tuple(pyramid.channels())
        self.strides: tuple[int, ...] = tuple(pyramid.reduction())
        dilated = output_stride != 32
        if any(fine > coarse or (fine == coarse and not dilated) for fine, coarse in pairwise(self.strides)):
            raise ValueError(f"backbone {name!r} gives levels of strides {self.strides}, which is no pyramid")
        channels_last = str(getattr(self.features, "output_fmt", "NCHW")).endswith("NHWC")
        self.norms = nn.ModuleList(nn.LayerNorm(count) for count in self.channels) if channels_last else None

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of (B, bands, H, W), finest first: (B, channels[i], H / strides[i], W / strides[i])."""
        features: list[Tensor] = self.features(image)
        if self.norms is None:
            return features
        return [norm(level).permute(0, 3, 1, 2) for norm, level in zip(self.norms, features, strict=True)]

    def stages(self) -> list[list[nn.Module]]:
        """The modules that lead from one level to the next, in order, for networks that act between levels.

        Raises:
            ValueError: timm gives this backbone's levels only all at once, or channels last.
        """
        ends: Any = getattr(self.features, "return_layers", None)
        if not isinstance(self.features, nn.ModuleDict) or not isinstance(ends, dict) or self.norms is not None:
            raise ValueError(f"backbone {self.name!r} does not let its stages run one by one; take a ResNet or mit_b0")
        groups: list[list[nn.Module]] = [[]]
        for name, module in self.features.items():
            groups[-1].append(module)
            if name in ends:
                groups.append([])
        return groups[: len(self.channels)]


class SiameseEncoder(nn.Module):
    """One backbone with shared weights that looks at both dates.

    Where the dates differ in their number of bands, a 1x1 convolution per date first brings both to the larger
    number, since shared weights need a common input.

    Attributes:
        channels, strides: as of `Backbone`.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        bands_before: int = 3,
        bands_after: int = 3,
        levels: int | None = None,
        output_stride: int = 32,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Builds it; arguments as of `Backbone`."""
        super().__init__()
        bands = max(bands_before, bands_after)
        alike = bands_before == bands_after
        self.adapt_before = nn.Identity() if alike else nn.Conv2d(bands_before, bands, 1)
        self.adapt_after = nn.Identity() if alike else nn.Conv2d(bands_after, bands, 1)
        self.backbone = Backbone(backbone, bands, levels, output_stride, options)
        self.channels, self.strides = self.backbone.channels, self.backbone.strides

    def forward(self, before: Tensor, after: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Features of each date, finest first.

        Both dates pass as one batch of 2 B: the kernels are better filled, and batch normalisation learns one set of
        statistics that holds for both dates.
        """
        return split_dates(self.backbone(self.join(before, after)))

    def join(self, before: Tensor, after: Tensor) -> Tensor:
        """Both dates as one batch (2 B, bands, H, W), the first date first."""
        return torch.cat([self.adapt_before(before), self.adapt_after(after)])


def split_dates(levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Levels of (2 B, C, H, W) to those of each date."""
    pairs = [halves(level) for level in levels]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _settings(name: str) -> tuple[str, dict[str, Any]]:
    """Name in timm's list and the arguments that the backbone needs besides."""
    if name in OWN_NAMES:
        base, settings = OWN_NAMES[name]
        return base, dict(settings)
    # Only names of timm's own list: create_model would take "hf-hub:…" and "local-dir:…" from a stranger's card.
    names = timm.list_models()
    if name not in names:
        near = get_close_matches(name, [*names, *OWN_NAMES], 1)
        raise ValueError(f"timm has no backbone {name!r}" + (f"; nearest is {near[0]!r}" if near else ""))
    # Windows and masks of Swin transformers follow the image only when told so.
    return name, {"strict_img_size": False} if name.startswith("swin") else {}
