r"""What fixes a training's numbers, besides the network and the data; and the rate of each step.

    constant   eta_t = eta
    cosine     eta_t = eta / 2 (1 + cos(pi t / T)),   t = 0 .. T - 1     (eq. 5, Loshchilov & Hutter 2017, one period)

T is the number of steps of the whole training, so that one that is broken off has to be gone on with by the same
recipe. Adam (Kingma & Ba 2015) and SGD with momentum 0.9 are torch's own; with a weight decay Adam is AdamW
(Loshchilov & Hutter 2019): for plain Adam the decay would be divided by the gradients' scale.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from convscope.errors import ConvscopeError, nearest
from convscope.network.headed import RATE_FACTOR
from convscope.seeds import seeded

OPTIMISERS = ("adam", "sgd")
RATES = ("cosine", "constant")
AUGMENTATIONS = ("none", "shifts", "shifts-and-flips")
MOMENTUM = 0.9
FACTOR = "factor"  # of a group of parameters: its rate is that many times the others'


@dataclass(frozen=True)
class Recipe:
    """``batch``: images a step; ``learning_rate``: eta; ``augment``: see ``augmentation``; ``threads``: of torch.

    A convolution's gradient is a sum that threads share: another number of them rounds otherwise.
    """

    epochs: int = 10
    batch: int = 32
    learning_rate: float = 1e-3
    seed: int = 0
    optimiser: str = "adam"
    rate: str = "cosine"
    weight_decay: float = 0.0
    augment: str = "none"
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "threads"):
            if getattr(self, name) < 1:
                raise ConvscopeError(f"{name}={getattr(self, name)}: a training has 1 or more")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ConvscopeError(f"a learning rate is a number above 0, not {self.learning_rate:g}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ConvscopeError(f"a weight decay is 0 or more, not {self.weight_decay:g}")
        _one_of("optimiser", self.optimiser, OPTIMISERS)
        _one_of("rate", self.rate, RATES)
        _one_of("augmentation", self.augment, AUGMENTATIONS)
        seeded(self.seed)  # refuses what is no seed

    def settings(self) -> dict[str, Any]:
        """Name -> value, as JSON takes them."""
        return asdict(self)

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of step 0 .. ``steps`` - 1."""
        if self.rate == "constant":
            return self.learning_rate
        return self.learning_rate / 2 * (1 + math.cos(math.pi * step / steps))

    def optimiser_of(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Over those parameters that learn; one with a ``rate_factor`` takes steps of so many times the others'.

        Raises:
            ConvscopeError: none does.
        """
        learning = self._groups([each for each in parameters if each.requires_grad])
        if not learning:
            raise ConvscopeError("nothing in the network can learn: no parameter requires a gradient")
        if self.optimiser == "sgd":
            return torch.optim.SGD(learning, self.learning_rate, momentum=MOMENTUM, weight_decay=self.weight_decay)
        kind = torch.optim.AdamW if self.weight_decay else torch.optim.Adam
        return kind(learning, self.learning_rate, weight_decay=self.weight_decay)

    def _groups(self, learning: Sequence[nn.Parameter]) -> list[dict[str, Any]]:
        """One a factor. SGD's step has it twice: the gradient has it once already (``HeadedNet.scale_to``)."""
        power = 2 if self.optimiser == "sgd" else 1
        factors = [float(getattr(each, RATE_FACTOR, 1.0)) ** power for each in learning]
        return [
            {
                "params": [each for each, own in zip(learning, factors, strict=True) if own == factor],
                FACTOR: factor,
                "weight_decay": self.weight_decay / factor,  # the optimiser multiplies it by the rate
            }
            for factor in dict.fromkeys(factors)
        ]


def _one_of(what: str, given: str, possible: tuple[str, ...]) -> None:
    if given not in possible:
        raise ConvscopeError(f"no {what} {given!r}{nearest(given, possible)}; there are {', '.join(possible)}")
