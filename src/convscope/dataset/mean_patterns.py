"""The mean map of each unit, class by class: where in the picture a unit answers, and to what.

    pattern_ku = 1/|k| sum over images i of class k of pool(A_iu),      pool: averages on 14 x 14 cells at most

The cells are those of adaptive average pooling; a smaller map is kept as it is. Maps of several sizes (photos that are
not cropped) meet on the coarser grid. A cell whose average is not finite leaves its image out of that unit's pattern.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from convscope.dataset.readings import unit_maps

CELLS = 14  # a side


@dataclass(frozen=True)
class ClassPatterns:
    """Mean maps of the k classes that occur (-1: images without a label): ``maps`` ``(k, u, gh, gw)`` float32.

    NaN where no image of the class has finite values in the unit.
    """

    classes: NDArray[np.int64]
    images: NDArray[np.int64]
    maps: NDArray[np.float32]


def pattern_of(output: Tensor, image_size: tuple[int, int], layer: str) -> NDArray[np.float32]:
    """Each map of a batch on at most 14 x 14 cells, ``(b, u, gh, gw)``. Arguments as ``read_units``."""
    return _pooled(unit_maps(output.detach(), image_size, layer).float(), (CELLS, CELLS)).cpu().numpy()


def _pooled(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    cells = min(grid[0], maps.shape[2]), min(grid[1], maps.shape[3])
    return maps.clone() if cells == maps.shape[2:] else F.adaptive_avg_pool2d(maps, cells)


@dataclass
class MeanPatterns:
    """Accumulator of one layer's mean maps."""

    units: int
    _classes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _images: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _counts: NDArray[np.int64] | None = None  # (k, u): images with finite values
    _sums: NDArray[np.float64] | None = None  # (k, u, gh, gw)

    def update(self, patterns: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        """Add a batch of ``pattern_of``, and the data class of each image (-1: none)."""
        finite = np.asarray(np.isfinite(patterns).all((2, 3), keepdims=True))
        sums = np.where(finite, patterns, 0).astype(np.float64)
        counts = finite[:, :, 0, 0].astype(np.int64)
        self._add(np.asarray(labels, np.int64), np.ones(len(patterns), np.int64), counts, sums)

    def _add(
        self,
        classes: NDArray[np.int64],
        images: NDArray[np.int64],
        counts: NDArray[np.int64],
        sums: NDArray[np.float64],
    ) -> None:
        """Add rows, one an image or a class, in their order."""
        if self._counts is not None and self._sums is not None:
            mine, sums = _on_one_grid(self._sums, sums)
        else:
            self._counts, mine = np.zeros((0, self.units), np.int64), sums[:0]
        known = np.union1d(self._classes, classes)
        old, new = np.searchsorted(known, self._classes), np.searchsorted(known, classes)
        self._images = _spread(self._images, old, len(known))
        self._counts = _spread(self._counts, old, len(known))
        self._sums = _spread(mine, old, len(known))
        for row, place in enumerate(new):
            self._images[place] += images[row]
            self._counts[place] += counts[row]
            self._sums[place] += sums[row]
        self._classes = known

    def merge(self, other: "MeanPatterns") -> None:
        """Add what another accumulator has seen, of later images."""
        if other._counts is not None and other._sums is not None:
            self._add(other._classes, other._images, other._counts, other._sums)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What ``from_tensors`` makes the accumulator of again."""
        found: dict[str, NDArray[Any]] = {"units": np.array([self.units])}
        if self._counts is not None and self._sums is not None:
            found |= {"classes": self._classes, "images": self._images, "counts": self._counts, "sums": self._sums}
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> "MeanPatterns":
        """The accumulator that gave these ``tensors``."""
        made = cls(int(tensors["units"][0]))
        if "sums" in tensors:
            made._add(*(np.asarray(tensors[name]) for name in ("classes", "images", "counts", "sums")))
        return made

    def compute(self) -> ClassPatterns:
        """The mean maps of all that was added."""
        if self._counts is None or self._sums is None:
            none = np.empty(0, np.int64)
            return ClassPatterns(none, none, np.empty((0, self.units, 1, 1), np.float32))
        some = np.where(self._counts > 0, self._counts, np.nan)
        return ClassPatterns(self._classes, self._images, (self._sums / some[:, :, None, None]).astype(np.float32))


def _on_one_grid(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if first.shape[2:] == second.shape[2:]:
        return first, second
    grid = min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3])
    return _pooled(torch.from_numpy(first), grid).numpy(), _pooled(torch.from_numpy(second), grid).numpy()


def _spread(rows: NDArray[Any], places: NDArray[np.intp], length: int) -> NDArray[Any]:
    """The rows at their places among ``length``; zeros elsewhere."""
    if len(rows) == length:
        return rows.copy() if not rows.flags.writeable else rows
    spread = np.zeros((length, *rows.shape[1:]), rows.dtype)
    spread[places] = rows
    return spread
