"""Units in order: which come first in a class, which lead most classes, which classes differ most; and their words.

With m_ck the mean of max(A, 0) of unit k over the images of class c:

    rank of k in c  = its place when the units are ordered by m_ck, the largest first, ties by number
    prominence of k = sum over the classes of 1 / rank: leading one class counts as much as being second in two
    distance of c   = sum_k ((m_ck - mean_c m_ck) / sd_c m_ck)^2, each unit in its own deviations over the classes
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib import colormaps
from matplotlib.colors import to_hex

TINTED = 8  # ranks with a tint of their own
BEHIND = "#9aa8b5"


def by_rank(values: Float[np.ndarray, " units"]) -> Int[np.ndarray, " units"]:
    """Numbers of the units, the largest value first; ties by number, NaN last."""
    return np.argsort(-np.where(np.isnan(values), -np.inf, values), kind="stable")


def ranks_of(values: Float[np.ndarray, " units"]) -> Int[np.ndarray, " units"]:
    """The place of each unit, from 1."""
    ranks = np.empty(len(values), np.int64)
    ranks[by_rank(values)] = np.arange(1, len(values) + 1)
    return ranks


def prominence(values: Float[np.ndarray, "classes units"]) -> Int[np.ndarray, " units"]:
    """Numbers of the units, the most prominent first."""
    ranks = np.stack([ranks_of(row) for row in values])
    return np.argsort(-(1 / ranks).sum(0), kind="stable")


def leading_units(values: Float[np.ndarray, "classes units"], most: int) -> list[int]:
    """``most`` units: the first of each class in the classes' order, then the second of each, and so on."""
    orders = np.stack([by_rank(row) for row in values])
    return list(dict.fromkeys(orders.T.ravel().tolist()))[:most]


def most_telling(values: Float[np.ndarray, "classes units"], most: int) -> list[int]:
    """The ``most`` classes that lie farthest from the average class, in their own order; NaN takes no part."""
    if len(values) <= most:
        return list(range(len(values)))
    known = np.isfinite(values)
    centre = np.where(known, values, 0.0).sum(0) / np.maximum(1, known.sum(0))
    centred = np.where(known, values - centre, 0.0)
    spread = centred.std(0)
    distance = ((centred / np.where(spread > 0, spread, np.inf)) ** 2).sum(1)
    return sorted(np.argsort(-distance, kind="stable")[:most].tolist())


def rank_tint(rank: int) -> str:
    """Viridis from the first to the last rank that has a tint, one blue grey beyond."""
    return to_hex(colormaps["viridis"]((rank - 1) / (TINTED - 1))) if rank <= TINTED else BEHIND


def ordinal(rank: int) -> str:
    """``1st``, ``12th``, ``23rd``."""
    ending = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending}"


def left_out_line(shown: Sequence[str], every: Sequence[str]) -> str:
    """Which classes are on a sheet of a few."""
    return f"{len(shown)} of {len(every)} classes, those whose units differ most from the average class's"


def finite(value: float) -> float | None:
    """For JSON, which has no NaN."""
    return value if np.isfinite(value) else None
