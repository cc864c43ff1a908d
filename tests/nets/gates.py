"""Activations written in odd ways, and branches of parameters alone, for what the recorded graph says of them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from tests.nets.building import CLASSES, hard_net, mean_and_linear

# name -> function that a rule must take for a rectifier
RECTIFIERS: dict[str, Callable[[Tensor], Tensor]] = {
    "clamp_min": lambda x: x.clamp_min(0),
    "clamp_min_": lambda x: x.clamp_min_(0.0),
    "clip": lambda x: x.clip(0.0),
    "clamp by a tensor": lambda x: x.clamp(min=torch.zeros((), dtype=x.dtype)),
    "clamp by a tensor a channel": lambda x: x.clamp(min=torch.zeros(x.shape[1], 1, 1, dtype=x.dtype)),
}
# name -> (function, the name under which it is listed as left plain)
NONLINEAR: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "hardtanh from -1": (lambda x: nn.functional.hardtanh(x), "Hardtanh"),
    "clamp from above": (lambda x: x.clamp(max=0.0), "Clamp"),
    "clamp_max": (lambda x: x.clamp_max(0.0), "ClampMax"),
    "clamp from below 0": (lambda x: x.clamp(min=-0.5), "Clamp"),
    "threshold below 0": (lambda x: nn.functional.threshold(x, -0.5, -0.5), "Threshold"),
    "leaky": (lambda x: nn.functional.leaky_relu(x), "LeakyRelu"),
    "where": (lambda x: torch.where(x > 0, x, 0.0), "Where"),
    "maximum": (lambda x: torch.maximum(x, torch.zeros_like(x)), "Maximum"),
    "masked_fill": (lambda x: x.masked_fill(x < 0, 0.0), "MaskedFill"),
    "index_put": (lambda x: x.index_put((x < 0,), torch.zeros((), dtype=x.dtype)), "IndexPut"),
    "times a mask": (lambda x: x * (x > 0), "product with a mask"),
    "times a mask of numbers": (lambda x: (x > 0).to(x) * x, "product with a mask"),
    "abs": (lambda x: x.abs(), "Abs"),
    "square": (lambda x: x**2, "Pow"),
    "unknown": (lambda x: x.erf(), "Erf"),
}


class Activated(nn.Module):
    """Convolution, the given activation, convolution, ReLU, mean, linear."""

    def __init__(self, activation: Callable[[Tensor], Tensor], *, relu: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Sequential(*mean_and_linear(6))
        self.activation, self.relu = activation, relu

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(self.activation(self.conv1(x)))
        return self.head(h.relu() if self.relu else h)


@hard_net
def activated(activation: Callable[[Tensor], Tensor], *, relu: bool = True) -> nn.Module:
    return Activated(activation, relu=relu)


@hard_net
def times_constants() -> nn.Module:
    """Products with constants that are no masks: a scale a channel, all ones."""
    scale = torch.linspace(0.5, 2.0, 6, dtype=torch.float64)[:, None, None]
    return Activated(lambda x: x * scale * torch.ones_like(x))


@hard_net
def weight_normed() -> nn.Module:
    """Parametrised weights: norms, products and a ReLU on parameters alone, beside the path of the image."""

    class Positive(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight.relu().exp()

    net = Activated(torch.relu)
    parametrizations.weight_norm(net.conv1)
    nn.utils.parametrize.register_parametrization(net.conv2, "weight", Positive())
    return net


class _TwoHeads(nn.Module):
    """Returns logits, and an embedding through a ReLU and a sigmoid that the logits do not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.aux = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU())
        self.linear = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.conv(x).relu()
        return {"logits": self.linear(h.mean((2, 3))), "embedding": self.aux(h).sigmoid().mean((2, 3))}


@hard_net
def two_heads() -> nn.Module:
    return _TwoHeads()
