"""Losses against values worked out by hand, and what holds for all of them."""

import math

import numpy as np
import pytest
import torch
from torch import tensor
from torch.nn import functional

from cdengine.models.logits import Logits
from cdengine.models.stanet import STANet
from cdengine.training.config import CHANGE_LOSSES, LossConfig
from cdengine.training.losses.combined import CombinedLoss, automatic_weight
from cdengine.training.losses.contrastive import batch_contrastive
from cdengine.training.losses.cross_entropy import binary_cross_entropy, cross_entropy
from cdengine.training.losses.focal import focal
from cdengine.training.losses.lovasz import lovasz_hinge, lovasz_softmax
from cdengine.training.losses.ohem import ohem
from cdengine.training.losses.overlap import dice, tversky
from cdengine.training.losses.similarity import similarity

LN3 = math.log(3)  # the logit of 0.75
# p = 0.75, 0.25, 0.75, 0.5; the last pixel has no label, the one before no data
LOGITS = tensor([[[[LN3, -LN3, LN3, 0.0, 9.0, -9.0]]]])
TARGET = tensor([[[1, 0, 0, 1, 1, 255]]], dtype=torch.uint8)
VALID = tensor([[[True, True, True, True, False, True]]])
CHANGE = [binary_cross_entropy, dice, tversky, focal, lovasz_hinge, ohem, batch_contrastive]


def value(function, *more, logits=LOGITS, **options):
    return float(function(logits, TARGET, VALID, *more, **options))


def test_binary_cross_entropy():
    plain = (-math.log(0.75) * 2 - math.log(0.25) - math.log(0.5)) / 4
    assert value(binary_cross_entropy) == pytest.approx(plain)
    weighted = (3 * -math.log(0.75) - math.log(0.75) - math.log(0.25) + 3 * -math.log(0.5)) / 4
    assert value(binary_cross_entropy, positive_weight=3.0) == pytest.approx(weighted)


def test_dice_and_tversky():
    # hits 0.75 + 0.5, false alarms 0.25 + 0.75, misses 0.25 + 0.5
    assert value(dice) == pytest.approx(1 - (2 * 1.25 + 1) / (2.25 + 2 + 1))
    assert value(tversky, beta=0.5) == pytest.approx(value(dice))
    assert value(tversky, beta=0.7) == pytest.approx(1 - 1.75 / (1.25 + 0.3 * 1.0 + 0.7 * 0.75 + 0.5))


def test_focal():
    easy = 0.25 * 0.25**2 * -math.log(0.75)
    still = 0.75 * 0.25**2 * -math.log(0.75)
    wrong = 0.75 * 0.75**2 * -math.log(0.25)
    half = 0.25 * 0.5**2 * -math.log(0.5)
    assert value(focal) == pytest.approx((easy + still + wrong + half) / 4)
    assert value(focal, gamma=0.0, alpha=0.5) == pytest.approx(value(binary_cross_entropy) / 2)


def slow_lovasz(errors, truth):
    """Algorithm 1 of the paper, pixel by pixel."""
    order, found, before = sorted(range(len(errors)), key=lambda i: -errors[i]), 0.0, 0.0
    wrong = set()
    positives = {i for i, t in enumerate(truth) if t}
    for i in order:
        wrong.add(i)
        # the mistaken set M: predicted positives = positives \\ M ∪ (M \\ positives)
        intersection = len(positives - wrong)
        union = len(positives | wrong)
        now = 1 - intersection / union if union else 0.0
        found += errors[i] * (now - before)
        before = now
    return found


def test_lovasz_hinge():
    errors = [max(0, 1 - LN3), max(0, 1 - LN3), 1 + LN3, 1.0]
    assert value(lovasz_hinge) == pytest.approx(slow_lovasz(errors, [1, 0, 0, 1]), rel=1e-5)
    two = lovasz_hinge(torch.cat([LOGITS, -LOGITS]), TARGET.repeat(2, 1, 1), VALID.repeat(2, 1, 1))
    other = slow_lovasz([1 + LN3, 1 + LN3, max(0, 1 - LN3), 1.0], [1, 0, 0, 1])
    assert float(two) == pytest.approx((value(lovasz_hinge) + other) / 2, rel=1e-5)


def test_lovasz_softmax_is_one_minus_iou_on_hard_answers():
    target = tensor([[[0, 0, 1, 1, 2, 255]]])
    answer = tensor([[0, 1, 1, 1, 0, 0]])
    logits = torch.nn.functional.one_hot(answer, 4).float().movedim(-1, 1)[:, :, None] * 100
    valid = torch.ones(1, 1, 6, dtype=torch.bool)
    # IoU of class 0: 1 of 3; 1: 2 of 3; 2: 0; class 3 is nowhere
    expected = ((1 - 1 / 3) + (1 - 2 / 3) + 1) / 3
    assert float(lovasz_softmax(logits, target, valid)) == pytest.approx(expected, rel=1e-5)


def test_ohem_is_the_mean_of_the_hardest():
    assert value(ohem, share=0.25) == pytest.approx(-math.log(0.25))
    assert value(ohem, share=0.5) == pytest.approx((-math.log(0.25) - math.log(0.5)) / 2)
    assert value(ohem, share=1.0) == pytest.approx(value(binary_cross_entropy))


def test_contrastive():
    distance = tensor([[[[0.5, 0.0, 1.0, 3.0, 7.0, 7.0]]]])
    # unchanged: 0² and 1²; changed: (2 - 0.5)² and 0
    assert value(batch_contrastive, logits=distance) == pytest.approx((0.5 + 2.25 / 2) / 2)


def test_cross_entropy_of_classes():
    logits = torch.zeros(1, 3, 1, 3)
    logits[0, 1, 0, 0] = math.log(2)  # probabilities 1/4, 1/2, 1/4
    target, valid = tensor([[[1, 2, 255]]]), torch.ones(1, 1, 3, dtype=torch.bool)
    expected = (-math.log(0.5) - math.log(1 / 3)) / 2
    assert float(cross_entropy(logits, target, valid)) == pytest.approx(expected)


def test_cross_entropy_with_class_weights_is_torchs_on_what_is_labelled(rng):
    logits = torch.from_numpy(rng.normal(size=(1, 3, 1, 6)).astype(np.float32))
    target = tensor([[[0, 1, 2, 255, 1, 0]]])
    expected = functional.cross_entropy(logits, target.long(), torch.tensor([1.0, 2.0, 0.5]), ignore_index=255)
    found = cross_entropy(logits, target, torch.ones(1, 1, 6, dtype=torch.bool), (1.0, 2.0, 0.5))
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_the_loss_of_senseearth(rng):
    """2 · binary + semantic 1 + semantic 2, changed pixels doubled: what configs/senseearth ask for."""
    layers = [torch.from_numpy(rng.normal(size=(1, k, 1, 6)).astype(np.float32)) for k in (1, 3, 3)]
    classes = [tensor([[[0, 1, 2, 255, 255, 0]]]), tensor([[[2, 2, 2, 255, 255, 1]]])]
    batch = {"change": TARGET, "valid": VALID, "before_classes": classes[0], "after_classes": classes[1]}
    config = LossConfig(bce=2.0, positive_weight=2.0, classes=2.0, class_weights=[2.0, 1.0, 2.0])
    total, _ = CombinedLoss(config, 0.1)(Logits(*layers), batch)
    binary = binary_cross_entropy(layers[0], TARGET, VALID, 2.0)
    semantic = [cross_entropy(layers[i + 1], classes[i], VALID, [2.0, 1.0, 2.0]) for i in (0, 1)]
    assert float(total) == pytest.approx(float(2 * binary + semantic[0] + semantic[1]), rel=1e-6)


def test_similarity():
    before = tensor([[[[50.0, 50.0]], [[0.0, 0.0]]]])
    after = tensor([[[[50.0, 50.0]], [[0.0, 0.0]]]])
    valid = torch.ones(1, 1, 2, dtype=torch.bool)
    target = tensor([[[0, 1]]])
    assert float(similarity(before, after, target, valid)) == pytest.approx(0.5)  # right, and wrong by 1
    assert float(similarity(before, after.flip(1), target, valid)) == pytest.approx(0.5)
    assert float(similarity(before, after.flip(1), 1 - target + target, valid)) == pytest.approx(0.0)


@pytest.mark.parametrize("function", CHANGE)
def test_what_is_invalid_or_unlabelled_counts_nothing(function):
    other = LOGITS.clone()
    other[..., 4:] = tensor([-30.0, 30.0])
    assert value(function, logits=other) == value(function)
    other.requires_grad_(True)
    function(other, TARGET, VALID).backward()
    assert not other.grad[..., 4:].any() and torch.isfinite(other.grad).all() and other.grad[..., :4].any()


@pytest.mark.parametrize("function", CHANGE)
def test_nothing_labelled_is_no_loss(function):
    logits = LOGITS.clone().requires_grad_(True)
    loss = function(logits, torch.full_like(TARGET, 255), VALID)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6) and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("function", CHANGE)
def test_better_answers_cost_less(function):
    signs = TARGET[:, None].float() * 2 - 1
    good, bad = 4 * signs, -4 * signs
    if function is batch_contrastive:
        good, bad = 1 + signs, 1 - signs
    assert value(function, logits=good) < value(function, logits=bad)


@pytest.mark.parametrize("function", CHANGE)
def test_extreme_logits_stay_finite(function):
    logits = torch.where(TARGET[:, None] == 1, -1e4, 1e4).requires_grad_(True)
    loss = function(logits, TARGET, VALID)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_gradient_of_cross_entropy_is_probability_minus_truth():
    logits = LOGITS.clone().requires_grad_(True)
    binary_cross_entropy(logits, TARGET, VALID).backward()
    expected = [(0.75 - 1) / 4, 0.25 / 4, 0.75 / 4, (0.5 - 1) / 4, 0, 0]
    assert logits.grad.flatten().tolist() == pytest.approx(expected)


def test_the_sum_is_weighted_and_tells_its_terms():
    config = LossConfig(bce=2.0, tversky=0.5, positive_weight=1.0)
    total, terms = CombinedLoss(config, 0.1)(LOGITS, {"change": TARGET, "valid": VALID})
    assert set(terms) == {"bce", "tversky"}
    assert float(total) == pytest.approx(2 * value(binary_cross_entropy) + 0.5 * value(tversky))


@pytest.mark.parametrize("name", CHANGE_LOSSES)
def test_every_loss_can_be_asked_for(name):
    config = LossConfig(**{name: 1.0})
    total, terms = CombinedLoss(config, 0.1)(LOGITS, {"change": TARGET, "valid": VALID})
    assert list(terms) == [name] and torch.isfinite(total)


def test_contrastive_takes_stanets_distance():
    logits = tensor([[[[-4.0, 4.0, 0.0, 8.0, 0.0, 0.0]]]])
    total, _ = CombinedLoss(LossConfig(contrastive=1.0), 0.1)(logits, {"change": TARGET, "valid": VALID})
    assert float(total) == pytest.approx(float(batch_contrastive(STANet.distance(logits), TARGET, VALID)))


def test_semantic_losses_of_both_dates(rng):
    layers = [torch.from_numpy(rng.normal(size=(1, k, 1, 6)).astype(np.float32)) for k in (1, 3, 3)]
    classes = [tensor([[[0, 1, 2, 255, 255, 0]]]), tensor([[[2, 2, 2, 2, 255, 255]]])]
    batch = {"change": TARGET, "valid": VALID, "before_classes": classes[0], "after_classes": classes[1]}
    config = LossConfig(bce=1.0, classes=2.0, similarity=0.5, positive_weight=1.0)
    total, terms = CombinedLoss(config, 0.1)(Logits(*layers), batch)
    each = [float(cross_entropy(layers[i + 1], classes[i], VALID)) for i in (0, 1)]
    assert float(terms["classes"]) == pytest.approx(sum(each) / 2)
    parts = float(terms["bce"]) + 2 * float(terms["classes"]) + 0.5 * float(terms["similarity"])
    assert float(total) == pytest.approx(parts)
    assert torch.isfinite(CombinedLoss(LossConfig(classes_lovasz=1.0), 0.1)(Logits(*layers), batch)[0])


@pytest.mark.parametrize(
    ("share", "weight"), [(0.5, 1), (0.2, 2), (0.01, math.sqrt(99)), (0.0001, 10), (0, 10), (0.9, 1)]
)
def test_rare_change_gets_weight(share, weight):
    assert automatic_weight(share) == pytest.approx(weight)
