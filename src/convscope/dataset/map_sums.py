"""Minimum, sum, sum of squares and number of positive values of every map of a batch: as few, and as near, sweeps.

Claim: reading many maps costs what moving them through the processor's cache costs. The maps are a matrix A
``(b, n, u)``, the units side by side (channels last, as convolutions leave them on a CPU). Two things make it fast:

* **Long rows.** Adding up n short rows of u numbers is n short loops. A is read as ``(n / k, k u)`` instead, k
  positions to a row, and folded to ``(k, u)`` in the end. k is chosen for rows of a few thousand numbers, whose sums
  stay in the first cache; the n mod k positions that fill no row are added singly.
* **Near data.** All sweeps go over a few images, at most ``NEAR`` numbers, before the next are touched (``readings``
  hands them over so), and over 255 rows at a time.

Positive values are counted eight at a time: the comparison gives bytes of 0 or 1, and up to 255 of them add up in a
byte, so that rows of bytes are added as 64-bit words.

Rounding: a block's sums are in float32, at most 255 numbers one after the other, and float64 beyond that. Every sum is
made in the same order whatever else runs, so equal batches give equal bits. ``sum A^2 - n mean^2`` cancels where the
mean is much larger than the deviation: ``is_safe`` tells, and ``readings`` computes the rest from the values again.
"""

import functools
import threading
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NEAR = 2**20  # numbers, 4 MB; with less the calls cost more than nearer memory spares
ROWS = 255  # so many ones add up in a byte
CALLS = 25_000  # nanoseconds that the calls for a block take
CANCELLED = 2.0**-6  # of the squares: six of float32's 24 bits are gone

Array = NDArray[Any]


class Sums(NamedTuple):
    """Of each map: ``(b, u)``."""

    minimum: Array  # float32
    mean: Array  # float64
    m2: Array  # float64, sum of squared deviations from the mean
    positive: Array  # int64
    is_safe: Array  # False where m2 has cancelled, and where a value is not finite


def map_sums(maps: Array) -> Sums:
    """The sums of maps ``(b, n, u)``, float32 and contiguous."""
    b, n, u = maps.shape
    k = positions_a_row(n, u)
    rows, rest = maps[:, : n - n % k].reshape(b, n // k, k * u), maps[:, n - n % k :]
    with np.errstate(all="ignore"):
        low, total, squares, positive = _of_block(rows[:, :ROWS], k)
        parts = [(rows[:, top : top + ROWS], k) for top in range(ROWS, n // k, ROWS)]
        for part, positions in [*parts, (rest, 1)][: None if n % k else -1]:
            more = _of_block(part, positions)
            np.minimum(low, more[0], out=low)
            total, squares, positive = total + more[1], squares + more[2], positive + more[3]
        return _finished(low, total, squares, positive, n)


def _of_block(block: Array, k: int) -> tuple[Array, Array, Array, Array]:
    """Of rows ``(b, r, k u)``: the four, ``(b, u)``."""
    above = _buffer(block.size)[: block.size].reshape(block.shape)
    np.greater(block, 0, out=above.view(bool))
    words = above.view(np.uint64) if block.shape[2] % 8 == 0 else above
    positive = np.add.reduce(words, axis=1, dtype=words.dtype).view(np.uint8)
    low = np.minimum.reduce(block, axis=1)
    total = np.add.reduce(block, axis=1)
    squares = np.einsum("brk,brk->bk", block, block)
    if k == 1:
        return low, total.astype(np.float64), squares.astype(np.float64), positive.astype(np.int64)
    folded = len(block), k, -1
    return (
        np.minimum.reduce(low.reshape(folded), axis=1),
        np.add.reduce(total.reshape(folded), axis=1, dtype=np.float64),
        np.add.reduce(squares.reshape(folded), axis=1, dtype=np.float64),
        np.add.reduce(positive.reshape(folded), axis=1, dtype=np.int64),
    )


def _finished(minimum: Array, total: Array, squares: Array, positive: Array, n: int) -> Sums:
    mean = total / n
    if n == 1:  # a single position deviates from nothing
        return Sums(minimum, mean, np.zeros_like(mean), positive, np.isfinite(squares))
    m2 = squares - total * mean
    return Sums(minimum, mean, m2, positive, m2 - CANCELLED * squares >= 0)  # inf - inf is NaN: not safe


@functools.lru_cache(maxsize=1024)
def positions_a_row(n: int, u: int) -> int:
    """k, the cheapest in nanoseconds a number, as measured on an AMD EPYC (AVX-512)."""

    def cost(k: int) -> float:
        row, rows, rest = k * u, n // k, n % k
        cold = 0.15 if row > 6000 else 0.0  # the sums of a row leave the first cache
        uneven = 0.2 if row % 8 else 0.0
        blocks = CALLS / (ROWS * row) if rows > ROWS else 0.0
        single = CALLS / max(n * u, NEAR) + 0.5 * rest / n if rest else 0.0
        return 65 / row + 4 / rows + cold + uneven + blocks + single

    return min(range(1, min(n, ROWS) + 1), key=cost)


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.bytes = np.empty(0, np.uint8)


_buffers = _Buffers()


def _buffer(size: int) -> NDArray[np.uint8]:
    """Bytes of this thread's own, the same every time: fresh memory would have to be cleared by the system."""
    if len(_buffers.bytes) < size:
        _buffers.bytes = np.empty(max(size, NEAR), np.uint8)
    return _buffers.bytes


def map_sums_on_device(maps: Tensor) -> Sums:
    """The same of maps ``(b, n, u)`` on another device than the CPU."""
    exact = maps.double()
    mean = exact.mean(1)
    m2 = (exact - mean[:, None]).square().sum(1)
    found = (maps.amin(1), mean, m2, (maps > 0).sum(1), m2.isfinite())
    return Sums(*(each.cpu().numpy() for each in found))


def two_pass(values: Array) -> tuple[Array, Array]:
    """Mean and m2 of the finite ones in each row of ``(p, n)``, in float64; 0 where there are none."""
    finite = np.isfinite(values)
    count = np.maximum(finite.sum(1), 1)
    exact = np.where(finite, values, 0).astype(np.float64)
    mean = exact.sum(1) / count
    away = np.where(finite, exact - mean[:, None], 0)
    return mean, (away * away).sum(1)


def unit_rows(maps: Tensor, images: Array, units: Array) -> Array:
    """The whole maps of some images' units, of ``(b, n, u)``: ``(p, n)`` float32."""
    i, k = (torch.from_numpy(each).to(maps.device) for each in (images, units))
    return maps[i, :, k].cpu().numpy()
