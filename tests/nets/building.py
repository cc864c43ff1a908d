"""How a hard net is built: seeded, in the asked dtype, in eval mode, watched; and the images it takes."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.untouched import watch

CLASSES = 5
SIDE = 12


def images(b: int = 2, c: int = 3, h: int = SIDE, w: int = SIDE, *, seed: int = 0, dtype=torch.float64) -> Tensor:
    """Standard normal pixels ``(b, c, h, w)``; the global random state stays as it is."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(b, c, h, w, generator=generator, dtype=torch.float64).to(dtype)


def hard_net(factory: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Seeded, in the asked dtype, in eval mode (unless the factory says train), watched."""

    @functools.wraps(factory)
    def build(*args: Any, seed: int = 0, dtype: torch.dtype = torch.float64, **options: Any) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = factory(*args, **options).to(dtype)
        return watch(net.train(options.get("train", False)))

    return build


def mean_and_linear(channels: int, *, bias: bool = True) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES, bias=bias)]
