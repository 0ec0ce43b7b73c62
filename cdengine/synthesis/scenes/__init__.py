"""Procedural overhead scenes: two dates of a place, with the truth about what changed."""

from cdengine.synthesis.scenes.classes import CLASSES, SceneClass
from cdengine.synthesis.scenes.pair import ScenePair, render_pair, write_pair
from cdengine.synthesis.scenes.style import NO_CHANGE, TYPICAL, ChangeRates, DateStyle, SceneStyle

__all__ = [
    "CLASSES",
    "NO_CHANGE",
    "TYPICAL",
    "ChangeRates",
    "DateStyle",
    "SceneClass",
    "ScenePair",
    "SceneStyle",
    "render_pair",
    "write_pair",
]
