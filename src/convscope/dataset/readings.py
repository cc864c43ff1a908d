"""What one pass reads from a layer's output, once for a batch: the strongest positions, the sums, a few samples.

Everything that a survey says of a unit comes from these few numbers an image, A being its map of n positions:

    strongest   the m largest of A with their places (y, x); of equal ones the first, row by row
    minimum, mean = sum A / n,  m2 = sum (A - mean)^2,  positive = how many A > 0
    sample      at a fixed set of positions, the histogram bins of A
    rectified   the mean of max(A, 0): that of A where A is never below 0, elsewhere of the sampled positions; over all
                positions it would take another sweep, a tenth of SqueezeNet's forward pass

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

from convscope.dataset.histograms import bin_numbers
from convscope.dataset.map_sums import NEAR, Sums, map_sums, map_sums_on_device, two_pass, unit_rows
from convscope.dataset.peaks import largest, peaks
from convscope.errors import ConvscopeError
from convscope.network.token_grids import as_maps

SAMPLES = 32  # positions an image that go into the histogram: 6,400 values a unit of 200 images
CAREFUL = 2**21  # values that are computed again at once


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
        positive: ``(b, u)`` int64, how many values are above zero.
        bins: ``(b s, u)`` uint16, the histogram bins of the sampled values.
        rectified: ``(b, u)`` float32, the mean of max(A, 0), exact where ``minimum`` is not below 0, elsewhere over the
            sampled positions; 0 for what is not finite.
        shape: ``(h, w)`` of the maps.
        nans: ``(b, u)`` int32, how many values are NaN; None where all values are finite.
        infinities: the same of infinite ones.
    """

    values: NDArray[np.float32]
    y: NDArray[np.int32]
    x: NDArray[np.int32]
    minimum: NDArray[np.float32]
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]
    positive: NDArray[np.int64]
    bins: NDArray[np.uint16]
    rectified: NDArray[np.float32]
    shape: tuple[int, int]
    nans: NDArray[np.int32] | None = None
    infinities: NDArray[np.int32] | None = None

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
    values, places, sums = _near(maps, (h, w), per_image)
    taken = _sampled(maps, sample_places(h * w, sample))
    found = Readings(values, *_coordinates(places, w), *sums[:4], *_of_sample(taken), (h, w))
    if not sums.is_safe.all():
        found = _with_care(found, maps, *np.nonzero(~sums.is_safe))
    exact = found.mean.astype(np.float32)
    return replace(found, rectified=np.where(found.minimum >= 0, exact, found.rectified))


def _near(maps: Tensor, shape: tuple[int, int], m: int) -> tuple[NDArray[np.float32], NDArray[np.int64], Sums]:
    """Peaks and sums, on a CPU a few images at a time: what the first sweep brought near, the others find there."""
    if maps.device.type != "cpu":
        return *peaks(maps, shape, m), map_sums_on_device(maps)
    few = max(1, NEAR // maps[0].numel())
    values, places, sums = zip(
        *((*peaks(each, shape, m), map_sums(each.numpy())) for each in maps.split(few)), strict=True
    )
    if len(sums) == 1:
        return values[0], places[0], sums[0]
    joined = Sums(*(np.concatenate(each) for each in zip(*sums, strict=True)))
    return np.concatenate(values, 1), np.concatenate(places, 1), joined


def _sampled(maps: Tensor, places: NDArray[np.int64]) -> NDArray[np.float32]:
    """``(b, s, u)`` of maps ``(b, n, u)``."""
    if maps.device.type == "cpu":
        return np.take(maps.numpy(), places, axis=1)
    return maps[:, torch.from_numpy(places).to(maps.device)].cpu().numpy()


def _of_sample(taken: NDArray[np.float32]) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """The bins, and the means of what is positive, of sampled values ``(b, s, u)``."""
    b, s, u = taken.shape
    bins = bin_numbers(taken).reshape(b * s, u)
    with np.errstate(over="ignore"):
        rectified = np.add.reduce(np.maximum(taken, 0), axis=1) / np.float32(s)
    if not np.isfinite(rectified).all():
        rectified = np.where(np.isfinite(taken), np.maximum(taken, 0), 0).mean(1, np.float64).astype(np.float32)
    return bins, rectified


def _coordinates(places: NDArray[np.int64], width: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    flat = places.astype(np.int32)
    y: NDArray[np.int32] = flat // width  # -1 of -1
    return y, np.where(y < 0, np.int32(-1), flat - y * width)


def _with_care(found: Readings, maps: Tensor, images: NDArray[np.intp], units: NDArray[np.intp]) -> Readings:
    """The same, with what some (image, unit) pairs' sums did not tell made from their values again."""
    nans, infinities = np.zeros(found.mean.shape, np.int32), np.zeros(found.mean.shape, np.int32)
    for start in range(0, len(images), step := max(1, CAREFUL // maps.shape[1])):
        i, k = images[start : start + step], units[start : start + step]
        rows = unit_rows(maps, i, k)
        finite = np.isfinite(rows)
        nans[i, k], infinities[i, k] = np.isnan(rows).sum(1), np.isinf(rows).sum(1)
        found.mean[i, k], found.m2[i, k] = two_pass(rows)
        found.minimum[i, k] = np.where(finite, rows, np.inf).min(1)
        found.positive[i, k] = ((rows > 0) & finite).sum(1)
        if not finite.all():
            values, places = largest(torch.from_numpy(np.where(finite, rows, -np.inf)), len(found.values))
            found.values[:, i, k] = values
            found.y[:, i, k], found.x[:, i, k] = _coordinates(places, found.shape[1])
    bad = bool(nans.any() or infinities.any())
    return replace(found, nans=nans, infinities=infinities) if bad else found
