"""The receptive box of every winner, in the input that its image gave.

Boxes depend on the size of the input (``network.layer_boxes``): one pass a size tells those of all layers. Photos that
keep their own sizes may have as many sizes as there are photos, and the boxes of one size, of every position of every
layer, are larger than what is kept of all winners. So the winners of all layers are gathered first and then gone
through size by size: each size is passed once, and the boxes of one only are in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from convscope.dataset.atlas_rows import Size
from convscope.dataset.exemplars import Candidates
from convscope.dataset.plan import Plan
from convscope.dataset.reducing import ReadPart
from convscope.dataset.threads import one_thread_each
from convscope.network.layer_boxes import LayerView, layer_views
from convscope.network.loading import Network

Views = Mapping[str, LayerView]


def views_of(net: Network, layers: Sequence[str], size: Size) -> Views:
    """How the layers look at an input of ``size``."""
    from convscope.network.listing import example_input

    with one_thread_each():
        return layer_views(net.module, layers, size, example_input(net))


def winner_boxes(
    won: Mapping[str, Candidates],
    size_of: Callable[[int], Size],
    views: Callable[[Size], Views],
    on_step: Callable[[int, int], None],
) -> dict[str, Int[np.ndarray, "u top 4"]]:
    """(y0, x0, y1, x1) of each layer's winners; zeros where there is none.

    Args:
        won: layer -> its units' winners.
        size_of: the size of an image's input, by its number; asked for in the order of the numbers.
        views: of all layers, for one size.
        on_step: called with (done, all) sizes.
    """
    boxes = {layer: np.zeros((*of.images.shape, 4), np.int64) for layer, of in won.items()}
    by_size: dict[Size, list[int]] = {}
    for image in np.unique(np.concatenate([of.images.ravel() for of in won.values()])).tolist():
        if image >= 0:
            by_size.setdefault(size_of(image), []).append(image)
    for done, (size, images) in enumerate(sorted(by_size.items())):
        seen = views(size)
        for layer, of in won.items():
            some = np.isin(of.images, images)
            boxes[layer][some] = seen[layer].boxes_at(of.y[some], of.x[some])
        del seen  # before the next are made
        on_step(done + 1, len(by_size))
    return boxes


@dataclass(eq=False)
class InputSizes:
    """The size of each image's network input: of all the same, or looked up in its shard's part."""

    plan: Plan
    read: ReadPart
    sizes: frozenset[Size]
    _shard: int = -1
    _rows: dict[int, Size] = field(default_factory=dict[int, Size])

    def of(self, image: int) -> Size:
        """Of one image, by its number; in the order of the numbers each shard is read once."""
        if len(self.sizes) == 1:
            return next(iter(self.sizes))
        shard = image // self.plan.shard_size
        if shard != self._shard:
            rows = self.read(shard, "images/")
            sizes = rows["images/input_size"].tolist()
            self._shard = shard
            self._rows = {n: (h, w) for n, (h, w) in zip(rows["images/number"].tolist(), sizes, strict=True)}
        return self._rows[image]
