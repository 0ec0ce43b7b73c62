"""What makes it FC-Siam-diff: shared weights, and nothing but the difference of the dates reaches the decoder."""

import pytest
import torch

from cdengine.models.fc_siam_diff import FCSiamDiff


@pytest.fixture
def network():
    torch.manual_seed(0)
    return FCSiamDiff().eval()


def test_exchanging_the_dates_changes_nothing(network):
    before, after = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(before, after), network(after, before))


def test_equal_dates_give_the_same_answer_whatever_they_show(network):
    """The difference of equal images is 0 everywhere, so no content is left to answer to."""
    one, two = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(network(one, one), network(two, two))


def test_change_is_seen_where_it_is(network):
    image = torch.randn(1, 3, 128, 128)
    other = image.clone()
    other[..., 32:64, 32:64] += 3
    with torch.inference_mode():
        effect = (network(image, other) - network(image, image)).abs()[0, 0]
    assert effect[32:64, 32:64].mean() > 3 * effect[96:, 96:].mean()


def test_dates_of_different_bands():
    network = FCSiamDiff(bands_before=4, bands_after=1).eval()
    with torch.inference_mode():
        assert network(torch.randn(1, 4, 32, 64), torch.randn(1, 1, 32, 64)).shape == (1, 1, 32, 64)


@pytest.mark.parametrize(("backbone", "levels"), [("mobilenetv3_small_100", 5), ("convnext_atto", 4), ("pvt_v2_b0", 4)])
def test_other_backbones(backbone, levels):
    """Also those whose finest level has stride 4."""
    network = FCSiamDiff(backbone=backbone, widths=(64, 32, 16, 8, 8)[:levels]).eval()
    with torch.inference_mode():
        assert network(torch.randn(1, 3, 64, 96), torch.randn(1, 3, 64, 96)).shape == (1, 1, 64, 96)


def test_shifted_by_its_stride_it_gives_shifted_logits(network):
    """Away from the borders nothing depends on where a tile begins, if it begins at a multiple of the stride."""
    torch.manual_seed(4)
    before, after = torch.randn(1, 3, 1088, 96), torch.randn(1, 3, 1088, 96)
    with torch.inference_mode():
        whole = network(before, after)
        part = network(before[..., 32:, :], after[..., 32:, :])
    # resnet18's receptive field is 435 px, which the decoder widens; the middle is beyond its reach from both ends
    torch.testing.assert_close(whole[..., 544:576, :], part[..., 512:544, :], atol=1e-5, rtol=1e-5)
