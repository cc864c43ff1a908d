"""Adam, written so that every position it was in can be kept and gone on from.

Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", arXiv:1412.6980, algorithm 1. With g the gradient of
what is to rise at update t = 1, 2, ...:

    m <- b1 m + (1 - b1) g,    v <- b2 v + (1 - b2) g^2,    p <- p + rate m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)

An update makes new tensors and writes into none: a ``Position`` of an earlier step stays what it was at no cost, and
lives as long as somebody holds it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.errors import ConvscopeError

FIRST, SECOND, EPSILON = 0.9, 0.999, 1e-8  # Kingma & Ba 2015, algorithm 1


@dataclass(frozen=True, eq=False)
class Position:
    """Where an ascent is after ``step`` updates: its parameters and, of each, m and v."""

    step: int
    parameters: tuple[Tensor, ...]
    means: tuple[Tensor, ...]
    squares: tuple[Tensor, ...]

    @classmethod
    def start(cls, parameters: Sequence[Tensor]) -> "Position":
        """Before the first update."""
        held = tuple(parameter.detach() for parameter in parameters)
        return cls(0, held, tuple(map(torch.zeros_like, held)), tuple(map(torch.zeros_like, held)))

    def risen(self, gradients: Sequence[Tensor], rate: int | float) -> "Position":
        """One step up."""
        step = self.step + 1
        means = [m.lerp(g, 1 - FIRST) for m, g in zip(self.means, gradients, strict=True)]
        squares = [
            torch.addcmul(SECOND * v, g, g, value=1 - SECOND) for v, g in zip(self.squares, gradients, strict=True)
        ]
        length, spread = rate / (1 - FIRST**step), math.sqrt(1 - SECOND**step)
        parameters = [
            p.addcdiv(m, v.sqrt().div_(spread).add_(EPSILON), value=length)
            for p, m, v in zip(self.parameters, means, squares, strict=True)
        ]
        return Position(step, tuple(parameters), tuple(means), tuple(squares))

    def state(self, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Flat and of tensors alone, as safetensors keeps them; ``generator`` as it is now."""
        state = {"step": torch.tensor(self.step)}
        for i, parts in enumerate(zip(self.parameters, self.means, self.squares, strict=True)):
            state |= dict(zip(_names(i), parts, strict=True))
        return state if generator is None else state | {"generator": generator.get_state()}


def _names(i: int) -> tuple[str, str, str]:
    return f"parameters.{i}", f"adam.mean.{i}", f"adam.square.{i}"


def position_of(state: Mapping[str, Tensor], parameters: Sequence[Tensor]) -> Position:
    """The position that ``Position.state`` kept, with the dtype and device of ``parameters``, which stay as they are.

    Raises:
        ConvscopeError: a state of other parameters than these, or of something else.
    """
    wanted = {name: tuple(p.shape) for i, p in enumerate(parameters) for name in _names(i)} | {"step": ()}
    found = {name: tuple(value.shape) for name, value in state.items() if name != "generator"}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            has, needs = (f"{name} of shape {s[name]}" if name in s else f"no {name}" for s in (found, wanted))
            raise ConvscopeError(f"the kept state is of another run: it has {has}, and this one has {needs}")
    parts = [
        [state[name].to(p, copy=True) for name in _names(i)] for i, p in enumerate(parameters)
    ]  # copied: the caller's state may be written into
    first, second, third = (tuple(part) for part in zip(*parts, strict=True))
    return Position(int(state["step"]), first, second, third)
