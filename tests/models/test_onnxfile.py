"""Texts of an ONNX file, read without onnx; what onnx writes is the measure."""

import json

import onnx
import pytest
from model_files import card_for
from onnx import TensorProto, helper

from cdengine.errors import ModelCorruptError, ModelMetadataError, UnknownModelError
from cdengine.models.container import read_card
from cdengine.models.onnxfile import read_texts, stride_of_texts


def written(path, texts, weights=50_000):
    """An identity with a weight of some size, and texts."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [weights], [0.5] * weights)
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", values[:1], values[1:], [tensor])
    model = helper.make_model(graph, doc_string="ünïcode")
    helper.set_model_props(model, texts)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("texts", [{"a": "b"}, {"cdengine": "x" * 70_000, "é": ""}, {}])
def test_texts_are_those_that_onnx_wrote(texts, tmp_path):
    assert read_texts(written(tmp_path / "m.onnx", texts)) == texts


def test_card_of_an_exported_file(tmp_path):
    card = card_for("btc", (3, 4), license="CC0-1.0")
    path = written(tmp_path / "m.ONNX", {"cdengine": card.to_json(), "cdengine_stride": "16"})
    assert read_card(path) == card
    assert stride_of_texts(read_texts(path), path) == 16


def test_a_file_without_a_card_is_told(tmp_path):
    with pytest.raises(ModelMetadataError, match="cdengine export"):
        read_card(written(tmp_path / "m.onnx", {"author": "somebody"}))
    with pytest.raises(ModelMetadataError, match="schema"):
        read_card(written(tmp_path / "n.onnx", {"cdengine": json.dumps({"schema": 99})}))


@pytest.mark.parametrize("text", ["", "0", "-8", "1e3", "٣", "99999999999"])
def test_senseless_strides_are_told(text, tmp_path):
    with pytest.raises(ModelMetadataError, match="stride"):
        stride_of_texts({"cdengine_stride": text}, "m.onnx")


def test_other_files_are_refused(tmp_path):
    whole = written(tmp_path / "m.onnx", {"cdengine": card_for().to_json()}).read_bytes()
    damaged = {
        "empty": b"",
        "text": b"this is no model at all",
        "zip": b"PK\x03\x04" + bytes(100),
        "zeros": bytes(1000),
        "endless number": b"\x08" + b"\xff" * 40,
        "cut in the graph": whole[:5000],
        "cut in the card": whole[:-20],
        "only a version": b"\x08\x08",
        "huge length": b"\x08\x08\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(50),
        "group": b"\x08\x08\x0b" + bytes(50),
    }
    for name, payload in damaged.items():
        path = tmp_path / "d.onnx"
        path.write_bytes(payload)
        with pytest.raises(ModelCorruptError):
            read_card(path)
            pytest.fail(name)
    with pytest.raises(UnknownModelError):
        read_card(tmp_path / "nowhere.onnx")
    with pytest.raises(ModelCorruptError, match="folder"):
        read_card(tmp_path.rename(tmp_path.with_name("folder.onnx")))


def test_every_cut_of_a_small_file_ends_with_an_error(tmp_path):
    whole = written(tmp_path / "m.onnx", {"cdengine": card_for().to_json()}, weights=3).read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises((ModelCorruptError, ModelMetadataError)):
            read_card(path)
