"""What one pass tells of layers. Oracles: nets whose wiring is known; units that are killed on purpose."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.network.rectified_layers import layers_of_pass
from tests import nets


def judged(net: nn.Module, channels: int = 3) -> dict[str, str]:
    return dict(layers_of_pass(net, nets.images(2, channels)).judged_by)


def test_a_convolution_is_judged_by_its_own_sign_whatever_its_relu_is() -> None:
    for build in (nets.plain, nets.inplace_relu, nets.functional_relu, nets.functional_inplace_relu, nets.method_relu):
        assert {name: by for name, by in judged(build()).items() if "conv" in name} == {
            "conv1": "conv1",
            "conv2": "conv2",
        }


def test_a_reused_relu_is_told_apart_by_its_calls() -> None:
    found = judged(nets.reused_relu())
    assert set(found) == {"conv1", "conv2", "linear1", "rectify#1", "rectify#2", "rectify#3"}
    assert all(name == judge for name, judge in found.items())


def test_before_a_norm_a_sign_says_nothing() -> None:
    found = judged(nets.norm_dropout())
    assert (found["conv1"], found["norm1"]) == ("norm1", "norm1")
    assert "linear" not in found


class _Wired(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            self.shortcut, self.pooled = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            self.soft, self.twice, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shortcut(x)
        x = x + F.relu(x)
        x = F.relu(F.max_pool2d(self.pooled(x), 2))
        x = torch.sigmoid(self.soft(x))
        x = self.twice(x)
        return self.head(x.relu() + x.clamp(min=0)).mean((2, 3))


def test_shortcuts_sigmoids_and_heads_are_not_judged_and_pooling_is_gone_through() -> None:
    """Of ``pooled`` the ReLU is a function, after a function: no layer's sign tells, so nothing is said."""
    found = layers_of_pass(_Wired(), torch.ones(1, 3, 4, 4))
    assert dict(found.judged_by) == {"twice": "twice"}
    assert found.weighted == ("shortcut", "pooled", "soft", "twice", "head")


def _flattened(side: int) -> nn.Sequential:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(side), nn.Flatten(), nn.Linear(4 * side**2, 5))
    return net.double()


@pytest.mark.global_rng
def test_what_the_head_is_given() -> None:
    for net, images, before, head in (
        (nets.plain(), nets.images(), "relu3", "linear2"),
        (nets.norm_dropout(), nets.images(), "pool", "linear"),
        (_flattened(2), nets.images(), "2", "3"),  # 2 x 2 places of a map: each is a number of its own
        (_flattened(1), nets.images(), "1", "3"),  # one place: the Flatten tells no more
        (_Wired(), torch.ones(1, 3, 4, 4), "twice", "head"),
    ):
        found = layers_of_pass(net, images)
        assert (found.before_head, found.head) == (before, head)


def test_outputs_are_in_the_order_of_the_pass_with_their_shapes() -> None:
    found = layers_of_pass(nets.reused_relu(), nets.images(2))
    assert list(found.outputs) == list(found.modules)
    assert found.outputs["rectify#1"] == found.outputs["conv1"]
    assert found.modules["rectify#1"] is found.modules["rectify#2"]
