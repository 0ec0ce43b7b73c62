"""`evaluate` where labels contradict each other: what is told, and what is scored."""

import numpy as np
from change_sets import write_masks, write_second

from cdengine.events import CollectSink, Reporter
from cdengine.inference.evaluate import evaluate

CLASSES = ("low", "middle", "high")


def test_a_class_at_one_date_only_is_not_scored(tmp_path):
    before, after = np.zeros((2, 40, 50), np.uint8)
    before[:10], after[:12] = 1, 2  # two rows contradict themselves
    write_second(tmp_path / "set", {"a": (before, after)})
    for index, date in enumerate((before, after), 1):
        write_masks(tmp_path / "out" / f"label{index}", {"a": date})
    sink = CollectSink()
    told = {"classes": CLASSES, "reporter": Reporter(sink)}
    result = evaluate(tmp_path / "set", "second", "all", predictions=tmp_path / "out", **told)
    assert result.protocol["contradicting_label_px"] == 2 * 50
    assert any(event.get("message", "").startswith("100 pixel(s) of 1 pair(s)") for event in sink.events)
    assert result.pooled["tp"] == 500 and result.pooled["f1"] == result.pooled["fscd"] == 1


def test_a_change_folder_decides_what_contradicts_itself(tmp_path):
    before, after = np.zeros((2, 40, 50), np.uint8)
    before[:10], after[:12] = 1, 2  # two rows contradict themselves
    change = np.zeros((40, 50), np.uint8)
    change[:9] = 1  # and one row disagrees with its classes
    write_second(tmp_path / "set", {"a": (before, after)})
    write_masks(tmp_path / "set" / "label", {"a": change})
    for index, date in enumerate((before, after), 1):
        write_masks(tmp_path / "out" / f"label{index}", {"a": date * change})
    sink = CollectSink()
    told = {"classes": CLASSES, "reporter": Reporter(sink)}
    result = evaluate(tmp_path / "set", "second", "all", predictions=tmp_path / "out", **told)
    assert (result.protocol["contradicting_label_px"], result.protocol["disagreeing_label_px"]) == (100, 50)
    one_date, unlike = [event["message"] for event in sink.events if event.get("level") == "warning"]
    assert one_date.startswith("100 pixel(s) of 1 pair(s)") and "the change labels decide" in one_date
    assert unlike.startswith("50 pixel(s) of 1 pair(s)") and "label1/a.png" in unlike
    assert (result.pooled["tp"], result.pooled["tn"]) == (450, 1550), "all pixels are scored, as the change label says"
