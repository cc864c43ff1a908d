"""A network of known weights and images for it: what a probe says of it can be computed by hand."""

import torch
from torch import Tensor, nn

from convscope.training.probe import Probe
from convscope.training.snapshot import LayerState, Snapshot
from tests.untouched import watch


def known() -> nn.Sequential:
    """Four 1x1 filters on one channel: 3x, -x - 0.5, 0 and 4x; the middle two are never above zero on [0, 1]."""
    net = nn.Sequential()
    with torch.random.fork_rng(devices=[]):
        net.add_module("conv", nn.Conv2d(1, 4, 1))
        net.add_module("relu", nn.ReLU())
        net.add_module("pool", nn.AdaptiveAvgPool2d(1))
        net.add_module("flat", nn.Flatten())
        net.add_module("dense", nn.Linear(4, 3))
    conv, dense = net[0], net[4]
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([3.0, -1, 0, 4]).reshape(4, 1, 1, 1))
        conv.bias.copy_(torch.tensor([0.0, -0.5, 0, 0]))
        dense.weight.copy_(torch.arange(12.0).reshape(3, 4) / 10)
        dense.bias.zero_()
    return watch(net.double())


def photos(n: int = 12) -> tuple[Tensor, Tensor]:
    x = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x, torch.arange(n) % 3


def at_once(probe: Probe, epoch: int = 0) -> Snapshot:
    snapshot = probe(epoch)
    assert snapshot is not None
    return snapshot


def layer(snapshot: Snapshot, name: str) -> LayerState:
    return next(state for state in snapshot.layers if state.name == name)
