"""Multiply–adds of a network on the meta device, counted as different papers count them."""

import math

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

aten = torch.ops.aten


def per_element(times):
    """That many multiply–adds for each value of the input (FlopCounterMode counts two operations for each)."""
    return lambda shape, *_, out_shape=None, **__: 2 * times * math.prod(shape)


def nothing(*_, out_shape=None, **__):
    return 0


def convolution_with_bias(x, weight, bias, stride, padding, dilation, transposed, *_, out_shape=None, **__):
    one_more = 2 * math.prod(out_shape) if bias is not None else 0
    return conv_flop_count(x, weight, out_shape, transposed=transposed) + one_more


def convolution_by_output(x, weight, bias, stride, padding, dilation, transposed, *_, out_shape=None, **__):
    """A transposed convolution of stride s as if each output pixel took the whole kernel: s² times too many."""
    inputs = x[1] if transposed else weight[1]
    return 2 * math.prod(out_shape) * inputs * math.prod(weight[2:])


BATCH_NORMS = (aten.native_batch_norm, aten._native_batch_norm_legit, aten._native_batch_norm_legit_no_training)
ACTIVATIONS = (aten.relu, aten.relu_, aten.hardtanh, aten.hardtanh_, aten._prelu_kernel)

# name → what differs from FlopCounterMode, which counts the multiply–adds of convolutions and matrix products
CONVENTIONS = {
    # multiply–adds that are really made, and nothing else
    "exact": {},
    # thop (pytorch-OpCounter): transposed convolutions by their output, two for each value that is batch-normalised;
    # products that are no module, such as those of attention, are not seen
    "thop": {
        aten.convolution: convolution_by_output,
        **dict.fromkeys(BATCH_NORMS, per_element(2)),
        **dict.fromkeys((aten.bmm, aten.baddbmm), nothing),
    },
    # get_model_complexity_info of mmcv 1 (from ptflops): layers that are modules, with biases, batch normalisation and
    # activations; products that are no module are not seen
    "mmcv": {
        aten.convolution: convolution_with_bias,
        **dict.fromkeys(BATCH_NORMS, per_element(2)),
        **dict.fromkeys(ACTIVATIONS, per_element(1)),
        **dict.fromkeys((aten.bmm, aten.mm, aten.baddbmm), nothing),
    },
}


def multiply_adds(module, *inputs, convention="exact"):
    """How many multiply–adds a forward pass takes, in eval mode.

    Args:
        module: on the meta device.
        inputs: of its forward, likewise.
        convention: a key of `CONVENTIONS`.
    """
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=CONVENTIONS[convention]) as counter:
        module.eval()(*inputs)
    return counter.get_total_flops() / 2
