"""Lightning without its own words: it logs, hints and warns in many places; ours are events."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning_utilities")
# Hints that do not apply, each with why.
HINTS = (
    # data.workers is the user's choice, and 0 is right for small sets
    r"The '\w+' does not have many workers",
    # every epoch has a loader of its own, which is how interrupted epochs go on
    r"Consider setting `persistent_workers=True`",
    # the averaged copy of the network is in eval mode on purpose
    r"Found \d+ module\(s\) in eval mode at the start of training",
    # fewer validation pairs than processes are no fault
    r"Total length of `\w+` across ranks is zero",
    # Lightning 2.6 still builds what torch 2.9 deprecated: https://github.com/Lightning-AI/pytorch-lightning/issues/21326
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    # devices are named in our log
    r"GPU available but not used",
    r"MPS available but not used",
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Within the block Lightning logs errors alone and its hints above are not given."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for hint in HINTS:
                warnings.filterwarnings("ignore", message=hint)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
