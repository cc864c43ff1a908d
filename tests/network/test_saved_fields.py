"""The canary: today's torch still records what ``saved_fields`` reads, under the names that it reads.

Oracle: the arguments of the call that was recorded. A release of torch that renames a field fails here, and the
message names the field and the node.
"""

import pytest
import torch
import torch.nn.functional as F

from convscope.errors import ConvscopeError
from convscope.network import saved_fields
from convscope.network.saved_fields import Convolution, Pooling, Resize, Slice
from tests import nets

X = nets.images(1, 4, 8, 8).requires_grad_()
W = torch.ones(4, 4, 3, 2, dtype=torch.float64)
ONES = torch.ones(4, dtype=torch.float64)


def fields(*names: str):
    """Integers by name, as the rules of the receptive fields read them."""
    return lambda node: tuple(saved_fields.integers(node, name) for name in names)


CALLS = {
    "convolution": (
        lambda: F.conv2d(X, W, None, (2, 1), (1, 0), (1, 3)),
        "ConvolutionBackward0",
        saved_fields.convolution,
        Convolution((3, 2), (2, 1), (1, 0), (1, 3), False, (0, 0)),
    ),
    "convolution with trained weights": (
        lambda: F.conv2d(X, W.clone().requires_grad_()),
        "ConvolutionBackward0",
        saved_fields.convolution,
        Convolution((3, 2), (1, 1), (0, 0), (1, 1), False, (0, 0)),
    ),
    "transposed convolution": (
        lambda: F.conv_transpose2d(X, W, None, 2, 1, 1),
        "ConvolutionBackward0",
        saved_fields.convolution,
        Convolution((3, 2), (2, 2), (1, 1), (1, 1), True, (1, 1)),
    ),
    "maximum": (
        lambda: F.max_pool2d(X, (3, 2), 2, (1, 0), 2),
        "MaxPool2DWithIndicesBackward0",
        saved_fields.pooling,
        Pooling((3, 2), (2, 2), (1, 0), (2, 2)),
    ),
    "maximum, its own stride": (
        lambda: F.max_pool2d(X, (3, 2)),
        "MaxPool2DWithIndicesBackward0",
        saved_fields.pooling,
        Pooling((3, 2), (3, 2), (0, 0), (1, 1)),
    ),
    "mean": (
        lambda: F.avg_pool2d(X, 3, (1, 2), 1),
        "AvgPool2DBackward0",
        saved_fields.pooling,
        Pooling((3, 3), (1, 2), (1, 1), (1, 1)),
    ),
    "slice": (lambda: X[:, :, -3::2], "SliceBackward0", saved_fields.slice_of, Slice(2, -3, 2**63 - 1, 2)),
    "slice to the end but one": (lambda: X[..., 1:-1], "SliceBackward0", saved_fields.slice_of, Slice(3, 1, -1, 1)),
    "bilinear": (
        lambda: F.interpolate(X, scale_factor=(2, 3), mode="bilinear"),
        "UpsampleBilinear2DBackward0",
        saved_fields.resize,
        Resize(False, (2.0, 3.0)),
    ),
    "bicubic, aligned corners": (
        lambda: F.interpolate(X, (9, 9), mode="bicubic", align_corners=True),
        "UpsampleBicubic2DBackward0",
        saved_fields.resize,
        Resize(True, (None, None)),
    ),
    "nearest": (
        lambda: F.interpolate(X, scale_factor=2),
        "UpsampleNearest2DBackward0",
        saved_fields.resize,
        Resize(False, (2.0, 2.0)),
    ),
    "linear in one dimension": (
        lambda: F.interpolate(X[0], scale_factor=2, mode="linear"),
        "UpsampleLinear1DBackward0",
        saved_fields.resize,
        Resize(False, (2.0,)),
    ),
    "relu6": (lambda: F.relu6(X), "HardtanhBackward0", saved_fields.hardtanh_bounds, (0.0, 6.0)),
    "hardtanh": (lambda: F.hardtanh(X, -2, 0.5), "HardtanhBackward0", saved_fields.hardtanh_bounds, (-2.0, 0.5)),
    "clamp": (lambda: X.clamp(-1, 2), "ClampBackward1", saved_fields.clamp_bounds, (-1, 2)),
    "clamp below": (lambda: X.clamp(min=0), "ClampBackward1", saved_fields.clamp_bounds, (0, None)),
    "clamp by tensors": (
        lambda: X.clamp(max=torch.tensor(2.0, dtype=torch.float64)),
        "ClampBackward0",
        saved_fields.clamp_bounds,
        (None, torch.tensor(2.0)),
    ),
    "clamp_min": (lambda: X.clamp_min(0.5), "ClampMinBackward0", saved_fields.clamp_bounds, (0.5, None)),
    "clamp_max": (lambda: X.clamp_max(6), "ClampMaxBackward0", saved_fields.clamp_bounds, (None, 6)),
    "threshold": (lambda: F.threshold(X, 0.1, 20.0), "ThresholdBackward0", saved_fields.threshold, 0.1),
    "constant padding": (lambda: F.pad(X, (-1, 2, 0, -3)), "ConstantPadNdBackward0", fields("pad"), ((-1, 2, 0, -3),)),
    "mirror": (
        lambda: F.pad(X, (1, 2, 3, 0), mode="reflect"),
        "ReflectionPad2DBackward0",
        fields("padding"),
        ((1, 2, 3, 0),),
    ),
    "edge": (
        lambda: F.pad(X, (1, 2, 3, 0), mode="replicate"),
        "ReplicationPad2DBackward0",
        fields("padding"),
        ((1, 2, 3, 0),),
    ),
    "select": (lambda: X[:, -2], "SelectBackward0", fields("dim", "index"), ((1,), (-2,))),
    "unbind": (lambda: X.unbind(-1)[0], "UnbindBackward0", fields("dim"), ((-1,),)),
    "split": (lambda: X.split(3, 2)[1], "SplitBackward0", fields("dim"), ((2,),)),
    "split with sizes": (lambda: X.split([3, 5], 2)[1], "SplitWithSizesBackward0", fields("dim"), ((2,),)),
    "cat": (lambda: torch.cat([X, X], -3), "CatBackward0", fields("dim"), ((-3,),)),
    "stack": (lambda: torch.stack([X, X], 1), "StackBackward0", fields("dim"), ((1,),)),
    "permute": (lambda: X.permute(0, 2, -1, 1), "PermuteBackward0", fields("dims"), ((0, 2, -1, 1),)),
    "transpose": (lambda: X.transpose(-1, 1), "TransposeBackward0", fields("dim0", "dim1"), ((-1,), (1,))),
    "mean over dims": (lambda: X.mean((2, -1)), "MeanBackward1", fields("dim"), ((2, -1),)),
    "sum over a dim": (lambda: X.sum(1), "SumBackward1", fields("dim"), ((1,),)),
    "maximum over a dim": (lambda: X.max(1)[0], "MaxBackward0", fields("dim"), ((1,),)),
    "largest over dims": (lambda: X.amax((2, 3)), "AmaxBackward0", fields("dim"), ((2, 3),)),
    "norm over everything": (lambda: torch.linalg.vector_norm(X), "LinalgVectorNormBackward0", fields("dim"), ((),)),
    "deviation": (lambda: X.std(1), "StdBackward0", fields("dim"), ((1,),)),
    "softmax": (lambda: X.softmax(-1), "SoftmaxBackward0", fields("dim"), ((-1,),)),
    "log softmax": (lambda: X.log_softmax(1), "LogSoftmaxBackward0", fields("dim"), ((1,),)),
    "layer norm": (
        lambda: F.layer_norm(X, (8, 8)),
        "NativeLayerNormBackward0",
        fields("normalized_shape"),
        ((8, 8),),
    ),
    "batch norm": (
        lambda: F.batch_norm(X, ONES, ONES),
        "NativeBatchNormBackward0",
        lambda node: saved_fields.field(node, "training"),
        False,
    ),
    "batch norm in training": (
        lambda: F.batch_norm(X, None, None, training=True),
        "NativeBatchNormBackward0",
        lambda node: saved_fields.field(node, "training"),
        True,
    ),
    "shapes of all outputs": (
        lambda: X.split(3, 2)[1],
        "SplitBackward0",
        saved_fields.shapes,
        [(1, 4, 3, 8)] * 2 + [(1, 4, 2, 8)],
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_recorded_numbers_are_those_of_the_call(call):
    record, name, read, expected = CALLS[call]
    node = record().grad_fn
    assert node.name() == name
    assert read(node) == expected


def test_blank_is_an_output_of_zeros():
    node = X.float().grad_fn
    blank = saved_fields.blank(node, 0)
    assert (blank.shape, blank.dtype, blank.any().item()) == ((1, 4, 8, 8), torch.float32, False)


def test_operations_have_short_names():
    written = X.clone()
    written[:, :2] = 0
    assert saved_fields.operation(written.grad_fn) == "CopySlices"
    assert saved_fields.operation(X.clone().grad_fn) == "Clone"
    assert saved_fields.operation(F.avg_pool2d(X, 2).grad_fn) == "AvgPool2D"


def test_unsigned_numbers_get_their_sign_back():
    """Oracle: two's complement; 2**63 - 1 is torch's word for "to the end"."""
    assert [saved_fields.signed(n) for n in (0, 3, 2**63 - 1, 2**63, 2**64 - 1)] == [0, 3, 2**63 - 1, -(2**63), -1]


def test_a_renamed_field_is_named():
    node = F.relu6(X).grad_fn
    with pytest.raises(ConvscopeError, match=r"no field 'lower' in HardtanhBackward0; it keeps \['max_val', 'min_val"):
        saved_fields.field(node, "lower")
    with pytest.raises(ConvscopeError, match="keeps no field 'scales_h' in HardtanhBackward0"):
        saved_fields.resize(node)


def test_a_freed_graph_is_named():
    x = X.detach().requires_grad_()
    y = F.conv2d(x, W)
    torch.autograd.grad(y.sum(), x)
    with pytest.raises(ConvscopeError, match=r"cannot read 'weight' of ConvolutionBackward0: .* already been freed"):
        saved_fields.convolution(y.grad_fn)
