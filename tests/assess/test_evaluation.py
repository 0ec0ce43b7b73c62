"""The page of an evaluation: whole, escaped, and without anything from elsewhere."""

import numpy as np

from cdengine.assess.curves import Curves
from cdengine.assess.evaluation import EvaluationPage, write_evaluation


def page(**changes):
    curves = Curves()
    rng = np.random.default_rng(1)
    truth = (rng.random((50, 50)) < 0.2).astype(np.uint8)
    curves.add(np.clip(rng.normal(0.3 + 0.3 * truth, 0.1), 0, 1), truth)
    figures = {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "ap": 0.4}
    values = {
        "title": "Evaluation on <b>set</b>",
        "lead": "Of 10 changed pixels …",
        "rows": {"a <model>, all pixels": figures, "mean of images": figures},
        "images": [{"name": "x&y", **figures, "tp": 1}],
        "pictures": [("<script>", b"\xff\xd8\xff")],
        "classes": [("wood & water", (1, 2, 3))],
        "transitions": {"labelled": [[5]], "predicted": [[4]], "right": [[3]]},
        "curves": curves,
        "threshold": 0.5,
        "protocol": {"split": "test<"},
        "notes": ["note"],
        "footer": "cdengine",
    }
    return EvaluationPage(**{**values, **changes})


def test_everything_is_there_and_escaped(tmp_path):
    write_evaluation(tmp_path / "page.html", page())
    text = (tmp_path / "page.html").read_text()
    for part in ("0.3333", "threshold 0.5", "data:image/jpeg;base64,/9j/", "5 / 4 / 3", "wood &amp; water", "x&amp;y"):
        assert part in text
    for raw in ("<script>", "<b>set", "<model>", "test<<", "http://", "https://"):
        assert raw not in text
    assert "NaN" not in text and "nan" not in text.split("<body>")[1]


def test_an_empty_evaluation_is_a_page_too(tmp_path):
    empty = page(rows={"m": {}}, images=[], pictures=[], classes=[], transitions={}, curves=None, notes=[])
    write_evaluation(tmp_path / "page.html", empty)
    assert "How it was measured" in (tmp_path / "page.html").read_text()
