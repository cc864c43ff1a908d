"""The oracle of receptive fields: which pixels can spoil a unit. No graph, no gradient, no formula.

A pixel is NaN; every unit that reads it, however deep below, turns NaN. Weights must not be zero. ``function`` takes
a batch of images and returns maps ``(b, c, h, w)``; a unit is a position, in any channel.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

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


def gradient_boxes(function: Network, shape: tuple[int, int, int]) -> np.ndarray:
    """The same from the gradient's support, for operations with weights of exactly zero: NaN * 0 is NaN.

    Below 1e-9 a weight is rounding. Only for functions without maxima or rectifiers, whose gradients are partly zero.
    """
    image = torch.linspace(1, 2, shape[0] * shape[1] * shape[2], dtype=torch.float64).sqrt().view(1, *shape)
    maps = function(image.requires_grad_())
    boxes = np.zeros((*maps.shape[2:], 4), dtype=np.int64)
    uneven = torch.linspace(1, 2, maps.shape[1], dtype=torch.float64)
    for y, x in np.ndindex(*maps.shape[2:]):
        (gradient,) = torch.autograd.grad(maps[0, :, y, x] @ uneven, image, retain_graph=True)
        rows, columns = np.nonzero((gradient[0].abs() > 1e-9).any(0).numpy())
        if rows.size:
            boxes[y, x] = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    return boxes


def activations(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """The output of every module, in one pass; cloned, because a later ReLU may write in place."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str):
        return lambda _module, _inputs, out: outputs.update({name: out.clone()}) if isinstance(out, Tensor) else None

    hooks = [module.register_forward_hook(keep(name)) for name, module in model.named_modules()]
    try:
        model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs
