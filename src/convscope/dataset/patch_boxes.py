"""Where a winner lies in its image: the box that the unit sees there, and the window around it.

    crop      the receptive box of the unit at (y, x): exactly the pixels of the network's input that it reads, clipped
              at every border (``network.receptive_fields.receptive_boxes``)
    context   the window of s x s pixels, s = max(3 f, 32), f the side of the layer's largest box, with the crop as
              near its middle as the image allows

Zeiler & Fergus 2014 (arXiv:1311.2901, fig. 2) show the crop alone; a first layer's are a few pixels wide and say
nothing without their surroundings.

A window that would leave the image is moved, not cut, so that all contexts of a layer have one size and the same
enlargement. One that would take more than half of the image is the whole image, which many winners then share.

Boxes are (y0, x0, y1, x1) as in ``image[y0:y1, x0:x1]``, in pixels of the network's input, not of the file.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt8

from convscope.errors import ConvscopeError
from convscope.network.receptive_fields import Box

TIMES, LEAST_PX = 3, 32  # our choice: a neighbourhood on either side, and never less than can be recognised
WHOLE_FROM = 0.5  # of the image's area: beyond it the whole image shows more and is stored once


def window_side(boxes: Iterable[Box], *, times: int = TIMES, least_px: int = LEAST_PX) -> int:
    """The side of the windows around these boxes, one for all."""
    return max([least_px, *(times * max(box.y1 - box.y0, box.x1 - box.x0) for box in boxes)])


def window_around(box: Box, size: tuple[int, int], side: int) -> Box:
    """The window of ``side`` pixels around ``box`` in an image of ``size`` = (height, width)."""
    if side * side > WHOLE_FROM * size[0] * size[1]:
        return Box(0, 0, *size)
    y0, y1 = _around(box.y0, box.y1, size[0], side)
    x0, x1 = _around(box.x0, box.x1, size[1], side)
    return Box(y0, x0, y1, x1)


def _around(start: int, end: int, length: int, side: int) -> tuple[int, int]:
    """An axis: centred on the box, then moved into the image."""
    side = min(side, length)
    first = min(max((start + end - side) // 2, 0), length - side)
    return first, first + side


def inside(box: Box, window: Box) -> Box:
    """The place of ``box`` in a picture of ``window``, which holds it."""
    return Box(box.y0 - window.y0, box.x0 - window.x0, box.y1 - window.y0, box.x1 - window.x0)


def cut(pixels: UInt8[np.ndarray, "H W 3"], box: Box) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels in ``box``, a view.

    Raises:
        ConvscopeError: a box without pixels, or one that leaves the image: it belongs to another image or network.
    """
    height, width = pixels.shape[:2]
    if not (0 <= box.y0 < box.y1 <= height and 0 <= box.x0 < box.x1 <= width):
        raise ConvscopeError(
            f"the box from ({box.y0}, {box.x0}) to ({box.y1}, {box.x1}) does not lie in an image of "
            f"{height} x {width} pixels: it was made with another photo, network or preprocessing"
        )
    return pixels[box.y0 : box.y1, box.x0 : box.x1]
