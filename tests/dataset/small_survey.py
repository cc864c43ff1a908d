"""A survey in small: photos of noise in memory, a plan that lies in no folder, a network of a tiny net."""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from convscope.dataset.image_sources import SourceImage, short_digest
from convscope.dataset.plan import Plan, PlannedImage, Shard
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.preprocessing import Preprocess
from tests.nets import CLASSES, SIDE

NAMES = tuple(f"class {number}" for number in range(CLASSES))


class Photos:
    """PNG files in memory; bytes that are no picture cannot be read."""

    name = place = "photos"

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(sorted(files.items()))

    def line(self) -> str:
        return f"{len(self.files)} photos"

    def names(self) -> Iterator[str]:
        return iter(self.files)

    def read(self, name: str) -> SourceImage:
        content = self.files[name]
        try:
            with Image.open(io.BytesIO(content)) as image:
                return SourceImage(image.convert("RGB"), short_digest(content))
        except OSError as error:
            raise ConvscopeError(f"{name} is not a picture") from error

    def digest(self, name: str) -> bytes:
        return short_digest(self.files[name])

    def facts(self, name: str) -> tuple[int, int]:
        return len(self.files[name]), 0

    def label(self, name: str) -> str | None:
        return None


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def noise(count: int, *, sizes: Sequence[tuple[int, int]] = ((SIDE, SIDE),), seed: int = 0) -> dict[str, bytes]:
    """Photos of (height, width) in turn; neighbouring pixels alike, so that units differ from photo to photo."""
    rng = np.random.default_rng(seed)
    found = {}
    for number in range(count):
        h, w = sizes[number % len(sizes)]
        coarse = rng.integers(0, 256, (-(-h // 4), -(-w // 4), 3), np.uint8)
        pixels = coarse.repeat(4, 0).repeat(4, 1)[:h, :w] // 2 + rng.integers(0, 128, (h, w, 3), np.uint8)
        found[f"{number:06d}.png"] = png(pixels)
    return found


def network(module: nn.Module, *, fixed: bool = True, classes: tuple[str, ...] = NAMES) -> Network:
    """With photos of ``SIDE`` pixels, or of their own size."""
    side = SIDE if fixed else None
    return Network(module, Preprocess(side, side, (0.5,) * 3, (0.25,) * 3), classes, "tiny")


def plan_of(source: Photos, layers: Sequence[str], **fields: Any) -> Plan:
    """Labels are the image's number modulo the classes; all photos in one shard unless ``shard_size`` says else."""
    right = tuple((number,) for number in range(CLASSES))
    usual: dict[str, Any] = {
        "layers": tuple(layers), "top": 9, "per_image": 1, "batch": 8, "shard_size": max(1, len(source.files)),
        "images": len(source.files), "images_digest": "", "classes": NAMES, "right": right, "labels": "names",
        "features": 4096, "pattern_layers": (), "model": "", "model_name": "tiny", "network_classes": NAMES,
        "preprocess": "", "data": "photos", "versions": "",
    }  # fmt: skip
    return Plan(**(usual | fields))


def shards_of(source: Photos, plan: Plan) -> list[Shard]:
    """What ``plan.shard`` would read from its folder."""
    labelled = len(plan.classes)
    images = [PlannedImage(i, name, i % labelled if labelled else -1) for i, name in enumerate(source.names())]
    starts = range(0, len(images), plan.shard_size)
    return [Shard(n, tuple(images[start : start + plan.shard_size])) for n, start in enumerate(starts)]


class Picky(nn.Module):
    """Takes no photo that is brighter than most: it raises on the whole batch."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Identity()

    def forward(self, x):
        assert not (x.mean((1, 2, 3)) > 0).any(), "too bright"
        return self.maps(x).mean((2, 3))
