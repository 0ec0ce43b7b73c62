import numpy as np
import pytest
import torch

from cdengine.data.photometric import Photometric, blurred
from cdengine.data.transforms import Augment, Augmentation, exchanged, shifted
from cdengine.errors import ConfigError

PLAIN = {"scale": (1.0, 1.0), "flips": False, "rotations": False, "exchange": 0.0, "shift": 0.0, "photometric": None}


def sample_of(size=64, bands=3, dtype=torch.uint8, classes=False, seed=0):
    """A pair whose label equals its first band's high half: whatever moves together stays so."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 2, (size // 8, size // 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    image = torch.from_numpy(np.stack([coarse * 200] * bands)).to(dtype)
    sample = {
        "name": "x",
        "before": image.clone(),
        "after": image.clone(),
        "change": torch.from_numpy(coarse.copy()),
        "valid_before": torch.ones(size, size, dtype=torch.bool),
        "valid_after": torch.ones(size, size, dtype=torch.bool),
    }
    if classes:
        sample["before_classes"] = torch.from_numpy(coarse.copy())
        sample["after_classes"] = torch.from_numpy(1 - coarse)
    return sample


def run(sample, seed=0, ranges=None, **options):
    return Augment(Augmentation(**{**PLAIN, **options}), ranges)(sample, np.random.default_rng(seed))


@pytest.mark.parametrize("bands", [1, 3, 4, 13])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_pixels_and_labels_move_together(bands, dtype):
    for seed in range(8):
        out = run(sample_of(bands=bands, dtype=dtype), seed, crop=32, flips=True, rotations=True)
        assert out["before"].shape == (bands, 32, 32) and out["before"].dtype == dtype
        assert torch.equal(out["before"][0] >= 100, out["change"] == 1)
        assert torch.equal(out["before"], out["after"]) and out["valid"].all()


def test_every_symmetry_of_the_square_occurs():
    seen = {
        run(sample_of(), seed, crop=64, flips=True, rotations=True)["change"].numpy().tobytes() for seed in range(60)
    }
    assert len(seen) == 8


SIX = {
    "as it is": lambda x: x,
    "hflip": lambda x: x.flip(-1),
    "vflip": lambda x: x.flip(-2),
    "rot90": lambda x: torch.rot90(x, 1, (-2, -1)),
    "rot180": lambda x: torch.rot90(x, 2, (-2, -1)),
    "rot270": lambda x: torch.rot90(x, 3, (-2, -1)),
}
SENSEEARTH = {  # all that SenseEarth2020 does to a pair of 512 px
    "crop": 512, "change_crops": 0.0, "scale": (1.0, 1.0), "turns": "six", "exchange": 0.0, "shift": 0.0,
    "photometric": None,
}  # fmt: skip


def random_sample(size, seed=0):
    """A semantic pair of noise, in which no view equals another."""
    rng = np.random.default_rng(seed)
    sample = {date: torch.from_numpy(rng.integers(0, 256, (3, size, size), np.uint8)) for date in ("before", "after")}
    for role, low, high in (("change", 0, 2), ("before_classes", 0, 6), ("after_classes", 0, 6)):
        sample[role] = torch.from_numpy(rng.integers(low, high, (size, size), np.uint8))
    valid = torch.ones(size, size, dtype=torch.bool)
    return {"name": "x", **sample, "valid_before": valid, "valid_after": valid.clone()}


def view_of(sample, out):
    """The name of the view that all layers of `out` are of `sample`, pixel for pixel; None where they are of none."""
    layers = ("before", "after", "change", "before_classes", "after_classes")
    for name, view in SIX.items():
        if all(torch.equal(view(sample[layer]).long(), out[layer].long()) for layer in layers):
            return name
    return None


def test_senseearth_s_recipe_gives_one_of_six_views_pixel_for_pixel():
    sample, augment = random_sample(512), Augment(Augmentation(**SENSEEARTH))
    outs = [augment(dict(sample), np.random.default_rng([1, seed])) for seed in range(24)]
    assert all(out["valid"].all() and out["before"].dtype == torch.uint8 for out in outs)
    assert {view_of(sample, out) for out in outs} == set(SIX)


def test_the_six_views_are_equally_likely():
    sample, augment = random_sample(32), Augment(Augmentation(**{**SENSEEARTH, "crop": 32}))
    rng = np.random.default_rng(3)
    seen = [view_of(sample, augment(dict(sample), rng)) for _ in range(1200)]
    counts = {name: seen.count(name) for name in SIX}
    assert sum(counts.values()) == 1200  # no other view, not even of the eight symmetries
    assert all(150 < count < 250 for count in counts.values())  # 200 expected, standard deviation 13


@pytest.mark.parametrize(
    ("switches", "views"),
    [
        ({"rotations": False}, {"as it is", "hflip", "vflip"}),
        ({"flips": False}, {"as it is", "rot90", "rot180", "rot270"}),
        ({"flips": False, "rotations": False}, {"as it is"}),
    ],
)
def test_kinds_of_the_six_can_be_switched_off(switches, views):
    sample = random_sample(32)
    augment = Augment(Augmentation(**{**SENSEEARTH, "crop": 32, **switches}))
    assert {view_of(sample, augment(dict(sample), np.random.default_rng(seed))) for seed in range(60)} == views


def test_scale_enlarges_images_smoothly_and_labels_by_the_nearest():
    out = run(sample_of(), 1, crop=32, scale=(2.0, 2.0))
    assert set(out["change"].unique().tolist()) <= {0, 1}
    assert len(out["before"].unique()) > 2
    agree = (out["before"][0] >= 100) == (out["change"] == 1)
    assert agree.float().mean() > 0.97


def test_small_pairs_are_padded_and_the_padding_is_ignored():
    out = run(sample_of(size=24), crop=32)
    assert int(out["valid"].sum()) == 24 * 24
    assert (out["change"][~out["valid"]] == 255).all() and (out["before"][:, ~out["valid"]] == 0).all()


def test_crops_lie_on_change_as_often_as_asked():
    sample = sample_of(size=256)
    sample["change"].zero_()
    sample["change"][200, 30] = 1

    def share(probability: float) -> float:
        hits = [
            (run(dict(sample), seed, crop=32, change_crops=probability)["change"] == 1).any() for seed in range(300)
        ]
        return float(np.mean(hits))

    assert share(1.0) == 1.0
    assert 0.4 < share(0.5) < 0.62
    assert share(0.0) < 0.06


def test_the_changed_pixel_may_lie_anywhere_in_the_crop():
    sample = sample_of(size=256)
    sample["change"].zero_()
    sample["change"][128, 128] = 1
    outs = [run(dict(sample), seed, crop=32, change_crops=1.0)["change"] for seed in range(200)]
    rows = [int((out == 1).nonzero()[0, 0]) for out in outs]
    assert min(rows) < 4 and max(rows) > 27


def test_invalid_pixels_stay_out_under_resampling():
    sample = sample_of()
    sample["valid_before"][:, 30:34] = False
    sample["before"][:, :, 30:34] = 255
    sample["before"][:, :, :30], sample["before"][:, :, 34:] = 0, 0
    for seed in range(10):
        out = run({k: v.clone() if torch.is_tensor(v) else v for k, v in sample.items()}, seed,
                  crop=32, scale=(0.7, 1.4), shift=2.0)  # fmt: skip
        assert (out["before"] == 0).all()  # nothing of the 255 leaks into valid pixels, and invalid ones are 0


def test_shift_by_whole_and_half_pixels():
    image = torch.arange(16, dtype=torch.float32).view(1, 4, 4)
    valid = torch.ones(4, 4, dtype=torch.bool)
    moved, there = shifted(image, valid, 1.0, 0.0)
    assert torch.equal(moved[0, 1:], image[0, :3]) and there.tolist() == [[False] * 4] + [[True] * 4] * 3
    moved, there = shifted(image, valid, 0.0, -0.5)
    assert torch.allclose(moved[0, :, :3], image[0, :, :3] + 0.5) and there[:, :3].all() and not there[:, 3].any()
    valid[0, 0] = False
    _, there = shifted(image, valid, 0.5, 0.5)
    assert not there[1, 1] and there[2, 2]


def test_registration_jitter_moves_one_date_only():
    moved = [run(sample_of(), seed, crop=64, shift=1.5) for seed in range(20)]
    untouched = sample_of()["before"]
    both = [sum(bool((out[date] != untouched)[:, out["valid"]].any()) for date in ("before", "after")) for out in moved]
    assert set(both) == {0, 1} and 4 < sum(both) < 16


def test_exchange_swaps_dates_with_their_classes():
    sample = sample_of(classes=True)
    sample["after"] += 7
    sample["valid_after"][0] = False
    swapped = exchanged(sample)
    assert torch.equal(swapped["before"], sample["after"]) and torch.equal(
        swapped["before_classes"], sample["after_classes"]
    )
    assert torch.equal(swapped["valid_before"], sample["valid_after"]) and torch.equal(
        swapped["change"], sample["change"]
    )
    sample["after"] = sample["after"][:2]
    with pytest.raises(ConfigError, match="exchange"):
        exchanged(sample)


def test_classes_come_out_as_int64():
    out = run(sample_of(classes=True), crop=32, exchange=1.0)
    assert out["before_classes"].dtype == torch.int64 and set(out["after_classes"].unique().tolist()) <= {0, 1}


def test_same_numbers_same_sample():
    options = {"crop": 48, "scale": (0.8, 1.25), "flips": True, "rotations": True, "exchange": 0.5, "shift": 1.0}
    for seed in range(20):
        one, two = (run(sample_of(), seed, **options, photometric=Photometric()) for _ in range(2))
        assert all(torch.equal(one[k], two[k]) for k in one if k != "name")


def test_wrong_numbers():
    with pytest.raises(ConfigError, match="crop"):
        Augment(Augmentation(crop=0))
    with pytest.raises(ConfigError, match="scale"):
        Augment(Augmentation(scale=(2.0, 1.0)))


# ---------------------------------------------------------------- values
def test_dates_get_different_light():
    out = run(sample_of(), 3, crop=64, photometric=Photometric())
    assert not torch.equal(out["before"], out["after"])


@pytest.mark.parametrize(("dtype", "bands", "ranges"), [
    (torch.uint8, 3, None), (torch.uint8, 4, None), (torch.float32, 4, ((1000.0, 3000.0),) * 4),
    (torch.float32, 1, ((0.0, 0.6),)),
])  # fmt: skip
def test_values_stay_in_stored_units(dtype, bands, ranges):
    rng = np.random.default_rng(0)
    low, high = ranges[0] if ranges else (0, 255)
    image = torch.from_numpy(rng.uniform(low, high, (bands, 48, 48)).astype(np.float32)).to(dtype)
    for seed in range(40):
        out = Photometric()(image, ranges, np.random.default_rng(seed))
        assert out.dtype == dtype and out.shape == image.shape and torch.isfinite(out.float()).all()
        assert low - (high - low) <= float(out.float().mean()) <= high + (high - low)
    none = Photometric(0, 0, 0, 0, 0, 0, 0)
    for seed in range(10):
        np.testing.assert_allclose(
            none(image, ranges, np.random.default_rng(seed)), image, rtol=1e-5, atol=1e-3 * (high - low) / 255
        )


def test_bytes_and_floats_are_toned_alike():
    """The table for bytes is the same function as the arithmetic for floats."""
    image = torch.from_numpy(np.random.default_rng(1).integers(40, 200, (3, 32, 32), dtype=np.uint8))
    only_tone = Photometric(blur=0, noise=0, jpeg=0)
    for seed in range(10):
        one = only_tone(image, None, np.random.default_rng(seed)).float()
        two = only_tone(image.float(), None, np.random.default_rng(seed)).clamp(0, 255)
        assert (one - two).abs().max() <= 0.51


def test_blur_keeps_the_mean_and_flattens():
    image = torch.rand(2, 40, 40, generator=torch.Generator().manual_seed(0))
    smooth = blurred(image, 1.5)
    assert abs(float(smooth.mean() - image.mean())) < 0.01 and smooth.std() < 0.4 * image.std()
    flat = torch.full((1, 9, 9), 7.0)
    torch.testing.assert_close(blurred(flat, 1.0), flat)
