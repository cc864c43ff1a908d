"""The layer that a dream is of where none is named. Oracles: names by hand and goldens."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from convscope.network.evaluation import evaluation
from convscope.network.finer_maps import last_finer_layer
from convscope.network.taps import tap
from tests import nets
from tests.nets import heads
from tests.nets.building import hard_net, mean_and_linear
from tests.network.test_graph_names import empty


@hard_net
def one_size() -> nn.Module:
    convolutions = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*convolutions, *mean_and_linear(4))


@pytest.mark.parametrize(
    ("factory", "layer"),
    [
        (nets.plain, "relu1"),  # 12 x 12; relu2 is 6 x 6
        (nets.reused_relu, "rectify#1"),
        (nets.gap_linear, "relu1"),
        (one_size, "3"),  # all maps of one size: the last
        (nets.residual, "conv2"),
        (heads.tokens, "patches"),
    ],
)
def test_the_last_layer_above_the_coarsest_maps(factory: Callable[..., nn.Module], layer: str) -> None:
    """The name can be tapped as it is."""
    net, x = factory(), nets.images()
    assert last_finer_layer(net, x) == layer
    with evaluation(net), tap(net, layer) as seen:
        net(x)
    assert seen[layer].ndim in (3, 4)


@pytest.mark.parametrize(
    ("architecture", "layer"),
    [
        ("resnet50", "layer3"),
        ("squeezenet1_0", "features.10"),
        ("densenet121", "features.denseblock3"),
        ("mobilenet_v2", "features.13"),
        ("convnext_tiny", "features.5"),
    ],
)
def test_golden_layers_of_torchvision(architecture: str, layer: str) -> None:
    assert last_finer_layer(empty(architecture), torch.zeros(1, 3, 64, 64)) == layer


def test_golden_layers_of_real_networks(squeezenet: nn.Module, resnet20: nn.Module) -> None:
    assert last_finer_layer(squeezenet, torch.zeros(1, 3, 224, 224)) == "features.10"
    assert last_finer_layer(resnet20, torch.zeros(1, 3, 32, 32)) == "layer2"
