"""Normalisations that torch lacks."""

import torch

from cdengine.models.norms import ChannelNorm, PooledBatchNorm


def test_one_image_alone_is_normalised_with_running_statistics():
    norm = PooledBatchNorm(4)
    norm.train()(torch.randn(8, 4, 1, 1) * 3 + 1)
    before = norm.running_mean.clone()
    alone = torch.randn(1, 4, 1, 1)
    trained = norm(alone)
    assert torch.equal(norm.running_mean, before)
    assert torch.equal(trained, norm.eval()(alone))


def test_several_images_are_normalised_as_ever():
    torch.manual_seed(0)
    norm, plain = PooledBatchNorm(4).train(), torch.nn.BatchNorm2d(4).train()
    images = torch.randn(5, 4, 1, 1)
    assert torch.equal(norm(images), plain(images))


def test_channels_of_each_pixel_have_mean_0_and_deviation_1():
    image = torch.tensor([1.0, 2.0, 3.0, 6.0]).view(1, 4, 1, 1).repeat(1, 1, 2, 1)
    wanted = torch.tensor([-2.0, -1.0, 0.0, 3.0]) / 3.5**0.5  # by hand: mean 3, variance 14 / 4
    for pixel in ChannelNorm(4)(image)[0, :, :, 0].T:
        torch.testing.assert_close(pixel, wanted)
