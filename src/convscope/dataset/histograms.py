"""Histograms of values of unknown range: logarithmic bins that are the same for every unit and data set.

A bin is a sign, a power of two and two bits of mantissa, which are the upper 11 bits of a float32: no range has to be
known beforehand, histograms of parts add up, and equal counts come out whatever the order of the images. Four bins an
octave, so a bin is a fifth of its values wide:

    bin of v = [2^e (1 + k/4), 2^e (1 + (k+1)/4)),   e = -24 .. 23,  k = 0 .. 3,   and the mirror image of it

|v| < 2^-24 is the zero bin, in the middle; |v| >= 2^24 goes to the outermost one; NaN and infinities to none.

A quantile is found by walking up the bins and interpolating within one: it is off by a bin's width at most, a fifth
of the value, commonly far less.
"""

import numpy as np
from numpy.typing import NDArray

from convscope.dataset.compiled import compiled

OCTAVES = (-24, 24)
_A_SIDE = 4 * (OCTAVES[1] - OCTAVES[0])
BINS = 2 * _A_SIDE + 1
NOWHERE = BINS  # the bin of what is not finite: counted, then dropped


def _edges() -> NDArray[np.float64]:
    exponents = np.arange(*OCTAVES, dtype=np.float64)
    positive = (2.0 ** exponents[:, None] * (1 + np.arange(4) / 4)).ravel()
    positive = np.append(positive, 2.0 ** OCTAVES[1])
    return np.concatenate([-positive[::-1], positive])


def _bin_of_upper_bits() -> NDArray[np.uint16]:
    """The bin of every combination of a float32's upper 11 bits: sign, 8 of exponent, 2 of mantissa."""
    magnitude = np.arange(1024)
    smallest = (OCTAVES[0] + 127) * 4  # 127: the exponent's bias
    step = np.clip(magnitude - smallest + 1, 0, _A_SIDE)
    table = np.concatenate([_A_SIDE + step, _A_SIDE - step])
    not_finite = magnitude >= 255 * 4
    table[np.concatenate([not_finite, not_finite])] = NOWHERE
    return table.astype(np.uint16)


EDGES = _edges()
_TABLE = _bin_of_upper_bits()


def bins_at(maps: NDArray[np.float32], places: NDArray[np.int64]) -> NDArray[np.uint16]:
    """The bins of maps ``(b, n, u)``, contiguous, at s of their n positions: ``(b s, u)``.

    ``NOWHERE`` for NaN and infinities.
    """
    bins = np.empty((len(maps) * len(places), maps.shape[2]), np.uint16)
    _look_up(maps.view(np.uint32), places, _TABLE, bins)
    return bins


@compiled
def _look_up(
    bits: NDArray[np.uint32], places: NDArray[np.int64], table: NDArray[np.uint16], bins: NDArray[np.uint16]
) -> None:
    for i in range(len(bits)):
        for s in range(len(places)):
            here, there = bits[i, places[s]], bins[i * len(places) + s]
            for j in range(len(here)):
                there[j] = table[here[j] >> 21]


def counted(bins: NDArray[np.uint16]) -> NDArray[np.int64]:
    """``(n, u)`` bin numbers of n samples -> ``(u, BINS)`` counts."""
    counts = np.zeros((bins.shape[1], BINS + 1), np.int64)
    _count(bins, counts)
    return counts[:, :BINS]


@compiled
def _count(bins: NDArray[np.uint16], counts: NDArray[np.int64]) -> None:
    """Eight units at a time, whose counts stay in the first cache."""
    n, units = bins.shape
    for first in range(0, units, 8):
        for i in range(n):
            for j in range(first, min(first + 8, units)):
                counts[j, bins[i, j]] += 1


def quantile(histogram: NDArray[np.int64], q: float) -> NDArray[np.float64]:
    """The value below which the share ``q`` of each unit's samples lies: ``(u, BINS)`` -> ``(u,)``, NaN without any."""
    above = np.cumsum(histogram, axis=1, dtype=np.float64)
    wanted = q * above[:, -1]
    place = np.minimum((above < wanted[:, None]).sum(1), BINS - 1)
    # q = 0: the first bin that holds anything
    place = np.maximum(place, (histogram > 0).argmax(1))
    inside = np.take_along_axis(histogram, place[:, None], 1)[:, 0]
    before = np.take_along_axis(above, place[:, None], 1)[:, 0] - inside
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.clip((wanted - before) / inside, 0, 1)
    found = EDGES[place] + part * (EDGES[place + 1] - EDGES[place])
    found[place == _A_SIDE] = 0.0
    return np.where(above[:, -1] > 0, found, np.nan)
