"""ChangeStar: change from single-date labels."""

import torch

from cdengine.models.changestar import pseudo_pairs
from cdengine.models.logits import Logits
from cdengine.models.zoo import build

ARGUMENTS = {"backbone": "resnet18", "width": 16}


def test_pseudo_pairs():
    labels = torch.tensor([[[0, 1], [1, 255]], [[0, 0], [1, 1]], [[1, 1], [0, 0]]])
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    later, classes, change = pseudo_pairs(images, labels)
    assert later[:, 0, 0, 0].tolist() == [1, 2, 0] and torch.equal(classes[0], labels[1])
    assert change.tolist() == [[[0, 1], [0, 255]], [[1, 1], [1, 1]], [[1, 0], [1, 255]]]
    assert change.dtype == torch.uint8


def test_without_classes_it_gives_one_tensor_and_has_no_classifier():
    network = build("changestar", ARGUMENTS)
    image = torch.randn(2, 3, 32, 64)
    logits = network(image, image.flip(0))
    assert isinstance(logits, torch.Tensor) and logits.shape == (2, 1, 32, 64)
    logits.sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_exchange_of_dates_exchanges_the_classes_only():
    network = build("changestar", {**ARGUMENTS, "classes": 3}).eval()
    before, after = torch.randn(2, 1, 3, 32, 32).unbind(0)
    forth, back = network(before, after), network(after, before)
    assert isinstance(forth, Logits)
    torch.testing.assert_close(forth.change, back.change)
    torch.testing.assert_close(forth.before, back.after)


def test_classes_of_a_date_do_not_depend_on_the_other():
    network = build("changestar", {**ARGUMENTS, "classes": 2}).eval()
    image, other = torch.randn(2, 1, 3, 32, 32).unbind(0)
    torch.testing.assert_close(network(image, image).before, network(image, other).before)
