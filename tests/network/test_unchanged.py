"""A network that was looked at is bit for bit what it was. Oracle: tests/untouched.py, which looks for itself."""

from collections import deque
from typing import Any

import pytest
import torch
from torch import nn

from convscope.network.layers import without_wrappers
from convscope.network.unchanged import unchanged
from tests.nets import norm_dropout
from tests.untouched import look_at, watch


def everything_changed(net: nn.Module) -> None:
    part: Any = net.get_submodule("norm1")
    net.train()
    with torch.no_grad():
        part.weight.add_(1)
        part.bias.data = torch.zeros(9)
        part.running_mean = part.running_mean + 1
        part.running_var.fill_(float("nan"))
    part.weight.grad = torch.ones_like(part.weight)
    part.weight.requires_grad_(False)
    part.new, part.momentum = 3, 0.9
    part.memory.append(1), part.table.clear(), part.recent.extend([1, 2]), part.names.add("x")
    part.register_forward_hook(lambda *_: None)
    part.kept.mul_(2)
    del part.eps
    part.register_buffer("more", torch.zeros(1))
    net.add_module("added", nn.ReLU())


def net_with_attributes() -> nn.Module:
    net = norm_dropout()
    part: Any = net.get_submodule("norm1")
    part.memory, part.table, part.recent, part.names = [torch.ones(2)], {"a": torch.ones(1)}, deque([1], 4), {"b"}
    part.kept = torch.ones(3)  # neither parameter nor buffer
    part.bias.grad = torch.full((6,), 0.5, dtype=part.bias.dtype)
    part.weight.register_hook(lambda gradient: gradient)
    return watch(net)


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_whatever_is_done_to_it_is_undone(error: type[BaseException] | None) -> None:
    net: Any = net_with_attributes()
    part = net.get_submodule("norm1")
    versions = {name: p._version for name, p in net.named_parameters() if name != "norm1.weight"}
    try:
        with unchanged(net):
            everything_changed(net)
            if error is not None:
                raise error("stop")
    except (RuntimeError, KeyboardInterrupt):
        assert error is not None
    assert [type(p).__name__ for p in net.children()] == [type(p).__name__ for p in norm_dropout().children()]
    assert (len(part.memory), list(part.table), list(part.recent), part.names) == (1, ["a"], [1], {"b"})
    assert part.recent.maxlen == 4
    assert (part.kept == 1).all()
    assert {name: p._version for name, p in net.named_parameters() if name in versions} == versions


def test_a_graph_that_was_recorded_before_goes_backward_after_it() -> None:
    net: Any = norm_dropout()
    x = torch.ones(2, 3, 12, 12, dtype=torch.float64)
    loss = net(x).square().mean()
    wanted = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
    with unchanged(net), torch.no_grad():
        for parameter in net.parameters():
            parameter.data.mul_(3)
    found = torch.autograd.grad(loss, list(net.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))


def test_nothing_is_written_where_nothing_changed() -> None:
    net = norm_dropout()
    before = look_at(net)
    pointers = [p.data_ptr() for p in net.parameters()]
    with unchanged(net):
        pass
    assert look_at(net) == before
    assert [p.data_ptr() for p in net.parameters()] == pointers


def test_zeros_of_both_signs_and_lazy_layers() -> None:
    net: Any = norm_dropout()
    with torch.no_grad():
        net.get_submodule("linear").bias.zero_()
    watch(net)
    with unchanged(net), torch.no_grad():
        net.get_submodule("linear").bias.neg_()  # -0 == 0, and is another number
    lazy = nn.LazyConv2d(3, 1)
    with unchanged(lazy):
        pass


def test_wrappers_are_taken_off() -> None:
    net = norm_dropout()
    assert without_wrappers(nn.DataParallel(net)) is net
    assert without_wrappers(nn.DataParallel(nn.DataParallel(net))) is net
    assert without_wrappers(net) is net
