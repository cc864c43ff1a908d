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
        unit, box = of[one_image], boxes[of[one_image], rank[one_image]]
        first, second = np.nonzero(_overlaps(box) >= SAME)
        # of one exemplar and another unit once, though that one may have several crops there
        pairs = np.unique(np.stack([first, unit[second]], 1), axis=0)
        np.add.at(shared, (unit[pairs[:, 0]], pairs[:, 1]), 1)
    fewest = np.minimum(taken[:, None], taken[None])
    common = np.minimum(shared, shared.T)
    found = np.triu((common >= np.maximum(2, SAME * fewest)), k=1)
    for unit, other in np.argwhere(found).tolist():
        yield unit, other, int(common[unit, other])


def shared_images(
    images: Int[np.ndarray, "u top"], boxes: Int[np.ndarray, "u top 4"], unit: int, other: int
) -> list[int]:
    """The images of the crops that two units have in common, ascending: both may have others of one image apart."""
    top = images.shape[1]
    is_same = _overlaps(np.concatenate([boxes[unit], boxes[other]]))[:top, top:] >= SAME
    is_same &= (images[unit][:, None] == images[other]) & (images[unit][:, None] >= 0)
    return np.unique(images[unit][is_same.any(1)]).tolist()


def _overlaps(boxes: Int[np.ndarray, "n 4"]) -> NDArray[np.float64]:
    """Intersection over union of all pairs; 0 with a box without pixels."""
    start = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    end = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = np.maximum(end - start, 0).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return common / np.maximum(area[:, None] + area[None] - common, 1)
