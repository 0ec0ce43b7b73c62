"""`cdengine:detectwithoutmodel`: the main job by statistics of the two images alone."""

from __future__ import annotations

from . import shared
from .detection import Detection, with_fields


class DetectWithoutModel(Detection):
    """As detect, with a method in place of a model."""

    ID = "detectwithoutmodel"
    TITLE = "Detect changes without a model"
    ICON = "nomodel.svg"
    SUMMARY = "Finds what changed between two images by their statistics alone: no training, any bands, any sensor."
    HELP = (
        "These methods find every difference in the pixels, season and light included. With fewer and larger changes "
        "of interest, a smallest polygon of some hundred square metres helps.",
        "The threshold is found from the images unless you give one. The probability is 0.5 at the threshold.",
        "Radar images: log-ratio. Multispectral images: irmad.",
    )
    TAGS = ("irmad", "mad", "cva", "pca", "sfa", "log-ratio", "sar", "radar", "unsupervised", "statistics")
    FIELDS = with_fields(shared.METHOD, trained=False)
