import hashlib

import pytest
import torch
from model_files import card_for, container, trained
from safetensors.torch import load_file

from cdengine.errors import (
    ModelArchitectureError,
    ModelMetadataError,
    ModelWeightsError,
    NotSafetensorsError,
    OutputFolderError,
)
from cdengine.models.modelfile import load_model, save_model


@pytest.fixture
def weights(model_file):
    return load_file(model_file)


def card():
    return card_for().to_dict()


def test_loaded_module_is_ready_and_hashed(model_file):
    loaded = load_model(model_file)
    assert not loaded.module.training
    assert not any(weight.requires_grad for weight in loaded.module.parameters())
    assert loaded.sha256 == hashlib.sha256(model_file.read_bytes()).hexdigest()
    saved = trained(card_for()).state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in loaded.module.state_dict().items())


def test_saving_twice_gives_the_same_bytes(model_file, tmp_path):
    loaded = load_model(model_file)
    save_model(tmp_path / "again.safetensors", loaded.module, loaded.card)
    assert (tmp_path / "again.safetensors").read_bytes() == model_file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.safetensors"]


def test_half_precision_weights_become_float32(weights, tmp_path):
    half = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    module = load_model(container(half, card(), tmp_path / "m.safetensors")).module
    assert {value.dtype for value in module.parameters()} == {torch.float32}
    torch.testing.assert_close(module.head.weight, weights["head.weight"], atol=1e-3, rtol=1e-3)


def test_saved_in_half_precision(model_file, tmp_path):
    loaded = load_model(model_file)
    path = tmp_path / "half.safetensors"
    save_model(path, loaded.module, loaded.card, half=True)
    again = load_model(path)
    for name, value in loaded.module.state_dict().items():
        stored = again.module.state_dict()[name]
        assert stored.dtype == value.dtype
        assert torch.allclose(stored, value, rtol=1e-3, atol=1e-7)
    assert path.stat().st_size < 0.6 * model_file.stat().st_size


def test_missing_tensors_are_named_and_counted(weights, tmp_path):
    few = dict(list(weights.items())[:-7])
    with pytest.raises(ModelWeightsError, match=r"is missing.*and 2 more"):
        load_model(container(few, card(), tmp_path / "m.safetensors"))


def test_superfluous_tensor(weights, tmp_path):
    weights["extra.weight"] = torch.zeros(3)
    with pytest.raises(ModelWeightsError, match=r"extra\.weight is superfluous"):
        load_model(container(weights, card(), tmp_path / "m.safetensors"))


def test_misshaped_tensor(weights, tmp_path):
    weights["head.weight"] = torch.zeros(2, 16, 1, 1)
    with pytest.raises(ModelWeightsError, match=r"head\.weight is \[2, 16, 1, 1\] in place of \[1, 16, 1, 1\]"):
        load_model(container(weights, card(), tmp_path / "m.safetensors"))


def test_integers_in_place_of_weights(weights, tmp_path):
    weights["head.bias"] = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ModelWeightsError, match=r"head\.bias is I64"):
        load_model(container(weights, card(), tmp_path / "m.safetensors"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite(weights, tmp_path, value):
    weights["head.weight"][0, 3] = value
    with pytest.raises(ModelWeightsError, match=r"not finite: head\.weight"):
        load_model(container(weights, card(), tmp_path / "m.safetensors"))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"architecture": "fc-siam"}, ModelArchitectureError, "fc-siam-diff"),
        ({"arguments": {"widths": [65536] * 5}}, ModelArchitectureError, "parameters"),
        ({"arguments": {"backbone": "resnet34"}}, ModelWeightsError, "is missing"),
        ({"schema": 99}, ModelMetadataError, "update cdengine"),
    ],
)
def test_cards_that_do_not_fit(weights, tmp_path, change, error, said):
    with pytest.raises(error, match=said):
        load_model(container(weights, {**card(), **change}, tmp_path / "m.safetensors"))


def test_a_pickle_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "m.pt")
    with pytest.raises(NotSafetensorsError, match="import-weights"):
        load_model(tmp_path / "m.pt")


def test_saving_refuses_what_would_not_load(tmp_path):
    path, module = tmp_path / "m.safetensors", trained(card_for())
    with pytest.raises(ModelMetadataError, match="threshold"):
        save_model(path, module, card_for(threshold=2.0))
    with pytest.raises(ModelWeightsError, match="in place of"):
        save_model(path, module, card_for(bands=(4, 4)))
    with pytest.raises(OutputFolderError, match=r"must end in \.safetensors"):
        save_model(tmp_path / "m.pt", module, card_for())
    with pytest.raises(OutputFolderError, match="none"):
        save_model(tmp_path / "none" / "m.safetensors", module, card_for())
    module.head.bias.data.fill_(float("nan"))
    with pytest.raises(ModelWeightsError, match="not finite"):
        save_model(path, module, card_for())
    assert list(tmp_path.iterdir()) == []


def test_saving_over_a_model_keeps_the_old_one_until_the_end(model_file, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    path.write_bytes(model_file.read_bytes())

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputFolderError, match="No space left"):
        save_model(path, trained(card_for()), card_for())
    assert path.read_bytes() == model_file.read_bytes()
    assert [item.name for item in tmp_path.iterdir()] == ["m.safetensors"]
