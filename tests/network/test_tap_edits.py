"""Edits of ``tap``, alone, nested and re-entrant: the oracle is the network cut in two and changed by hand."""

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.taps import tap
from tests import nets, oracles
from tests.nets import aliasing

WITHOUT_ALIASES: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "ignored_return": lambda net, r: net.head(net.conv2(r)),
    "aliased_shortcut": lambda net, r: net.head(net.conv2(r) + r),
}


def silence(unit: int) -> Callable[[Tensor], Tensor]:
    """An edit that writes in place, as one does."""

    def edit(a: Tensor) -> Tensor:
        a[:, unit] = 0.0
        return a

    return edit


@pytest.mark.parametrize("layer", ["conv1", "relu1", "pool1", "conv2", "relu2"])
@pytest.mark.parametrize("factory", [nets.plain, nets.inplace_relu])
def test_an_edit_acts_and_the_record_holds_it(factory: Callable[..., nn.Sequential], layer: str) -> None:
    """Oracle: the net cut in two, the unit set to zero between; logits and gradients."""
    x, net, plain = nets.images().requires_grad_(), factory(), nets.plain()
    number = [name for name, _ in plain.named_children()].index(layer) + 1
    edited = oracles.forward_by_hand(plain, x)[number].clone()
    edited[:, 1] = 0.0
    edited.requires_grad_()
    logits = plain[number:](edited)
    with tap(net, edit={layer: silence(1)}) as seen:
        output = net(x)
    assert torch.equal(output, logits)
    assert torch.equal(seen[layer], edited)
    kept = torch.ones_like(edited)
    kept[:, 1] = 0.0
    below = [
        torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
        for y in (output, plain[number:](plain[:number](x) * kept))
    ]
    assert torch.equal(*below)  # the edit did not write into what the layer saved
    assert torch.equal(
        *(torch.autograd.grad(s, a)[0] for s, a in ((output.sum(), seen[layer]), (logits.sum(), edited)))
    )


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", WITHOUT_ALIASES)
def test_an_edit_of_an_in_place_layer_acts_where_the_network_goes_on_with_its_argument(name: str, grad: bool) -> None:
    """The gradient below passes the ReLU where it was open, whatever the edit put there. Oracle: without aliases."""
    net, x = getattr(aliasing, name)(), nets.images().requires_grad_()

    def edit(a: Tensor) -> Tensor:
        return a * 3.0 - 1.0  # below 0 where the ReLU was open by little, and where it was shut

    with torch.set_grad_enabled(grad):
        expected = WITHOUT_ALIASES[name](net, edit(F.relu(net.conv1(x))))
        with tap(net, edit={"relu": edit}):
            output = net(x)
    assert torch.allclose(output, expected, rtol=0, atol=1e-14)
    if grad:
        slopes = [torch.autograd.grad(y.sum(), x)[0] for y in (output, expected)]
        assert torch.allclose(*slopes, rtol=0, atol=1e-14)


def test_an_edit_of_an_in_place_layer_on_a_view_is_refused_with_a_graph_and_acts_without() -> None:
    net, x = aliasing.ignored_return_of_a_view(), nets.images()
    h = net.conv1(x)
    by_hand = net.head(net.conv2(torch.cat([F.relu(h[:, :3]) + 1.0, h[:, 3:]], 1)))
    with torch.no_grad(), tap(net, edit={"relu": lambda a: a + 1.0}):
        assert torch.allclose(net(x), by_hand, rtol=0, atol=1e-14)
    with pytest.raises(ConvscopeError, match="in place on a view"), tap(net, edit={"relu": lambda a: a + 1.0}):
        net(x)


def test_edits_of_two_layers_and_of_one_call_act_together() -> None:
    """Oracle: ``plain``, cut at two of its own ReLUs."""
    x, plain, net = nets.images(), nets.plain(), nets.reused_relu()
    h = plain[:2](x) * 0.5
    expected = plain[5:](plain[2:5](h) + 1.0)
    with tap(net, edit={"rectify#1": lambda a: a.mul_(0.5), "rectify#2": lambda a: a + 1.0}):
        assert torch.equal(net(x), expected)


def test_a_constant_edit_still_has_a_gradient_above_a_graph_start() -> None:
    """Oracle: the head's gradient at that constant."""
    x, net = nets.images(), nets.plain()
    constant = nets.images(2, 6, seed=5)
    leaf = constant.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net[1:](leaf).sum(), leaf)
    with tap(net, edit={"conv1": lambda a: constant}, graph_from="conv1") as seen:
        score = net(x).sum()
    assert torch.equal(torch.autograd.grad(score, seen["conv1"])[0], expected)
    assert not constant.requires_grad


@pytest.mark.parametrize(
    ("edit", "got"), [(lambda a: None, "NoneType"), (lambda a: a[:1], r"\(1, 6, 12, 12\)"), (lambda a: 0.0, "float")]
)
def test_an_edit_of_another_shape_is_refused(edit: Callable[[Tensor], Tensor], got: str) -> None:
    net, message = nets.plain(), rf"edit of layer 'conv1' turned \(2, 6, 12, 12\) into {got}"
    with pytest.raises(ConvscopeError, match=message), tap(net, edit={"conv1": edit}):
        net(nets.images())


# ---- nested and re-entrant -----------------------------------------------------------------------------------


def test_an_outer_edit_acts_in_what_an_inner_tap_records_and_an_outer_record_is_before_the_inner_edit() -> None:
    """Oracle: the net cut in two by hand, at one layer and below it."""
    x, net = nets.images(), nets.plain()
    first = net[:1](x)
    with (
        tap(net, "conv1", edit={"conv1": lambda a: a + 1.0}) as outer,
        tap(net, "conv1", "relu1", edit={"conv1": lambda a: a * 2.0}) as inner,
    ):
        logits = net(x)
    assert torch.equal(outer["conv1"], first + 1.0)
    assert torch.equal(inner["conv1"], (first + 1.0) * 2.0)
    assert torch.equal(inner["relu1"], F.relu((first + 1.0) * 2.0))
    assert torch.equal(logits, net[2:](inner["relu1"]))


def test_an_edit_that_runs_the_network_itself_does_not_disturb_the_pass_that_it_edits() -> None:
    """Resampling a unit from another picture. Oracle: the same, with the other activation taken beforehand."""
    x, other, net = nets.images(), nets.images(seed=9), nets.reused_relu()
    with tap(net, "conv1") as seen:
        net(other)
    donor = seen["conv1"].clone()

    def resampled(a: Tensor) -> Tensor:
        with tap(net, "conv1", stop=True) as inner:
            net(other)
        net(other)  # and a whole pass
        a[:, 2] = inner["conv1"][:, 2]
        return a

    def taken(a: Tensor) -> Tensor:
        a[:, 2] = donor[:, 2]
        return a

    records = []
    for edit in (resampled, taken):
        with tap(net, "rectify#3", edit={"conv1": edit}) as seen:
            logits = net(x)
        records.append((logits, seen["conv1"], seen["rectify#3"]))
    assert all(itertools.starmap(torch.equal, zip(*records, strict=True)))


def test_a_second_pass_in_a_block_has_a_record_of_its_own() -> None:
    x, other, net = nets.images(1), nets.images(3, seed=4), nets.shared_conv()
    with tap(net, "conv2#2") as seen:
        net(x)
        first = seen["conv2#2"]
        net(other)
        assert seen["conv2#2"].shape[0] == 3
    with tap(net, "conv2#2") as again:
        net(other)
    assert torch.equal(seen["conv2#2"], again["conv2#2"])
    assert first.shape[0] == 1
