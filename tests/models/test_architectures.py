"""One suite for every architecture: being in `ARCHITECTURES` is all it takes to be tested here."""

import inspect

import pytest
import torch
from model_files import card_for, trained

from cdengine.models.logits import Logits
from cdengine.models.modelfile import load_model, save_model
from cdengine.models.names import ARCHITECTURE_NAMES
from cdengine.models.zoo import ARCHITECTURES, build, build_meta

CLASSES = ("water", "wood", "field")


def card_of(architecture, bands=(3, 3)):
    """Semantic architectures take `classes`."""
    semantic = "classes" in inspect.signature(ARCHITECTURES[architecture]).parameters
    return card_for(architecture, bands, CLASSES if semantic else ())


def heads(output):
    return list(output) if isinstance(output, Logits) else [output]


def pair(bands=(3, 3), size=(64, 96), batch=2, seed=0):
    torch.manual_seed(seed)
    return torch.randn(batch, bands[0], *size), torch.randn(batch, bands[1], *size)


def test_names_and_constructors_agree():
    assert set(ARCHITECTURE_NAMES) == set(ARCHITECTURES)


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return request.param


@pytest.mark.parametrize("bands", [(3, 3), (1, 1), (13, 13)])
def test_logits_have_the_inputs_size(architecture, bands):
    card = card_of(architecture, bands)
    module = build(architecture, card.constructor_arguments()).eval()
    with torch.inference_mode():
        output = module(*pair(bands))
    change, *classes = heads(output)
    assert change.shape == (2, 1, 64, 96)
    assert [head.shape for head in classes] == ([(2, len(CLASSES), 64, 96)] * 2 if card.classes else [])
    assert all(torch.isfinite(head).all() for head in heads(output))


def test_stride_tells_the_smallest_size(architecture):
    module = trained(card_of(architecture))
    with torch.inference_mode():
        output = module(*pair(size=(module.stride, module.stride), batch=1))
    assert heads(output)[0].shape[-2:] == (module.stride, module.stride)


def test_eval_is_deterministic_and_sees_each_tile_alone(architecture):
    module = trained(card_of(architecture))
    before, after = pair(batch=3)
    with torch.inference_mode():
        together, again = heads(module(before, after)), heads(module(before, after))
        alone = heads(module(before[1:2], after[1:2]))
    for whole, repeated, single in zip(together, again, alone, strict=True):
        assert torch.equal(whole, repeated)
        torch.testing.assert_close(whole[1:2], single, atol=1e-4, rtol=1e-4)


def test_same_seed_same_network(architecture):
    arguments = card_of(architecture).constructor_arguments()
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(build(architecture, arguments).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_builds_without_storage(architecture):
    arguments = card_of(architecture).constructor_arguments()
    meta, real = build_meta(architecture, arguments).state_dict(), build(architecture, arguments).state_dict()
    assert all(value.is_meta for value in meta.values())
    assert {name: value.shape for name, value in meta.items()} == {name: value.shape for name, value in real.items()}


def test_saved_and_loaded_it_gives_identical_logits(architecture, tmp_path):
    card = card_of(architecture)
    module = trained(card)
    save_model(tmp_path / "m.safetensors", module, card)
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.card == card
    with torch.inference_mode():
        for saved, found in zip(heads(module(*pair())), heads(loaded.module(*pair())), strict=True):
            assert torch.equal(saved, found)


def test_a_step_of_training_reaches_every_weight_and_lowers_the_loss(architecture):
    torch.manual_seed(3)
    module = build(architecture, card_of(architecture).constructor_arguments()).train()
    before, after = pair(size=(64, 64))
    truth = (torch.arange(64) < 32).float().expand(2, 1, 64, 64)
    optimiser = torch.optim.Adam(module.parameters(), 1e-3)

    def loss():
        outputs = heads(module(before, after))
        change = torch.nn.functional.binary_cross_entropy_with_logits(outputs[0], truth)
        return change + sum(output.square().mean() for output in outputs[1:])

    first = loss()
    first.backward()
    assert [name for name, weight in module.named_parameters() if weight.grad is None] == []
    for _ in range(4):
        optimiser.step()
        optimiser.zero_grad()
        last = loss()
        last.backward()
    assert last < first
