"""The shard function: a shard's images through the network once, everything asked for gathered on the way.

    sweep(net, source, plan, shard, *, threads=None, on_step=None) -> dict[str, np.ndarray]

The result is a part: flat numpy arrays, ready for safetensors. Of n images in the shard, u units and k sampled images:

    images/number           (n,)     int64     every image of the shard, refused ones too, ascending
    images/label            (n,)     int32     data class, -1 where there is none
    images/predicted        (n,)     int32     class of the network, -1 where refused or without finite logits
    images/probability      (n,)     float32   of the predicted class, NaN likewise
    images/loss             (n,)     float32   see image_rows, NaN without a right class
    images/right_logit      (n,)     float32   likewise
    images/digest           (n, 16)  uint8     of the file's bytes, zeros where it could not be read
    images/input_size       (n, 2)   int32     (H, W) of the network's input, zeros where refused
    images/refused          bytes    uint8     JSON, {"17": "reason", ...}: why these image numbers were left out
    features/images         (k,)     int64     the sampled image numbers, ascending: number % stride == 0, not refused
    LAYER/features          (k, u)   float32   their pooled means, NaN where a map has no finite value
    LAYER/shape             (4,)     int32     units, height and width of the map, positions a map; of the first pass
    LAYER/exemplars/NAME    (u, top)           values, images, y, x: see exemplars
    LAYER/statistics/NAME                      see statistics
    LAYER/patterns/NAME                        see mean_patterns, of the plan's pattern layers only

LAYER is the name as in the plan; no key but a layer's begins with ``images/`` or ``features/``. A shard of which every
image is refused has no ``LAYER/...`` at all.

Threads decode and compute whole batches; the results are added up in the order of the batches, so that the bits depend
on the plan, the network and the photos alone. Nothing grows with the number of images but their rows and the sample.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.dataset.exemplars import Exemplars
from convscope.dataset.image_rows import ImageRow, ImageRows
from convscope.dataset.image_sources import ImageSource
from convscope.dataset.mean_patterns import MeanPatterns
from convscope.dataset.network_passes import Batch, NetworkPasses, Pass
from convscope.dataset.plan import Plan, PlannedImage, Shard
from convscope.dataset.readings import Readings
from convscope.dataset.statistics import UnitStatistics
from convscope.dataset.threads import cores, in_order, one_thread_each
from convscope.network.loading import Network

OnStep = Callable[[int, int], None]


def sweep(
    net: Network,
    source: ImageSource,
    plan: Plan,
    shard: Shard,
    *,
    threads: int | None = None,
    on_step: OnStep | None = None,
) -> dict[str, NDArray[Any]]:
    """The tensors of a shard's part; see the module's docstring for their names.

    Args:
        net: the plan's network.
        source: the plan's images.
        plan: what is kept of which layers, and the size of a batch; its folder is not looked at.
        shard: which images.
        threads: batches at once; None is the number of cores. The result does not depend on it.
        on_step: called with (done, all) images of the shard; what it raises ends the sweep.

    Raises:
        ConvscopeError: a layer that cannot be read, memory that is too small for one image, a network that takes no
            photo of this size or has no logits though the images have labels.
    """
    threads = threads or cores()
    part, done = _Part(plan), 0
    passes = NetworkPasses(net, source, plan, threads)
    # closing: the threads' last passes end before the hooks go, also where on_step or Ctrl-C ends the sweep
    with (
        one_thread_each(),
        passes.watching(),
        closing(in_order(_batches(shard.images, plan.batch), passes.run, threads)) as batches,
    ):
        for batch in batches:
            part.add(batch)
            done += len(batch)
            if on_step is not None:
                on_step(done, len(shard.images))
    return part.tensors()


def _batches(images: Sequence[PlannedImage], size: int) -> Iterator[Sequence[PlannedImage]]:
    return (images[start : start + size] for start in range(0, len(images), size))


class _LayerPart:
    """All that a part keeps of one layer."""

    def __init__(self, plan: Plan, first: Readings) -> None:
        units = first.mean.shape[1]
        self.shape = np.array([units, *first.shape, first.positions], np.int32)
        self.exemplars = Exemplars(plan.top, plan.per_image)
        self.statistics = UnitStatistics(units)
        self.patterns: MeanPatterns | None = None
        self.features = [np.zeros((0, units), np.float32)]

    def add(self, found: Pass, layer: str, sampled: NDArray[np.bool_]) -> None:
        readings = found.readings[layer]
        self.exemplars.update(readings, found.numbers)
        self.statistics.update(readings, found.labels, found.numbers)
        if sampled.any():
            self.features.append(readings.pooled[sampled])
        if layer in found.patterns:
            self.patterns = self.patterns or MeanPatterns(readings.mean.shape[1])
            self.patterns.update(found.patterns[layer], found.labels)

    def tensors(self, order: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """What the part keeps; ``order`` is that of the sampled images."""
        kept = {"exemplars": self.exemplars, "statistics": self.statistics, "patterns": self.patterns}
        found = {f"{kind}/{n}": t for kind, each in kept.items() if each is not None for n, t in each.tensors().items()}
        return {"shape": self.shape, "features": np.concatenate(self.features)[order], **found}


class _Part:
    """The part of a shard, batch by batch."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.layers: dict[str, _LayerPart] = {}
        self.rows: list[ImageRow] = []
        self.sampled = [np.zeros(0, np.int64)]

    def add(self, batch: Batch) -> None:
        self.rows.extend(batch.refused)
        for each in batch.passes:
            self.rows.extend(each.rows)
            numbers = each.numbers
            sampled = (numbers % self.plan.stride == 0) & (self.plan.features > 0)
            self.sampled.append(numbers[sampled])
            for layer, readings in each.readings.items():
                if layer not in self.layers:
                    self.layers[layer] = _LayerPart(self.plan, readings)
                self.layers[layer].add(each, layer, sampled)

    def tensors(self) -> dict[str, NDArray[Any]]:
        found = {f"images/{name}": t for name, t in ImageRows.of(self.rows).tensors().items()}
        sampled = np.concatenate(self.sampled)
        order = np.argsort(sampled)  # a batch of several input sizes came one size after the other
        found["features/images"] = sampled[order]
        for layer in (name for name in self.plan.layers if name in self.layers):
            found |= {f"{layer}/{name}": t for name, t in self.layers[layer].tensors(order).items()}
        return {name: np.ascontiguousarray(t) for name, t in found.items()}
