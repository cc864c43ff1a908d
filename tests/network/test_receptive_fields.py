"""Receptive fields against what they claim: which pixels reach a unit at all.

Oracles: the NaN probe (``nan_probe.py``) for random stacks, boxes and sizes alike; published sizes; and the closed
form r += d (k - 1) j for plain stacks.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

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
from tests.network.nan_probe import nan_boxes, sees_exactly

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
    assume(max(found.size) <= 60)
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


# ---- published networks --------------------------------------------------------------------------------------


def activations(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """The output of every module, in one pass; cloned, because a later ReLU may write in place."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str):
        return lambda _module, _inputs, out: outputs.update({name: out.clone()}) if isinstance(out, Tensor) else None

    hooks = [module.register_forward_hook(keep(name)) for name, module in model.named_modules()]
    try:
        model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


def sizes(model: nn.Module, side: int) -> dict[str, tuple[int, int | float] | None]:
    """(size, stride) of every layer; square."""
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1)).requires_grad_()
    found = receptive_fields(activations(model, image), image)
    assert all(one is None or one.size[0] == one.size[1] for one in found.values())
    return {name: one and (one.size[0], one.stride[0]) for name, one in found.items()}


@nets.hard_net
def torchvision_net(name: str, **options) -> nn.Module:
    from torchvision.models import get_model

    return get_model(name, weights=None, **options)


def test_golden_squeezenet():
    found = sizes(torchvision_net("squeezenet1_0", dtype=torch.float32), 96)
    golden = {0: (7, 2), 2: (11, 4), 3: (19, 4), 4: (27, 4), 5: (35, 4), 6: (43, 8)}  # METHODS.md: fire2-4, pool4
    golden |= {7: (59, 8), 8: (75, 8), 9: (91, 8), 10: (107, 8), 11: (123, 16), 12: (155, 16)}  # fire5-8, pool8, fire9
    assert {number: found[f"features.{number}"] for number in golden} == golden
    assert found["classifier.2"] == (155, 16)
    assert found["classifier.3"] is None  # the mean over the map
    assert found[""] is None


def test_golden_cifar_resnet_with_its_strided_slices(resnet20):
    found = sizes(resnet20, 32)
    assert [found[f"layer{n}"] for n in (1, 2, 3)] == [(15, 1), (37, 2), (81, 4)]
    assert found["linear"] is None


def test_golden_vgg16():
    from torchvision.models.vgg import VGG, cfgs, make_layers

    # torchvision's own layers, without the 100 million weights of the head that the field does not depend on
    net = nets.hard_net(lambda: nn.Sequential(make_layers(cfgs["D"])))(dtype=torch.float32)
    assert VGG is not None
    assert sizes(net, 32)["0.29"] == (196, 16)


def test_golden_resnet50():
    """483 in the original, which strides in the first 1x1 (Araujo et al. 2019); 427 in torchvision's, in the 3x3."""
    found = sizes(torchvision_net("resnet50", dtype=torch.float32), 64)
    assert [found[name] for name in ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4")] == [
        (7, 2),
        (11, 4),
        (35, 4),
        (91, 8),
        (267, 16),
        (427, 32),
    ]
    original = torchvision_net("resnet50", dtype=torch.float32)
    for block in original.modules():
        if hasattr(block, "conv3") and block.conv2.stride == (2, 2):
            block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    assert sizes(original, 64)["layer4"] == (483, 32)
