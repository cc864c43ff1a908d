"""Nets in which two names mean one piece of memory, and layers whose outputs are no plain maps.

Each says in its docstring what a hand-split network computes, so that a test can write that down.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.nets.building import CLASSES, hard_net


class _Two(nn.Module):
    """Two convolutions, a ReLU module that works in place, the mean, a linear layer."""

    def __init__(self, between: Callable[["_Two", Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.linear = nn.Linear(6, CLASSES)
        self.between = between
        for name, part in parts.items():
            self.add_module(name, part)

    def head(self, h: Tensor) -> Tensor:
        return self.linear(h.mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(self, self.conv1(x)))


def _ignored(net: _Two, h: Tensor) -> Tensor:
    net.relu(h)  # for what it does to h
    return net.conv2(h)


def _both(net: _Two, h: Tensor) -> Tensor:
    return net.conv2(net.relu(h)) + h  # h is rectified too


def _keyword(net: _Two, h: Tensor) -> Tensor:
    r = net.relu(input=h)
    h.mul_(2.0)
    return net.conv2(r)


def _ignored_view(net: _Two, h: Tensor) -> Tensor:
    net.relu(h[:, :3])
    return net.conv2(h)


@hard_net
def ignored_return() -> nn.Module:
    """head(conv2(relu(conv1(x)))): the network goes on with the ReLU's argument, not with what it returns."""
    return _Two(_ignored)


@hard_net
def aliased_shortcut() -> nn.Module:
    """r = relu(conv1(x)); head(conv2(r) + r), where the second r is the ReLU's argument."""
    return _Two(_both)


@hard_net
def called_by_keyword() -> nn.Module:
    """r = relu(conv1(x)); head(conv2(2 r)): the argument, by keyword, is written into after the ReLU."""
    return _Two(_keyword)


@hard_net
def ignored_return_of_a_view() -> nn.Module:
    """The ReLU works in place on the first three channels of conv1's output, and what it returns is ignored."""
    return _Two(_ignored_view)


def _written_after(net: _Two, h: Tensor) -> Tensor:
    kept = net.get_submodule("alias")(h)
    total = net.conv2(kept)
    h.zero_()  # h is the network's own; what the layer gave is h too
    return total + h


@hard_net
def written_after(alias: nn.Module) -> nn.Module:
    """head(conv2(conv1(x))): ``alias`` hands on its argument, which is set to zero later in the pass."""
    return _Two(_written_after, alias=alias)


# ---- layers whose output is no plain map ---------------------------------------------------------------------


class Pair(nn.Module):
    """Returns a tuple, as a recurrent layer does."""

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return h, h * 2


class TopChannel(nn.Module):
    """Returns whole numbers: the channel of the largest value at each position."""

    def forward(self, h: Tensor) -> Tensor:
        return h.argmax(1)


def _odd_layers(net: _Two, h: Tensor) -> Tensor:
    first, _ = net.get_submodule("pair")(net.relu(h))
    best = net.get_submodule("top")(first)
    return net.conv2(first) * (1.0 + best[:, None] % 2)


@hard_net
def odd_layers() -> nn.Module:
    """``pair`` returns two tensors, ``top`` an integer map."""
    return _Two(_odd_layers, pair=Pair(), top=TopChannel())


def _swallowing(net: _Two, h: Tensor) -> Tensor:
    try:
        r = net.relu(h)
        net.get_submodule("pair")(r)
        return net.conv2(net.relu(r))
    except Exception:
        return torch.zeros_like(h)


@hard_net
def swallowing() -> nn.Module:
    """Calls ``relu`` twice and ``pair`` once inside ``try ... except Exception``."""
    return _Two(_swallowing, pair=Pair())


class _Branches(nn.Module):
    """Two branches from one image that meet in a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.right = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU())
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.linear = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(self.left(x) + self.right(x)).relu().mean((2, 3)))


@hard_net
def branches() -> nn.Module:
    """linear(mean(relu(conv(left(x) + right(x))))): neither branch lies above the other."""
    return _Branches()
