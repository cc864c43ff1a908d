"""Receptive fields against what they claim: which pixels reach a unit at all.

Oracles: the NaN probe (``nan_probe.py``) for random stacks, boxes and sizes alike; and the closed form
r += d (k - 1) j for plain stacks. Published networks: ``test_published_windows.py``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from convscope.errors import ConvscopeError
from convscope.network.receptive_fields import (
    Box,
    ReceptiveField,
    receptive_box,
    receptive_boxes,
    receptive_field,
    receptive_fields,
)
from tests import nets
from tests.network.nan_probe import activations, nan_boxes, sees_exactly

# ---- random stacks -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Op:
    """One operation on (b, 2, h, w), written as people write it; no weight is zero."""

    text: str
    call: Callable[[Tensor], Tensor] = field(compare=False)

    def __repr__(self) -> str:
        return self.text


def filters(kernel, outputs=2) -> Tensor:
    size = (outputs, 2, *kernel)
    return torch.linspace(0.1, 0.3, math.prod(size), dtype=torch.float64).view(size)


def conv(k, s=(1, 1), p=(0, 0), d=(1, 1)) -> Op:
    return Op(f"conv({k=}, {s=}, {p=}, {d=})", lambda x: F.conv2d(x, filters(k), None, s, p, d))


def pool(kind, k, s, p, ceil) -> Op:
    function = F.max_pool2d if kind == "max" else F.avg_pool2d
    return Op(f"{kind}_pool({k=}, {s=}, {p=}, {ceil=})", lambda x: function(x, k, s, p, ceil_mode=ceil))


def pad(amounts, mode) -> Op:
    return Op(f"pad({amounts}, {mode!r})", lambda x: F.pad(x, amounts, mode=mode))


def cut(y, x, step) -> Op:
    return Op(f"[:, :, {y}::{step}, {x}::{step}]", lambda t: t[:, :, y::step, x::step])


def residual(d) -> Op:
    return Op(f"x + conv(3, {d=})", lambda x: x + F.conv2d(x, filters((3, 3)), None, 1, d, d))


SHORTCUT = Op(  # the parameter-free shortcut of the CIFAR ResNet
    "x[:, :, ::2, ::2] + conv(3, s=2, p=1)", lambda x: x[:, :, ::2, ::2] + F.conv2d(x, filters((3, 3)), None, 2, 1)
)
CONCATENATION = Op(
    "cat(conv(1), conv(5, p=2))",
    lambda x: torch.cat([F.conv2d(x, filters((1, 1), 1)), F.conv2d(x, filters((5, 5), 1), padding=2)], 1),
)
# in one branch the border units see no pixel at all, along one axis or both, and in the other they do
BLIND_BORDER = Op(
    "pad(x, replicate) + conv(1, p=1)",
    lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate") + F.conv2d(x, filters((1, 1)), padding=1),
)
FIXED = [SHORTCUT, CONCATENATION, BLIND_BORDER, Op("relu", lambda x: x.relu())]

one_to_three, up_to_two = st.integers(1, 3), st.integers(0, 2)
operations = st.one_of(
    st.builds(
        conv,
        k=st.tuples(st.integers(1, 4), st.integers(1, 4)),
        s=st.tuples(one_to_three, one_to_three),
        p=st.tuples(up_to_two, up_to_two),
        d=st.tuples(one_to_three, one_to_three),
    ),
    one_to_three.flatmap(
        lambda k: st.builds(
            pool, st.sampled_from(["max", "avg"]), st.just(k), one_to_three, st.integers(0, k // 2), st.booleans()
        )
    ),
    st.builds(pad, st.tuples(*[st.integers(-1, 2)] * 4), st.just("constant")),
    st.builds(pad, st.tuples(*[up_to_two] * 4), st.sampled_from(["reflect", "replicate"])),
    st.builds(cut, up_to_two, up_to_two, one_to_three),
    st.builds(residual, one_to_three),
    st.sampled_from(FIXED),
)


def run(stack: list[Op], x: Tensor) -> Tensor:
    for op in stack:
        try:
            x = op.call(x)
        except RuntimeError:
            assume(False)  # the map became too small for this operation
        assume(min(x.shape[-2:]) > 0)
    return x


def recorded(stack: list[Op], h: int, w: int) -> tuple[Tensor, Tensor]:
    image = torch.ones(1, 2, h, w, dtype=torch.float64, requires_grad=True)
    return run(stack, image), image


@settings(max_examples=150)
@given(stack=st.lists(operations, min_size=1, max_size=5), h=st.integers(4, 13), w=st.integers(4, 13))
@example(stack=[conv((3, 3), p=(2, 2), d=(2, 2))], h=7, w=8)  # unit 1 reads -1, 1, 3: an interval would start at 0
@example(stack=[BLIND_BORDER, conv((3, 3), p=(1, 1))], h=5, w=6)
@example(stack=[pool("max", 3, 2, 0, True), pool("avg", 3, 2, 1, True)], h=10, w=11)
@example(stack=[pad((2, 2, 2, 2), "reflect"), cut(0, 0, 3)], h=6, w=6)
@example(stack=[pad((-1, 1, 2, -2), "constant"), residual(2), cut(1, 2, 2)], h=9, w=9)
def test_boxes_equal_the_nan_probe_at_every_position(stack, h, w):
    activation, image = recorded(stack, h, w)
    expected = nan_boxes(lambda x: run(stack, x), (2, h, w))
    assert np.array_equal(receptive_boxes(activation, image), expected)
    assert receptive_box(activation, image, activation.shape[2] - 1, 0) == tuple(expected[-1, 0])


@settings(max_examples=60)
@given(stack=st.lists(operations, min_size=1, max_size=4), h=st.sampled_from([130, 131]))
@example(stack=[SHORTCUT, SHORTCUT, CONCATENATION], h=130)
def test_sizes_equal_the_nan_probe_in_the_middle_of_a_large_image(stack, h):
    activation, image = recorded(stack, h, 133)
    found = receptive_field(activation, image)
    assert found is not None
    assume(max(found.size) <= 60 and min(activation.shape[-2:]) >= 8)
    middle = activation.shape[-2] // 2, activation.shape[-1] // 2
    for y, x in (middle, (middle[0] + 1, middle[1] - 1)):
        y0, x0 = (found.offset[axis] + found.stride[axis] * unit for axis, unit in enumerate((y, x)))
        box = Box(y0, x0, y0 + found.size[0], x0 + found.size[1])
        assert sees_exactly(lambda images: run(stack, images), (2, h, 133), box, y, x)


@settings(max_examples=40)
@given(stack=st.lists(operations, min_size=1, max_size=5), h=st.integers(6, 30), w=st.integers(6, 30))
def test_the_size_does_not_depend_on_the_image(stack, h, w):
    """Oracle: invariance. A field larger than the image has the size that it has on a larger one."""
    small, large = recorded(stack, h, w), recorded(stack, h + 41, w + 58)
    assert receptive_field(*small) == receptive_field(*large)


@given(
    layers=st.lists(st.tuples(st.integers(1, 7), one_to_three, up_to_two, one_to_three), min_size=1, max_size=6),
)
def test_plain_stacks_follow_the_closed_form(layers):
    """r += d (k - 1) j, j *= s, first -= p j (Araujo, Norris & Sim, Distill 2019)."""
    size, stride, first = 1, 1, 0
    for k, s, p, d in layers:
        size, first, stride = size + d * (k - 1) * stride, first - p * stride, stride * s
    ops = [conv((k, k), (s, s), (p, p), (d, d)) for k, s, p, d in layers]
    side = max(64, min(900, 2 * size))
    activation, image = recorded(ops, side, side)
    assert receptive_field(activation, image) == ReceptiveField((size, size), (stride, stride), (first, first))


# ---- the calls -----------------------------------------------------------------------------------------------


def picture(h: int = 9, w: int = 7) -> Tensor:
    return nets.images(1, 2, h, w).requires_grad_()


def test_the_image_sees_itself_and_a_tensor_before_a_leaf_counts_as_image():
    image = picture()
    assert receptive_field(image, image) == ReceptiveField((1, 1), (1, 1), (0, 0))
    scaled = image * 2
    assert receptive_box(F.conv2d(scaled, filters((3, 3))), scaled, 2, 1) == (2, 1, 5, 4)


def test_one_walk_gives_what_single_calls_give():
    """Oracle: the single calls; a vector and a tensor that is not computed from the image have no field."""
    image = picture()
    first = F.conv2d(image, filters((3, 3)), stride=2)
    second = F.max_pool2d(first.relu(), 2, 1)
    found = receptive_fields(
        {"first": first, "second": second, "logits": second.mean((2, 3)), "weight": torch.ones(2, requires_grad=True)},
        image,
    )
    assert found == {
        "first": ReceptiveField((3, 3), (2, 2), (0, 0)),
        "second": receptive_field(second, image),
        "logits": None,
        "weight": None,
    }
    assert found["second"] == ReceptiveField((5, 5), (2, 2), (0, 0))


def test_an_edge_stands_for_an_activation_that_was_written_later():
    """Oracle: the closed form of the layer by itself."""
    image = picture()
    activation = F.conv2d(image, filters((1, 1)))
    edge = get_gradient_edge(activation)
    activation += F.conv2d(image, filters((3, 3)), padding=1)
    found = receptive_fields({"before": edge, "after": activation}, image)
    assert found["before"] == ReceptiveField((1, 1), (1, 1), (0, 0))
    assert found["after"] == ReceptiveField((3, 3), (1, 1), (-1, -1))


def test_a_vector_has_one_position_and_sees_what_was_read():
    image = picture()
    read = F.max_pool2d(image, 2)  # 9 x 7 pixels: the last row and column are read by no window
    assert receptive_box(read.mean((2, 3)), image, 0, 0) == Box(0, 0, 8, 6)
    assert np.array_equal(receptive_boxes(read.flatten(1), image), receptive_boxes(read, image))
    assert receptive_boxes(read.flatten(1) @ torch.ones(24, 2, dtype=read.dtype), image).tolist() == [[[0, 0, 8, 6]]]


def test_one_global_axis_makes_the_size_none_and_the_box_a_strip():
    image = picture()
    column = image + image.mean(2, keepdim=True)
    assert receptive_field(column, image) is None
    assert receptive_box(column, image, 4, 3) == (0, 3, 9, 4)


def test_a_unit_of_padding_sees_no_pixel():
    image = picture()
    padded = F.pad(image, (2, 2, 2, 2))
    assert receptive_box(padded, image, 0, 5) == (0, 0, 0, 0)
    assert receptive_field(padded, image) == ReceptiveField((1, 1), (1, 1), (-2, -2))


@pytest.mark.parametrize("factory", [*nets.SAME_WEIGHTS, nets.frozen], ids=lambda factory: factory.__name__)
def test_every_way_to_write_a_network_has_the_same_boxes(factory):
    """Oracle: the NaN probe of the same layers; a map that is written in place is read before."""
    net, image = factory(), nets.images(1).requires_grad_()
    found = receptive_fields(activations(net, image), image)
    assert found["pool1"] == ReceptiveField((4, 4), (2, 2), (-1, -1))
    assert found["pool2"] == ReceptiveField((10, 10), (4, 4), (-3, -3))
    boxes = receptive_boxes(activations(net, image)["pool2"], image)
    assert np.array_equal(boxes, nan_boxes(lambda x: activations(net, x)["pool2"], tuple(image.shape[1:])))


def test_graphs_deeper_than_the_stack_are_walked():
    image = picture()
    x = image
    for _ in range(3000):
        x = x.relu()
    assert receptive_box(F.conv2d(x, filters((3, 3))), image, 0, 0) == (0, 0, 3, 3)


def test_refusals_say_what_was_given_and_what_to_do():
    image = picture()
    activation = F.conv2d(image, filters((3, 3)))
    with pytest.raises(ConvscopeError, match=r"no unit at \(y, x\) = \(7, 0\): the map is 7 x 5"):
        receptive_box(activation, image, 7, 0)
    with pytest.raises(ConvscopeError, match="no unit at"):
        receptive_box(activation, image, 0, -1)
    with pytest.raises(ConvscopeError, match="requires_grad=True"):
        receptive_field(activation, image.detach())
    for other in (activation.detach(), picture() * 2):
        with pytest.raises(ConvscopeError, match=r"of shape \(1, 2, \d, \d\) was not computed from this image"):
            receptive_field(other, image)


def test_a_freed_graph_is_refused():
    image = picture()
    activation = F.conv2d(image, filters((3, 3)))
    activation.sum().backward()
    image.grad = None
    with pytest.raises(ConvscopeError, match=r"cannot read 'weight' of ConvolutionBackward0: .*already been freed"):
        receptive_field(activation, image)
