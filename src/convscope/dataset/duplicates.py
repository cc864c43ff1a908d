"""Units of a layer that have the same exemplars: many crops from the same few images.

Two exemplars are the same crop where they are of one image and their receptive boxes have an intersection over union of
at least 1/2. Two units are duplicates where at least half of the exemplars of the one that has fewer are crops of the
other, too. It tells of units that look for one thing, and of a layer that is wider than the data are varied.

Where the boxes are the whole image, two units of k exemplars share k^2 / n by chance, n being the number of images:
with fewer than 4 k images nothing can be told, and no unit is called a duplicate.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

SAME = 0.5
PAIRS = 2**20  # of crops that are compared at once
IMAGES_AN_EXEMPLAR = 4  # chance then gives a quarter of the exemplars at most, and a half is asked for


def duplicate_units(
    images: Int[np.ndarray, "u top"], boxes: Int[np.ndarray, "u top 4"], seen: int
) -> Iterator[tuple[int, int, int]]:
    """(unit, other, crops in common), the smaller unit first, ascending.

    Args:
        images: the image of each exemplar, -1 where there is none.
        boxes: its receptive box.
        seen: the number of images that were looked at.
    """
    units, top = images.shape
    if seen < IMAGES_AN_EXEMPLAR * top:
        return
    taken = (images >= 0).sum(1)
    shared = np.zeros((units, units), np.int32)
    of, rank = np.nonzero(images >= 0)
    order = np.argsort(images[of, rank], kind="stable")
    ends = np.flatnonzero(np.diff(images[of, rank][order])) + 1
    for one_image in np.split(order, ends):
        _share(shared, of[one_image], boxes[of[one_image], rank[one_image]])
    fewest = np.minimum(taken[:, None], taken[None])
    common = np.minimum(shared, shared.T)
    found = np.triu((common >= np.maximum(2, SAME * fewest)), k=1)
    for unit, other in np.argwhere(found).tolist():
        yield unit, other, int(common[unit, other])


def shared_images(
    images: Int[np.ndarray, "u top"], boxes: Int[np.ndarray, "u top 4"], unit: int, other: int
) -> list[int]:
    """The images of the crops that two units have in common, ascending: both may have others of one image apart."""
    is_same = _overlaps(boxes[unit], boxes[other]) >= SAME
    is_same &= (images[unit][:, None] == images[other]) & (images[unit][:, None] >= 0)
    return np.unique(images[unit][is_same.any(1)]).tolist()


def _share(shared: Int[np.ndarray, "u u"], unit: Int[np.ndarray, " n"], boxes: Int[np.ndarray, "n 4"]) -> None:
    """Count, for the crops of one image, the other units that have the same; ``unit``, whose they are, ascends."""
    others, starts = np.unique(unit, return_index=True)
    few = max(1, PAIRS // len(unit))
    for first in range(0, len(unit), few):
        some = slice(first, first + few)
        is_same = _overlaps(boxes[some], boxes) >= SAME
        # of one exemplar and another unit once, though that one may have several crops there
        np.add.at(shared, (unit[some, None], others), np.logical_or.reduceat(is_same, starts, axis=1))


def _overlaps(boxes: Int[np.ndarray, "m 4"], others: Int[np.ndarray, "n 4"]) -> NDArray[np.float64]:
    """Intersection over union of all pairs, ``(m, n)``; 0 with a box without pixels."""
    top, left = (np.maximum(boxes[:, None, side], others[:, side]) for side in (0, 1))
    bottom, right = (np.minimum(boxes[:, None, side], others[:, side]) for side in (2, 3))
    common = np.maximum(bottom - top, 0) * np.maximum(right - left, 0)
    area, other_area = ((each[:, 2:] - each[:, :2]).prod(1) for each in (boxes, others))
    return common / np.maximum(area[:, None] + other_area - common, 1)
