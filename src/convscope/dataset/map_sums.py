"""Extremes, sums and counts of every map of a batch, in one sweep over the numbers.

Claim: reading many maps costs what moving them through the processor costs, so all that a survey wants of a map is
taken while its numbers are at hand. numpy and torch go over them once for each figure, five to seven times; a loop
that is compiled does it once (``benchmarks/survey_pass.py``).

The maps are a matrix A ``(n, u)`` an image, the units side by side (channels last, as convolutions leave them on a
CPU). Rows of u numbers may be short, so k positions are one row of ``k u``, at most about ``WIDE`` numbers, each with
figures of its own that stay in the first cache; after ``ROWS`` rows they are folded to u.

Rounding: sums are in float32 for at most ``ROWS`` numbers one after the other, and in float64 beyond that, always in
the same order: equal maps give equal bits. ``sum A^2 - n mean^2`` cancels where the mean is much larger than the
deviation, and says nothing where a value is not finite: of such a map everything is made again, from its finite values,
in float64 and in two passes.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.dataset.compiled import compiled

WIDE = 256  # numbers; of more the figures leave the first cache
ROWS = 255  # an odd number
CANCELLED = 2.0**-6  # of the squares: six of float32's 24 bits are gone

Array = NDArray[Any]


class Sums(NamedTuple):
    """Of the n values of each map that are finite: ``(b, u)`` each."""

    maximum: Array  # float32, -inf where there is none
    minimum: Array  # float32, inf where there is none
    mean: Array  # float64, 0 where there is none, as the next two
    m2: Array  # float64, sum of squared deviations from the mean
    rectified: Array  # float64, the mean of max(A, 0)
    place: Array  # int64, where the maximum is, of equal ones the first; -1 where there is none
    positive: Array  # int64, how many are above 0
    nans: Array  # int64, how many values are NaN
    infinities: Array  # int64


def map_sums(maps: Array) -> Sums:
    """The sums of maps ``(b, n, u)``, float32 and contiguous."""
    b, _, u = maps.shape
    extremes, means, counts = np.empty((2, b, u), np.float32), np.empty((3, b, u)), np.empty((4, b, u), np.int64)
    for_all_maps(maps, extremes, means, counts)
    return Sums(*extremes, *means, *counts)


@compiled
def for_all_maps(maps: Array, extremes: Array, means: Array, counts: Array) -> None:
    """Fill in what ``Sums`` names, in its order."""
    b, n, u = maps.shape
    safe = np.empty(u, np.bool_)
    for i in range(b):
        high, low = extremes[0, i], extremes[1, i]
        mean, m2, rectified = means[0, i], means[1, i], means[2, i]
        place, positive, nans, infinities = counts[0, i], counts[1, i], counts[2, i], counts[3, i]
        numbers = maps[i].reshape(n * u)
        _sweep(numbers, high, low, mean, m2, rectified, place, positive)
        _finish(n, mean, m2, rectified, safe)
        nans[:], infinities[:] = 0, 0
        for c in range(u):
            if not safe[c]:
                high[c], place[c], low[c], mean[c], m2[c], rectified[c], positive[c], nans[c], infinities[c] = _again(
                    numbers[c::u]
                )


@compiled
def _finish(n: int, mean: Array, m2: Array, rectified: Array, safe: Array) -> None:
    """From sums of n values, of their squares, and of those above 0; ``safe`` where m2 is finite and not cancelled."""
    for c in range(len(mean)):
        squares = m2[c]
        m2[c] = squares - mean[c] * mean[c] / n if n > 1 else squares - squares  # NaN where inf - inf, too
        safe[c] = m2[c] < np.inf and m2[c] >= (CANCELLED * squares if n > 1 else 0.0)
        mean[c] /= n
        rectified[c] /= n


@compiled
def _sweep(
    numbers: Array, high: Array, low: Array, total: Array, squares: Array, above: Array, places: Array, positive: Array
) -> None:
    """The figures ``(u,)`` of one image's maps, all of them sums, from its ``n u`` numbers."""
    u = len(low)
    n = len(numbers) // u
    high[:], low[:], places[:] = -np.inf, np.inf, -1
    total[:], squares[:], above[:], positive[:] = 0, 0, 0, 0
    k = max(1, min(WIDE // u, int(math.sqrt(n / u))))  # positions a row: few rows, and few figures to fold
    first = 0
    while first < n:
        across = min(k, n - first)  # the last row is shorter
        down = min(ROWS, (n - first) // across)
        down -= 1 - down % 2  # rows go in pairs, after the first
        figures = _of_columns(numbers[first * u : (first + down * across) * u], down)
        _fold(figures, first, across, high, low, total, squares, above, places, positive)
        first += down * across


@compiled
def _of_columns(block: Array, down: int) -> tuple[Array, ...]:
    """The figures of each column of ``down`` rows, an odd number. Every comparison with NaN is false."""
    zero = np.float32(0)
    width = len(block) // down
    sums, products, rectified = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    lows, highs = np.empty(width, np.float32), np.empty(width, np.float32)
    rows, positive = np.empty(width, np.int32), np.empty(width, np.int32)
    for j in range(width):
        v = block[j]
        sums[j], products[j], lows[j], highs[j], rows[j] = v, v * v, v, v, 0
        rectified[j] = v if v > zero else zero
        positive[j] = np.int32(v > zero)
    for r in range(1, down, 2):  # two at once: what is kept of a column is fetched and put back half as often
        one, two = block[r * width : (r + 1) * width], block[(r + 1) * width : (r + 2) * width]
        for j in range(width):  # and two loops: of one with everything in it the compiler makes no vectors
            v, w = one[j], two[j]
            sums[j] = (sums[j] + v) + w
            products[j] = (products[j] + v * v) + w * w
            rectified[j] = (rectified[j] + (v if v > zero else zero)) + (w if w > zero else zero)
            positive[j] += np.int32(v > zero) + np.int32(w > zero)
        for j in range(width):
            v, w = one[j], two[j]
            smaller = v if v < lows[j] else lows[j]
            lows[j] = w if w < smaller else smaller
            better = v > highs[j]
            larger, row = (v if better else highs[j]), (np.int32(r) if better else rows[j])
            better = w > larger
            highs[j], rows[j] = (w if better else larger), (np.int32(r + 1) if better else row)
    return sums, products, rectified, positive, lows, highs, rows


@compiled
def _fold(
    figures: tuple[Array, ...],
    first: int,
    across: int,
    high: Array,
    low: Array,
    total: Array,
    squares: Array,
    above: Array,
    places: Array,
    positive: Array,
) -> None:
    """Add the figures of a block, whose rows hold ``across`` positions each, to those of one map a unit."""
    sums, products, rectified, counts, lows, highs, rows = figures
    u = len(low)
    for q in range(across):
        here = slice(q * u, (q + 1) * u)
        total += sums[here]
        squares += products[here]
        above += rectified[here]
        positive += counts[here]
        np.minimum(low, lows[here], low)
        for c in range(u):
            v, place = highs[q * u + c], first + np.int64(rows[q * u + c]) * across + q
            better = (v > high[c]) | ((v == high[c]) & (place < places[c]))
            high[c] = v if better else high[c]
            places[c] = place if better else places[c]


@compiled
def _again(row: Array) -> tuple[Any, ...]:
    """Of one map, from its finite values only: high, place, low, mean, m2, rectified, positive, NaNs, infinities."""
    high, low, place = np.float32(-np.inf), np.float32(np.inf), -1
    count, nans, positive, total, above = 0, 0, 0, 0.0, 0.0
    for p in range(len(row)):
        v = row[p]
        if np.isfinite(v):
            count += 1
            total += v
            above += max(v, np.float32(0))
            positive += v > 0
            low = min(low, v)
            if v > high:
                high, place = v, p
        elif np.isnan(v):
            nans += 1
    some = max(count, 1)
    mean, m2 = total / some, 0.0
    for v in row:
        if np.isfinite(v):
            m2 += (v - mean) * (v - mean)
    return high, place, low, mean, m2, above / some, positive, nans, len(row) - count - nans


def map_sums_on_device(maps: Tensor) -> Sums:
    """The same of maps ``(b, n, u)`` on another device than the CPU."""
    exact = maps.double()
    mean = exact.mean(1)
    m2 = (exact - mean[:, None]).square().sum(1)
    maximum, place = maps.max(1)  # on CUDA too, the first of equal ones
    none = torch.zeros_like(place)
    figures = (maximum, maps.amin(1), mean, m2, exact.clamp(min=0).mean(1), place, (maps > 0).sum(1), none, none)
    found = Sums(*(each.cpu().numpy().copy() for each in figures))
    i, k = np.nonzero(~np.isfinite(found.m2))
    if len(i):
        rows = maps[torch.from_numpy(i).to(maps.device), :, torch.from_numpy(k).to(maps.device)]
        for whole, part in zip(found, map_sums(rows[:, :, None].cpu().numpy()), strict=True):
            whole[i, k] = part[:, 0]
    return found
