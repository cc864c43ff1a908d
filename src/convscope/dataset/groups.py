"""Groups of images, and how two become one: what the statistics of a layer are added up in.

A row of ``Groups`` is an image or a class; rows of one group are joined by the formulas of ``statistics``: added one
after the other in float64, in the order in which they stand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.dataset.compiled import compiled
from convscope.dataset.readings import Readings

Array = NDArray[Any]


@dataclass(frozen=True)
class Groups:
    """Rows of images, or of classes: what the formulas join. ``(k, u)`` each, ``images`` ``(k,)``."""

    images: NDArray[np.int64]
    count: NDArray[np.int64]
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]
    rectified: NDArray[np.float64]
    positive: NDArray[np.int64]
    maximum: NDArray[np.float32]
    minimum: NDArray[np.float32]

    def joined(self, group: NDArray[np.int64], groups: int) -> "Groups":
        """Rows of one number in ``group`` become one row; rows are added in their order."""
        made = nothing(groups, self.mean.shape[1])
        _join(group, *self._columns(), *made._columns())
        return made

    def _columns(self) -> tuple[Array, ...]:
        return self.images, *(getattr(self, name) for name in ROWS)

    def rows(self, places: NDArray[np.intp]) -> "Groups":
        """Some rows."""
        return Groups(self.images[places], **{name: getattr(self, name)[places] for name in ROWS})

    def put(self, places: NDArray[np.intp], rows: Mapping[str, Array]) -> None:
        """Other rows, by the names of the columns, in these places."""
        for name in ("images", *ROWS):
            getattr(self, name)[places] = rows[name]

    def variance(self) -> NDArray[np.float64]:
        """m2 / n, NaN for no values."""
        return self.m2 / self._none_as_nan()

    def share_positive(self) -> NDArray[np.float64]:
        """The share of the values above zero, NaN for no values."""
        return self.positive / self._none_as_nan()

    def means(self) -> NDArray[np.float64]:
        """The means, NaN for no values."""
        return np.where(self.count > 0, self.mean, np.nan)

    def extremes(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Largest and smallest values, NaN where there is none."""
        some = self.count > 0
        return np.where(some, self.maximum, np.float32(np.nan)), np.where(some, self.minimum, np.float32(np.nan))

    def _none_as_nan(self) -> NDArray[np.float64]:
        return np.where(self.count > 0, self.count, np.nan)


ROWS = ("count", "mean", "m2", "rectified", "positive", "maximum", "minimum")


@compiled
def _join(
    group: Array,
    images: Array,
    count: Array,
    mean: Array,
    m2: Array,
    rectified: Array,
    positive: Array,
    maximum: Array,
    minimum: Array,
    all_images: Array,
    all_count: Array,
    all_mean: Array,
    all_m2: Array,
    all_rectified: Array,
    all_positive: Array,
    all_maximum: Array,
    all_minimum: Array,
) -> None:
    """Join rows into those of their groups, which hold nothing yet. In two passes: m2 is about the joined mean."""
    rows, units = count.shape
    for i in range(rows):
        g = group[i]
        all_images[g] += images[i]
        for c in range(units):
            n = count[i, c]
            all_count[g, c] += n
            all_mean[g, c] += n * mean[i, c]
            all_rectified[g, c] += n * rectified[i, c]
            all_positive[g, c] += positive[i, c]
            all_maximum[g, c] = max(all_maximum[g, c], maximum[i, c])
            all_minimum[g, c] = min(all_minimum[g, c], minimum[i, c])
    all_mean /= np.maximum(all_count, 1)
    all_rectified /= np.maximum(all_count, 1)
    for i in range(rows):
        g = group[i]
        for c in range(units):
            away = mean[i, c] - all_mean[g, c]
            all_m2[g, c] += m2[i, c] + count[i, c] * away * away


def of_images(held: list[Readings]) -> Groups:
    """One row an image of these batches."""
    rows = {
        "count": [r.count for r in held],
        "mean": [r.mean for r in held],
        "m2": [r.m2 for r in held],
        "rectified": [r.rectified for r in held],
        "positive": [r.positive for r in held],
        "maximum": [r.values[0] for r in held],
        "minimum": [r.minimum for r in held],
    }
    joined: dict[str, Array] = {name: np.concatenate(parts) for name, parts in rows.items()}
    return Groups(np.ones(len(joined["count"]), np.int64), **joined)


def stacked(first: Groups, second: Groups) -> Groups:
    """The rows of both, one below the other."""
    both = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in ROWS}
    return Groups(np.concatenate([first.images, second.images]), **both)


def nothing(groups: int, units: int) -> Groups:
    """Groups of no images yet."""
    counts, sums = np.zeros((2, groups, units), np.int64), np.zeros((3, groups, units))
    low = np.full((groups, units), -np.inf, np.float32)
    return Groups(np.zeros(groups, np.int64), counts[0], sums[0], sums[1], sums[2], counts[1], low, -low)
