"""Every architecture learns four pairs by heart: whatever is wired wrongly inside a network shows here.

The pairs are ground of coloured noise, on which rectangles stand that appear, disappear or stay, under a change of
brightness. A plain loop, no augmentation, one batch of all four.
"""

import inspect

import pytest
import torch

from cdengine.models.logits import Logits
from cdengine.models.zoo import ARCHITECTURES, build

SIZE = 64
ENOUGH = 0.95
GRID = 8  # of the rectangles' edges: some networks give one logit for 8 x 8 pixels, and enlarge
CLASSES = 3  # 0 ground, 1 dark rectangle, 2 bright rectangle
STEPS, CHECK_EVERY, WARM_UP = 300, 10, 10
# Where the default is not what is proven, or more than one network hides behind a name.
MORE = [("fc-siam-diff", {"backbone": None}), ("tinycd", {"variant": "v2-b"}), ("lightcdnet", {"published_taps": True})]


def scene(generator, rectangles):
    """An image (3, SIZE, SIZE) and its classes, ground and rectangles ((row, column, height, width), class)."""
    coarse = torch.randn(1, 3, SIZE // 8, SIZE // 8, generator=generator)
    ground = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear")[0] * 0.3
    classes = torch.zeros(SIZE, SIZE, dtype=torch.long)
    for (row, column, height, width), kind in rectangles:
        ground[:, row : row + height, column : column + width] = 2.0 if kind == 2 else -2.0
        classes[row : row + height, column : column + width] = kind
    return ground + 0.1 * torch.randn(3, SIZE, SIZE, generator=generator), classes


def pairs(count=4, seed=5):
    """Batches before, after, classes before, classes after."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high):
        return GRID * int(torch.randint(low, high, (1,), generator=generator))

    rows = []
    for _ in range(count):
        # one rectangle in each quarter, so that none hides another; two stay, one goes, one comes
        places = [(32 * (i // 2) + draw(0, 2), 32 * (i % 2) + draw(0, 2), draw(2, 4), draw(2, 4)) for i in range(4)]
        drawn = [(place, draw(1, 3) // GRID) for place in places]
        before, classes_before = scene(generator, drawn[:3])
        after, classes_after = scene(generator, drawn[1:])
        rows.append((before, 0.8 * after + 0.2, classes_before, classes_after))
    return [torch.stack(column) for column in zip(*rows, strict=True)]


def f1(logits, truth):
    found = logits > 0
    hits = (found & truth).sum()
    return float(2 * hits / (found.sum() + truth.sum()))


def loss_of(output, changed, classes):
    change = output.change if isinstance(output, Logits) else output
    loss = torch.nn.functional.binary_cross_entropy_with_logits(change[:, 0], changed.float())
    if isinstance(output, Logits):
        loss = loss + sum(
            torch.nn.functional.cross_entropy(head, truth)
            for head, truth in zip((output.before, output.after), classes, strict=True)
        )
    return loss


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [*((name, {}) for name in ARCHITECTURES), *MORE],
    ids=lambda value: value if isinstance(value, str) else " ".join(f"{k}={v}" for k, v in value.items()),
)
def test_learns_four_pairs_by_heart(architecture, arguments):
    if "classes" in inspect.signature(ARCHITECTURES[architecture]).parameters:
        arguments = {**arguments, "classes": CLASSES}
    torch.manual_seed(1)
    module = build(architecture, arguments)
    before, after, *classes = pairs()
    changed = classes[0] != classes[1]
    optimiser = torch.optim.AdamW(module.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 0.1, 1.0, WARM_UP)
    reached = []
    for step in range(1, STEPS + 1):
        optimiser.zero_grad()
        loss_of(module.train()(before, after), changed, classes).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % CHECK_EVERY == 0:
            with torch.inference_mode():
                output = module.eval()(before, after)
            reached.append(f1((output.change if isinstance(output, Logits) else output)[:, 0], changed))
            if reached[-1] > ENOUGH:
                print(f"{architecture}: F1 {reached[-1]:.3f} after {step} steps")
                return
    pytest.fail(f"F1 every {CHECK_EVERY} steps: {', '.join(f'{value:.2f}' for value in reached)}")
