"""Statistics of every unit of a layer, over all images and per class, in one pass and without the images.

Each image gives a few numbers a unit (``readings``): its count of positions n_i, mean m_i, sum of squared deviations
q_i, extremes, and how many values are above zero. A group of images has

    n = sum n_i,   mean = sum n_i m_i / n,   m2 = sum (q_i + n_i (m_i - mean)^2),   variance = m2 / n

which is the two-pass formula over images, so nothing cancels where the mean is large; two groups are joined by the
same formula (Chan, Golub & LeVeque 1979). All of it in float64 and in a fixed order: images as they come, a few dozen
at a time, classes by number. The groups are the classes that occur; images without a label are a group of their own,
-1, and the unit's own statistics are those of all groups together.

    class selectivity = (mu_max - mu_rest) / (mu_max + mu_rest)             (Morcos et al. 2018, arXiv:1803.06959)

mu_max is the largest of a unit's class means and mu_rest the mean of the others: 0 where no class is preferred, 1 where
one class alone excites the unit. It is defined on rectified maps, so the means are those of max(A, 0), which is A after
a ReLU; before one, plain means may be negative, and two thirds of a layer's units would stand at 1. NaN with fewer than
two classes, 0 for a unit that nothing excites.

The histogram is of a fixed sample of positions, 32 an image (all of them where a map is no larger); the other
statistics are of every position. NaN and infinite values are counted apart and are in nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.dataset import histograms
from convscope.dataset.groups import ROWS, Groups, nothing, of_images, stacked
from convscope.dataset.readings import Readings

HELD = 64  # images whose readings wait to be added up together
Array = NDArray[Any]


@dataclass(frozen=True)
class ClassStatistics:
    """Of the data classes that occur, k of them: ``(k, u)`` each; NaN where a unit has no finite value.

    ``rectified`` is the mean of max(A, 0).
    """

    classes: NDArray[np.int64]
    images: NDArray[np.int64]
    count: NDArray[np.int64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    rectified: NDArray[np.float64]
    share_positive: NDArray[np.float64]
    maximum: NDArray[np.float32]
    minimum: NDArray[np.float32]


@dataclass(frozen=True)
class Statistics:
    """Of the units of a layer: ``(u,)`` each, ``histogram`` ``(u, BINS)``; NaN where a unit has no finite value.

    ``selective_class`` is the class of the largest rectified mean (-1: none is above 0, or no labels),
    ``first_nonfinite`` the number of the first image with a NaN or infinite value in the unit (-1: none),
    ``nonfinite_images`` how many have one.
    """

    images: int
    count: NDArray[np.int64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    share_positive: NDArray[np.float64]
    maximum: NDArray[np.float32]
    minimum: NDArray[np.float32]
    histogram: NDArray[np.int64]
    selectivity: NDArray[np.float64]
    selective_class: NDArray[np.int64]
    nans: NDArray[np.int64]
    infinities: NDArray[np.int64]
    nonfinite_images: NDArray[np.int64]
    first_nonfinite: NDArray[np.int64]
    by_class: ClassStatistics

    def quantile(self, q: float) -> NDArray[np.float64]:
        """The value below which the share ``q`` of each unit's sampled values lies, within its extremes."""
        found = histograms.quantile(self.histogram, q)
        return np.clip(found, self.minimum, self.maximum)


@dataclass
class UnitStatistics:
    """Accumulator of one layer's statistics; ``merge`` in a fixed order gives the same bits."""

    units: int
    _classes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _held: list[Readings] = field(default_factory=list[Readings])
    _labels: list[NDArray[np.int64]] = field(default_factory=list[NDArray[np.int64]])

    def __post_init__(self) -> None:
        self._groups = nothing(len(self._classes), self.units)
        self._histogram = np.zeros((self.units, histograms.BINS), np.int64)
        self._nans, self._infinities, self._nonfinite_images = np.zeros((3, self.units), np.int64)
        self._first = np.full(self.units, -1, np.int64)

    def update(self, readings: Readings, labels: NDArray[np.int64], images: NDArray[np.int64]) -> None:
        """Add a batch: the data class of each image (-1: none), and its number in the data set."""
        self._held.append(readings)
        self._labels.append(np.asarray(labels, np.int64))
        if readings.nans is not None and readings.infinities is not None:
            self._count_nonfinite(readings.nans, readings.infinities, np.asarray(images, np.int64))
        if sum(map(len, self._labels)) >= HELD:
            self._fold()

    def _count_nonfinite(self, nans: Array, infinities: Array, images: NDArray[np.int64]) -> None:
        bad = nans + infinities > 0
        self._nans += nans.sum(0)
        self._infinities += infinities.sum(0)
        self._nonfinite_images += bad.sum(0)
        self._first = _earlier(self._first, np.where(bad.any(0), images[bad.argmax(0)], -1))

    def _fold(self) -> None:
        """Add up what is held."""
        if self._held:
            self._add(np.concatenate(self._labels), of_images(self._held))
            self._histogram += histograms.counted(np.concatenate([each.bins for each in self._held]))
            self._held, self._labels = [], []

    def _add(self, classes: NDArray[np.int64], rows: Groups) -> None:
        """Join rows with those of their classes; the other classes' are not touched, of which there may be many."""
        own, group = np.unique(classes, return_inverse=True)
        self._make_room(own)
        places = np.searchsorted(self._classes, own)
        both = stacked(self._groups.rows(places), rows.joined(group, len(own)))
        self._groups.put(places, vars(both.joined(np.tile(np.arange(len(own)), 2), len(own))))

    def _make_room(self, classes: NDArray[np.int64]) -> None:
        known = np.union1d(self._classes, classes)
        if len(known) > len(self._classes):
            grown = nothing(len(known), self.units)
            grown.put(np.searchsorted(known, self._classes), vars(self._groups))
            self._classes, self._groups = known, grown

    def merge(self, other: "UnitStatistics") -> None:
        """Add what another accumulator has seen, of later images."""
        self._fold()
        other._fold()
        if len(other._classes):
            self._add(other._classes, other._groups)
        self._histogram += other._histogram
        self._nans += other._nans
        self._infinities += other._infinities
        self._nonfinite_images += other._nonfinite_images
        self._first = _earlier(self._first, other._first)

    def tensors(self) -> dict[str, Array]:
        """What ``from_tensors`` makes the accumulator of again: flat, and no larger than it has to be."""
        self._fold()
        used = np.flatnonzero(self._histogram.any(0))
        first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
        found: dict[str, Array] = {
            "classes": self._classes,
            "histogram": _smallest(self._histogram[:, first:last]),
            "first_bin": np.array([first]),
            "nonfinite": np.stack([self._nans, self._infinities, self._nonfinite_images, self._first]),
        }
        found["images"] = self._groups.images
        found |= {name: np.ascontiguousarray(getattr(self._groups, name)) for name in ROWS}
        found["count"] = _narrowed(self._groups.count)
        found["positive"] = _smallest(self._groups.positive)
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array]) -> "UnitStatistics":
        """The accumulator that gave these ``tensors``."""
        histogram, first = tensors["histogram"], int(tensors["first_bin"][0])
        made = cls(len(histogram), np.array(tensors["classes"], np.int64))
        made._histogram[:, first : first + histogram.shape[1]] = histogram
        made._nans, made._infinities, made._nonfinite_images, made._first = np.array(tensors["nonfinite"], np.int64)
        made._groups.put(np.arange(len(made._classes)), tensors)
        return made

    def compute(self) -> Statistics:
        """The statistics of all that was added."""
        self._fold()
        groups = self._groups if len(self._classes) else nothing(1, self.units)
        whole = groups.joined(np.zeros(len(groups.images), np.int64), 1)
        by_class = _class_statistics(self._classes, self._groups)
        selectivity, selective_class = class_selectivity(by_class)
        maximum, minimum = whole.extremes()
        return Statistics(
            int(whole.images[0]),
            whole.count[0],
            whole.means()[0],
            whole.variance()[0],
            whole.share_positive()[0],
            maximum[0],
            minimum[0],
            self._histogram.copy(),
            selectivity,
            selective_class,
            self._nans.copy(),
            self._infinities.copy(),
            self._nonfinite_images.copy(),
            self._first.copy(),
            by_class,
        )


def _class_statistics(classes: NDArray[np.int64], groups: Groups) -> ClassStatistics:
    known = np.flatnonzero(classes >= 0)
    maximum, minimum = groups.extremes()
    return ClassStatistics(
        classes[known],
        groups.images[known],
        groups.count[known],
        groups.means()[known],
        groups.variance()[known],
        np.where(groups.count > 0, groups.rectified, np.nan)[known],
        groups.share_positive()[known],
        maximum[known],
        minimum[known],
    )


def class_selectivity(by_class: ClassStatistics) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Each unit's selectivity and its class of largest rectified mean: of equal ones the first, of zeros none (-1)."""
    means = by_class.rectified
    known = np.isfinite(means)
    if not len(means):
        return np.full(means.shape[1], np.nan), np.full(means.shape[1], -1)
    best = np.where(known, means, -np.inf).argmax(0)
    largest = np.take_along_axis(means, best[None], 0)[0]
    others = known.sum(0) - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = (np.where(known, means, 0).sum(0) - largest) / others
        total = largest + rest
        selectivity = np.where(total > 0, (largest - rest) / total, np.where(np.isnan(total), np.nan, 0))
    selectivity[others < 1] = np.nan
    return selectivity, np.where(largest > 0, by_class.classes[best], -1)


def _earlier(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """The smaller of two image numbers, -1 being none."""
    return np.where(first < 0, second, np.where(second < 0, first, np.minimum(first, second)))


def _smallest(counts: NDArray[np.int64]) -> Array:
    """Counts in the smallest whole numbers that hold them."""
    return np.ascontiguousarray(counts, np.min_scalar_type(int(counts.max(initial=0))))


def _narrowed(count: NDArray[np.int64]) -> Array:
    """One column where all units have the same counts, as they have unless values are not finite."""
    same = count.shape[1] > 0 and bool((count == count[:, :1]).all())
    return np.ascontiguousarray(count[:, :1] if same else count)
