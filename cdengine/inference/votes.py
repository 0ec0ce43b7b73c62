"""Classes for pixels that did not change, by the vote of several models.

Source: SenseEarth 2020 (Yang, Xia & others), report and slides: each member labels an unchanged pixel only where the
classes that it sees at both dates agree; then the majority counts. What differs: a tie of the most votes, be it with
those who abstain or between classes, leaves the pixel unlabelled (the authors' goes to the lowest index).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

ABSTAINED = 0  # of votes and labels; class c is c + 1


def vote(probabilities: Array, unchanged: Array, least: float = 0.0) -> Array:
    """One member's vote for every pixel.

    Args:
        probabilities: float32 (1 + 2 K, H, W): of change, of the K classes before, of those after.
        unchanged: bool (H, W): pixels to vote on.
        least: probability that the class must have at both dates; below it the member abstains.

    Returns:
        uint8 (H, W): 1 … K where both dates' most probable classes agree, else 0.
    """
    before, after = np.split(probabilities[1:], 2)
    first, second = before.argmax(axis=0), after.argmax(axis=0)
    sure = unchanged & (first == second)
    if least > 0:
        sure &= (before.max(axis=0) >= least) & (after.max(axis=0) >= least)
    return np.where(sure, first + 1, ABSTAINED).astype(np.uint8)


def majority(votes: Sequence[Array], classes: int) -> Array:
    """What most members say.

    Args:
        votes: uint8 (H, W) of each member, see `vote`.
        classes: K.

    Returns:
        uint8 (H, W): the one answer with the most votes; 0 where that is to abstain, or where two have as many.
    """
    most = np.zeros(votes[0].shape, np.uint8)
    winner = np.zeros(votes[0].shape, np.uint8)
    for answer in range(classes + 1):
        count = np.zeros(votes[0].shape, np.uint8)
        for member in votes:
            count += member == answer
        winner[count > most] = answer
        winner[(count == most) & (most > 0)] = ABSTAINED
        np.maximum(most, count, out=most)
    return winner


def agreement(votes: Sequence[Array], unchanged: Array) -> float:
    """Pixels on which two members say the same (to abstain is an answer too), mean over all pairs of members.

    With one member: all pixels.
    """
    pairs = [(one, other) for at, one in enumerate(votes) for other in votes[at + 1 :]]
    if not pairs:
        return float(np.count_nonzero(unchanged))
    return float(np.mean([np.count_nonzero((one == other) & unchanged) for one, other in pairs]))
