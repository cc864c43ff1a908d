"""What one recorded pass tells of a network's layers: which hold weights, which are rectified, what the head is given.

A unit is dead where its rectifier gives zero everywhere: where what comes to the rectifier is nowhere above zero. The
layer whose sign says that is found on autograd's graph. From a layer's node up,

    convolution -> ReLU                     the layer itself, whoever calls the ReLU, and as what: module or function
    convolution -> batch norm -> ReLU       the batch norm: before it a sign means nothing
    convolution -> ReLU and -> a sum        none: a shortcut hands on what the ReLU would stop
    convolution -> sigmoid, linear -> end   none

and channel-wise steps (normalisation, pooling, dropout) in between are gone through, as long as there is one way only.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node, get_gradient_edge

from convscope.network.graph import is_rectifier, nodes
from convscope.network.layers import LayerOutput, numbered, trace_layers
from convscope.network.saved_fields import operation
from convscope.network.targets import class_logits

_PASSED = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.Flatten, nn.Identity)
_CHANNEL_WISE = frozenset(
    """NativeBatchNorm CudnnBatchNorm MiopenBatchNorm NativeDropout FusedDropout MaxPool2DWithIndices MkldnnMaxPool2D
    AvgPool2D AdaptiveAvgPool2D AdaptiveMaxPool2D""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class LayersOfPass:
    """Names as ``tap`` takes them, in the order in which the calls ended.

    Attributes:
        outputs: name -> shape of the output, of all that give a tensor of real numbers.
        modules: name -> the module.
        weighted: those that hold a weight of two axes or more themselves: convolutions and linear layers.
        judged_by: name -> the layer whose values above zero say that a unit lives; none for a layer not rectified.
        head: the last layer with weights that gives as many numbers as there are classes; None where none does.
        before_head: what that is given; None where unclear.
    """

    outputs: Mapping[str, tuple[int, ...]]
    modules: Mapping[str, nn.Module]
    weighted: tuple[str, ...]
    judged_by: Mapping[str, str]
    head: str | None
    before_head: str | None


def layers_of_pass(model: nn.Module, x: Tensor) -> LayersOfPass:
    """Run ``model`` once on ``x (b, c, h, w)``, in evaluation mode, with a graph.

    Raises:
        ConvscopeError: a model that cannot be seen into, or no class scores as output.
    """
    image = x.detach().clone()
    image = image.requires_grad_() if image.is_floating_point() else image
    found: list[LayerOutput] = []
    made_by: list[Node | None] = []

    def visit(item: LayerOutput) -> None:
        if item.output.is_floating_point():
            # now: an in-place ReLU after the layer would make its output that of the ReLU
            found.append(item)
            made_by.append(get_gradient_edge(item.output).node if item.output.requires_grad else None)

    logits = class_logits(trace_layers(model, image, visit, graph=True))
    names = numbered([item.name for item in found])
    modules = {name: item.module for name, item in zip(names, found, strict=True)}
    head = _head(found, logits)
    return LayersOfPass(
        {name: tuple(item.output.shape) for name, item in zip(names, found, strict=True)},
        modules,
        tuple(name for name, module in modules.items() if _is_weighted(module)),
        _judges(names, made_by, logits) if logits.grad_fn is not None else {},
        None if head is None else names[head],
        _before_head(names, found, head),
    )


def _is_weighted(module: nn.Module) -> bool:
    weight: Any = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim >= 2


def _head(found: Sequence[LayerOutput], logits: Tensor) -> int | None:
    heads = [i for i, item in enumerate(found) if _is_weighted(item.module) and item.output.shape[1] == logits.shape[1]]
    return heads[-1] if heads else None


def _before_head(names: Sequence[str], found: Sequence[LayerOutput], head: int | None) -> str | None:
    for i in reversed(range(head or 0)):
        if _spreads_maps(found, i) or (not isinstance(found[i].module, _PASSED) and found[i].output.ndim in (2, 4)):
            return names[i]
    return None


def _spreads_maps(found: Sequence[LayerOutput], i: int) -> bool:
    """Whether it is the Flatten of maps of several places: before it there is less to tell by, one mean a map."""
    maps = found[i - 1].output if i else None
    return isinstance(found[i].module, nn.Flatten) and maps is not None and maps.ndim == 4 and maps[0, 0].numel() > 1


def _judges(names: Sequence[str], made_by: Sequence[Node | None], logits: Tensor) -> dict[str, str]:
    above: defaultdict[Node, list[Node]] = defaultdict(list)
    for node in nodes(logits):
        for below, _ in node.next_functions:
            if below is not None:
                above[below].append(node)
    by_node: dict[Node, str] = {}
    for name, node in zip(names, made_by, strict=True):
        if node is not None:
            by_node.setdefault(node, name)  # the innermost: a composite ends after its last part
    judges = {name: _judge(node, above, by_node) for name, node in zip(names, made_by, strict=True) if node is not None}
    return {name: judge for name, judge in judges.items() if judge is not None}


def _judge(node: Node, above: Mapping[Node, list[Node]], by_node: Mapping[Node, str]) -> str | None:
    while not is_rectifier(node):
        users = above.get(node, [])
        if users and all(is_rectifier(user) for user in users):
            return by_node.get(node) or by_node.get(users[0])
        if len(users) != 1 or operation(users[0]) not in _CHANNEL_WISE:
            return None
        node = users[0]
    return by_node.get(node)
