"""The main path: the layers that everything a network makes of an image goes through, in order.

A layer is on it where every path of the recorded graph from the image to the output passes the layer's output: what is
not in that output the network has lost for good. A convolution inside a residual block is not on it (the shortcut goes
round it), nor is a branch of an Inception block; the output of the block is. With P(n) the paths from the image to a
node n of the graph, and Q(n) those from n to the output, n is on the main path where

    P(n) Q(n) = P(output)

in whole numbers: a DenseNet-121 has more than 10^20 paths. The graph knows functions that ``forward`` calls too.

Not every such layer is listed. Left out are dropout, identities, flattening and batch norms, which lose nothing, each
being one-to-one. A block stands for its parts, as ``features.3`` of SqueezeNet for the squeezing and expanding inside
it; but a plain ``nn.Sequential``, and a composite with more than a fifth of the network's layers, is opened instead.

Pitfall: the paths are those that the graph can see. What a forward pass copies out of the graph, by ``.data`` or
``detach``, is no path.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node, get_gradient_edge

from convscope.errors import ConvscopeError, nearest
from convscope.network.evaluation import evaluation
from convscope.network.graph import nodes
from convscope.network.layers import LayerOutput, numbered, trace_layers

_ONE_TO_ONE = (
    nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
    nn.FeatureAlphaDropout, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm,
)  # fmt: skip
_TOO_MUCH = 1 / 5  # of a network's layers: more is no block of it


@dataclass(frozen=True, eq=False)
class _Ran:
    """A layer's call and the node of the graph that made its output."""

    name: str
    module: nn.Module
    node: Node | None

    @property
    def has_parts(self) -> bool:
        return any(True for _ in self.module.children())

    @property
    def path(self) -> str:
        return self.name.split("#")[0]

    def is_inside(self, other: "_Ran") -> bool:
        return self.path.startswith(f"{other.path}.")


def main_path(model: nn.Module, x: Tensor) -> tuple[str, ...]:
    """The names of the layers on the main path for an input ``x (1, c, H, W)``, first to last; costs one pass.

    Raises:
        ConvscopeError: a forward pass without gradients, or without a layer on the main path.
    """
    on_path, found = _on_path(model, x)
    listed = _listed([one for one in on_path if not isinstance(one.module, _ONE_TO_ONE)], found)
    if not listed:
        raise ConvscopeError(
            f"no layer of {type(model).__name__} lies on every path from the image to the output; name layers"
        )
    return listed


def last_cut(model: nn.Module, x: Tensor, layers: Sequence[str]) -> str | None:
    """The last of all layers on the main path, also of those not listed, that has run when the first of ``layers`` has.

    What these give and what follows them see the image ``x (1, c, H, W)`` through that one's output only: it is a layer
    of these itself where that is on the path. None where none has run by then.

    Raises:
        ConvscopeError: no such layer, or a forward pass without gradients.
    """
    on_path, found = _on_path(model, x)
    names = [one.name for one in found]
    for layer in layers:
        if layer not in names:
            raise ConvscopeError(f"no call of a layer {layer!r} in this pass{nearest(layer, names)}")
    by_then = set(names[: min(map(names.index, layers)) + 1])
    return next((one.name for one in reversed(on_path) if one.name in by_then), None)


def _on_path(model: nn.Module, x: Tensor) -> tuple[list[_Ran], list[_Ran]]:
    """The calls on the main path, and all calls, each in the order in which they ended."""
    image = x.detach()[:1].clone().requires_grad_()
    found: list[_Ran] = []
    last: list[Tensor] = []

    def visit(item: LayerOutput) -> None:
        found.append(_Ran(item.name, item.module, item.output.grad_fn))
        last[:] = [item.output]

    with evaluation(model):
        output = trace_layers(model, image, visit, graph=True)
        end = getattr(output, "logits", output)
        ends = end if isinstance(end, Tensor) else last[0] if last else image
        passed = _passed_by_all(nodes(ends, to=image), image)
    names = numbered([one.name for one in found])
    named = [replace(one, name=name) for one, name in zip(found, names, strict=True)]
    return [one for one in named if one.node in passed], named


def _listed(on_path: Sequence[_Ran], found: Sequence[_Ran]) -> tuple[str, ...]:
    leaves = [one for one in found if not one.has_parts]
    composites = [one for one in on_path if one.has_parts]

    def is_opened(one: _Ran) -> bool:
        if not any(other.is_inside(one) for other in on_path):
            return False
        share = sum(leaf.is_inside(one) for leaf in leaves) / len(leaves)
        return type(one.module) is nn.Sequential or share > _TOO_MUCH

    blocks = [one for one in composites if not is_opened(one)]
    opened = [one for one in composites if is_opened(one)]
    kept: dict[Any, str] = {}
    for one in on_path:
        if one not in opened and not any(one.is_inside(block) for block in blocks):
            kept.setdefault(one.node, one.name)  # of modules that hand on one tensor, the first
    return tuple(kept.values())


def _passed_by_all(between: Sequence[Node], image: Tensor) -> set[Node]:
    """The nodes, of those between the image and the output, that every path passes."""
    begin = get_gradient_edge(image).node
    inside = {*between, begin}
    below = {node: [n for n, _ in node.next_functions if n in inside] for node in between}
    order = _from_the_image(below)
    to_image: dict[Node | None, int] = {begin: 1}
    for node in order:
        to_image[node] = sum(to_image[n] for n in below[node])
    to_output = dict.fromkeys([begin, *order], 0)
    to_output[order[-1]] = 1  # all others are below the output
    for node in reversed(order):
        for n in below[node]:
            to_output[n] += to_output[node]
    return {node for node in order if to_image[node] * to_output[node] == to_image[order[-1]]}


def _from_the_image(below: Mapping[Node, Sequence[Any]]) -> list[Node]:
    """Every node after those below it; the output last. Without recursion: a graph is deeper than Python's stack."""
    waiting = {node: sum(n in below for n in parts) for node, parts in below.items()}
    above: dict[Node, list[Node]] = {node: [] for node in below}
    for node, parts in below.items():
        for n in parts:
            if n in below:
                above[n].append(node)
    ready, order = [node for node, count in waiting.items() if not count], list[Node]()
    while ready:
        order.append(node := ready.pop())
        for n in above[node]:
            waiting[n] -= 1
            if not waiting[n]:
                ready.append(n)
    return order
