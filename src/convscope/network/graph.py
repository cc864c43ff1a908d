"""Backward rules on the recorded autograd graph: guided backpropagation, deconvnet, and what they cannot see.

``backward_rule`` is the second of the two primitives that everything rests on (the other is ``taps.tap``). A
rule changes what a rectifier sends back. Module hooks miss the ReLUs that are called as functions, and
swapping modules leaves a changed network behind. The graph that autograd recorded has one node for each
rectifier that really ran, however it was written, and hooks on these nodes end with the graph:

    nn.ReLU, F.relu, x.relu_(), ReLU6, Hardtanh(0, m), Threshold, clamp at 0      -> a rectifier
    convolutions, pooling, sums, products, shapes, normalisation                  -> left as they are
    Hardswish, GELU, sigmoid, softmax, ... and any node that is not known here     -> nonlinear, left plain
    CopySlices, compiled, TorchScript, a custom ``autograd.Function``             -> opaque, refused by name

A network with nonlinearities but no rectifier is refused (the rule would silently be the plain gradient); one
with some of each is refused unless ``partial=True``. A path that is linear from output to input is fine.
Max-pooling needs no rule: its backward pass is the deconvnet's unpooling by switches.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge

from convscope.errors import ConvscopeError
from convscope.network import saved_fields

Rule = Callable[[Tensor, Tensor], Tensor]

_OPAQUE = ("CopySlices", "CompiledFunction", "DifferentiableGraph", "CheckpointFunction")

# linear in what they hand on, or shape, pooling and normalisation: no activation function hides in them
_STRUCTURAL = frozenset(
    """AccumulateGrad AdaptiveAvgPool1D AdaptiveAvgPool2D AdaptiveAvgPool3D AdaptiveMaxPool1D AdaptiveMaxPool2D Add
    Addbmm Addmm Alias Amax AsStrided AvgPool2D AvgPool3D Baddbmm Bmm Cat Chunk Clone Col2Im Constant ConstantPadNd
    Contiguous Convolution Copy CopyBackwards CudnnBatchNorm CudnnConvolution Detach Diagonal Div Dot Einsum Expand
    Flatten Flip FusedDropout Gather GraphRoot Im2Col Index IndexSelect Linear MaskedFill Max MaxPool1D MaxPool2DWithIndices
    MaxPool3DWithIndices Mean MiopenBatchNorm MkldnnAdaptiveAvgPool2D MkldnnConvolution MkldnnLinear MkldnnMaxPool2D
    MkldnnReshape Mm Movedim Mul Mv NativeBatchNorm NativeDropout NativeGroupNorm NativeLayerNorm Narrow Neg Permute
    PixelShuffle PixelUnshuffle PixelShuffleBackward ReflectionPad1D ReflectionPad2D ReflectionPad3D Repeat
    ReplicationPad1D ReplicationPad2D ReplicationPad3D Reshape ReshapeAlias Roll Rsub Select Slice Split
    SplitWithSizes Squeeze Stack Sub Sum Swapaxes T ToCopy Transpose Unbind Unfold UnsafeSplit UnsafeSplitWithSizes
    UnsafeView Unsqueeze UpsampleBicubic2D UpsampleBilinear2D UpsampleBilinear2DAa UpsampleNearest2D
    UpsampleNearestExact2D View ViewAsComplex ViewAsReal""".split()
)


@dataclass(frozen=True)
class Rectifiers:
    """What a rule acts on in one graph: the count of rectifiers, and the nonlinearities that it leaves plain."""

    count: int
    left_plain: tuple[str, ...]


def guided(grad_in: Tensor, grad_out: Tensor) -> Tensor:
    """R_in = R_out * 1[x > 0] * 1[R_out > 0] (Springenberg et al. 2014); ``grad_in`` has the first factor."""
    return grad_in * (grad_out > 0)


def deconv(_grad_in: Tensor, grad_out: Tensor) -> Tensor:
    """R_in = max(R_out, 0) (Zeiler & Fergus 2014): the forward pass's own gate is not used."""
    return grad_out.clamp(min=0)


def nodes(output: Tensor, to: Tensor | None = None) -> list[Node]:
    """The graph's nodes from ``output`` down, each after all of those that lead to it or in no order at all.

    With ``to``, only the nodes on a path to that tensor: branches that end in parameters are left out.

    Raises:
        ConvscopeError: nothing was recorded for ``output``, or no path leads to ``to``.
    """
    if output.grad_fn is None:
        raise ConvscopeError("no graph was recorded: the network's forward pass runs without gradients, or is constant")
    found: dict[Node, None] = {}
    end = get_gradient_edge(to).node if to is not None else None
    todo: list[Node] = [output.grad_fn]
    while todo:
        node = todo.pop()
        if node in found:
            continue
        found[node] = None
        if node is not end:
            todo += [parent for parent, _ in node.next_functions if parent is not None]
    return list(found) if end is None else _leading_to(end, list(found))


def _leading_to(end: Node, found: list[Node]) -> list[Node]:
    children: dict[Node, list[Node]] = {}
    for node in found:
        for parent, _ in node.next_functions:
            if parent is not None and node is not end:
                children.setdefault(parent, []).append(node)
    on_path: set[Node] = {end}
    todo = [end]
    while todo:
        for child in children.get(todo.pop(), []):
            if child not in on_path:
                on_path.add(child)
                todo.append(child)
    if len(on_path) == 1 and end not in found:
        raise ConvscopeError("the score does not depend on the input: no path leads from one to the other")
    return [node for node in found if node in on_path]


def operation(node: Node) -> str:
    """``ReluBackward0`` -> ``Relu``; ``torch::autograd::CopySlices`` -> ``CopySlices``."""
    return re.sub(r"Backward\d*$", "", node.name().rsplit("::", 1)[-1])


def is_opaque(node: Node) -> bool:
    """True for nodes that hide what is inside: the function, its nonlinearities, and a correct rule for it."""
    custom = isinstance(node, torch.autograd.function.BackwardCFunction)
    return custom or operation(node).startswith(_OPAQUE)


def is_rectifier(node: Node) -> bool:
    """True for max(x, 0), with or without an upper bound, however it was written."""
    match operation(node):
        case "Relu" | "Threshold":
            return True
        case "Hardtanh":
            return saved_fields.hardtanh_bounds(node)[0] == 0
        case "Clamp" | "ClampMin":
            return saved_fields.clamp_bounds(node)[0] == 0
        case _:
            return False


def is_nonlinear(node: Node) -> bool:
    """True for activation functions other than rectifiers, and for every node that is not known here."""
    return operation(node) not in _STRUCTURAL and not is_rectifier(node) and not is_opaque(node)


def inspect(output: Tensor, to: Tensor | None = None) -> tuple[list[Node], Counter[str], Counter[str]]:
    """The rectifiers between ``output`` and ``to``, other nonlinearities by name, opaque nodes by name."""
    found = nodes(output, to)
    rectifiers = [n for n in found if is_rectifier(n)]
    plain = Counter(operation(n) for n in found if is_nonlinear(n))
    return rectifiers, plain, Counter(operation(n) for n in found if is_opaque(n))


@contextmanager
def backward_rule(
    output: Tensor, rule: Rule, *, to: Tensor | None = None, partial: bool = False
) -> Iterator[Rectifiers]:
    """Within the block, every rectifier between ``output`` and ``to`` sends back ``rule(grad_in, grad_out)``.

    ``grad_out`` arrives from above, ``grad_in`` is what the rectifier itself would send down; all have the
    rectifier's shape. The network is not touched: the rule lives in the graph of this one pass.

    Args:
        output: any tensor of the pass, a score or a layer's output.
        rule: ``guided``, ``deconv`` or another function of these two tensors.
        to: the explained input; without it every rectifier of the graph takes part.
        partial: accept nonlinearities that are no rectifiers, and leave them plain.

    Raises:
        ConvscopeError: opaque nodes, no rectifier among the nonlinearities, or some of each without ``partial``.
    """
    rectifiers, plain, opaque = inspect(output, to)
    if opaque:
        raise ConvscopeError(
            f"cannot see inside {_listed(opaque)} in the recorded graph, so the rule could miss rectifiers there; "
            "an in-place change of a view, a compiled part, or a custom autograd.Function makes such a node"
        )
    if plain and not rectifiers:
        raise ConvscopeError(
            f"no rectifier between the score and the input, but {_listed(plain)}: the rule would silently equal the "
            "plain gradient; use the gradient"
        )
    if plain and not partial:
        raise ConvscopeError(
            f"{len(rectifiers)} rectifiers, but also {_listed(plain)}, which the rule would leave plain; "
            "partial=True (--partial) accepts that"
        )
    with ExitStack() as undo:
        for node in rectifiers:
            undo.callback(node.register_hook(_hook(rule)).remove)
        yield Rectifiers(len(rectifiers), tuple(sorted(plain)))


def _hook(rule: Rule) -> Callable[[tuple[Tensor, ...], tuple[Tensor, ...]], tuple[Tensor, ...]]:
    def send_back(grads_in: tuple[Tensor, ...], grads_out: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (rule(grads_in[0], grads_out[0]), *grads_in[1:])

    return send_back


def _listed(names: Counter[str]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in sorted(names.items()))
