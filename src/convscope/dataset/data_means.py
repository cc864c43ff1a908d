"""The mean of units over a data set: what a unit is put to that is to say nothing rather than zero.

    mean_k = sum_images sum_yx A_kyx / count,

in float64, over all images and positions of the unit's map whose value is finite.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from convscope.answers import refusing_input
from convscope.attribution.unit_values import unit_axis
from convscope.dataset.ablation_effects import share
from convscope.dataset.data_sums import Batch, Labelled, Summed, summed_over
from convscope.dataset.image_sources import ImageSource
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.memory_layout import run_on_copy
from convscope.network.taps import tap
from convscope.network.targets import Unit
from convscope.synthesis.keeping import NOTHING_KEPT, Keeper


class MeanSums:
    """Accumulator of layers' means: a sum and a count a unit."""

    def __init__(self, sums: Mapping[str, Float[np.ndarray, " u"]], counts: Mapping[str, Int[np.ndarray, " u"]]):
        self.sums, self.counts = dict(sums), dict(counts)

    def merge(self, other: "MeanSums") -> None:
        """Add another's sums."""
        for layer in self.sums:
            self.sums[layer] = self.sums[layer] + other.sums[layer]
            self.counts[layer] = self.counts[layer] + other.counts[layer]

    def tensors(self) -> dict[str, np.ndarray]:
        """``LAYER/sum`` and ``LAYER/count``."""
        sums = {f"{layer}/sum": values for layer, values in self.sums.items()}
        return sums | {f"{layer}/count": values for layer, values in self.counts.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> "MeanSums":
        """What ``tensors`` gave."""
        layers = [name.removesuffix("/sum") for name in tensors if name.endswith("/sum")]
        return cls({n: tensors[f"{n}/sum"] for n in layers}, {n: tensors[f"{n}/count"] for n in layers})

    def compute(self) -> dict[str, Float[np.ndarray, " u"]]:
        """Layer -> one number a unit, NaN for one without a finite value."""
        return {layer: share(self.sums[layer], self.counts[layer]) for layer in self.sums}


def mean_sums(output: Tensor, size: tuple[int, int], layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Sum and count of a layer's finite values, a unit each."""
    by_unit = output.movedim(unit_axis(output, size, layer), 0).flatten(1).double().cpu()
    finite = by_unit.isfinite()
    return torch.where(finite, by_unit, 0.0).sum(1).numpy(), finite.sum(1).numpy()


def unit_means_over(
    net: Network,
    source: ImageSource,
    images: Iterable[Labelled],
    units: Sequence[Unit],
    *,
    batch: int = 8,
    threads: int | None = None,
    on_step: Callable[[int], None] | None = None,
    keeper: Keeper = NOTHING_KEPT,
) -> dict[Unit, float]:
    """The mean of each of the units (for a neuron, of its whole unit); arguments as ``summed_over``.

    Raises:
        ConvscopeError: no image that can be used, or a unit that is never finite.
    """
    layers = tuple(dict.fromkeys(unit.layer for unit in units))

    def of_batch(batch: Batch) -> MeanSums:
        with refusing_input(net, batch.x), tap(net.module, *layers) as seen:
            run_on_copy(net.module, batch.x)
        size = (batch.x.shape[-2], batch.x.shape[-1])
        found = {layer: mean_sums(seen[layer], size, layer) for layer in layers}
        return MeanSums({n: s for n, (s, _) in found.items()}, {n: c for n, (_, c) in found.items()})

    found: Summed[MeanSums] = summed_over(
        net, source, images, of_batch, MeanSums, batch=batch, key="means", threads=threads, on_step=on_step,
        keeper=keeper,
    )  # fmt: skip
    by_layer = found.sums.compute()
    means = {unit: float(by_layer[unit.layer][unit.unit]) for unit in units}
    if none := [unit for unit, mean in means.items() if np.isnan(mean)]:
        raise ConvscopeError(f"unit {none[0]} has no finite value on any image, and no mean")
    return means
