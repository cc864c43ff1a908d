"""One function of one set of weights, in the ways people write a ReLU; other rectifiers; other nonlinearities."""

import functools
from collections import OrderedDict
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from tests.nets.building import CLASSES, SIDE, hard_net, mean_and_linear

# ---- one function, many ways to write it ---------------------------------------------------------------------


def _layers(rectifier: Callable[[], nn.Module] = nn.ReLU, channels: int = 3) -> "OrderedDict[str, nn.Module]":
    return OrderedDict(
        conv1=nn.Conv2d(channels, 6, 3, padding=1),
        relu1=rectifier(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(6, 8, 3, padding=1),
        relu2=rectifier(),
        pool2=nn.MaxPool2d(2),
        squash=nn.AdaptiveAvgPool2d(2),
        flatten=nn.Flatten(),
        linear1=nn.Linear(32, 16),
        relu3=rectifier(),
        linear2=nn.Linear(16, CLASSES),
    )


class _Written(nn.Module):
    """The layers of ``plain`` with the ReLUs written in the forward, not as modules."""

    def __init__(self, rectify: Callable[[Tensor], Tensor] | nn.Module) -> None:
        super().__init__()
        for name, layer in _layers().items():
            if not name.startswith("relu"):
                self.add_module(name, layer)
        self.rectify = rectify

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.rectify(self.conv1(x)))
        x = self.pool2(self.rectify(self.conv2(x)))
        return self.linear2(self.rectify(self.linear1(self.flatten(self.squash(x)))))


@hard_net
def plain(channels: int = 3) -> nn.Module:
    """An ``nn.Sequential`` of conv, ReLU, max-pool, linear with module ReLUs: what every tool can do."""
    return nn.Sequential(_layers(channels=channels))


@hard_net
def grey() -> nn.Module:
    return nn.Sequential(_layers(channels=1))


@hard_net
def four_channel() -> nn.Module:
    return nn.Sequential(_layers(channels=4))


@hard_net
def inplace_relu() -> nn.Module:
    return nn.Sequential(_layers(lambda: nn.ReLU(inplace=True)))


@hard_net
def functional_relu() -> nn.Module:
    return _Written(F.relu)


@hard_net
def functional_inplace_relu() -> nn.Module:
    return _Written(functools.partial(F.relu, inplace=True))


@hard_net
def method_relu() -> nn.Module:
    return _Written(lambda x: x.relu_())


@hard_net
def reused_relu() -> nn.Module:
    """One ReLU module called three times in a pass: ``rectify``, ``rectify#2``, ``rectify#3``."""
    return _Written(nn.ReLU())


@hard_net
def reused_inplace_relu() -> nn.Module:
    return _Written(nn.ReLU(inplace=True))


SAME_WEIGHTS = (
    plain,
    inplace_relu,
    functional_relu,
    functional_inplace_relu,
    method_relu,
    reused_relu,
    reused_inplace_relu,
)


@hard_net
def frozen() -> nn.Module:
    """``plain`` with every parameter frozen, as for transfer learning."""
    return nn.Sequential(_layers()).requires_grad_(False)


# ---- other rectifiers and other nonlinearities ---------------------------------------------------------------


RECTIFIERS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu6": F.relu6,
    "clamp at 0": lambda x: x.clamp(min=0),
    "clamp_ at 0": lambda x: x.clamp_(min=0),
    "clamp 0 to 1": lambda x: x.clamp(0, 1),
    "threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "hardtanh 0 to 1": lambda x: F.hardtanh(x, 0.0, 1.0),
}


@hard_net
def rectified_by(name: str) -> nn.Module:
    """``plain``'s weights with another rectifier from ``RECTIFIERS``."""
    return _Written(RECTIFIERS[name])


@hard_net
def clipped() -> nn.Module:
    """ReLU6, a clamp at 0, Threshold(0.1, 0) and Hardtanh(-1, 1), which lets negative values through."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU6(),
        nn.Conv2d(6, 6, 3, padding=1),
        _Call(lambda x: x.clamp(min=0)),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.Threshold(0.1, 0.0),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.Hardtanh(-1.0, 1.0),
        *mean_and_linear(6),
    )


class _Call(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@hard_net
def hardswish_mix() -> nn.Module:
    """One Hardswish and one ReLU, as in MobileNetV3: a backward rule must say what it leaves plain."""
    first = [nn.Conv2d(3, 6, 3, padding=1), nn.Hardswish()]
    return nn.Sequential(*first, nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), *mean_and_linear(6))


@hard_net
def gelu_only() -> nn.Module:
    """Nonlinear, and no rectifier at all: guided backprop has nothing to act on and must refuse."""
    first = [nn.Conv2d(3, 6, 3, padding=1), nn.GELU()]
    return nn.Sequential(*first, nn.Conv2d(6, 6, 3, padding=1), nn.GELU(), *mean_and_linear(6))


@hard_net
def linear_only(bias: bool = True) -> nn.Module:
    """Convolution, mean pooling, linear: the gradient is the same everywhere, and linear paths are fine."""
    first = [nn.Conv2d(3, 6, 3, padding=1, bias=bias), nn.AvgPool2d(2)]
    return nn.Sequential(*first, *mean_and_linear(6, bias=bias))


@hard_net
def mlp() -> nn.Module:
    """No spatial layer: 12 x 12 inputs only; the CAM family has nothing to draw on."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 10), nn.ReLU(), nn.Linear(10, CLASSES))
