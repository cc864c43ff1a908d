"""What torch's recorded graph remembers of each operation, read in one place.

Claim: every node of the autograd graph keeps the numbers that its backward pass needs (a convolution its stride,
a slice its start, a clamp its bounds), and those are enough to know what the operation was without looking at the
modules that called it. They are private attributes, ``node._saved_stride``, so a release of torch may rename them:
all of them are read here and nowhere else, and ``tests/network/test_saved_fields.py`` reads each one on today's
torch, so that a renamed field fails there with its name.

Pitfalls: signed integers come out as unsigned 64-bit numbers (a start of -3 arrives as 18446744073709551613);
a pooling with no stride of its own saves an empty tuple; saved *tensors* are gone once a backward pass has freed
the graph, and then the reader says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.graph import Node

from convscope.errors import ConvscopeError


@dataclass(frozen=True)
class Convolution:
    """Geometry of a convolution, one number per spatial axis (y, x for images)."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]


@dataclass(frozen=True)
class Pooling:
    """Geometry of a max or average pooling, one number per spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


@dataclass(frozen=True)
class Slice:
    """``x[..., start:end:step]`` along ``dim``; ``start`` may be negative or past the end, as it was written."""

    dim: int
    start: int
    end: int
    step: int


@dataclass(frozen=True)
class Resize:
    """An interpolation: ``scales`` holds the factor asked for on each spatial axis, None where a size was given."""

    align_corners: bool
    scales: tuple[float | None, ...]


def operation(node: Node) -> str:
    """``"Convolution"`` for ``ConvolutionBackward0``, ``"CopySlices"`` for ``torch::autograd::CopySlices``."""
    return node.name().rsplit("::", 1)[-1].rstrip("0123456789").removesuffix("Backward")


def field(node: Node, name: str) -> Any:
    """``node._saved_NAME`` as it is. Raises ConvscopeError where torch has no such field, or has freed it."""
    try:
        return getattr(node, f"_saved_{name}")
    except AttributeError:
        saved = [key.removeprefix("_saved_") for key in dir(node) if key.startswith("_saved_")]
        raise ConvscopeError(
            f"torch {torch.__version__} keeps no field {name!r} in {node.name()}; it keeps {saved}"
        ) from None
    except RuntimeError as freed:
        raise ConvscopeError(f"cannot read {name!r} of {node.name()}: {freed}") from freed


def signed(number: int) -> int:
    """The number that was meant by an unsigned 64-bit one: 18446744073709551613 is -3."""
    return number - 2**64 if number >= 2**63 else number


def integers(node: Node, name: str) -> tuple[int, ...]:
    """A saved integer, or list of them, signed again. A single integer gives a tuple of one, None an empty one."""
    value: int | Sequence[int] | None = field(node, name)
    if value is None:
        return ()
    return (signed(value),) if isinstance(value, int) else tuple(signed(number) for number in value)


def integer(node: Node, name: str) -> int:
    """One saved integer, signed again."""
    return signed(field(node, name))


def shapes(node: Node) -> list[tuple[int, ...]]:
    """The shape of each output that the operation gave in the forward pass."""
    return [tuple(int(size) for size in output.shape) for output in _outputs(node)]


def blank(node: Node, output: int) -> torch.Tensor:
    """Zeros like the operation's ``output``-th output: same shape, dtype and device."""
    like = _outputs(node)[output]
    return torch.zeros(tuple(like.shape), dtype=like.dtype, device=like.device)


def _outputs(node: Node) -> Sequence[Any]:
    try:
        return getattr(node, "_input_metadata")  # noqa: B009 (private to torch: a plain access fails type checks)
    except AttributeError:
        raise ConvscopeError(f"torch {torch.__version__} keeps no '_input_metadata' in {node.name()}") from None


def convolution(node: Node) -> Convolution:
    """Geometry of a ``ConvolutionBackward0``, transposed or not."""
    return Convolution(
        kernel=_weight_shape(node)[2:],
        stride=integers(node, "stride"),
        padding=integers(node, "padding"),
        dilation=integers(node, "dilation"),
        transposed=bool(field(node, "transposed")),
        output_padding=integers(node, "output_padding"),
    )


def _weight_shape(node: Node) -> tuple[int, ...]:
    # a saved tensor is read only where no gradient flows to the weights: reading runs a checkpointed block again
    source, output = node.next_functions[1]
    return tuple(field(node, "weight").shape) if source is None else shapes(source)[output]


def pooling(node: Node) -> Pooling:
    """Geometry of a ``MaxPool2DWithIndicesBackward0``, ``AvgPool2DBackward0`` or their 3-D kin."""
    kernel = integers(node, "kernel_size")
    # an average pooling has no dilation; a stride that was not given is the kernel
    dilation = integers(node, "dilation") if hasattr(node, "_saved_dilation") else (1,) * len(kernel)
    return Pooling(kernel, integers(node, "stride") or kernel, integers(node, "padding"), dilation)


def slice_of(node: Node) -> Slice:
    """Dimension, start, end and step of a ``SliceBackward0``, signed as they were written."""
    return Slice(*(integer(node, name) for name in ("dim", "start", "end", "step")))


def resize(node: Node) -> Resize:
    """What an ``Upsample...Backward0`` was asked for. Nearest neighbours have no corners to align."""
    names = [name for name in ("scales", "scales_d", "scales_h", "scales_w") if hasattr(node, f"_saved_{name}")]
    if not names:
        field(node, "scales_h")  # raises, naming the field
    corners = bool(field(node, "align_corners")) if hasattr(node, "_saved_align_corners") else False
    return Resize(corners, tuple(field(node, name) for name in names))


def hardtanh_bounds(node: Node) -> tuple[float, float]:
    """Lower and upper bound of a ``HardtanhBackward0``; a ReLU6 has (0, 6)."""
    return float(field(node, "min_val")), float(field(node, "max_val"))


def clamp_bounds(node: Node) -> tuple[Any, Any]:
    """Lower and upper bound of a ``ClampBackward0/1``, ``ClampMinBackward`` or ``ClampMaxBackward``.

    Each is a number, a tensor (bounds may differ from unit to unit) or None where that side is open.
    """
    kind = operation(node)
    low = None if kind == "ClampMax" else field(node, "min")
    high = None if kind == "ClampMin" else field(node, "max")
    return low, high


def threshold(node: Node) -> float:
    """Threshold of a ``ThresholdBackward0``: smaller inputs were replaced, and have no gradient."""
    return float(field(node, "threshold"))
