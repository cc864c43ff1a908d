"""From parts to results: the accumulators of all shards merged in the shards' order, one layer at a time.

    reduce_images    the rows of all images, streaming; accuracy, confusion, prototypes, suspects
    reduce_layer     a layer's exemplars, statistics, patterns, features, and its units' neighbours

Claim: memory does not grow with the number of images. Held at once are one layer's accumulators (units x classes that
occur, units x top exemplars), one part's tensors of that layer, the features of at most ``plan.features`` images, and
of each class the best few images. Parts are read layer by layer: L layers and P parts are L P short reads.

The order of merging is that of the shards, whoever computed them and when: the same parts give the same results to the
last bit. Exemplars would be the same in any order (``exemplars``), sums of float64 would not.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.dataset.class_results import ClassResults, ClassTable
from convscope.dataset.exemplars import Candidates, Exemplars
from convscope.dataset.image_rows import ImageRows
from convscope.dataset.likeness import nearest_units
from convscope.dataset.mean_patterns import ClassPatterns, MeanPatterns
from convscope.dataset.plan import Plan
from convscope.dataset.statistics import Statistics, UnitStatistics
from convscope.errors import ConvscopeError

Tensors = Mapping[str, NDArray[Any]]
ReadPart = Callable[[int, str], Tensors]  # (shard, prefix) -> the tensors whose names begin so, whole names
NEIGHBOURS, PROTOTYPES, SUSPECTS = 10, 9, 100


@dataclass(frozen=True, eq=False)
class ReducedLayer:
    """One layer over all images. ``nearest`` and ``correlations`` are ``(u, k)``, -1 and NaN where there are fewer."""

    name: str
    shape: tuple[int, int, int]
    exemplars: Candidates
    statistics: Statistics
    patterns: ClassPatterns | None
    features: NDArray[np.float32]
    nearest: NDArray[np.int64]
    correlations: NDArray[np.float32]


def part_of(tensors: Tensors, prefix: str) -> dict[str, NDArray[Any]]:
    """The tensors below a prefix, by what is left of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def image_rows(plan: Plan, read: ReadPart) -> Iterator[tuple[int, ImageRows]]:
    """(shard, its images' rows), in order."""
    for number in range(plan.shards):
        yield number, ImageRows.from_tensors(part_of(read(number, "images/"), "images/"))


@dataclass
class ImagesSeen:
    """What the rows of all images come to, while they stream by: ``update`` with each shard's."""

    results: ClassResults
    refused: int = 0
    images: int = 0
    sizes: frozenset[tuple[int, int]] = frozenset()

    @classmethod
    def of(cls, plan: Plan) -> "ImagesSeen":
        """Nothing yet."""
        return cls(ClassResults(plan.right, top=PROTOTYPES, suspects=SUSPECTS))

    def update(self, rows: ImageRows) -> None:
        """Take in a shard."""
        self.results.update(rows)
        self.refused += len(rows.refused)
        self.images += len(rows)
        sizes = np.unique(rows.input_size[rows.input_size.all(1)], axis=0)
        self.sizes |= {(int(height), int(width)) for height, width in sizes}

    def compute(self) -> ClassTable:
        """Accuracy, confusion, prototypes, suspects."""
        return self.results.compute()


def sampled_images(plan: Plan, read: ReadPart) -> NDArray[np.int64]:
    """The numbers of the images whose features are kept, ascending."""
    found = [read(number, "features/images")["features/images"] for number in range(plan.shards)]
    return np.concatenate([np.zeros(0, np.int64), *found]).astype(np.int64)


def layer_units(plan: Plan, read: ReadPart) -> dict[str, int]:
    """How many units each layer has. Raises ConvscopeError where no image could be used."""
    for number in range(plan.shards):
        shapes = {layer: read(number, f"{layer}/shape").get(f"{layer}/shape") for layer in plan.layers}
        found = {layer: int(shape[0]) for layer, shape in shapes.items() if shape is not None}
        if len(found) == len(plan.layers):
            return found
    raise ConvscopeError(f"not one of the {plan.images} images could be used")


def reduce_layer(plan: Plan, read: ReadPart, layer: str) -> ReducedLayer:
    """One layer's results.

    Raises:
        ConvscopeError: no image at all could be used.
    """
    gathered: _Gathered | None = None
    for number in range(plan.shards):
        part = part_of(read(number, f"{layer}/"), f"{layer}/")
        if "shape" not in part:  # of a shard whose images were all refused there is nothing
            continue
        if gathered is None:
            gathered = _Gathered.of(part, plan, layer)
        else:
            gathered.merge(part)
    if gathered is None:
        raise ConvscopeError(f"not one of the {plan.images} images could be used")
    return gathered.compute()


@dataclass
class _Gathered:
    name: str
    shape: tuple[int, int, int]
    per_image: int
    exemplars: Exemplars
    statistics: UnitStatistics
    patterns: MeanPatterns | None
    features: list[NDArray[np.float32]]

    @classmethod
    def of(cls, part: dict[str, NDArray[Any]], plan: Plan, layer: str) -> "_Gathered":
        shape = tuple(int(side) for side in part["shape"][:3])
        per_image = plan.per_image
        return cls(layer, (shape[0], shape[1], shape[2]), per_image, *_accumulators(part, per_image))

    def merge(self, part: dict[str, NDArray[Any]]) -> None:
        exemplars, statistics, patterns, features = _accumulators(part, self.per_image)
        self.exemplars.merge(exemplars)
        self.statistics.merge(statistics)
        if self.patterns is not None and patterns is not None:
            self.patterns.merge(patterns)
        self.features += features

    def compute(self) -> ReducedLayer:
        features = np.concatenate(self.features)
        return ReducedLayer(
            self.name,
            self.shape,
            self.exemplars.compute(),
            self.statistics.compute(),
            None if self.patterns is None else self.patterns.compute(),
            features,
            *nearest_units(features, NEIGHBOURS),
        )


def _accumulators(
    part: dict[str, NDArray[Any]], per_image: int
) -> tuple[Exemplars, UnitStatistics, MeanPatterns | None, list[NDArray[np.float32]]]:
    patterns = part_of(part, "patterns/")
    return (
        Exemplars.from_tensors(part_of(part, "exemplars/"), per_image),
        UnitStatistics.from_tensors(part_of(part, "statistics/")),
        MeanPatterns.from_tensors(patterns) if patterns else None,
        [part["features"]],
    )
