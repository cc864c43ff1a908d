"""What a network's layers do on a sample: mean, deviation, histogram, dead units; and how their weights moved.

One pass over the sample; of each layer's values a over all units, positions and images,

    mean = sum a / n        sd = sqrt(sum (a - mean)^2 / n)        merged batch by batch (Chan et al. 1979)
    dead share = |{units u: max of a_u over all images and positions <= 0}| / units

the latter of the layer whose sign decides (``network/rectified_layers.py``). Of its parameters as one vector w, with v
the same at the snapshot before,

    weight norm = |w|       relative change = |w - v| / |v|       and the histogram of w

Pitfalls: a unit that is dead on a sample may live on another image. A batch norm's scale and shift are parameters too,
and before a batch norm the norm of a convolution's weights means nothing but its effective learning rate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from convscope.dataset.histograms import BINS, EDGES, NOWHERE, bins_at
from convscope.dataset.readings import Readings, read_units
from convscope.training.snapshot import LayerState

Weights = Mapping[str, Float[Tensor, " p"]]
Histogram = tuple[NDArray[np.float64], NDArray[np.int64]]  # edges, counts
_NONE: Histogram = (np.zeros(1), np.zeros(0, np.int64))


@dataclass(eq=False)
class LayerSums:
    """The values of one layer so far: ``update`` a batch at a time."""

    name: str
    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    bins: NDArray[np.int64] | None = None
    maxima: NDArray[np.float32] | None = None

    def update(self, output: Tensor, image_size: tuple[int, int]) -> Readings:
        """Add a batch; gives what was read of it. Raises ConvscopeError for an output that holds no units."""
        read = read_units(output, image_size, self.name)
        counts = read.count.astype(np.float64)
        n = counts.sum()
        if n:
            mean = float((read.mean * counts).sum() / n)
            m2 = float((read.m2 + counts * (read.mean - mean) ** 2).sum())
            self._merge(int(n), mean, m2)
        bins = np.bincount(read.bins.ravel(), minlength=NOWHERE + 1)[:BINS]
        maxima = read.values[0].max(0)
        self.bins = bins if self.bins is None else self.bins + bins
        self.maxima = maxima if self.maxima is None else np.maximum(self.maxima, maxima)
        return read

    def _merge(self, n: int, mean: float, m2: float) -> None:
        every = self.count + n
        apart = mean - self.mean
        self.m2 += m2 + apart**2 * self.count * n / every
        self.mean += apart * n / every
        self.count = every

    @property
    def sd(self) -> float:
        """Over all values; NaN where none is finite."""
        return float(np.sqrt(self.m2 / self.count)) if self.count else float("nan")

    @property
    def dead_share(self) -> float:
        """Of the units, those that are nowhere above zero."""
        assert self.maxima is not None
        return float((self.maxima <= 0).mean())

    @property
    def histogram(self) -> Histogram:
        """Of the sampled values, from the first bin that holds any to the last."""
        return _NONE if self.bins is None else _histogram(self.bins)


def layer_states(
    names: Sequence[str], sums: Mapping[str, LayerSums], judged_by: Mapping[str, str], now: Weights, before: Weights
) -> tuple[LayerState, ...]:
    """The states of ``names``; ``before`` are the weights at the snapshot before, empty at the first."""
    return tuple(_state(name, sums, judged_by.get(name), now.get(name), before.get(name)) for name in names)


def _state(
    name: str, sums: Mapping[str, LayerSums], judge: str | None, now: Tensor | None, before: Tensor | None
) -> LayerState:
    seen = sums[name]
    change = None if now is None or before is None else relative_change(now, before)
    mean = seen.mean if seen.count else float("nan")
    dead = None if judge is None else sums[judge].dead_share
    norm, weights = (None, _NONE) if now is None else (float(now.double().norm()), _histogram(_counts(now)))
    return LayerState(name, norm, change, mean, seen.sd, dead, *seen.histogram, *weights)


def _histogram(bins: NDArray[np.int64]) -> Histogram:
    held = np.flatnonzero(bins)
    if not len(held):
        return _NONE
    first, last = int(held[0]), int(held[-1]) + 1
    return EDGES[first : last + 1], bins[first:last]


def _counts(values: Float[Tensor, " p"]) -> NDArray[np.int64]:
    every = values.float().numpy()[None, :, None]
    return np.bincount(bins_at(every, np.arange(len(values))).ravel(), minlength=NOWHERE + 1)[:BINS]


def relative_change(now: Float[Tensor, " p"], before: Float[Tensor, " p"]) -> float:
    """|w - v| / |v|; 0 for what stayed at zero, infinite for what left it."""
    moved, size = float((now.double() - before.double()).norm()), float(before.double().norm())
    return moved / size if size else (0.0 if moved == 0 else float("inf"))


def weights_of(modules: Mapping[str, nn.Module]) -> dict[str, Float[Tensor, " p"]]:
    """Layer -> all its parameters as one vector, a copy on the CPU; layers without any are left out."""
    with torch.no_grad():
        found = {name: [p.detach().cpu().flatten() for p in m.parameters()] for name, m in modules.items()}
    return {name: torch.cat(parts) for name, parts in found.items() if parts}
