"""Where the image's two axes lie in a tensor, while a network permutes, flattens and splits its dimensions.

Claim: the y axis of a map is almost always a digit of one dimension's index. In ``(b, c, h, w)`` it is the whole of
dimension -2; flattened to tokens ``(b, h*w, c)`` it is ``index // w % h`` of dimension -2. A view keeps the flat
index ``right(dim) * inner``, with right(dim) the product of the sizes to the right, so the digit is found again
behind it. Where the digit is spread over several dimensions (the windows of a Swin transformer) or mixed with the
channels (a flatten before a linear layer), the axis is lost, and whatever comes after sees all of it.

Dimensions count from the right (-1 is the last), as broadcasting does.
"""

import math
from dataclasses import dataclass

from torch.autograd.graph import Node

from convscope.network.window_algebra import IDENTITY, Reach

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """An axis of the image in a tensor: its coordinate is ``index // inner % size`` of dimension ``dim`` (< 0)."""

    dim: int
    inner: int
    size: int

    def fills(self, shape: Shape) -> bool:
        """Whether the axis is the whole of its dimension."""
        return self.inner == 1 and self.size == shape[self.dim]

    def moved(self, dim: int) -> "Place":
        """The same axis in another dimension."""
        return Place(dim, self.inner, self.size)


@dataclass(frozen=True)
class Edge:
    """One input of one output of an operation: input ``index`` of ``node``, its shape, and the output's."""

    node: Node
    index: int
    output: int
    inputs: Shape
    shape: Shape


@dataclass(frozen=True)
class Step:
    """One axis through one operation: where it lies now (None: lost), and what each unit reads (None: everything)."""

    place: Place | None
    reach: Reach | None


LOST = Step(None, None)


def kept(place: Place) -> Step:
    """Every unit reads its own position."""
    return Step(place, IDENTITY)


def blended(place: Place) -> Step:
    """Every unit reads the whole axis, which is still there."""
    return Step(place, None)


def resized(edge: Edge, place: Place, reach: Reach) -> Step:
    """Neighbours are read along the axis's dimension. Tokens, which share it with others, have no neighbours there."""
    return Step(Place(place.dim, 1, edge.shape[place.dim]), reach) if place.fills(edge.inputs) else LOST


def counted_from_right(dim: int, shape: Shape) -> int:
    """Dimension 1 of four is -3."""
    return dim - len(shape) if dim >= 0 else dim


def viewed(place: Place, before: Shape, after: Shape) -> Place | None:
    """The axis behind a view (same elements in the same order); None where it is no digit of one dimension."""
    if 0 in before:
        return None
    stride = _right(before, place.dim) * place.inner
    if place.size == 1:
        return _viewed_single(place, stride, after)
    for dim in range(-len(after), 0):
        right = _right(after, dim)
        whole = right * after[dim]
        if stride % right == 0 and stride * place.size <= whole and whole % (stride * place.size) == 0:
            return Place(dim, stride // right, place.size)
    return None


def _viewed_single(place: Place, stride: int, after: Shape) -> Place | None:
    # an axis of one unit is a digit of any dimension: take a dimension of its own, the old one if it can be
    single = [dim for dim in range(-len(after), 0) if after[dim] == 1 and _right(after, dim) == stride]
    if not single:
        return None
    return place.moved(place.dim if place.dim in single else single[0])


def without_dimension(place: Place, dim: int) -> Place:
    """The axis after dimension ``dim`` (another one) is gone."""
    return place.moved(place.dim + 1) if dim > place.dim else place


def with_dimension(place: Place, dim: int) -> Place:
    """The axis after a dimension was inserted that is now ``dim``."""
    return place if place.dim > dim else place.moved(place.dim - 1)


def _right(shape: Shape, dim: int) -> int:
    return math.prod(shape[len(shape) + dim + 1 :])
