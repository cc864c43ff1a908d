"""Backward rules on the recorded autograd graph: guided backpropagation, deconvnet, and what they cannot see.

``backward_rule`` is the second of the two primitives that everything rests on (the other is ``taps.tap``). A
rule changes what a rectifier sends back. Module hooks miss the ReLUs that are called as functions, and
swapping modules leaves a changed network behind. The graph that autograd recorded has one node for each
rectifier that really ran, however it was written, and hooks on these nodes end with the graph:

    nn.ReLU, F.relu, x.relu_(), ReLU6, Hardtanh(0, m), Threshold, clamp at 0      -> a rectifier
    convolutions, pooling, sums, products, shapes, normalisation                  -> left as they are
    Hardswish, GELU, sigmoid, softmax, ... and any node that is not known here     -> nonlinear, left plain
    a product with a mask, x * (x > 0)                                             -> nonlinear, left plain
    CopySlices, compiled, TorchScript, a custom ``autograd.Function``             -> opaque, refused by name

A network with nonlinearities but no rectifier is refused (the rule would silently be the plain gradient); one
with some of each is refused unless ``partial=True``. A path that is linear from output to input is fine.
Max-pooling needs no rule: its backward pass is the deconvnet's unpooling by switches.

Pitfalls: a product or quotient of two tensors that both depend on the input counts as plain, whatever it means.
"""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge

from convscope.errors import ConvscopeError
from convscope.network import saved_fields
from convscope.network.saved_fields import operation

Rule = Callable[[Tensor, Tensor], Tensor]

_OPAQUE = ("CopySlices", "CompiledFunction", "DifferentiableGraph", "CheckpointFunction")

# linear in what they hand on, or shape, pooling and normalisation: no activation function hides in them
_STRUCTURAL = frozenset(
    """AccumulateGrad AdaptiveAvgPool1D AdaptiveAvgPool2D AdaptiveAvgPool3D AdaptiveMaxPool1D AdaptiveMaxPool2D Add
    Addbmm Addmm Alias Amax AsStrided AvgPool2D AvgPool3D Baddbmm Bmm Cat Chunk Clone Col2Im Constant ConstantPadNd
    Contiguous Convolution Copy CopyBackwards CudnnBatchNorm CudnnConvolution Detach Diagonal Div Dot Einsum Expand
    Flatten Flip FractionalMaxPool2D FusedDropout Gather GridSampler2D Im2Col Index IndexSelect Linear Max MaxPool1D
    MaxPool2DWithIndices MaxPool3DWithIndices MaxUnpool2D Mean MiopenBatchNorm MkldnnAdaptiveAvgPool2D
    MkldnnConvolution MkldnnLinear MkldnnMaxPool2D MkldnnReshape Mm Movedim Mul Mv Narrow NativeBatchNorm
    NativeChannelShuffle NativeDropout NativeGroupNorm NativeLayerNorm Neg Permute PixelShuffle PixelUnshuffle
    ReflectionPad1D ReflectionPad2D ReflectionPad3D Repeat ReplicationPad1D ReplicationPad2D ReplicationPad3D Reshape
    ReshapeAlias Roll Rsub Select Slice Split SplitWithSizes Squeeze Stack Sub Sum Swapaxes T Tile ToCopy Transpose
    Unbind Unfold UnsafeSplit UnsafeSplitWithSizes UnsafeView Unsqueeze UpsampleBicubic2D UpsampleBicubic2DAa
    UpsampleBilinear2D UpsampleBilinear2DAa UpsampleLinear1D UpsampleNearest1D UpsampleNearest2D UpsampleNearest3D
    UpsampleNearestExact1D UpsampleNearestExact2D UpsampleTrilinear3D View ViewAsComplex ViewAsReal""".split()  # noqa: SIM905
)
_MASKED = "product with a mask"


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


def let_through(grad_in: Tensor, grad_out: Tensor) -> Tensor:
    """R_in = max(R_out, 0) for an image whose R_in is 0 everywhere, else R_in as it is.

    The way out of a rectifier that is shut all over: only what would raise its output comes through (lucid,
    ``misc/redirected_relu_grad.py``, where the sign is that of a loss). The first axis is taken to be the images.
    """
    shut = grad_in == 0
    if within := tuple(range(1, grad_in.ndim)):  # extremes: many times as fast as asking each number
        shut = (grad_in.amax(within) == 0) & (grad_in.amin(within) == 0)
    if not bool(shut.any()):
        return grad_in
    return torch.where(shut.reshape(-1, *[1] * len(within)), grad_out.clamp(min=0), grad_in)


def nodes(output: Tensor | Sequence[Tensor], to: Tensor | None = None) -> list[Node]:
    """The graph's nodes from ``output`` (or several) down, in no particular order.

    With ``to``, only the nodes between: branches that end in parameters are left out, and so is the node that
    made ``to``.

    Raises:
        ConvscopeError: nothing was recorded for ``output``, or no path leads to ``to``.
    """
    outputs = [output] if isinstance(output, Tensor) else output
    above: dict[Node, list[Node]] = {o.grad_fn: [] for o in outputs if o.grad_fn is not None}
    if not above:
        raise ConvscopeError("no graph was recorded: the network's forward pass runs without gradients, or is constant")
    end = get_gradient_edge(to).node if to is not None and to.requires_grad else None
    todo = list(above)
    while todo:
        node = todo.pop()
        for below, _ in node.next_functions:
            if below is not None:
                if below not in above:
                    above[below] = []
                    todo.append(below)
                above[below].append(node)
    return list(above) if to is None else _between(above, end)


def _between(above: dict[Node, list[Node]], end: Node | None) -> list[Node]:
    """All nodes above ``end``, of those that are known with the nodes directly above them."""
    if end is None or end not in above:
        raise ConvscopeError("the score does not depend on the input: no path leads from one to the other")
    found: dict[Node, None] = {}
    todo = list(above[end])
    while todo:
        node = todo.pop()
        if node not in found:
            found[node] = None
            todo += above[node]
    return list(found)


def is_opaque(node: Node) -> bool:
    """True for nodes that hide what is inside: the function, its nonlinearities, and a correct rule for it."""
    custom = isinstance(node, torch.autograd.function.BackwardCFunction)
    return custom or operation(node).startswith(_OPAQUE)


def is_rectifier(node: Node) -> bool:
    """True for max(x, 0), with or without an upper bound, however it was written."""
    match operation(node):
        case "Relu":
            return True
        case "Threshold":
            return saved_fields.threshold(node) >= 0  # below 0 it lets negative values through
        case "Hardtanh":
            return saved_fields.hardtanh_bounds(node)[0] == 0
        case "Clamp" | "ClampMin":
            low = saved_fields.clamp_bounds(node)[0]
            return low is not None and bool((torch.as_tensor(low) == 0).all())  # a bound may differ by unit
        case _:
            return False


def is_nonlinear(node: Node) -> bool:
    """True for activation functions other than rectifiers, and for every node that is not known here."""
    known = operation(node) in _STRUCTURAL and not _is_masked(node)
    return not (known or is_rectifier(node) or is_opaque(node))


def _is_masked(node: Node) -> bool:
    """True for a product with constant zeros and ones, which may be a rectifier written as ``x * (x > 0)``."""
    if operation(node) != "Mul":
        return False
    factors = [saved_fields.field(node, name) for name in ("self", "other")]
    return any(f is not None and not f.requires_grad and _is_mask(f) for f in factors)


def _is_mask(factor: Tensor) -> bool:
    zero, one = factor == 0, factor == 1
    return bool((zero | one).all() & zero.any() & one.any())


def inspect(
    output: Tensor | Sequence[Tensor], to: Tensor | None = None
) -> tuple[list[Node], Counter[str], Counter[str]]:
    """The rectifiers between ``output`` and ``to``, other nonlinearities by name, opaque nodes by name."""
    found = nodes(output, to)
    rectifiers = [n for n in found if is_rectifier(n)]
    plain = Counter(_MASKED if _is_masked(n) else operation(n) for n in found if is_nonlinear(n))
    return rectifiers, plain, Counter(operation(n) for n in found if is_opaque(n))


@contextmanager
def backward_rule(
    output: Tensor | Sequence[Tensor], rule: Rule, *, to: Tensor | None = None, partial: bool = False
) -> Generator[Rectifiers]:
    """Within the block, every rectifier between ``output`` and ``to`` sends back ``rule(grad_in, grad_out)``.

    ``grad_out`` arrives from above, ``grad_in`` is what the rectifier itself would send down; all have the
    rectifier's shape. The network is not touched: the rule lives in the graph of this one pass.

    Args:
        output: any tensor of the pass, a score or a layer's output; or several.
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
            "an in-place change of a view, a compiled or TorchScript part, a custom autograd.Function makes such a node"
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
    with _hooked(rectifiers, rule):
        yield Rectifiers(len(rectifiers), tuple(sorted(plain)))


@contextmanager
def unshut(output: Tensor | Sequence[Tensor], *, to: Tensor | None = None) -> Generator[int]:
    """Within the block, the rectifiers that are seen between ``output`` and ``to`` follow ``let_through``.

    A help for ascent to leave a start without a gradient, no explanation: nothing is refused, and what cannot be
    seen into stays as it is. Yields the count of rectifiers.

    Raises:
        ConvscopeError: as ``nodes``.
    """
    rectifiers = [node for node in nodes(output, to) if is_rectifier(node)]
    with _hooked(rectifiers, let_through):
        yield len(rectifiers)


@contextmanager
def _hooked(rectifiers: Sequence[Node], rule: Rule) -> Generator[None]:
    with ExitStack() as undo:
        for node in rectifiers:
            undo.callback(node.register_hook(_hook(rule)).remove)
        yield


def _hook(rule: Rule) -> Callable[..., Any]:
    def send_back(grads_in: tuple[Tensor | None, ...], grads_out: tuple[Tensor | None, ...]) -> Any:
        if grads_in[0] is None or grads_out[0] is None:  # nothing arrives, or nobody below asks
            return grads_in
        return (rule(grads_in[0], grads_out[0]), *grads_in[1:])

    return send_back


def _listed(names: Counter[str]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in sorted(names.items()))
