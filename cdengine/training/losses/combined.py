"""The sum of losses that a recipe asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from cdengine.models.logits import Logits
from cdengine.models.stanet import STANet
from cdengine.training.config import CHANGE_LOSSES, LossConfig
from cdengine.training.losses.contrastive import batch_contrastive
from cdengine.training.losses.cross_entropy import binary_cross_entropy, cross_entropy
from cdengine.training.losses.focal import focal
from cdengine.training.losses.lovasz import lovasz_hinge, lovasz_softmax
from cdengine.training.losses.ohem import ohem
from cdengine.training.losses.overlap import dice, tversky
from cdengine.training.losses.similarity import similarity

ChangeLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
MOST_WEIGHT = 10.0


class CombinedLoss:
    """Weighted sum of the losses of a recipe, in float32.

    Attributes:
        positive_weight: of changed pixels in the binary cross-entropy.
    """

    def __init__(self, config: LossConfig, changed_share: float) -> None:
        """Chooses the losses.

        Args:
            config: weights and shapes, completed.
            changed_share: of the labelled training pixels, for the automatic weight.
        """
        self._config = config
        weight = config.positive_weight
        self.positive_weight = automatic_weight(changed_share) if weight == "auto" else float(weight)
        self._change: dict[str, tuple[float, ChangeLoss]] = {
            name: (getattr(config, name), self._function(name)) for name in CHANGE_LOSSES if getattr(config, name)
        }

    def _function(self, name: str) -> ChangeLoss:
        config, weight = self._config, self.positive_weight
        table: dict[str, ChangeLoss] = {
            "bce": partial(binary_cross_entropy, positive_weight=weight),
            "dice": dice,
            "focal": partial(focal, gamma=config.focal_gamma),
            "lovasz": lovasz_hinge,
            "tversky": partial(tversky, beta=config.tversky_beta),
            "ohem": partial(ohem, share=config.ohem_share),
            "contrastive": partial(_contrastive, margin=config.margin),
        }
        return table[name]

    def __call__(self, output: Tensor | Logits, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum, and each loss by name before its weight.

        Args:
            output: of the network, at the size of the labels.
            batch: `change`, `valid`, and for `Logits` with class losses `before_classes` and `after_classes`.
        """
        change = output.change if isinstance(output, Logits) else output
        valid = batch["valid"]
        terms, sum_ = {}, change.new_zeros(()).float()
        for name, (weight, function) in self._change.items():
            terms[name] = function(change.float(), batch["change"], valid)
            sum_ = sum_ + weight * terms[name]
        if isinstance(output, Logits):
            for name, weight, value in self._classes(output, batch):
                terms[name] = value
                sum_ = sum_ + weight * value
        return sum_, {name: value.detach() for name, value in terms.items()}

    def _classes(self, output: Logits, batch: Mapping[str, Tensor]) -> list[tuple[str, float, Tensor]]:
        """Losses of both dates' classes, mean of the dates."""
        config, valid, found = self._config, batch["valid"], []
        dates = [(output.before.float(), batch["before_classes"]), (output.after.float(), batch["after_classes"])]
        for name, weight, function in (
            ("classes", config.classes, partial(cross_entropy, weights=config.class_weights)),
            ("classes_lovasz", config.classes_lovasz, lovasz_softmax),
        ):
            if weight:
                both = [function(logits, labels, valid) for logits, labels in dates]
                found.append((name, weight, (both[0] + both[1]) / 2))
        if config.similarity:
            value = similarity(output.before, output.after, batch["change"], valid)
            found.append(("similarity", config.similarity, value))
        return found


def _contrastive(logits: Tensor, target: Tensor, valid: Tensor, margin: float) -> Tensor:
    return batch_contrastive(STANet.distance(logits), target, valid, margin)


def automatic_weight(changed_share: float) -> float:
    """√(unchanged / changed), between 1 and 10.

    The full quotient would make the network report change everywhere at 1 % of change; its root meets halfway, and
    what remains is found by the threshold.
    """
    if changed_share <= 0:
        return MOST_WEIGHT
    return float(min(MOST_WEIGHT, max(1.0, ((1 - changed_share) / changed_share) ** 0.5)))
