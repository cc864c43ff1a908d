"""Activation maps at a mask's resolution, each number laid where its unit looks.

Bau et al. (2017) enlarge a map bilinearly, "anchoring interpolants at the center of each unit's receptive field". With
a field of r pixels, stride j and first pixel f, unit i of an axis lies at

    c_i = f + r / 2 + j i,

and a cell whose middle is at pixel p reads the map at (p - c_0) / j, between the two units round it; beyond the first
and the last unit their value is repeated. Each axis is a matrix with two numbers a row, so a map is R_y A R_x'.

For convolutions padded to keep the size, c_i = (i + 1/2) j, and this is what every library calls bilinear with
``align_corners=False``. Without padding the two part: the 109 cells that SqueezeNet's first layer makes of 224 pixels
lie at 3.5, 5.5, ..., not at 1.03, 3.08, ...; stretched over the image, its regions would be up to 2.5 pixels off.

A layer whose units see the whole input (attention, the logits) has no such centres: its grid is laid evenly.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from convscope.network.receptive_fields import ReceptiveField


def upsampling(
    units: int, pixels: int, cells: int, anchors: tuple[float, float] | None
) -> Float[np.ndarray, "cells units"]:
    """The weights of one axis: of ``units`` on a map over ``pixels`` of input, for each of ``cells``.

    ``anchors``: the centre of the first unit in pixels and the step to the next; None lays them evenly.
    """
    first, step = anchors or (pixels / units / 2, pixels / units)
    middles = (np.arange(cells) + 0.5) * pixels / cells
    place = np.clip((middles - first) / step, 0, units - 1)
    before = np.minimum(place.astype(np.intp), max(units - 2, 0))
    share = place - before
    weights = np.zeros((cells, units))
    weights[np.arange(cells), before] = 1 - share
    weights[np.arange(cells), np.minimum(before + 1, units - 1)] += share
    return weights


def anchors_of(field: ReceptiveField | None) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """(centre of the first unit, step) down and across; None for a unit that sees the whole input."""
    if field is None or min(field.stride) <= 0:
        return None, None
    down, across = ((f + r / 2, float(j)) for f, r, j in zip(field.offset, field.size, field.stride, strict=True))
    return down, across


class Upsampler:
    """Maps (h, w) over an input of (H, W) pixels to ``cells`` (rows, columns): made once, used for every image."""

    def __init__(
        self,
        maps: tuple[int, int],
        pixels: tuple[int, int],
        cells: tuple[int, int],
        field: ReceptiveField | None,
        like: Tensor,
    ) -> None:
        down, across = (
            torch.from_numpy(upsampling(*each)).to(like)
            for each in zip(maps, pixels, cells, anchors_of(field), strict=True)
        )
        self._down, self._across = down, across.T.contiguous()

    def __call__(self, maps: Float[Tensor, "u h w"]) -> Float[Tensor, "u rows columns"]:
        """Every unit's map of one image."""
        return self._down @ (maps @ self._across)
