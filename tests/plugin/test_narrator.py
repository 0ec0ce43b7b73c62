"""One bar over all stages: never back, no leaps, with names and time left."""

from conftest import HAS_QGIS

from qgis_plugin.engine.events import Progress

assert HAS_QGIS


def narrate(feedback, events, weights):
    from qgis_plugin.algorithms.narrator import Narrator

    narrator = Narrator(feedback, weights, {"detect": "Detecting changes"})
    for event in events:
        narrator(Progress(*event))
    return narrator


def test_shares_of_stages(qgis, feedback):
    weights = {"load model": 10.0, "detect": 70.0, "write": 20.0}
    narrate(
        feedback,
        [("load model", 1, 1, "model", None), ("detect", 35, 70, "px", 5.0), ("write", 1, 2, "px", 1.0)],
        weights,
    )
    assert [round(percent) for percent in feedback.percents] == [10, 45, 90]


def test_stages_nobody_foresaw_take_little_and_never_go_back(qgis, feedback):
    """A method's own stages come before `detect`; the bar does not jump to the end for them."""
    events = [
        ("statistics", 0, 10, "px", None), ("statistics", 10, 10, "px", 0.0),
        ("irmad iterations", 5, 50, "iterations", 4.0),
        ("detect", 0, 10, "px", None), ("detect", 10, 10, "px", 0.0),
        ("quicklook", 1, 1, "pictures", 0.0),
        ("write", 1, 1, "px", 0.0),
    ]  # fmt: skip
    narrate(feedback, events, {"detect": 80.0, "write": 20.0})
    assert feedback.percents == sorted(feedback.percents)
    assert max(feedback.percents[:3]) < 15 and feedback.percents[-1] > 99


def test_steps_of_a_chain(qgis, feedback):
    """Each step has its share of the bar, and the stages of its own kind of job inside."""
    from qgis_plugin.algorithms.narrator import Narrator

    narrator = Narrator(feedback, {"labels": 10.0, "epoch": 90.0}, steps={"vote": {"label": 80.0, "pictures": 20.0}})
    for stage, done in (
        ("a: b (1 of 4): labels", 1), ("a: b (1 of 4): epoch 5/10", 50), ("c (2 of 4): epoch 1/10", 0),
        ("vote (3 of 4): label", 50), ("vote (3 of 4): pictures", 50), ("d 4 of 4: epoch 10/10", 100),
    ):  # fmt: skip
        narrator(Progress(stage, done, 1 if stage.endswith("labels") else 100, "batches", None))
    quarters = [round(percent / 25, 2) for percent in feedback.percents]
    assert quarters == [0.1, 0.55, 1.1, 2.4, 2.9, 4.0]
    assert feedback.texts[1] == "a: b (1 of 4): Epoch 5/10: 50 % of 100 batches"


def test_words(qgis, feedback, monkeypatch):
    from qgis_plugin.algorithms import narrator

    now = iter(range(0, 1000, 4))
    monkeypatch.setattr(narrator.time, "monotonic", lambda: float(next(now)))
    events = [("detect", done, 100e6, "px", 300.0 - done / 1e6) for done in (0, 10e6, 20e6, 30e6, 40e6)]
    narrate(feedback, events, {"detect": 1.0})
    assert feedback.texts[0] == "Detecting changes"
    assert feedback.texts[1:] == ["Detecting changes: 30 % of 100.0 Mpx, 4 min left"], "not at every event"


def test_empty_stage(qgis, feedback):
    narrate(feedback, [("write polygons", 0, 0, "polygons", None)], {"write polygons": 1.0})
    assert feedback.texts == ["Write polygons"] and set(feedback.percents) <= {0.0}


def test_steps_that_cannot_be_measured_tell_the_time(qgis, feedback, monkeypatch):
    from qgis_plugin.algorithms import narrator

    now = iter(range(0, 1000, 6))
    monkeypatch.setattr(narrator.time, "monotonic", lambda: float(next(now)))
    events = [("load model", done, 1, "model", None) for done in (0, 0, 0, 0, 1)]
    narrate(feedback, events, {"load model": 1.0})
    assert feedback.texts == ["Load model", "Load model: 12 s so far"], "neither 0 of 1 models nor every event"
