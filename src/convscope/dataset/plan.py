"""The plan of a survey: all that fixes its numbers, written before the first image is computed.

    plan.json       layers, what is kept of each, batches, shards, classes, the model's fingerprint, versions
    images.jsonl    one line an image, in the order of their numbers: [id, data class or -1, bytes, time of change]
    images.offsets  where each shard's first line begins, and the end of the last (uint64, little-endian)

A shard is ``shard_size`` images in a row, a batch ``batch`` of them, so that whoever computes a shard, and when, does
the same sums in the same order. The fingerprint is over all of this, over ids and labels too, but not over the place
where the data lies nor over times of change: parts made under another plan are foreign. ``plan.json`` is written last:
without it there is no plan. Of the images, only one shard's lines are ever in memory.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from convscope.errors import ConvscopeError
from convscope.writing import write_file

PLAN, IMAGES, OFFSETS = "plan.json", "images.jsonl", "images.offsets"
_NAMES = ("folder", "data", "model_name")  # what the fingerprint leaves out: names and places change no number


@dataclass(frozen=True)
class PlannedImage:
    """An image's number, id and data class (-1: none)."""

    number: int
    name: str
    label: int


@dataclass(frozen=True)
class Shard:
    """A run of images that is computed as one, into one part."""

    number: int
    images: tuple[PlannedImage, ...]


@dataclass(frozen=True)
class Plan:
    """What a survey will do; see the module's docstring.

    ``layers`` in the order in which they run, ``pattern_layers`` those of them whose mean maps a class are kept;
    ``right``: for each data class the network's classes that count as it. ``model`` is the network's fingerprint,
    ``labels`` where the labels come from, ``features`` the most images whose pooled activations are kept.
    """

    layers: tuple[str, ...]
    top: int
    per_image: int
    batch: int
    shard_size: int
    images: int
    images_digest: str
    classes: tuple[str, ...]
    right: tuple[tuple[int, ...], ...]
    labels: str
    features: int
    pattern_layers: tuple[str, ...]
    model: str
    model_name: str
    network_classes: tuple[str, ...]
    preprocess: str
    data: str
    versions: str
    folder: Path = field(default=Path(), compare=False)  # where the plan lies

    @property
    def shards(self) -> int:
        """How many."""
        return -(-self.images // self.shard_size)

    @property
    def stride(self) -> int:
        """Images whose number is a multiple of it have their features kept."""
        return max(1, -(-self.images // max(1, self.features)))

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over all that changes numbers."""
        fields = {name: value for name, value in asdict(self).items() if name not in _NAMES}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]

    def shard(self, number: int) -> Shard:
        """The images of one shard, read from the plan's folder.

        Raises:
            ConvscopeError: the folder is damaged.
        """
        try:
            offsets = np.fromfile(self.folder / OFFSETS, "<u8", count=2, offset=8 * number)
            with (self.folder / IMAGES).open("rb") as file:
                file.seek(int(offsets[0]))
                lines = file.read(int(offsets[1] - offsets[0])).splitlines()
            listed = [json.loads(line) for line in lines]
        except (OSError, ValueError, IndexError) as error:
            raise ConvscopeError(f"the plan in {self.folder} is damaged: {error}; begin anew (--overwrite)") from error
        first = number * self.shard_size
        return Shard(number, tuple(PlannedImage(first + i, name, label) for i, (name, label, *_) in enumerate(listed)))

    def listed(self) -> Iterator[tuple[str, int, int, int]]:
        """(id, data class, bytes, time of change) of every image, as it was when the plan was made; streaming."""
        with (self.folder / IMAGES).open("rb") as file:
            for line in file:
                name, label, size, mtime_ns = json.loads(line)
                yield name, label, size, mtime_ns

    def write(self, folder: Path) -> "Plan":
        """Write ``plan.json`` into the folder that already has the list of images. Raises UnwritableError."""
        fields = {name: value for name, value in asdict(self).items() if name != "folder"}
        write_file(folder / PLAN, json.dumps(fields, indent=1).encode(), synced=True)
        return replace(self, folder=folder)

    @classmethod
    def load(cls, folder: Path) -> "Plan":
        """The plan that lies in a folder.

        Raises:
            ConvscopeError: there is none, or it cannot be read.
        """
        path = folder / PLAN
        try:
            said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            plan = cls(**{name: _frozen(value) for name, value in said.items()}, folder=folder)
        except FileNotFoundError as error:
            raise ConvscopeError(f"there is no plan in {folder}") from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ConvscopeError(f"{path} cannot be read: {error}") from error
        if not (folder / OFFSETS).is_file() or (folder / OFFSETS).stat().st_size != 8 * (plan.shards + 1):
            raise ConvscopeError(f"the plan in {folder} is damaged: {OFFSETS} is missing or of another length")
        return plan


def _frozen(value: Any) -> Any:
    """JSON's lists as tuples."""
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value
