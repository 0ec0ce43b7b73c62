import pytest
import torch

from cdengine.models.card import DateInput
from cdengine.models.normalise import LIMIT, Normaliser


@pytest.fixture
def normaliser():
    return Normaliser(DateInput(("a", "b"), (0.5, 0.25), (0.25, 0.5), 1 / 200))


def test_hand_computed(normaliser):
    image = torch.tensor([[[[100, 150]], [[50, 250]]]], dtype=torch.uint8)  # (1, 2, 1, 2)
    # a: (0.5 - 0.5) / 0.25, (0.75 - 0.5) / 0.25; b: (0.25 - 0.25) / 0.5, (1.25 - 0.25) / 0.5
    expected = torch.tensor([[[[0.0, 1.0]], [[0.0, 2.0]]]])
    for dtype in (torch.uint8, torch.int16, torch.int32, torch.float32):
        result = normaliser(image.to(dtype), torch.ones(1, 1, 2, dtype=torch.bool))
        assert result.dtype == torch.float32
        torch.testing.assert_close(result, expected)


def test_invalid_pixels_are_the_mean_whatever_they_hold(normaliser):
    image = torch.tensor([[[[float("nan"), float("inf"), 100]], [[-1e38, 7, 50]]]])
    result = normaliser(image, torch.tensor([[[False, False, True]]]))
    assert torch.equal(result, torch.zeros(1, 2, 1, 3))


def test_defects_are_bounded_and_the_input_stays(normaliser):
    image = torch.tensor([[[[1e38, -1e38, float("nan")]], [[50.0, 50.0, 50.0]]]])
    kept = image.clone()
    result = normaliser(image, torch.ones(1, 1, 3, dtype=torch.bool))
    assert result[0, 0, 0].tolist() == [LIMIT, -LIMIT, 0]
    assert torch.equal(image.nan_to_num(), kept.nan_to_num())


def test_its_constants_are_no_weights(normaliser):
    assert normaliser.state_dict() == {}
