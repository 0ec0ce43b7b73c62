"""Names of the architectures, without their code, so that listing them does not cost an import of torch.

`zoo.ARCHITECTURES` has the constructors; a test holds the two equal.
"""

from __future__ import annotations

ARCHITECTURE_NAMES: tuple[str, ...] = (
    "bisrnet",
    "bit",
    "btc",
    "changeformer",
    "changer",
    "changestar",
    "fc-ef",
    "fc-siam-conc",
    "fc-siam-diff",
    "lightcdnet",
    "senseearth",
    "snunet",
    "stanet",
    "tinycd",
)
