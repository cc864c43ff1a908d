"""Which units of a layer answer alike: Pearson's correlation of their pooled features over a sample of images.

    r(u, v) = sum_n (f_nu - m_u)(f_nv - m_v) / (|f_u - m_u| |f_v - m_v|),    m_u = mean_n f_nu

f_nu is the mean over unit u's map for image n. A unit that gives the same for all images has no correlation and is
nobody's neighbour. Computed in float64, on one thread, and rounded to float32, so that it is the same everywhere.

Pitfall: pooling forgets where on the map a unit answered; two units of one pattern at two places are alike here.
"""

import numpy as np
import torch
from jaxtyping import Float32, Int64

from convscope.dataset.threads import one_thread_each

BLOCK = 512  # units whose correlations with all others are held at once


def nearest_units(
    features: Float32[np.ndarray, "n u"], count: int = 10
) -> tuple[Int64[np.ndarray, "u k"], Float32[np.ndarray, "u k"]]:
    """The ``count`` units of largest correlation with each, best first, and their r; -1 and NaN where there are fewer.

    Among equals the unit of smaller number comes first; features that are not finite make a unit nobody's neighbour.
    """
    units = features.shape[1]
    count = min(count, max(units - 1, 0))
    nearest, values = np.full((units, count), -1), np.full((units, count), np.nan, np.float32)
    if count == 0 or len(features) < 2:
        return nearest, values
    with one_thread_each():
        unit_length, varies = _standardised(features)
        for first in range(0, units, BLOCK):
            rows = np.arange(first, min(first + BLOCK, units))
            r = (unit_length[:, rows].T @ unit_length).float().numpy()
            r[:, ~varies] = -np.inf
            r[~varies[rows]] = -np.inf
            r[np.arange(len(rows)), rows] = -np.inf  # oneself
            best = np.argsort(-r, axis=1, kind="stable")[:, :count]
            found = np.take_along_axis(r, best, 1)
            nearest[rows] = np.where(found > -np.inf, best, -1)
            values[rows] = np.where(found > -np.inf, found, np.nan)
    return nearest, values


def _standardised(features: Float32[np.ndarray, "n u"]) -> tuple[torch.Tensor, np.ndarray]:
    """Each unit's features less their mean, at length 1; and which units vary."""
    f = torch.from_numpy(np.array(features, np.float64))
    f -= f.mean(0)
    length = f.norm(dim=0)
    largest = torch.from_numpy(np.abs(np.asarray(features, np.float64)).max(0))
    # what rounding leaves of a constant is no deviation: n values of its size, each off by an epsilon
    varies = (length > 1e-6 * largest).numpy()
    return torch.where(torch.from_numpy(varies), f / length, 0.0), varies
