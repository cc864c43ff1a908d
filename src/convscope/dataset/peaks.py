"""The m strongest positions of every map of a batch, of equal ones the first, row by row.

The m-th largest value of a map is found; everything that reaches it is a candidate, and candidates are sorted by value,
those of equal value staying in the order of positions. ``topk`` alone would not do: which of equal values it returns is
not said. (The one strongest comes with the sums, ``map_sums``.)
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Peaks = tuple[NDArray[np.float32], NDArray[np.int64]]


def peaks(maps: Tensor, m: int) -> Peaks:
    """Values and positions ``(m, b, u)`` of maps ``(b, n, u)``; best first.

    NaN and infinities never win. Where a map has no more values, they are -inf and positions -1.
    """
    b, n, u = maps.shape
    rows = maps.transpose(1, 2).reshape(b * u, n).cpu()
    values, places = largest(rows.masked_fill(~rows.isfinite(), -torch.inf), m)
    return values.reshape(m, b, u), places.reshape(m, b, u)


def largest(rows: Tensor, m: int) -> Peaks:
    """Values and places ``(m, p)`` of the m largest of each row of ``(p, n)``; -inf and -1 where there are no more.

    A value of -inf is none.
    """
    p, n = rows.shape
    reached = rows.topk(min(m, n), sorted=True).values[:, -1:]
    row, place = np.nonzero(((rows >= reached) & (rows > -torch.inf)).numpy())
    value = rows.numpy()[row, place]
    order = np.lexsort((-value, row))  # stable: equal ones stay in the order of positions
    row, place, value = row[order], place[order], value[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    kept = rank < m
    values, places = np.full((m, p), -np.inf, np.float32), np.full((m, p), -1, np.int64)
    values[rank[kept], row[kept]] = value[kept]
    places[rank[kept], row[kept]] = place[kept]
    return values, places
