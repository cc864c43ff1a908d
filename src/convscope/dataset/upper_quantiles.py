"""The level that a unit exceeds at a small share of all places: a quantile near the top, in one pass and little memory.

For unit k with activations a_k at all positions of all images, Bau et al. (2017) ask for the T_k with

    P(a_k > T_k) = level,       level = 0.005.

To keep every activation is out of the question, and to keep the strongest half per cent grows with the data. Here
activations are counted by the leading bits of their float32: sign, exponent and the first 8 bits of the mantissa. Such
a bin of values e_j <= v < e_{j+1} is at most 2^-8 of its values wide (0.4 %), whatever their scale, no range has to be
guessed, and counts add up in any order. With q the exact quantile, the smallest activation that is exceeded by no more
than ``level`` of all,

    q <= T < q + 2^-8 |q|,      and the share of activations above T is known exactly.

Symbols: u units, n activations of each. Memory: 2 KiB a unit for each power of two that occurs, some 40 of them in a
real network, at most 512 (1 MiB a unit), and none of it grows with the number of images.

Pitfalls: ties are the rule for rectified units. Of a unit that is positive at less than ``level`` of all places T is 0,
and only ``a > 0``, not ``a >= 0``, is a region. NaN and infinite activations are counted by themselves and have no part
in a share.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from convscope.errors import ConvscopeError

_BITS = 8  # of the mantissa
_BINS = 1 << _BITS  # a power of two
_OCTAVES = 1 << 9  # signs and exponents of float32
_DROPPED = 23 - _BITS
_TOP_BIT = np.uint32(1 << 31)
_UNITS_AT_ONCE = 64
RELATIVE_WIDTH = 2.0**-_BITS


class UpperQuantiles:
    """Counts of one layer's activations: ``update`` with batches, ``merge`` with others, ``compute``."""

    def __init__(self, units: int) -> None:
        self.units = units
        self.count = np.zeros(units, np.int64)  # finite activations
        self.nonfinite = np.zeros(units, np.int64)
        self._blocks: dict[int, Int[np.ndarray, "u bins"]] = {}  # of each octave that occurred

    def update(self, values: Float[np.ndarray, "u n"]) -> None:
        """Take in ``n`` activations of every unit.

        Raises:
            ConvscopeError: those of another number of units.
        """
        if len(values) != self.units:
            raise ConvscopeError(f"activations of {len(values)} units were given to counts of {self.units}")
        for first in range(0, self.units, _UNITS_AT_ONCE):
            self._take(slice(first, first + _UNITS_AT_ONCE), np.asarray(values[first : first + _UNITS_AT_ONCE]))

    def _take(self, units: slice, values: NDArray[Any]) -> None:
        values = values.astype(np.float32, copy=False)
        finite = np.isfinite(values)
        self.count[units] += finite.sum(1)
        self.nonfinite[units] += (~finite).sum(1)
        codes = _codes(values)
        octaves = codes >> _BITS
        occurring = np.flatnonzero(np.bincount(octaves[finite], minlength=_OCTAVES))
        place = np.full(_OCTAVES, len(occurring))  # what is not finite goes to a last place, and is left there
        place[occurring] = np.arange(len(occurring))
        slots = np.where(finite, place[octaves], len(occurring))
        width = (len(occurring) + 1) * _BINS
        flat = np.arange(len(values))[:, None] * width + slots * _BINS + (codes & (_BINS - 1))
        counts = np.bincount(flat.ravel(), minlength=len(values) * width).reshape(len(values), -1, _BINS)
        for number, octave in enumerate(occurring.tolist()):
            self._block(octave)[units] += counts[:, number]

    def _block(self, octave: int) -> Int[np.ndarray, "u bins"]:
        return self._blocks.setdefault(octave, np.zeros((self.units, _BINS), np.int64))

    def merge(self, other: "UpperQuantiles") -> None:
        """Take in another's counts, of the same layer.

        Raises:
            ConvscopeError: counts of another number of units.
        """
        if other.units != self.units:
            raise ConvscopeError(f"counts of {other.units} units cannot be added to those of {self.units}")
        self.count += other.count
        self.nonfinite += other.nonfinite
        for octave, counts in other._blocks.items():
            self._block(octave)[:] += counts

    def compute(self, level: float) -> tuple[Float[np.ndarray, " u"], Float[np.ndarray, " u"]]:
        """For each unit T, a float32, and the share of its activations that are above T: at most ``level``.

        A unit without any finite activation has T = inf, and no share of anything is above it.

        Raises:
            ConvscopeError: a level that is no share.
        """
        check_level(level)
        octaves = sorted(self._blocks)
        if not octaves:
            return np.full(self.units, np.inf, np.float32), np.zeros(self.units)
        counts = np.concatenate([self._blocks[octave] for octave in octaves], axis=1)
        codes = (np.array(octaves)[:, None] * _BINS + np.arange(_BINS)).ravel()
        at_least = counts[:, ::-1].cumsum(1)[:, ::-1]
        allowed = np.floor(level * self.count + 1e-6)  # 0.005 * 200 is one, whatever the rounding
        # how many bins hold more than is allowed together with all above them: q is in the last of these
        place = (at_least > allowed[:, None]).sum(1)
        upper_edges = _just_below(_lower_edges(codes + 1))
        levels = np.where(place > 0, upper_edges[place - 1], np.float32(np.inf))
        above = np.append(at_least, np.zeros((self.units, 1), np.int64), 1)[np.arange(self.units), place]
        return levels.astype(np.float32), above / np.maximum(self.count, 1)

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """All counts, for tests and for keeping."""
        octaves = sorted(self._blocks)
        blocks = np.stack([self._blocks[o] for o in octaves]) if octaves else np.zeros((0, self.units, _BINS), np.int64)
        return {"count": self.count, "nonfinite": self.nonfinite, "octaves": np.array(octaves), "blocks": blocks}


def check_level(level: float) -> None:
    """Refuse a level that is no share, before anything is counted."""
    if not 0 < level < 1:
        raise ConvscopeError(f"level={level}: a share between 0 and 1, such as 0.005")


def _codes(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """The leading bits, numbered so that a larger value never has a smaller number; -0 is 0."""
    bits = (values + np.float32(0)).view(np.uint32)
    ordered = np.where(bits & _TOP_BIT, ~bits, bits | _TOP_BIT)
    return (ordered >> np.uint32(_DROPPED)).astype(np.int64)


def _lower_edges(codes: NDArray[np.int64]) -> NDArray[np.float32]:
    """The smallest value of each bin."""
    ordered = (codes << _DROPPED).astype(np.uint32)
    return np.where(ordered & _TOP_BIT, ordered ^ _TOP_BIT, ~ordered).view(np.float32)


def _just_below(edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest value below each edge, so that v > T and v >= edge are one; 0 where that is no normal number."""
    below = np.nextafter(edges, np.float32(-np.inf))
    return np.where(np.abs(below) < np.finfo(np.float32).tiny, np.float32(0), below)
