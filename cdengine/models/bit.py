"""BIT: both dates as a few semantic tokens, related by a transformer and projected back onto the pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from cdengine.models.backbones import SiameseEncoder
from cdengine.models.layers import conv_norm_relu, halves, upsample


class BIT(nn.Module):
    """Bitemporal image transformer.

    Source: Chen, Qi & Shi 2021, "Remote Sensing Image Change Detection with Transformers", IEEE TGRS, arXiv
    2103.00208, figure 2; sizes of BIT_S4: ResNet-18 up to its stage of 256 channels with stride 8, 32 channels, four
    tokens a date, one encoder and eight decoder layers of eight heads.

    What differs: one logit with a sigmoid stands for the paper's two with a softmax; the features are enlarged
    bilinearly before their projection to 32 channels. The authors' release has a variant with decoder heads of 8
    channels ("dedim8"): `decoder_head_width=8`.

    Attributes:
        stride: heights and widths must be multiples of it.
    """

    def __init__(
        self,
        bands_before: int = 3,
        bands_after: int = 3,
        backbone: str = "resnet18",
        levels: int = 4,
        width: int = 32,
        tokens: int = 4,
        encoder_depth: int = 1,
        decoder_depth: int = 8,
        heads: int = 8,
        head_width: int = 64,
        decoder_head_width: int = 64,
    ) -> None:
        """Builds the network with random weights.

        Args:
            bands_before: bands of the first date.
            bands_after: bands of the second date.
            backbone: name of a timm model that gives a feature pyramid and can be dilated.
            levels: how many of its levels exist; the last one, at stride 8, is used. ResNet-18: 3 is BIT_S3, 4 is
                BIT_S4, 5 is BIT_S5.
            width: channels of the features and tokens.
            tokens: of each date.
            encoder_depth: layers in which all tokens attend to each other.
            decoder_depth: layers in which the pixels attend to their date's tokens.
            heads: of every attention.
            head_width: channels of each head in the encoder.
            decoder_head_width: channels of each head in the decoder.
        """
        super().__init__()
        self.encoder = SiameseEncoder(backbone, bands_before, bands_after, levels, output_stride=8)
        self.stride = self.encoder.strides[-1]
        self.project = nn.Conv2d(self.encoder.channels[-1], width, 3, padding=1)
        self.tokenise = nn.Conv2d(width, tokens, 1, bias=False)
        self.position = nn.Parameter(torch.randn(1, 2 * tokens, width))
        self.relate = nn.ModuleList(Layer(width, heads, head_width) for _ in range(encoder_depth))
        self.refine = nn.ModuleList(Layer(width, heads, decoder_head_width) for _ in range(decoder_depth))
        self.head = nn.Sequential(conv_norm_relu(width, width), nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits of change.

        Args:
            before: (B, bands_before, H, W), normalised.
            after: (B, bands_after, H, W), normalised.

        Returns:
            (B, 1, H, W).
        """
        coarse = self.encoder.backbone(self.encoder.join(before, after))[-1]
        features = self.project(upsample(coarse, 2))
        pixels = features.flatten(2)
        shares = self.tokenise(features).flatten(2).softmax(-1)
        tokens = shares @ pixels.transpose(1, 2)
        together = torch.cat(halves(tokens), 1) + self.position
        for layer in self.relate:
            together = layer(together, together)
        tokens = torch.cat(together.chunk(2, 1))
        refined = pixels.transpose(1, 2)
        for layer in self.refine:
            refined = layer(refined, tokens)
        first, second = halves(torch.unflatten(refined.transpose(1, 2), 2, features.shape[2:]))
        logits: Tensor = self.head(upsample(torch.abs(first - second), self.stride // 2))
        return logits


class Layer(nn.Module):
    """A transformer layer with normalisation in front: `queries` attend to `memory`, then a perceptron.

    What attends to itself passes one normalisation, as does what attends to something else (equations 4 and 7).
    """

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.scale = width**-0.5  # of the authors' release; the paper's equation 3 has the head's width
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, inner, bias=False)
        self.key = nn.Linear(width, inner, bias=False)
        self.value = nn.Linear(width, inner, bias=False)
        self.out = nn.Linear(inner, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """(B, N, width) and (B, M, width) to (B, N, width)."""
        asked, known = self.norm(queries), self.norm(memory)
        query, key, value = (
            torch.unflatten(layer(x), 2, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, asked), (self.key, known), (self.value, known))
        )
        seen = functional.scaled_dot_product_attention(query, key, value, scale=self.scale)
        found = queries + self.out(seen.transpose(1, 2).flatten(2))
        layered: Tensor = found + self.mlp(found)
        return layered
