"""Which layers are surveyed. Oracle: nets whose layers are known by heart."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from convscope.dataset.chosen_layers import choose_layers, run_layers
from convscope.errors import ConvscopeError


class Net(nn.Module):
    """Runs c2 before c1, relu twice, ``unused`` never; ``pair`` gives a tuple, ``flat`` a vector a pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(4, 5, 3, stride=2), nn.Conv2d(3, 4, 3)
        self.unused, self.relu, self.pair, self.flat = nn.Conv2d(3, 3, 1), nn.ReLU(), Pair(), nn.Flatten(2)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.c1(self.relu(self.c2(x))))
        self.flat(self.pair(x)[0][:, :3, :3, :3])
        return self.head(x)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.fixture
def net(generator: torch.Generator) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        return Net().eval()


@pytest.fixture
def chosen(net: nn.Module) -> Callable[..., list[str]]:
    ran = run_layers(net, torch.zeros(1, 3, 16, 16))
    return lambda asked=None: [layer.name for layer in choose_layers(net, ran, asked)]


def test_all_convolutions_that_run_in_the_order_in_which_they_do(chosen: Callable[..., list[str]]) -> None:
    assert chosen() == ["c2", "c1"]


def test_names_patterns_and_all(chosen: Callable[..., list[str]]) -> None:
    assert chosen(["c1", "c2", "c1"]) == ["c2", "c1"]
    assert chosen("relu#2") == ["relu#2"]
    assert chosen("relu*") == ["relu#1", "relu#2"]
    assert chosen(["c?", "head.2"]) == ["c2", "c1", "head.2"]
    assert chosen("all") == ["c2", "relu#1", "c1", "relu#2", "head.0", "head.1", "head.2", "head"]


def test_what_a_layer_gives(net: nn.Module) -> None:
    found = {layer.name: layer for layer in run_layers(net, torch.zeros(1, 3, 16, 16))}
    assert (found["c1"].units, found["c1"].shape, found["c1"].is_convolution) == (5, (6, 6), True)
    assert (found["head.1"].units, found["head.1"].shape, found["head.1"].is_convolution) == (5, (1, 1), False)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (["reluu"], r"no layer 'reluu' in Net; did you mean 'relu'"),
        (["relu"], "layer 'relu' ran 2 time.s.: name the call, relu#1, relu#2"),
        (["relu#3"], "layer 'relu#3' ran 2 time.s."),
        (["unused"], "layer 'unused' did not run on the first photo, or gives no tensor"),
        (["pair"], "layer 'pair' did not run on the first photo, or gives no tensor"),
        (["flat"], "layer 'flat' gives"),
        (["x.*"], "no layer fits 'x.*'"),
        ([], "layers=.. asks for no layer"),
    ],
)
def test_what_cannot_be_surveyed_is_refused(asked: list[str], why: str, chosen: Callable[..., list[str]]) -> None:
    with pytest.raises(ConvscopeError, match=why):
        chosen(asked)


def test_a_network_without_convolutions(generator: torch.Generator) -> None:
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    with pytest.raises(ConvscopeError, match=r"Sequential runs no convolution; name layers"):
        choose_layers(net, run_layers(net, torch.zeros(1, 3, 2, 2)), None)


def test_nothing_is_left_on_the_network(net: nn.Module) -> None:
    run_layers(net, torch.zeros(1, 3, 16, 16))
    assert not any(module._forward_hooks for module in net.modules())
