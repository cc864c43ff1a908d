"""What one pass reads from a layer's output, once for a batch: the strongest positions, the sums, a few samples.

Everything that a survey says of a unit comes from these few numbers an image, A being its map of n positions:

    strongest   the m largest of A with their places (y, x); of equal ones the first, row by row
    minimum, mean = sum A / n,  m2 = sum (A - mean)^2,  positive = how many A > 0,  rectified = sum max(A, 0) / n
    sample      at a fixed set of positions, the histogram bins of A

A value that is NaN or infinite is counted apart and in none of the others: the sums are over the finite ones, and a map
without any has the value -inf at no place.

Everything is read in float32, whatever the network computes in: what float32 cannot hold counts as infinite.
"""

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.dataset.histograms import bins_at
from convscope.dataset.map_sums import map_sums, map_sums_on_device
from convscope.dataset.peaks import peaks
from convscope.errors import ConvscopeError
from convscope.network.token_grids import as_maps

SAMPLES = 32  # positions an image that go into the histogram: 6,400 values a unit of 200 images


@dataclass(frozen=True)
class Readings:
    """Of one layer and one batch: m strongest positions, b images, u units.

    Attributes:
        values: ``(m, b, u)`` float32, best first; -inf where a map has no further finite value.
        y: their rows, ``(m, b, u)`` int32; -1 where there is none.
        x: their columns.
        minimum: ``(b, u)`` float32; inf where a map has no finite value.
        mean: ``(b, u)`` float64; 0 where a map has no finite value.
        m2: ``(b, u)`` float64, the sum of squared deviations from the image's own mean.
        rectified: ``(b, u)`` float64, the mean of max(A, 0); 0 where a map has no finite value.
        positive: ``(b, u)`` int64, how many values are above zero.
        bins: ``(b s, u)`` uint16, the histogram bins of the sampled values.
        shape: ``(h, w)`` of the maps.
        nans: ``(b, u)`` int64, how many values are NaN; None where all values are finite.
        infinities: the same of infinite ones.
    """

    values: NDArray[np.float32]
    y: NDArray[np.int32]
    x: NDArray[np.int32]
    minimum: NDArray[np.float32]
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]
    rectified: NDArray[np.float64]
    positive: NDArray[np.int64]
    bins: NDArray[np.uint16]
    shape: tuple[int, int]
    nans: NDArray[np.int64] | None = None
    infinities: NDArray[np.int64] | None = None

    @property
    def positions(self) -> int:
        """How many positions a map has."""
        return self.shape[0] * self.shape[1]

    @property
    def count(self) -> NDArray[np.int64]:
        """``(b, u)``: how many finite values each map has."""
        whole = np.full(self.mean.shape, self.positions, np.int64)
        if self.nans is not None and self.infinities is not None:
            whole -= self.nans + self.infinities
        return whole

    @property
    def pooled(self) -> NDArray[np.float32]:
        """``(b, u)``: the mean of each map's finite values; NaN where there is none, for 0 would pass for an answer."""
        mean = self.mean if self.nans is None else np.where(self.count > 0, self.mean, np.nan)
        return mean.astype(np.float32)


def unit_maps(output: Tensor, image_size: tuple[int, int], layer: str) -> Tensor:
    """A layer's output as ``(b, u, h, w)``, a view: maps as they are, tokens as their grid, ``(b, u)`` as one position.

    Raises:
        ConvscopeError: an output that holds no units.
    """
    if not output.is_floating_point():
        raise ConvscopeError(f"layer {layer!r} gives {output.dtype} numbers, not activations")
    return output[:, :, None, None] if output.ndim == 2 else as_maps(output, image_size, layer)


@functools.lru_cache(maxsize=256)
def sample_places(positions: int, samples: int) -> NDArray[np.int64]:
    """Which positions of a map are sampled: all where there are no more, else steps of the golden section.

    Even over the map, and no whole number of them a row, so that no column is taken again and again.
    """
    if positions <= samples:
        return np.arange(positions)
    step = round(positions * (math.sqrt(5) - 1) / 2)
    while math.gcd(step, positions) > 1:
        step += 1
    return np.sort(np.arange(samples) * step % positions)


def read_units(
    output: Tensor, image_size: tuple[int, int], layer: str, *, per_image: int = 1, sample: int = SAMPLES
) -> Readings:
    """The readings of a layer's output on a batch: numpy arrays of their own memory.

    Args:
        output: ``(b, u, h, w)`` in any layout, tokens, channels last, or ``(b, u)``; on any device.
        image_size: (H, W) of the network's input.
        layer: its name, for messages.
        per_image: how many of the strongest positions of each map are kept.
        sample: at most so many positions of each map go into the histogram.

    Raises:
        ConvscopeError: an output that holds no units.
    """
    as_given = unit_maps(output.detach(), image_size, layer).float()
    b, u, h, w = as_given.shape
    if 0 in as_given.shape:
        raise ConvscopeError(f"layer {layer!r} gives {tuple(output.shape)}: no values at all")
    maps = as_given.permute(0, 2, 3, 1).contiguous().view(b, h * w, u)
    on_cpu = maps.device.type == "cpu"
    sums = map_sums(maps.numpy()) if on_cpu else map_sums_on_device(maps)
    values, places = (sums.maximum[None], sums.place[None]) if per_image == 1 else peaks(maps, per_image)
    sampled = sample_places(h * w, sample)
    bins = bins_at(maps.numpy(), sampled) if on_cpu else bins_at(*_taken(maps, sampled))
    found = Readings(values, *_coordinates(places, w), *sums[1:5], sums.positive, bins, (h, w))
    bad = sums.nans.any() or sums.infinities.any()
    return replace(found, nans=sums.nans, infinities=sums.infinities) if bad else found


def _taken(maps: Tensor, places: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """These positions of maps on another device, as maps ``(b, s, u)`` of their own, and all of theirs."""
    taken = maps[:, torch.from_numpy(places).to(maps.device)].cpu().numpy()
    return taken, np.arange(len(places))


def _coordinates(places: NDArray[np.int64], width: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    flat = places.astype(np.int32)
    y: NDArray[np.int32] = flat // width  # -1 of -1
    return y, np.where(y < 0, np.int32(-1), flat - y * width)
