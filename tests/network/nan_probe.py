"""The oracle of receptive fields: which pixels can spoil a unit. No graph, no gradient, no formula.

A pixel is NaN; every unit that reads it, however deep below, turns NaN. Weights must not be zero. ``function`` takes
a batch of images and returns maps ``(b, c, h, w)``; a unit is a position, in any channel.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Network = Callable[[Tensor], Tensor]


def nan_boxes(function: Network, shape: tuple[int, int, int], *, chunk: int = 64) -> np.ndarray:
    """``(h, w, 4)``: y0, x0, y1, x1 of the pixels that spoil each unit, four zeros for none; every pixel is tried."""
    height, width = shape[1:]
    spoilt = []
    for pixels in torch.arange(height * width).split(chunk):
        images = torch.ones(len(pixels), *shape, dtype=torch.float64)
        images.flatten(2)[torch.arange(len(pixels)), :, pixels] = torch.nan
        with torch.no_grad():
            spoilt.append(function(images).isnan().any(1))
    seen = torch.cat(spoilt).unflatten(0, (height, width)).permute(2, 3, 0, 1).numpy()  # (h, w, H, W)
    boxes = np.zeros((*seen.shape[:2], 4), dtype=np.int64)
    for y, x in np.argwhere(seen.any((2, 3))):
        rows, columns = np.flatnonzero(seen[y, x].any(1)), np.flatnonzero(seen[y, x].any(0))
        boxes[y, x] = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    return boxes


def sees_exactly(function: Network, shape: tuple[int, int, int], box: tuple[int, ...], y: int, x: int) -> bool:
    """Whether unit (y, x) sees nothing outside ``box``, and something in each of the box's four edges."""
    y0, x0, y1, x1 = box
    images = torch.ones(5, *shape, dtype=torch.float64)
    images[0] = torch.nan
    images[0, :, y0:y1, x0:x1] = 1
    for image, edge in enumerate((np.s_[y0, x0:x1], np.s_[y1 - 1, x0:x1], np.s_[y0:y1, x0], np.s_[y0:y1, x1 - 1]), 1):
        images[(image, slice(None), *edge)] = torch.nan
    with torch.no_grad():
        spoilt = function(images)[:, :, y, x].isnan().any(1)
    return spoilt.tolist() == [False, True, True, True, True]
