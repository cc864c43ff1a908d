"""Nets that are hard to look at in the middle of a training, and a loop that draws random numbers of every kind."""

import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

CLASSES, SIDE = 3, 8


def _head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)]


def dropout_and_norm() -> nn.Module:
    drop = nn.Dropout(0.3)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.2), drop, *_head(4))


def in_place() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.Dropout(0.5, inplace=True))
    return nn.Sequential(*net, nn.LeakyReLU(inplace=True), *_head(4))


class _Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mul_(1.5)  # writes into what it is given
        h = F.dropout(self.first(x).relu_(), 0.4, self.training)
        return self.head(F.relu(self.second(h) + h).mean((2, 3)))


class _Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.relu = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()
        self.alias, self.head = self.conv, nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.stem(x))
        return self.head(self.relu(self.alias(self.relu(self.conv(h)))).mean((2, 3)))


class _Restless(nn.Module):
    """Counts, caches, averages and clips in every pass, training or not; and its answer depends on it."""

    passes: Tensor
    average: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, CLASSES)
        self.register_buffer("passes", torch.zeros(()))
        self.register_buffer("average", torch.zeros(4))
        self.calls, self.seen, self.by_name = 0, list[float](), dict[str, Any]()

    def forward(self, x: Tensor) -> Tensor:
        self.passes = self.passes + 1  # another tensor
        with torch.no_grad():
            self.conv.weight.clamp_(-0.4, 0.4)
        h = self.conv(x).relu().mean((2, 3))
        with torch.no_grad():
            self.average.mul_(0.9).add_(0.1 * h.mean(0))  # the same tensor
        self.calls += 1
        self.seen.append(float(x.detach().mean()))
        self.by_name["last"] = h.detach()
        self.scale = 1 + 0.01 * self.calls + 0.001 * len(self.seen)
        return self.head(h * self.scale + self.average + 0.01 * self.passes)


def frozen() -> nn.Module:
    net = dropout_and_norm()
    next(iter(net.children())).requires_grad_(False)
    return net


def one_part_in_eval() -> nn.Module:
    net = dropout_and_norm().train()
    list(net.children())[1].eval()  # a frozen batch norm
    return net


def normed_weights() -> nn.Module:
    conv = spectral_norm(nn.Conv2d(1, 4, 3))  # moves a buffer in every pass in training mode
    return nn.Sequential(conv, nn.ReLU(), weight_norm(nn.Conv2d(4, 4, 3)), nn.ReLU(), *_head(4))


def hooked() -> nn.Module:
    net = dropout_and_norm()
    conv, head = net[0], net[-1]

    def noisy(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        return output + 0.1 * torch.randn_like(output) + 0.1 * float(np.random.rand()) + 0.1 * random.random()

    conv.register_forward_hook(noisy)
    conv.register_forward_pre_hook(lambda _module, args: (args[0] * 1.01,))
    head.register_full_backward_hook(lambda _module, grads, _outputs: (grads[0] * 0.9,))
    head.weight.register_hook(lambda gradient: gradient * 1.1)
    return net


class _Noisy(nn.Module):
    """Draws from generators of its own, training or not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, CLASSES)
        self.generator, self.more = torch.Generator().manual_seed(8), {"numpy": np.random.default_rng(9)}

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x).relu().mean((2, 3))
        return self.head(h + torch.randn(h.shape, generator=self.generator) + float(self.more["numpy"].random()))


HARD: dict[str, Callable[[], nn.Module]] = {
    "dropout and norm": dropout_and_norm, "in place": in_place, "functional": _Functional, "shared": _Shared,
    "restless": _Restless, "frozen": frozen, "one part in eval": one_part_in_eval, "normed weights": normed_weights,
    "hooked": hooked, "noisy": _Noisy,
}  # fmt: skip


def seed_all(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def steps(net: nn.Module, batches: Iterable[Any], optimiser: torch.optim.Optimizer) -> None:
    """One epoch; every batch draws from torch's, numpy's and Python's generators. Gradients add up over two batches."""
    for number, (x, y) in enumerate(batches):
        noise = 0.1 * torch.randn_like(x) + 0.1 * float(np.random.rand()) + 0.1 * random.random()
        F.cross_entropy(net(x + noise), y).backward()
        if number % 2 == 0:
            optimiser.step()
            optimiser.zero_grad(set_to_none=number % 4 == 0)


def states() -> list[Any]:
    """All global random states."""
    return [torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()]
