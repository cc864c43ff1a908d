"""Channels last where a CPU is faster with it: the same numbers, and networks that cannot take it are given others."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.memory_layout import run_on_copy
from convscope.network.taps import tap
from tests import nets
from tests.untouched import watch

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="without oneDNN none is faster")
FLOAT = torch.float32


class Seen(nn.Module):
    """Passes on what it is given, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.given.append(x)
        return x * 1


class Views(nn.Module):
    """Counts its passes; joins all of an image's maps by ``view``, which channels last forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return (2 * x).view(len(x), -1)


def is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


@needs_onednn
def test_float_images_on_a_cpu_are_given_channels_last_and_the_callers_stay_as_they_are() -> None:
    net, x = Seen(), nets.images(dtype=FLOAT)
    run_on_copy(net, x)
    assert is_channels_last(net.given[0])
    assert torch.equal(net.given[0], x)
    assert x.is_contiguous()


@pytest.mark.parametrize("x", [nets.images(), nets.images(dtype=FLOAT)[0], nets.images(dtype=torch.bfloat16)])
def test_others_keep_their_layout(x: Tensor) -> None:
    net = Seen()
    run_on_copy(net, x)
    assert net.given[0].is_contiguous()
    assert net.given[0] is not x
    assert torch.equal(net.given[0], x)


def test_several_inputs_are_copied() -> None:
    x, words = nets.images(2), nets.images(2, seed=3).flatten(1)[:, :4]
    assert torch.equal(run_on_copy(nets.two_inputs(), (x, words)), nets.two_inputs()(x, words))


@pytest.mark.parametrize("factory", [*nets.SAME_WEIGHTS, nets.skip, nets.residual, nets.grey])
def test_outputs_and_gradients_are_those_of_contiguous_images(factory: Callable[..., nn.Module]) -> None:
    """Oracle: float64, in which nothing is laid out anew."""
    channels = 1 if factory is nets.grey else 3
    images = nets.images(3, channels)

    def gradient(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        x = images.to(dtype).requires_grad_()
        output = run_on_copy(factory(dtype=dtype), x)
        return output.detach().double(), torch.autograd.grad(output[:, 1].sum(), x)[0].double()

    for found, expected in zip(gradient(FLOAT), gradient(torch.float64), strict=True):
        assert torch.allclose(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@needs_onednn
def test_the_gradient_arrives_contiguous_below_the_network() -> None:
    arrived: list[Tensor] = []
    x = nets.images(dtype=FLOAT).requires_grad_()
    below = 3 * x
    below.register_hook(arrived.append)
    torch.autograd.grad(run_on_copy(nets.plain(dtype=FLOAT), below).sum(), x)
    assert arrived[0].is_contiguous()


def test_a_network_that_writes_into_its_input_writes_into_the_copy() -> None:
    x = nets.images(dtype=FLOAT)
    before = x.clone()
    run_on_copy(nets.writes_input(dtype=FLOAT), x)
    assert torch.equal(x, before)


@needs_onednn
def test_a_network_that_views_is_run_again_and_remembered() -> None:
    net, x = Views(), nets.images(dtype=FLOAT)
    for passes in (2, 3, 4):  # asked once only
        assert torch.equal(run_on_copy(net, x), (2 * x).flatten(1))
        assert net.passes == passes


@needs_onednn
def test_a_view_below_a_layer_at_which_the_pass_stops_is_remembered_too() -> None:
    class Viewing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.views, self.last = Views(), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.views(x))

    net, x = watch(Viewing()), nets.images(dtype=FLOAT)
    for passes in (2, 3):
        with tap(net, "last", stop=True) as seen:
            run_on_copy(net, x)
        assert torch.equal(seen["last"], (2 * x).flatten(1))
        assert net.views.passes == passes


@needs_onednn
@pytest.mark.parametrize("error", [RuntimeError("no such size"), ConvscopeError("no stride"), KeyboardInterrupt()])
def test_what_has_nothing_to_do_with_layout_is_raised_at_once(error: BaseException) -> None:
    class Refuses(Views):
        def forward(self, x: Tensor) -> Tensor:
            self.passes += 1
            raise error

    net = Refuses()
    with pytest.raises(type(error)):
        run_on_copy(net, nets.images(dtype=FLOAT))
    assert net.passes == 1


@needs_onednn
def test_a_network_that_contiguous_images_do_not_help_is_not_remembered() -> None:
    class Fails(Seen):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise RuntimeError("a stride of 0")

    net = Fails()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="a stride of 0"):
            run_on_copy(net, nets.images(dtype=FLOAT))
    assert [is_channels_last(x) for x in net.given] == [True, False, True, False]
