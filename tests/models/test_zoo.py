import threading
import time

import pytest
import torch

from cdengine.errors import ModelArchitectureError
from cdengine.models import zoo
from cdengine.models.zoo import build, build_meta


def test_unknown_architecture_names_the_nearest():
    with pytest.raises(ModelArchitectureError, match="'fc-siam-dif': nearest is 'fc-siam-diff'"):
        build("fc-siam-dif", {})


def test_unknown_argument_names_the_nearest():
    with pytest.raises(ModelArchitectureError, match="'bands_befor': nearest is 'bands_before'"):
        build("fc-siam-diff", {"bands_befor": 3})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"widths": [65536] * 5}, "more than 1,000,000,000 parameters"),  # about 50 TB
        ({"bands_before": 10**12}, "bands_before makes no sense"),
        ({"bands_before": float("inf")}, "bands_before makes no sense"),
        ({"bands_before": float("nan")}, "bands_before makes no sense"),
        ({"bands_before": 0}, "without weights"),
        ({"bands_before": -3}, "do not fit"),
        ({"bands_before": "three"}, "do not fit"),
        ({"widths": [[16]]}, "widths makes no sense"),
        ({"widths": [16] * 1000}, "widths makes no sense"),
        ({"widths": [16, 16]}, "2 entries"),
        ({"backbone": "resnet19"}, "nearest is 'resnet18'"),
        ({"backbone": "hf-hub:somebody/model"}, "no backbone"),  # must not reach the network
        ({"backbone": "local-dir:/etc"}, "no backbone"),
        ({"backbone": "vit_small_patch16_224"}, "no pyramid"),
    ],
)
def test_absurd_arguments_are_refused_before_building(arguments, said):
    began = time.monotonic()
    with pytest.raises(ModelArchitectureError, match=said):
        build("fc-siam-diff", arguments)
    assert time.monotonic() - began < 5


def test_a_network_of_too_many_tensors_is_stopped_while_it_is_built(monkeypatch):
    def endless():
        return torch.nn.Sequential(*(torch.nn.BatchNorm2d(1) for _ in range(10**9)))

    monkeypatch.setitem(zoo.ARCHITECTURES, "endless", endless)
    with pytest.raises(ModelArchitectureError, match="10,000 tensors"):
        build("endless", {})


def test_the_limit_watches_its_own_thread_only(monkeypatch):
    """A network built at the same time in another thread is not counted."""
    other = []

    def constructor():
        thread = threading.Thread(target=lambda: other.append(torch.nn.Linear(40_000, 40_000, device="meta")))
        thread.start()
        thread.join()
        return torch.nn.Linear(2, 2)

    monkeypatch.setitem(zoo.ARCHITECTURES, "slow", constructor)
    assert build_meta("slow", {}) is not None
    assert other


def test_lists_of_the_card_reach_the_constructor():
    module = build_meta("fc-siam-diff", {"widths": [64, 32, 16, 8, 4]})
    assert module.head.in_channels == 4
