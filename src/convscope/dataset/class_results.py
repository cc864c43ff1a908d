"""What the rows of all images say of the classes: accuracy, confusion, prototypes, suspect labels.

For a data class d with the network's classes R_d:

    accuracy of d      = share of its images whose predicted class is in R_d, of those that could be judged
    confusion (d, c)   = number of images of d that the network calls c; only pairs that occur are held
    prototypes of d    = its images of least loss; and its images of largest right logit: what the network finds
                         least doubtful, and what excites its class most (the logit is no probability: other
                         classes may be excited as well)
    suspects           = the images of largest loss: the label is wrong, or the network is

Ties go to the earlier image. Images that were refused take no part, and those without a finite answer are counted and
nothing else; a data class that the network does not know has a row in the confusion, and nothing else.

``ClassResults`` is an accumulator (``update``, ``merge``, ``compute``): it holds classes and pairs, no images but the
best of each class. Order and split of the images change nothing but the last bits of the mean loss.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.dataset.image_rows import ImageRows, Rights

Integers = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]
_PAIR = 2**32  # a pair of class numbers as one int64


class LeadingImages:
    """The ``most`` images of largest value in each group, as flat arrays; groups without images take no room."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._groups = np.zeros(0, np.int64)
        self._values = np.zeros(0, np.float64)
        self._images = np.zeros(0, np.int64)

    def update(self, groups: Integers, values: Floats, images: Integers) -> None:
        """Take in images: of each its group (negative: none), its value (NaN: none) and its number."""
        some = (groups >= 0) & ~np.isnan(values)
        groups, values, images = (
            np.concatenate([kept, new[some]])
            for kept, new in ((self._groups, groups), (self._values, values), (self._images, images))
        )
        order = np.lexsort((images, -values, groups))
        sorted_groups = groups[order]
        rank = np.arange(len(order)) - np.searchsorted(sorted_groups, sorted_groups)
        best = order[rank < self.most]
        self._groups, self._values, self._images = groups[best], values[best], images[best]

    def merge(self, other: "LeadingImages") -> None:
        """Take in another's."""
        self.update(other._groups, other._values, other._images)

    def of(self, group: int) -> tuple[tuple[int, float], ...]:
        """(image number, value) of a group, best first."""
        at = slice(*np.searchsorted(self._groups, [group, group + 1]))
        return tuple(zip(self._images[at].tolist(), self._values[at].tolist(), strict=True))


@dataclass(frozen=True)
class ClassResult:
    """One data class. ``judged`` images have a loss; ``mean_loss`` and ``accuracy`` are of those, NaN of none.

    The prototypes are (image number, loss) and (image number, logit), best first.
    """

    images: int
    judged: int
    right: int
    mean_loss: float
    least_loss: tuple[tuple[int, float], ...]
    largest_logit: tuple[tuple[int, float], ...]

    @property
    def accuracy(self) -> float:
        """Share of the judged images that are right."""
        return self.right / self.judged if self.judged else float("nan")


@dataclass(frozen=True)
class ClassTable:
    """All data classes in their order; ``confusion`` {(data class, predicted class): images}, ascending.

    ``suspects`` are (image number, loss), the largest loss first.
    """

    classes: tuple[ClassResult, ...]
    confusion: dict[tuple[int, int], int]
    suspects: tuple[tuple[int, float], ...]

    @property
    def accuracy(self) -> float:
        """Of all judged images."""
        judged = sum(each.judged for each in self.classes)
        return sum(each.right for each in self.classes) / judged if judged else float("nan")


class ClassResults:
    """Accumulates rows of images whose label d has the network's classes ``rights[d]``."""

    def __init__(self, rights: Rights, *, top: int = 9, suspects: int = 100) -> None:
        self.rights = tuple(tuple(right) for right in rights)
        self._right_pairs = np.array(sorted(d * _PAIR + c for d, right in enumerate(self.rights) for c in right))
        count = len(self.rights)
        self._images, self._judged, self._right = (np.zeros(count, np.int64) for _ in range(3))
        self._loss = np.zeros(count)
        self._pairs, self._pair_counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._least_loss, self._largest_logit = LeadingImages(top), LeadingImages(top)
        self._suspects = LeadingImages(suspects)

    def update(self, rows: ImageRows) -> None:
        """Take in the images of a part."""
        labels, loss = rows.label.astype(np.int64), rows.loss.astype(np.float64)
        was_read = (labels >= 0) & ~np.isin(rows.number, list(rows.refused))
        seen = was_read & (rows.predicted >= 0)
        pairs = labels * _PAIR + rows.predicted
        judged = seen & ~np.isnan(loss)
        count = len(self.rights)
        self._images += np.bincount(labels[was_read], minlength=count)
        self._judged += np.bincount(labels[judged], minlength=count)
        self._right += np.bincount(labels[judged & np.isin(pairs, self._right_pairs)], minlength=count)
        self._loss += np.bincount(labels[judged], loss[judged], minlength=count)
        self._add_pairs(pairs[seen], np.ones(int(seen.sum()), np.int64))
        self._least_loss.update(labels, -loss, rows.number)
        self._largest_logit.update(labels, rows.right_logit.astype(np.float64), rows.number)
        self._suspects.update(np.zeros_like(labels), loss, rows.number)

    def _add_pairs(self, pairs: Integers, counts: Integers) -> None:
        every, place = np.unique(np.concatenate([self._pairs, pairs]), return_inverse=True)
        weights = np.concatenate([self._pair_counts, counts])
        self._pair_counts = np.zeros(len(every), np.int64)
        np.add.at(self._pair_counts, place, weights)
        self._pairs = every

    def merge(self, other: "ClassResults") -> None:
        """Take in another's, of the same classes."""
        self._images += other._images
        self._judged += other._judged
        self._right += other._right
        self._loss += other._loss
        self._add_pairs(other._pairs, other._pair_counts)
        self._least_loss.merge(other._least_loss)
        self._largest_logit.merge(other._largest_logit)
        self._suspects.merge(other._suspects)

    def compute(self) -> ClassTable:
        """The results of all images so far."""
        pairs = zip(self._pairs.tolist(), self._pair_counts.tolist(), strict=True)
        return ClassTable(
            tuple(self._class(number) for number in range(len(self.rights))),
            {divmod(pair, _PAIR): count for pair, count in pairs},
            self._suspects.of(0),
        )

    def _class(self, number: int) -> ClassResult:
        judged = int(self._judged[number])
        return ClassResult(
            int(self._images[number]),
            judged,
            int(self._right[number]),
            float(self._loss[number]) / judged if judged else float("nan"),
            tuple((image, -value) for image, value in self._least_loss.of(number)),
            self._largest_logit.of(number),
        )
