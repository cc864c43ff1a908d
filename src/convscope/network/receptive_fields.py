"""Receptive fields, read off the recorded graph of one forward pass.

Claim: a unit's receptive field is the hull of the support of its gradient with respect to the image. The graph that
autograd recorded is the computation as it ran (functional calls, reused modules, shortcuts cut out by strided
slices), so one walk over its nodes, from the image up, gives the windows of every layer at once, without touching
the network and without a backward pass.

Two answers:
- the *size* (``receptive_field``) is that of a unit in the middle of an input large enough, with its stride j and the
  first pixel of unit (0, 0); r' = r + d (k - 1) j and j' = j s for a plain stack (Araujo, Norris & Sim, Distill 2019).
  None where it is the whole input: above global pooling, linear layers over a flattened map, attention, squeeze-and-
  excitation gates, statistics over the map;
- the *box* (``receptive_box``) is what one unit sees of this image, clipped at the border of every map on the way.
  It is smaller than the window clipped at the image, because zeros that a layer pads with are no pixels.
Where a position cannot be followed any further (the windows of a Swin transformer, a warp that turns the image), both
answers err on the large side: None, and a box around all that may have been read.

Symbols: node -> operation; (place, window) -> one axis of one tensor. The rules are in ``node_windows.py``, their
algebra in ``window_algebra.py``, and operations without a rule are measured (``measured_windows.py``).

Pitfalls: a flatten by itself moves no pixel, so that its units have the field of the map; the linear layer after it
has none. Batch norms in training mode read the whole map. The *effective* field is smaller and bell-shaped (Luo et
al. 2016, arXiv:1701.04128), and the support of the gradient at one image can be smaller than what is reported here,
where rectifiers are off or pixels tie.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Generic, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

from convscope.errors import ConvscopeError
from convscope.network import saved_fields
from convscope.network.image_axes import LOST, Edge, Place, Step
from convscope.network.node_windows import step
from convscope.network.window_algebra import (
    NOTHING,
    PIXEL,
    Boxes,
    Window,
    everything,
    gather,
    pixel_boxes,
    union,
)

V = TypeVar("V")
Source: TypeAlias = tuple[Node, int]  # one output of one operation
Windows: TypeAlias = tuple[Window | None, Window | None]


@dataclass(frozen=True)
class ReceptiveField:
    """What a unit sees on an input large enough, in pixels, (height, width) each.

    ``size`` is the largest among the units where upsampling makes them differ; ``stride`` the step from one unit's
    field to the next one's (less than 1 on maps finer than the image); ``offset`` the first pixel of unit (0, 0)'s
    field, negative where padding reaches over the border.
    """

    size: tuple[int, int]
    stride: tuple[int | float, int | float]
    offset: tuple[int, int]


class Box(NamedTuple):
    """Pixels ``image[..., y0:y1, x0:x1]``; four zeros where a unit sees no pixel at all (only padding)."""

    y0: int
    x0: int
    y1: int
    x1: int


def receptive_field(activation: Tensor, image: Float[Tensor, "b c H W"]) -> ReceptiveField | None:
    """The receptive field of the units of ``activation``, recorded from ``image``; None: the whole input.

    ``image`` must have required a gradient in the forward pass. Raises ConvscopeError where the activation was not
    computed from it, where a backward pass has freed the graph, and where an operation hides what is inside.
    """
    return _field(_state(activation, image, _Plane()).value)


def receptive_fields(
    activations: Mapping[str, Tensor | GradientEdge], image: Float[Tensor, "b c H W"]
) -> dict[str, ReceptiveField | None]:
    """``receptive_field`` of many activations of one forward pass, in one walk over its graph.

    An activation that is written in place later has the field of what was written; ``get_gradient_edge(activation)``,
    taken in the hook that saw it, stands for it as it was. Activations that were not computed from the image (a weight,
    a table of positions) have none either: None.
    """
    sources = {name: _source(activation) for name, activation in activations.items()}
    states = _walk([source for source in sources.values() if source], image, _Plane())
    return {name: _field(states[source].value) if source in states else None for name, source in sources.items()}


def receptive_box(activation: Tensor, image: Float[Tensor, "b c H W"], y: int, x: int) -> Box:
    """The pixels that the unit at map position (y, x) sees, in any channel: the exact hull, clipped everywhere.

    A vector of logits has the one position (0, 0); a flattened map keeps those of the map. Raises ConvscopeError
    as ``receptive_field`` does, and for a position outside the map.
    """
    boxes = receptive_boxes(activation, image)
    h, w = boxes.shape[:2]
    if not (0 <= y < h and 0 <= x < w):
        raise ConvscopeError(f"no unit at (y, x) = ({y}, {x}): the map is {h} x {w}, positions count from (0, 0)")
    return Box(*boxes[y, x].tolist())


def receptive_boxes(activation: Tensor, image: Float[Tensor, "b c H W"]) -> Int[np.ndarray, "h w 4"]:
    """``receptive_box`` of every position: (y0, x0, y1, x1) in the last axis."""
    return _map_boxes(_state(activation, image, _Map()), tuple(activation.shape))


def receptive_boxes_of(
    activations: Mapping[str, Tensor | GradientEdge], image: Float[Tensor, "b c H W"]
) -> dict[str, Int[np.ndarray, "h w 4"]]:
    """``receptive_boxes`` of many activations in one walk, edges welcome (see ``receptive_fields``).

    Those that were not computed from the image are left out.
    """
    sources = {name: found for name, a in activations.items() if (found := _source(a)) is not None}
    states = _walk(list(sources.values()), image, _Map())
    shapes = {name: tuple(saved_fields.shapes(node)[output]) for name, (node, output) in sources.items()}
    return {name: _map_boxes(states[s], shapes[name]) for name, s in sources.items() if s in states}


def _map_boxes(state: "_State[Boxes]", shape: tuple[int, ...]) -> Int[np.ndarray, "h w 4"]:
    # an axis that was lost on the way (attention over positions) is still one of the map's, if there is a map
    last = shape[-2:] if len(shape) == 4 else (1, 1)
    h, w = (place.size if place else lost for place, lost in zip(state.places, last, strict=True))
    y0, x0, y1, x1 = np.broadcast_to(state.value, (4, h, w))
    seen = y0 < NOTHING
    return np.stack([np.where(seen, corner, 0) for corner in (y0, x0, -y1, -x1)], axis=-1)


# ---- the walk ----


@dataclass(frozen=True)
class _State(Generic[V]):
    """Where the image's axes lie in one tensor, and what its units see."""

    places: tuple[Place | None, Place | None]
    value: V


@runtime_checkable
class _Reading(Protocol[V]):
    """One of the two readings of a reach: on the plane without borders, or on the maps as they are."""

    def pixels(self, height: int, width: int) -> V: ...
    def settled(self, value: V, axis: int) -> bool: ...
    def through(self, value: V, axis: int, step: Step, inputs: int) -> V: ...
    def union(self, one: V, other: V) -> V: ...


class _Plane:
    def pixels(self, height: int, width: int) -> Windows:  # noqa: ARG002 (a plane has no size)
        return PIXEL, PIXEL

    def settled(self, value: Windows, axis: int) -> bool:
        return value[axis] is None  # the whole input stays the whole input

    def through(self, value: Windows, axis: int, step: Step, inputs: int) -> Windows:  # noqa: ARG002
        window = value[axis]
        after = window.through(step.reach) if window and step.reach else None
        return (after, value[1]) if axis == 0 else (value[0], after)

    def union(self, one: Windows, other: Windows) -> Windows:
        return union(one[0], other[0]), union(one[1], other[1])


class _Map:
    def pixels(self, height: int, width: int) -> Boxes:
        return pixel_boxes(height, width)

    def settled(self, value: Boxes, axis: int) -> bool:  # noqa: ARG002
        return False

    def through(self, value: Boxes, axis: int, step: Step, inputs: int) -> Boxes:
        if step.reach is None:
            return everything(value, axis)
        return gather(value, axis, step.reach, inputs, step.place.size if step.place else 1)

    def union(self, one: Boxes, other: Boxes) -> Boxes:
        return one if one is other else np.minimum(one, other)


def _walk(targets: list[Source], image: Tensor, reading: _Reading[V]) -> dict[Source, _State[V]]:
    """The state of every tensor between the image and the targets that depends on the image."""
    height, width = image.shape[-2:]
    start = _State((Place(-2, 1, height), Place(-1, 1, width)), reading.pixels(height, width))
    states: dict[Source, _State[V]] = {_origin(image): start}
    for node, outputs in _upwards(targets):
        edges = enumerate(node.next_functions)
        inputs = [(k, (below, n)) for k, (below, n) in edges if below is not None and (below, n) in states]
        for output in outputs if inputs else ():
            states[node, output] = _joined(node, output, inputs, states, reading)
    return states


def _joined(
    node: Node, output: int, inputs: list[tuple[int, Source]], states: dict[Source, _State[V]], reading: _Reading[V]
) -> _State[V]:
    """One output of one operation, from all its inputs that depend on the image."""
    shape = saved_fields.shapes(node)[output]
    arrived: list[_State[V]] = []
    for index, source in inputs:
        edge = Edge(node, index, output, saved_fields.shapes(source[0])[source[1]], shape)
        arrived.append(_through(edge, states[source], reading))
    places = [{state.places[axis] for state in arrived} - {None} for axis in (0, 1)]
    # branches that hold an axis in different dimensions mix all its positions
    agreed = [next(iter(held)) if len(held) == 1 else None for held in places]
    values = [state.value for state in arrived]
    for axis in (0, 1):
        if len(places[axis]) > 1:
            values = [reading.through(value, axis, LOST, 1) for value in values]
    return _State((agreed[0], agreed[1]), reduce(reading.union, values))


def _through(edge: Edge, state: _State[V], reading: _Reading[V]) -> _State[V]:
    value, places = state.value, list(state.places)
    for axis, place in enumerate(state.places):
        taken = step(edge, place) if place and not reading.settled(value, axis) else LOST
        value = reading.through(value, axis, taken, place.size if place else 1)
        places[axis] = taken.place
    return _State((places[0], places[1]), value)


def _upwards(targets: list[Source]) -> Iterator[tuple[Node, set[int]]]:
    """Operations below the targets, each after its inputs, with the outputs that are used."""
    # not recursive: a graph is deeper than Python's stack
    used: dict[Node, set[int]] = {}
    order: list[Node] = []
    entered: set[Node] = set()
    for node, output in targets:
        used.setdefault(node, set()).add(output)
    stack = [(node, False) for node in used]
    while stack:
        node, inputs_done = stack.pop()
        if inputs_done:
            order.append(node)
        elif node not in entered:
            entered.add(node)
            stack.append((node, True))
            for source, output in node.next_functions:
                if source is not None:
                    used.setdefault(source, set()).add(output)
                    stack.append((source, False))
    return ((node, used[node]) for node in order)


def _field(windows: Windows) -> ReceptiveField | None:
    y, x = windows
    if y is None or x is None or y.empty() or x.empty():
        return None
    return ReceptiveField((y.size, x.size), (y.stride, x.stride), (y.first, x.first))


# ---- where an activation hangs in the graph ----


def _source(recorded: Tensor | GradientEdge) -> Source | None:
    if isinstance(recorded, Tensor):
        if not recorded.requires_grad:
            return None
        recorded = get_gradient_edge(recorded)
    return recorded.node, recorded.output_nr


def _origin(image: Tensor) -> Source:
    source = _source(image)
    if source is None:
        raise ConvscopeError(
            "the image records no graph; pass the network a floating-point image with requires_grad=True, "
            "outside torch.no_grad() and torch.inference_mode()"
        )
    return source


def _state(activation: Tensor, image: Tensor, reading: _Reading[V]) -> _State[V]:
    source = _source(activation)
    states = _walk([source] if source else [], image, reading)
    if source is None or source not in states:
        raise ConvscopeError(
            f"the activation of shape {tuple(activation.shape)} was not computed from this image of shape "
            f"{tuple(image.shape)}, or its graph was not recorded (torch.no_grad(), detach); "
            "run the network on the very image that is given"
        )
    return states[source]
