"""Weights for backbones from files of timm's naming."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from cdengine.errors import ModelWeightsError, NotSafetensorsError
from cdengine.models.backbones import Backbone, SiameseEncoder
from cdengine.models.pretrained import adapt_bands, fetch_backbone, load_backbone
from cdengine.models.zoo import build


def timm_file(name, folder, **options):
    torch.manual_seed(5)
    model = timm.create_model(name, pretrained=False, **options)
    save_file(model.state_dict(), folder / f"{name}.safetensors")
    return model, folder / f"{name}.safetensors"


# Flattened names (convnext, pvt), plain ones, and a backbone whose last stage is not built.
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "pvt_v2_b0", "efficientnet_b0", "regnety_002"])
def test_timm_files_give_timm_features(name, tmp_path):
    model, path = timm_file(name, tmp_path)
    encoder = SiameseEncoder(name, levels=3)
    load_backbone(encoder, path)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        wanted = model.eval().forward_intermediates(image, indices=[0, 1, 2], intermediates_only=True)
        found, _ = encoder.eval()(image, image)
    for got, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("bands", [1, 4, 13])
def test_first_convolution_is_adapted_to_the_bands(bands, tmp_path):
    model, path = timm_file("resnet18", tmp_path)
    network = build("btc", {"bands_before": bands, "bands_after": bands})
    assert load_backbone(network, path) > 50
    kernel = network.encoder.backbone.features.conv1.weight
    assert torch.equal(kernel, adapt_bands(model.conv1.weight, bands))
    assert torch.equal(network.encoder.backbone.features.layer1[0].conv1.weight, model.layer1[0].conv1.weight)


def test_adapted_kernels_keep_the_response_to_grey():
    kernel = torch.randn(8, 3, 7, 7)
    assert adapt_bands(kernel, 3) is kernel
    torch.testing.assert_close(adapt_bands(kernel, 1).sum(1), kernel.sum(1))
    torch.testing.assert_close(adapt_bands(kernel, 6).sum(1), kernel.sum(1))
    torch.testing.assert_close(adapt_bands(kernel, 4)[:, 3], kernel[:, 0] * 0.75)


def test_weights_of_a_network_of_ours_serve_as_well(tmp_path):
    torch.manual_seed(1)
    trained, fresh = build("btc", {}), build("stanet", {"attention": "none"})
    save_file(trained.state_dict(), tmp_path / "n.safetensors")
    with pytest.raises(ModelWeightsError, match="not the weights of resnet18"):
        load_backbone(fresh, tmp_path / "n.safetensors")  # it has no last stage
    again = build("btc", {"width": 64})
    load_backbone(again, tmp_path / "n.safetensors")
    for name, value in trained.encoder.state_dict().items():
        assert torch.equal(value, again.encoder.state_dict()[name])


def test_wrong_files_are_told(tmp_path):
    _, path = timm_file("convnext_atto", tmp_path)
    with pytest.raises(ModelWeightsError, match="not the weights of resnet18"):
        load_backbone(build("btc", {}), path)
    with pytest.raises(ModelWeightsError, match="no timm backbone"):
        load_backbone(torch.nn.Conv2d(3, 3, 1), path)
    with pytest.raises(NotSafetensorsError, match="import-weights"):
        load_backbone(build("btc", {}), tmp_path / "weights.pth")


def test_hub_has_nothing_for_names_of_our_own():
    with pytest.raises(ModelWeightsError, match="resnet18c"):
        fetch_backbone(Backbone("resnet18c"))


def test_hub_that_cannot_be_reached_is_told(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", unreachable)
    network = Backbone.__new__(Backbone)
    torch.nn.Module.__init__(network)
    network.name = network.timm_name = "resnet18"
    with pytest.raises(ModelWeightsError, match="no route to host"):
        fetch_backbone(network)
