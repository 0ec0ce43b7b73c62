"""Parameters and multiply–adds of every architecture against what its authors publish.

One row per published figure, 3 bands a date. A figure counts as met within 2 % and half of its last digit, since
"0.23" may stand for anything from 0.225 to 0.235. Where the published network has parameters that this one is without,
`besides` tells their number and why. How multiply–adds were counted is said per row: see `counting.CONVENTIONS`.
"""

from decimal import Decimal
from typing import NamedTuple

import pytest
import torch
from counting import multiply_adds

from cdengine.models.zoo import build_meta

TOLERANCE = 0.02


class Published(NamedTuple):
    """One network as published.

    Attributes:
        architecture: name in the zoo.
        arguments: that make the published network.
        parameters: millions, as printed; None where not told.
        macs: multiply–adds of one pair in 10⁹, as printed; None where not told.
        size: side of the square images.
        convention: how `macs` was counted.
        source: where the figures stand.
        besides: parameters that the published count has and this network has not.
    """

    architecture: str
    arguments: dict
    parameters: str | None
    macs: str | None
    size: int
    convention: str
    source: str
    besides: int = 0


# The head of two classes, where one logit stands here, has so few parameters that no row needs to tell them.
AUXILIARY_FCN = 24 * 24 * 9 + 2 * 24 + 24 * 2 + 2  # convolution, normalisation and head on LightCDNet's fused features
LIGHT = "Xing 2023, table of the authors' README; counted by mmcv 1"
TINY2 = "README of TinyCDv2 in Open-CD, by its authors; counted by mmcv 1"
SNU = "counted by thop, as the authors of SNUNet say they do (Siam-NestedUNet, issues 7 and 36)"
# The BIT paper's table of efficiency tells half the multiply–adds of a pair, for STANet and BIT alike: one date's.
ONE_DATE = "Chen 2021, table of model efficiency; multiply–adds twice the figure, which is for one date"
# BIT's parameters are those with heads of 64 channels, its multiply–adds those with the release's heads of 8.
DING = "Ding 2022, table of complexities"
CHANGEFORMER = "authors' release, version 6, as counted in the literature with thop"

PUBLISHED = [
    Published("fc-ef", {}, "1.35", None, 256, "exact", "the authors' code, counted in End-to-end-CD, issue 9"),
    Published("fc-siam-conc", {}, "1.55", "5.33", 256, "thop", SNU),
    Published("fc-siam-diff", {"backbone": None}, "1.35", "4.73", 256, "thop", SNU),
    Published("snunet", {"width": 16}, None, "13.78", 256, "thop", SNU),
    Published("snunet", {}, "12.03", "54.83", 256, "thop", SNU),
    Published("tinycd", {}, "0.28", None, 256, "mmcv", "Codegoni 2022, as Papers with Code lists it"),
    Published("tinycd", {"variant": "v2-s"}, "0.045", "0.23", 256, "mmcv", TINY2),
    Published("tinycd", {"variant": "v2-b"}, "0.116", "0.58", 256, "mmcv", TINY2),
    Published("tinycd", {"variant": "v2-l"}, "0.263", "1.51", 256, "mmcv", TINY2),
    Published("lightcdnet", {"size": "s"}, "0.35", "1.65", 256, "mmcv", LIGHT, AUXILIARY_FCN),
    Published("lightcdnet", {"size": "b"}, "1.32", "3.22", 256, "mmcv", LIGHT, AUXILIARY_FCN),
    Published("lightcdnet", {"size": "l"}, "2.82", "5.94", 256, "mmcv", LIGHT, AUXILIARY_FCN),
    Published("stanet", {}, "16.93", "13.16", 256, "thop", ONE_DATE),
    Published("bit", {}, "3.55", None, 256, "thop", ONE_DATE),
    Published("bit", {"decoder_head_width": 8}, None, "8.70", 256, "thop", ONE_DATE),
    Published("changeformer", {}, "41.03", "202.79", 256, "thop", CHANGEFORMER),
    Published("changer", {"backbone": "resnet18c"}, "11.39", None, 512, "mmcv", "Fang 2023"),
    Published("changer", {"backbone": "mit_b0"}, "3.46", None, 512, "mmcv", "Fang 2023"),
    Published("bisrnet", {"classes": 7}, "23.39", "189.91", 512, "thop", DING),
]


def meets(figure, printed):
    """Within the tolerance of what a printed number can stand for."""
    number = Decimal(printed)
    half_digit = float(Decimal(5).scaleb(number.as_tuple().exponent - 1))
    return abs(figure - float(number)) <= TOLERANCE * float(number) + half_digit


def ident(row):
    return " ".join([row.architecture, *(f"{key}={value}" for key, value in row.arguments.items())])


@pytest.mark.parametrize("row", PUBLISHED, ids=ident)
def test_parameters(row):
    if row.parameters is None:
        pytest.skip("not published")
    module = build_meta(row.architecture, row.arguments)
    count = sum(weight.numel() for weight in module.parameters()) + row.besides
    assert meets(count / 1e6, row.parameters), f"{count / 1e6:.4f} M in place of {row.parameters} M ({row.source})"


@pytest.mark.parametrize("row", PUBLISHED, ids=ident)
def test_multiply_adds(row):
    if row.macs is None:
        pytest.skip("not published")
    module = build_meta(row.architecture, row.arguments)
    images = torch.empty(2, 1, 3, row.size, row.size, device="meta")
    macs = multiply_adds(module, *images, convention=row.convention) / 1e9
    assert meets(macs, row.macs), f"{macs:.4f} G in place of {row.macs} G ({row.source})"
