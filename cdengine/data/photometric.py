"""Light, season and sensor: random changes of one date's values, in stored units of any type and band count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image, JpegImagePlugin
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]
Ranges = Sequence[tuple[float, float]] | None

OFTEN, SELDOM = 0.8, 0.2  # probabilities of a change of tone, and of each defect (blur, noise, JPEG)


@dataclass(frozen=True)
class Photometric:
    """Largest amounts; 0 leaves a step out. Values are thought of as 0 … 1 over the band's range.

    Attributes:
        brightness: added to all bands.
        contrast: factor about the mean, 1/(1+c) … 1+c.
        gamma: exponent, 1/(1+g) … 1+g.
        colour: factor and addition of each band by itself.
        blur: standard deviation of a Gaussian in pixels.
        noise: standard deviation of Gaussian noise.
        jpeg: lowest quality, 8-bit imagery of one or three bands only.
    """

    brightness: float = 0.15
    contrast: float = 0.3
    gamma: float = 0.3
    colour: float = 0.08
    blur: float = 1.2
    noise: float = 0.03
    jpeg: int = 50

    def __call__(self, image: Tensor, ranges: Ranges, rng: np.random.Generator) -> Tensor:
        """A changed copy.

        Args:
            image: (C, H, W), stored units; uint8 or float32.
            ranges: low and high of each band; None: 0 and 255.
            rng: where randomness comes from. As many numbers are taken from it whatever happens, but for noise.

        Returns:
            (C, H, W) of the same dtype; uint8 within 0 … 255.
        """
        plain = image.as_subclass(Tensor)
        tone, blur, noise, jpeg = rng.random(4)
        amounts = rng.uniform(-1, 1, 3 + 2 * len(plain))
        sigma, strength, quality = rng.uniform(0.3, 1), rng.random(), int(rng.integers(min(self.jpeg, 95), 96))
        low, high = _limits(ranges, len(plain))
        if tone < OFTEN:
            plain = self._toned(plain, low, high, amounts)
        if self.blur > 0 and blur < SELDOM:
            plain = blurred(plain, self.blur * sigma)
        if self.noise > 0 and noise < SELDOM:
            grain = torch.from_numpy(rng.standard_normal(plain.shape, np.float32))
            plain = _stored(plain + grain * ((high - low) * self.noise * strength).view(-1, 1, 1), plain.dtype)
        if self.jpeg > 0 and jpeg < SELDOM and plain.dtype == torch.uint8 and len(plain) in (1, 3):
            plain = compressed(plain, quality)
        return plain

    def _toned(self, image: Tensor, low: Tensor, high: Tensor, amounts: Array) -> Tensor:
        """Brightness, contrast, gamma and colour at once; of bytes by a table, which has but 256 entries."""
        bands = len(image)
        if image.dtype == torch.uint8:
            table = torch.arange(256, dtype=torch.float32).expand(bands, 256)
            middle = image.reshape(bands, -1)[:, ::7].float().mean(1)
            toned = _stored(self._tone(table, low, high, middle, amounts), torch.uint8).numpy()
            looked_up = [np.take(entries, band) for entries, band in zip(toned, image.numpy(), strict=True)]
            return torch.from_numpy(np.stack(looked_up))
        flat = image.reshape(bands, -1)
        middle = flat[:, ::7].mean(1)
        return self._tone(flat, low, high, middle, amounts).view_as(image).to(image.dtype)

    def _tone(self, values: Tensor, low: Tensor, high: Tensor, middle: Tensor, amounts: Array) -> Tensor:
        bands = len(values)
        share = torch.as_tensor(amounts, dtype=torch.float32)
        span = (high - low).view(-1, 1)
        x = (values - low.view(-1, 1)) / span
        centre = (middle.view(-1, 1) - low.view(-1, 1)) / span
        exponent = (1 + self.gamma) ** float(share[0])
        x = x.sign() * x.abs() ** exponent
        centre = centre.sign() * centre.abs() ** exponent
        gain = (1 + self.contrast) ** float(share[1]) * (1 + self.colour * share[3 : 3 + bands].view(-1, 1))
        offset = self.brightness * share[2] + self.colour * share[3 + bands :].view(-1, 1)
        toned: Tensor = ((x - centre) * gain + centre + offset) * span + low.view(-1, 1)
        return toned


def compressed(image: Tensor, quality: int) -> Tensor:
    """What JPEG makes of an image (C, H, W) uint8, C = 1 or 3; by Pillow, since torchvision gives its codec up."""
    stream = BytesIO()
    array = image.permute(1, 2, 0).numpy()
    Image.fromarray(array[..., 0] if len(image) == 1 else np.ascontiguousarray(array)).save(
        stream, "JPEG", quality=quality
    )
    stream.seek(0)
    pixels = np.array(JpegImagePlugin.JpegImageFile(stream))
    return torch.from_numpy(np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)))


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur (C, H, W) along rows and columns, edges repeated."""
    radius = max(1, int(3 * sigma + 0.5))
    at = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel /= kernel.sum()
    values = image.float().unsqueeze(1)
    values = torch.nn.functional.pad(values, [radius] * 4, mode="replicate")
    values = torch.nn.functional.conv2d(values, kernel.view(1, 1, -1, 1))
    values = torch.nn.functional.conv2d(values, kernel.view(1, 1, 1, -1))
    return _stored(values.squeeze(1), image.dtype)


def _limits(ranges: Ranges, bands: int) -> tuple[Tensor, Tensor]:
    pairs = torch.tensor(ranges if ranges is not None else [(0.0, 255.0)] * bands, dtype=torch.float32)
    return pairs[:, 0], pairs[:, 1]


def _stored(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values.round().clamp(0, 255).to(dtype) if dtype == torch.uint8 else values.to(dtype)
