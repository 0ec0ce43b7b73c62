"""What a user may decide about the making of patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdengine.data.codings import ChangeCoding
from cdengine.data.prepare.classes import ClassTable
from cdengine.data.prepare.sources import Align
from cdengine.data.prepare.writer import Format
from cdengine.errors import UsageError
from cdengine.raster.pair import Bands

DEFAULT_SHARES: Mapping[str, float] = {"train": 0.7, "val": 0.15, "test": 0.15}


@dataclass(frozen=True)
class PrepareOptions:
    """See `cli/prepare.py` for what each means to the user.

    Attributes:
        patch: side of a patch, pixels.
        shares: of the splits, for scenes without one of their own.
        block: side of a block, pixels; None: as wide as leaves enough of them.
        buffer: least distance of patches of different splits, pixels, made even; None: a quarter of a patch.
        min_valid: least share of a patch that must be valid and labelled.
        keep_unchanged: share of training patches without any change that is kept; other splits keep all.
        format: of the patches.
        world_files: a world file beside each PNG.
        bands: of both dates.
        align: how AFTER is brought onto BEFORE.
        coding: of raster change labels; None: found out.
        classes: of class labels; None: a class for each value.
        class_field: attribute of vector class labels.
        seed: of the splits and of what is left out.
        overwrite: replace a data set that `prepare` made.
    """

    patch: int = 256
    shares: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_SHARES))
    block: int | None = None
    buffer: int | None = None
    min_valid: float = 0.5
    keep_unchanged: float = 1.0
    format: Format = "tif"
    world_files: bool = False
    bands: tuple[Bands, Bands] = (None, None)
    align: Align = "auto"
    coding: ChangeCoding | None = None
    classes: ClassTable | None = None
    class_field: str | None = None
    seed: int = 0
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuses numbers that make no sense.

        Raises:
            UsageError: naming the option.
        """
        if not 16 <= self.patch <= 8192:
            raise UsageError(f"--patch {self.patch}: give 16 to 8192 pixels")
        if self.buffer is not None and not 0 <= self.buffer <= 8192:
            raise UsageError(f"--buffer {self.buffer}: give 0 to 8192 pixels")
        if self.block is not None and self.block < self.patch + self.gap:
            raise UsageError(
                f"--block {self.block}: a block must hold a patch and the buffer, {self.patch} + {self.gap} pixels"
            )
        if not 0 < self.min_valid <= 1:
            raise UsageError(f"--min-valid {self.min_valid:g}: give a share above 0, up to 1")
        if not 0 <= self.keep_unchanged <= 1:
            raise UsageError(f"--keep-unchanged {self.keep_unchanged:g}: give a share from 0 to 1")
        if self.world_files and self.format != "png":
            raise UsageError("--world-files: only PNG patches need them; give --format png")

    @property
    def gap(self) -> int:
        """The buffer in pixels, even: either side of a border gives half of it."""
        wanted = self.patch // 4 if self.buffer is None else self.buffer
        return wanted + wanted % 2
