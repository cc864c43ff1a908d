"""``tap`` records, edits and stops: the oracle is the network split by hand at the layer, in float64."""

import itertools
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.network.layers import recorded_outputs
from convscope.network.taps import tap
from tests import nets, oracles
from tests.nets import aliasing

SEQUENTIAL = (nets.plain, nets.inplace_relu, nets.conv_relu_gap, nets.norm_dropout, nets.overlapping_pool)


def split_at(net: nn.Sequential, x: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """By hand: the output of ``layer``, and d(sum of logits)/d(it) through the rest of the net."""
    number = [name for name, _ in net.named_children()].index(layer) + 1
    record = oracles.forward_by_hand(net, x)[number].requires_grad_()
    (gradient,) = torch.autograd.grad(net[number:](record.clone()).sum(), record)
    return record.detach(), gradient


# ---- the record ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", nets.EVERY)
def test_tapping_every_call_of_every_layer_changes_no_output(factory: Callable[..., nn.Module]) -> None:
    """Oracle: the untapped pass, to the last bit."""
    net, x = factory(), nets.images()
    expected = net(x)
    names = [item.name for item in recorded_outputs(net, x)]
    with tap(net, *names) as seen:
        assert torch.equal(net(x), expected)
    assert list(seen) == names


@pytest.mark.parametrize("factory", SEQUENTIAL)
def test_every_record_is_the_layers_own_output_whatever_runs_after_it(factory: Callable[..., nn.Sequential]) -> None:
    net, x = factory(), nets.images()
    outputs = oracles.forward_by_hand(net, x)[1:]
    names = [name for name, _ in net.named_children()]
    with tap(net, *names) as seen:
        net(x)
    for name, expected in zip(names, outputs, strict=True):
        assert torch.equal(seen[name], expected), name


@pytest.mark.parametrize("alias", [nn.Identity(), nn.Dropout(0.5), nn.Flatten(2, 2), nn.Dropout2d(0.5, inplace=True)])
def test_a_record_that_shares_memory_with_the_argument_is_not_spoilt(alias: nn.Module) -> None:
    """Identity, dropout in evaluation and views hand on their argument. Oracle: conv1 alone."""
    net, x = aliasing.written_after(alias), nets.images()
    with torch.no_grad():
        expected, logits = net.get_submodule("conv1")(x), net.head(net.get_submodule("conv2")(net.conv1(x)))
        with tap(net, "alias") as seen:
            assert torch.equal(net(x), logits)
    assert torch.equal(seen["alias"], expected)


def test_a_record_is_not_spoilt_through_an_argument_given_by_keyword() -> None:
    net, x = aliasing.called_by_keyword(), nets.images()
    with torch.no_grad(), tap(net, "relu") as seen:
        net(x)
    assert torch.equal(seen["relu"], F.relu(net.conv1(x)))


# ---- the gradient at the record ------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["conv1", "pool1", "conv2", "pool2", "flatten", "linear1", "linear2"])
@pytest.mark.parametrize("factory", nets.SAME_WEIGHTS)
def test_the_gradient_at_a_record_is_that_of_the_split_net(factory: Callable[..., nn.Module], layer: str) -> None:
    """Every way to write the ReLUs after it. Oracle: ``plain`` cut in two at the layer."""
    x = nets.images()
    record, gradient = split_at(nets.plain(), x, layer)
    net = factory()
    with tap(net, layer) as seen:
        score = net(x).sum()
    assert torch.equal(seen[layer], record)
    assert torch.equal(torch.autograd.grad(score, seen[layer])[0], gradient)


@pytest.mark.parametrize("layer", ["relu1", "relu2", "relu3"])
def test_the_gradient_at_an_in_place_relu_is_that_of_the_split_net(layer: str) -> None:
    x, net = nets.images(), nets.inplace_relu()
    record, gradient = split_at(nets.plain(), x, layer)
    with tap(net, layer) as seen:
        score = net(x).sum()
    assert torch.equal(seen[layer], record)
    assert torch.equal(torch.autograd.grad(score, seen[layer])[0], gradient)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("factory", [nets.reused_relu, nets.reused_inplace_relu])
def test_a_numbered_call_is_that_call(factory: Callable[..., nn.Module], number: int) -> None:
    """Oracle: ``plain`` has a ReLU module of its own for each call of the reused one."""
    x, net = nets.images(), factory()
    record, gradient = split_at(nets.plain(), x, f"relu{number}")
    with tap(net, f"rectify#{number}") as seen:
        score = net(x).sum()
    assert torch.equal(seen[f"rectify#{number}"], record)
    assert torch.equal(torch.autograd.grad(score, seen[f"rectify#{number}"])[0], gradient)


BY_HAND: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "ignored_return": lambda net, r: net.head(net.conv2(r)),
    "aliased_shortcut": lambda net, r: net.head(net.conv2(r) + r),
    "called_by_keyword": lambda net, r: net.head(net.conv2(2 * r)),
}


# called_by_keyword has no gradient at the image, tapped or not: it overwrites what its ReLU saved
@pytest.mark.parametrize(
    ("name", "start"),
    [pair for pair in itertools.product(BY_HAND, [None, "relu"]) if pair[0] != "called_by_keyword" or pair[1]],
)
def test_an_in_place_layer_is_recorded_also_where_the_network_goes_on_with_its_argument(
    name: str, start: str | None
) -> None:
    """Oracle: the network written without aliases. The gradient of the image below must not change either."""
    net, x = getattr(aliasing, name)(), nets.images().requires_grad_()
    r = F.relu(net.conv1(x))
    r.retain_grad()
    BY_HAND[name](net, r).sum().backward(inputs=[x, r])
    with tap(net, "relu", graph_from=start) as seen:
        score = net(x).sum()
    assert torch.allclose(torch.autograd.grad(score, seen["relu"], retain_graph=True)[0], r.grad, rtol=0, atol=1e-15)
    if start is None:
        assert torch.allclose(torch.autograd.grad(score, x)[0], x.grad, rtol=0, atol=1e-15)


def test_a_leaf_may_be_the_first_layers_output_itself() -> None:
    """A dropout in place, in evaluation mode, hands on the very image. Oracle: the net without it."""
    net, x = nets.plain(), nets.images().requires_grad_()
    first = nn.Sequential(OrderedDict(drop=nn.Dropout(0.5, inplace=True), net=net)).eval()
    with tap(first, "drop") as seen:
        score = first(x).sum()
    (expected,) = torch.autograd.grad(net(x).sum(), x)
    assert torch.equal(torch.autograd.grad(score, seen["drop"])[0], expected)
    assert x.is_leaf


def test_the_gradient_at_a_layer_inside_a_checkpoint_is_that_without_one() -> None:
    """The backward pass runs ``conv2`` again, within the block: that is no second call. Oracle: the same net plain."""
    x = nets.images().requires_grad_()
    gradients = []
    for net in (nets.checkpointed(False), nets.custom_function()):
        with tap(net, "conv2") as seen:
            score = net(x).sum()
            gradients.append(torch.autograd.grad(score, seen["conv2"])[0])
    assert torch.equal(*gradients)
