"""Which pixels each unit of each layer sees, for inputs of one size: one pass, one walk over its graph.

A survey has its winners as (layer, unit, y, x); what is cut out of the photo is the unit's box: the hull of the pixels
that it reads, clipped at the border of every map on the way (``receptive_fields.receptive_boxes``). Boxes depend on the
size of the input and not on its pixels, so one pass on zeros of that size tells all of them.

Pitfalls: an output that a later in-place layer writes into has the boxes of what it was when it was handed on. Where a
layer's graph cannot be followed position by position (tokens after attention, a vector), each unit has one box.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from convscope.network.layers import LayerOutput, find_calls, number_calls, trace_layers
from convscope.network.receptive_fields import ReceptiveField, receptive_boxes_of, receptive_fields


@dataclass(frozen=True, eq=False)
class LayerView:
    """Where the units of one layer look. ``field`` None: the whole input, as is every one of ``boxes``."""

    name: str
    type: str
    shape: tuple[int, ...]
    field: ReceptiveField | None
    boxes: Int[np.ndarray, "h w 4"]

    def boxes_at(self, y: np.ndarray, x: np.ndarray) -> Int[np.ndarray, "... 4"]:
        """(y0, x0, y1, x1) of positions of the map; of one box only, that box."""
        height, width = self.boxes.shape[:2]
        return self.boxes[np.minimum(y, height - 1), np.minimum(x, width - 1)]


def layer_views(model: nn.Module, layers: Sequence[str], size: tuple[int, int], like: Tensor) -> dict[str, LayerView]:
    """How ``layers`` look at inputs of ``size`` (height, width), in the order given.

    Args:
        model: any network.
        layers: names, ``#k`` where a module runs again.
        size: of the network's input, in pixels.
        like: one input, for its channels, type and device.

    Raises:
        ConvscopeError: no such layer, or one that did not run; an operation that hides what is inside.
    """
    find_calls(model, layers)
    with torch.inference_mode(False):
        image = torch.zeros(1, like.shape[1], *size, dtype=like.dtype, device=like.device).requires_grad_()
    found: list[LayerOutput] = []
    edges: list[GradientEdge | None] = []

    def visit(item: LayerOutput) -> None:
        found.append(item)
        # now: an in-place layer after this one would make the output that of its own
        edges.append(get_gradient_edge(item.output) if item.output.requires_grad else None)

    trace_layers(model, image, visit, graph=True)
    calls = {item.name: (item, edge) for item, edge in zip(number_calls(found), edges, strict=True)}
    asked = {name: calls[name] for name in layers}
    followed = {name: edge for name, (_, edge) in asked.items() if edge is not None}
    boxes, fields = receptive_boxes_of(followed, image), receptive_fields(followed, image)
    whole = np.array([[[0, 0, *size]]])
    return {
        name: LayerView(
            name,
            type(item.module).__name__,
            tuple(item.output.shape[1:]),
            fields.get(name),
            boxes.get(name, whole),
        )
        for name, (item, _) in asked.items()
    }
