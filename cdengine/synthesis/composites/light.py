"""Where the sun and the camera stand at one date, and how bright a slope is in that light."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Light:
    """Sun and view of one date.

    Attributes:
        sun: unit vector towards the sun: right, down, up.
        ambient: skylight in proportion to sunlight.
        shade: brightness left in a cast shadow, red, green, blue.
        lean: displacement of a point in pixels per pixel of height, right and down.
        overcast: no cast shadows at all.
    """

    sun: tuple[float, float, float]
    ambient: float
    shade: tuple[float, float, float]
    lean: tuple[float, float]
    overcast: bool

    @staticmethod
    def sample(rng: np.random.Generator) -> Light:
        """A light by lot. The sun may stand anywhere: pairs are also turned and mirrored."""
        elevation, azimuth = math.radians(rng.uniform(25, 70)), rng.uniform(0, 2 * math.pi)
        depth, blue = rng.uniform(0.22, 0.65), rng.uniform(0.0, 0.1)
        lean, to = (0.0 if rng.random() < 0.35 else rng.uniform(0.03, 0.4)), rng.uniform(0, 2 * math.pi)
        flat = math.cos(elevation)
        return Light(
            sun=(flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)),
            ambient=rng.uniform(0.25, 0.8),
            shade=(depth * (1 - blue), depth, depth * (1 + blue)),
            lean=(lean * math.cos(to), lean * math.sin(to)),
            overcast=rng.random() < 0.08,
        )

    @property
    def reach(self) -> tuple[float, float]:
        """Displacement of the shadow per pixel of height, on the ground."""
        return -self.sun[0] / self.sun[2], -self.sun[1] / self.sun[2]

    def brightness(self, slope_x: float, slope_y: float) -> float:
        """Of a surface that falls by these slopes towards right and down, in proportion to flat ground."""
        length = math.sqrt(slope_x**2 + slope_y**2 + 1)
        facing = (self.sun[0] * slope_x + self.sun[1] * slope_y + self.sun[2]) / length
        direct = 0.0 if self.overcast else 1.0
        return (self.ambient + direct * max(0.0, facing)) / (self.ambient + direct * self.sun[2])
