"""What a step of ascent does not do: run later layers, compute gradients of weights, keep what earlier steps made."""

import gc
import weakref
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from convscope.synthesis.ascent import ascend
from convscope.synthesis.canvases import fourier_canvas
from convscope.synthesis.objectives import unit, units
from convscope.synthesis.recipes import STANDARD
from tests import nets

UNITS = ["conv2:1", "conv2:4"]


class Masks(TorchDispatchMode):
    """Notes which gradients the layers are asked for: of their input, weights, bias."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[bool, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "backward" in str(func) and args and isinstance(args[-1], list):
            self.asked.append(tuple(args[-1]))
        return func(*args, **kwargs or {})


def steps_of(net: nn.Module, steps: int, *, dtype: torch.dtype = torch.float32) -> Any:
    generator = torch.Generator().manual_seed(0)
    canvas = fourier_canvas(2, 3, 12, 12, generator=generator, dtype=dtype)
    return ascend(
        net,
        units(UNITS),
        canvas,
        steps=steps,
        to_input=lambda image: image - 0.5,
        transform=STANDARD.transform(192, 192),
        generator=generator,
        let_through=1,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_convolution_is_asked_for_the_gradient_of_its_input_alone(dtype: torch.dtype) -> None:
    net = nets.plain(dtype=dtype)
    with Masks() as masks:
        list(steps_of(net, 3, dtype=dtype))
    assert [mask[1:] for mask in masks.asked if len(mask) == 3] == [(False, False)] * 6  # two convolutions a step
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_the_masks_would_show_a_gradient_of_weights() -> None:
    """That the test above looks in the right place."""
    net = nets.plain()
    with Masks() as masks:
        torch.autograd.grad(net(nets.images()).sum(), list(net.parameters()))
    assert (False, True, True) in masks.asked


def test_each_step_runs_each_needed_layer_once_and_no_later_one() -> None:
    net, ran = nets.plain(dtype=torch.float32), Counter[str]()
    hooks = [
        layer.register_forward_pre_hook(lambda *_, name=name: ran.update([name]))
        for name, layer in net.named_children()
    ]
    list(steps_of(net, 4))
    for hook in hooks:
        hook.remove()
    assert ran == dict.fromkeys(["conv1", "relu1", "pool1", "conv2"], 5)  # and once for the last scores


def test_nothing_of_earlier_steps_lives_on() -> None:
    """What the network was given in a step, and so its graph, is gone when the next begins; the picture is too."""
    given: list[weakref.ref[Tensor]] = []
    generator = torch.Generator().manual_seed(0)

    def to_input(image: Tensor) -> Tensor:
        assert [ref() is not None for ref in given] == [False] * len(given)
        seen = 2 * image
        given.append(weakref.ref(seen))
        return seen

    canvas = fourier_canvas(2, 3, 12, 12, generator=generator)
    pictures: list[weakref.ref[Tensor]] = []
    gc.disable()  # gone by itself, not when a collection comes by
    try:
        for step in ascend(nets.plain(dtype=torch.float32), unit("conv2:1"), canvas, steps=4, to_input=to_input):
            pictures.append(weakref.ref(step.image))
            assert [ref() is not None for ref in pictures[:-2]] == [False] * len(pictures[:-2])
    finally:
        gc.enable()
    assert len(given) == len(pictures) == 5
