"""What each operation of the recorded graph does to a window: one rule for each kind of node.

Claim: the name of a node and the numbers it saved tell which inputs a unit reads, along each axis of the image
apart. For a unit i of a map of n' rows above one of n rows:

    convolution, pooling     s i - p + d t,  t < k
    transposed convolution   (i + p - d t) / s  where that is a whole number
    slice, zero padding      step i + start,  i - before

Batch norms in evaluation mode, activations, sums, products and concatenation of channels keep the position; global
pooling, statistics over the map (batch norm in training, group and instance norm) and attention over positions read
everything. A name that is not listed is measured, never guessed (``measured_windows.py``).

Pitfall: ``ceil_mode``, odd sizes and output padding need no rule of their own, since the numbers of units and
inputs come from the maps as they were.
"""

from collections.abc import Callable
from itertools import accumulate

import numpy as np

from convscope.network import saved_fields
from convscope.network.image_axes import (
    LOST,
    Edge,
    Place,
    Step,
    blended,
    counted_from_right,
    kept,
    resized,
    viewed,
    with_dimension,
    without_dimension,
)
from convscope.network.measured_windows import measure, pointwise
from convscope.network.resizing_windows import adaptive_pooling, upsampling_linear, upsampling_nearest
from convscope.network.window_algebra import Reach

Rule = Callable[[Edge, Place], Step]


def step(edge: Edge, place: Place) -> Step:
    """One axis through one operation: by its rule, else measured.

    Raises ConvscopeError where the graph was freed, or hides what is inside and may not be called.
    """
    return RULES.get(saved_fields.operation(edge.node), measure)(edge, place)


def convolution(edge: Edge, place: Place) -> Step:
    """Kernel positions in the map; every channel; nothing of the rest of the batch."""
    geometry = saved_fields.convolution(edge.node)
    axis = place.dim + len(geometry.kernel)
    if edge.index or axis == -1:  # the filters depend on the image, or the axis is among the channels
        return LOST
    if axis < 0:
        return kept(place)
    kernel, stride, padding, dilation = (
        numbers[axis] for numbers in (geometry.kernel, geometry.stride, geometry.padding, geometry.dilation)
    )
    if not geometry.transposed:
        return resized(edge, place, Reach((_taps(kernel, padding, dilation),), stride))
    # output phase + stride * i reads input i + k / stride, for the kernel positions where k is divisible
    offsets = [[phase + tap for tap in _taps(kernel, -padding, -dilation)] for phase in range(stride)]
    return resized(edge, place, Reach(tuple(tuple(k // stride for k in row if k % stride == 0) for row in offsets)))


def pooling(edge: Edge, place: Place) -> Step:
    """Maximum or mean over a window: each channel and image by itself."""
    geometry = saved_fields.pooling(edge.node)
    axis = place.dim + len(geometry.kernel)
    if axis < 0:
        return pointwise(edge, place)
    taps = _taps(geometry.kernel[axis], geometry.padding[axis], geometry.dilation[axis])
    return resized(edge, place, Reach((taps,), geometry.stride[axis]))


def zero_padding(edge: Edge, place: Place) -> Step:
    """Rows of a constant before and after; a negative amount cuts rows away."""
    before = _padded_before(saved_fields.integers(edge.node, "pad"), place)
    return resized(edge, place, Reach(((-before,),)))


def border_padding(edge: Edge, place: Place) -> Step:
    """Rows before and after that repeat the map's own: mirrored, or the last one again."""
    before, inputs = _padded_before(saved_fields.integers(edge.node, "padding"), place), edge.inputs[place.dim]
    read = np.arange(edge.shape[place.dim]) - before
    if saved_fields.operation(edge.node).startswith("Reflection"):
        read = np.where(read < 0, -read, np.where(read >= inputs, 2 * (inputs - 1) - read, read))
    return resized(edge, place, Reach(((-before,),), table=read.clip(0, inputs - 1)[:, None]))


def slicing(edge: Edge, place: Place) -> Step:
    """``x[:, :, start::step]``."""
    cut = saved_fields.slice_of(edge.node)
    if counted_from_right(cut.dim, edge.inputs) != place.dim:
        return pointwise(edge, place)
    start = min(max(cut.start + place.size if cut.start < 0 else cut.start, 0), place.size)
    return resized(edge, place, Reach(((start,),), cut.step))


def splitting(edge: Edge, place: Place) -> Step:
    """``split``, ``chunk``: output k starts where the ones before it end."""
    if counted_from_right(saved_fields.integer(edge.node, "dim"), edge.inputs) != place.dim:
        return pointwise(edge, place)
    starts = [0, *accumulate(shape[place.dim] for shape in saved_fields.shapes(edge.node))]
    return resized(edge, place, Reach(((starts[edge.output],),)))


def selecting(edge: Edge, place: Place) -> Step:
    """``x[:, k]`` and ``unbind``: a dimension is gone, and of an axis in it one row is left."""
    dim = counted_from_right(saved_fields.integer(edge.node, "dim"), edge.inputs)
    if dim != place.dim:
        return kept(without_dimension(place, dim))
    unbound = saved_fields.operation(edge.node) == "Unbind"
    index = edge.output if unbound else saved_fields.integer(edge.node, "index")
    return Step(None, Reach(None, table=np.array([[index % place.size]]))) if place.fills(edge.inputs) else LOST


def joining(edge: Edge, place: Place) -> Step:
    """``cat``: of channels it keeps the position; of rows, which part a unit lies in is measured."""
    along = counted_from_right(saved_fields.integer(edge.node, "dim"), edge.inputs)
    return measure(edge, place) if along == place.dim else pointwise(edge, place)


def stacking(edge: Edge, place: Place) -> Step:
    """``stack``: a dimension more."""
    return kept(with_dimension(place, counted_from_right(saved_fields.integer(edge.node, "dim"), edge.shape)))


def viewing(edge: Edge, place: Place) -> Step:
    """Views, reshapes, flatten, squeeze: the same elements in the same order."""
    after = viewed(place, edge.inputs, edge.shape)
    return LOST if after is None else kept(after)


def permuting(edge: Edge, place: Place) -> Step:
    """``permute``: output dimension k is input dimension ``dims[k]``."""
    dims = [counted_from_right(dim, edge.inputs) for dim in saved_fields.integers(edge.node, "dims")]
    return kept(place.moved(dims.index(place.dim) - len(dims)))


def transposing(edge: Edge, place: Place) -> Step:
    """Two dimensions change places; ``x.T`` names none."""
    names = () if saved_fields.operation(edge.node) == "T" else ("dim0", "dim1")
    pair = [counted_from_right(saved_fields.integer(edge.node, name), edge.inputs) for name in names] or [-2, -1]
    return kept(place.moved(pair[1 - pair.index(place.dim)])) if place.dim in pair else kept(place)


def reducing(edge: Edge, place: Place) -> Step:
    """Sums, means, maxima, norms over dimensions: an axis among them is lost, the others close up."""
    if not edge.shape:
        return LOST
    dims = {counted_from_right(dim, edge.inputs) for dim in saved_fields.integers(edge.node, "dim")}
    if place.dim in dims or not dims:
        return LOST
    closed = 0 if len(edge.shape) == len(edge.inputs) else sum(dim > place.dim for dim in dims)
    return kept(place.moved(place.dim + closed))


def softmax(edge: Edge, place: Place) -> Step:
    """Normalised along one dimension, every unit of which reads all of it."""
    along = counted_from_right(saved_fields.integer(edge.node, "dim"), edge.inputs)
    return blended(place) if along == place.dim else pointwise(edge, place)


def batch_norm(edge: Edge, place: Place) -> Step:
    """Local in evaluation mode; in training its statistics read the whole map (and the batch)."""
    if edge.index:
        return LOST
    return blended(place) if saved_fields.field(edge.node, "training") else kept(place)


def layer_norm(edge: Edge, place: Place) -> Step:
    """Statistics over the last dimensions."""
    if edge.index:
        return LOST
    return blended(place) if -place.dim <= len(saved_fields.integers(edge.node, "normalized_shape")) else kept(place)


def group_norm(edge: Edge, place: Place) -> Step:
    """Statistics over everything but the batch."""
    if edge.index:
        return LOST
    return kept(place) if place.dim == -len(edge.inputs) else blended(place)


def matrix_product(edge: Edge, place: Place) -> Step:
    """A @ B, + C: rows of A and columns of B keep their position, the dimension summed over is lost."""
    factor = edge.index - (saved_fields.operation(edge.node) in ("Addmm", "Baddbmm"))
    if factor < 0:
        return pointwise(edge, place)
    return LOST if place.dim == (-1, -2)[factor] else kept(place)


def _taps(kernel: int, padding: int, dilation: int) -> tuple[int, ...]:
    return tuple(dilation * t - padding for t in range(kernel))


def _padded_before(pads: tuple[int, ...], place: Place) -> int:
    # torch lists (before, after) from the last dimension on
    pair = -2 * (place.dim + 1)
    return pads[pair] if pair < len(pads) else 0


# names as saved_fields.operation gives them; those of operations on CUDA and CPU that differ, side by side
_POINTWISE = """
    Abs Add Addcdiv Addcmul Alias Atan Atan2 BackwardHookFunction Celu ChannelShuffle Clamp ClampMax ClampMin Clone Cos
    Div Elu Erf Exp Expand Expm1 FusedDropout Gelu Glu Hardshrink Hardsigmoid Hardswish Hardtanh LeakyRelu Lerp Log
    Log1P Log2 LogSigmoid MaskedFill Maximum Minimum Mish Mul NanToNum NativeDropout Neg Pow PreluKernel Reciprocal
    Relu RreluWithNoise Rsqrt Rsub Sigmoid Silu Sin Softplus Softshrink Sqrt Sub Tan Tanh Threshold ToCopy Where
"""
_REDUCTIONS = """
    Amax Amin LinalgVectorNorm Logsumexp Max Mean Median Min Nanmean Nansum Norm Prod Std StdMean Sum Var VarMean
"""
_FAMILIES: dict[Rule, str] = {
    pointwise: _POINTWISE,
    convolution: "Convolution",
    pooling: "MaxPool2DWithIndices MaxPool3DWithIndices AvgPool2D AvgPool3D",
    adaptive_pooling: "AdaptiveAvgPool2D AdaptiveAvgPool3D AdaptiveMaxPool2D AdaptiveMaxPool3D",
    zero_padding: "ConstantPadNd",
    border_padding: "ReflectionPad1D ReflectionPad2D ReplicationPad1D ReplicationPad2D",
    upsampling_linear: "UpsampleLinear1D UpsampleBilinear2D UpsampleTrilinear3D UpsampleBicubic2D",
    upsampling_nearest: "UpsampleNearest1D UpsampleNearest2D UpsampleNearest3D "
    "UpsampleNearestExact1D UpsampleNearestExact2D UpsampleNearestExact3D",
    slicing: "Slice",
    splitting: "Split SplitWithSizes",
    selecting: "Select Unbind",
    joining: "Cat",
    stacking: "Stack",
    viewing: "View UnsafeView ReshapeAlias Squeeze Unsqueeze",
    permuting: "Permute",
    transposing: "Transpose T",
    reducing: _REDUCTIONS,
    softmax: "Softmax LogSoftmax",
    batch_norm: "NativeBatchNorm CudnnBatchNorm MiopenBatchNorm",
    layer_norm: "NativeLayerNorm FusedRmsNorm",
    group_norm: "NativeGroupNorm",
    matrix_product: "Mm Bmm Addmm Baddbmm",
}
RULES: dict[str, Rule] = {name: rule for rule, names in _FAMILIES.items() for name in names.split()}
