"""Where the optimisation of a canvas starts: drawn at random or from given pictures, and what is refused.

Every random start is drawn in float32 on the generator's device, picture by picture, the opacity after the picture's
own numbers: the n-th start does not depend on the size of the batch, and the same seed gives the same start whatever
the dtype and the device of the parameters.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.errors import ConvscopeError

Draw = Callable[[], Tensor]
"""Draws the numbers of one picture, without a batch axis."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What canvases of every kind are made on: ``size`` is (b, c, h, w)."""

    size: tuple[int, int, int, int]
    generator: torch.Generator
    decorrelated: bool
    alpha: bool
    own_starts: bool
    start: Tensor | None  # (1 or b, c, h, w) in float64
    device: torch.device | str
    dtype: torch.dtype

    @property
    def like(self) -> Tensor:
        """An empty tensor of the parameters' dtype and device."""
        return torch.empty(0, dtype=self.dtype, device=self.device)

    def normal(self, *shape: int, sd: float) -> Draw:
        """Draws from N(0, sd^2)."""
        made, device = self.generator, self.generator.device
        return lambda: sd * torch.randn(shape, generator=made, device=device, dtype=torch.float32)

    def angles(self, *shape: int) -> Draw:
        """Draws uniformly from a full turn, -pi to pi."""
        made, device = self.generator, self.generator.device
        return lambda: math.pi * (2 * torch.rand(shape, generator=made, device=device, dtype=torch.float32) - 1)


def ground(
    size: tuple[int, int, int, int],
    *,
    generator: torch.Generator,
    decorrelated: bool | None,
    alpha: bool,
    own_starts: bool,
    start: Tensor | None,
    device: torch.device | str,
    dtype: torch.dtype,
) -> Ground:
    """Checked; ``decorrelated=None`` is yes for three channels, and no for others.

    Raises:
        ConvscopeError: a size below 1, a start of another shape or out of [0, 1], channels that cannot be decorrelated.
    """
    for name, value in zip(("b", "c", "h", "w"), size, strict=True):
        if value < 1:
            raise ConvscopeError(f"{name}={value}: a canvas of (b, c, h, w) = {size} has no pixels")
    if decorrelated and size[1] != 3:
        raise ConvscopeError(f"decorrelated=True with {size[1]} channels: only red, green and blue are decorrelated")
    if dtype not in (torch.float32, torch.float64):
        raise ConvscopeError(f"dtype={dtype}: the parameters are float32 or float64; the network may be of another")
    with torch.inference_mode(False), torch.no_grad():
        given = None if start is None else _checked_start(start, size)
    basis = size[1] == 3 if decorrelated is None else decorrelated
    return Ground(size, generator, basis, alpha, own_starts, given, device, dtype)


def _checked_start(start: Tensor, size: tuple[int, int, int, int]) -> Tensor:
    if start.ndim != 4 or start.shape[0] not in (1, size[0]) or tuple(start.shape[1:]) != size[1:]:
        one = (1, *size[1:])
        raise ConvscopeError(f"start of shape {tuple(start.shape)}: give one picture, {one}, or one for each, {size}")
    given = start.detach().to(device="cpu", dtype=torch.float64, copy=True)
    low, high = float(given.min()), float(given.max())
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise ConvscopeError(f"start has values from {low:.4g} to {high:.4g}: a picture's are from 0 to 1")
    return given


def leaves(on: Ground, given: Tensor | None, draws: Sequence[Draw]) -> list[Tensor]:
    """A parameter for each of ``draws``, with the batch in front; ``given`` in place of what the first would draw."""
    with torch.inference_mode(False), torch.no_grad():  # parameters outlive an inference mode around this
        drawn = draws if given is None else draws[1:]
        rounds = [[draw() for draw in drawn] for _ in range(on.size[0] if on.own_starts else 1)]
        starts = [torch.stack(ones) for ones in zip(*rounds, strict=True)]
        if given is not None:
            starts.insert(0, given)
        batches = [one.to(on.device, on.dtype).expand(on.size[0], *one.shape[1:]) for one in starts]
        return [one.clone(memory_format=torch.contiguous_format).requires_grad_() for one in batches]


def check_sd(sd: float) -> None:
    """Refuses what is no standard deviation."""
    if not (math.isfinite(sd) and sd >= 0):
        raise ConvscopeError(f"sd={sd}: a standard deviation is a number from 0 on")
