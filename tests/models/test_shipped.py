import hashlib

import pytest

from cdengine.errors import ModelHashError, UnknownModelError
from cdengine.models import shipped
from cdengine.models.container import read_card
from cdengine.models.shipped import SHIPPED, ShippedModel, shipped_path


def test_every_shipped_model_is_whole_and_says_what_the_table_says():
    for name, model in SHIPPED.items():
        card = read_card(shipped_path(name))
        assert (card.name, card.task) == (name, model.task)


def test_unknown_name_altered_file_and_missing_file(tmp_path, monkeypatch):
    content = b"weights"
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    monkeypatch.setitem(SHIPPED, "rgb", ShippedModel("rgb.safetensors", "binary", hashlib.sha256(content).hexdigest()))
    with pytest.raises(UnknownModelError, match="nearest is 'rgb'"):
        shipped_path("rgbb")
    with pytest.raises(ModelHashError, match="missing"):
        shipped_path("rgb")
    (tmp_path / "rgb.safetensors").write_bytes(content)
    assert shipped_path("rgb") == tmp_path / "rgb.safetensors"
    (tmp_path / "rgb.safetensors").write_bytes(content + b"x")
    with pytest.raises(ModelHashError, match="altered"):
        shipped_path("rgb")
