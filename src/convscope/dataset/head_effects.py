"""Ablation right below a head that takes the mean of the maps and one linear layer: no pass a unit, a subtraction.

With w the head's weights and A the layer's maps (rectified first, where the network does so), unit k at v_k instead:

    logits' = logits - w_k (mean(A_k) - v_k)

That the head is so is not read off names: its logits must be those of the network (``network.head.linear_head``), and
the sweep compares the first sets of its first batch with what the network answers without them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.dataset.ablation_effects import Sets
from convscope.errors import ConvscopeError
from convscope.network.head import linear_head
from convscope.network.targets import Unit

_NEAR = {torch.float64: 1e-9, torch.float32: 1e-4}  # of the largest logit


@dataclass(frozen=True, eq=False)
class MeanHead:
    """The weights ``(classes, c)`` above the mean of a layer's maps, rectified first where ``rectified_input``."""

    weights: Float[Tensor, "classes c"]
    rectified_input: bool

    def without(
        self, before: Float[Tensor, "b classes"], maps: Float[Tensor, "b c h w"], units: list[int], values: list[float]
    ) -> Float[Tensor, "k b classes"]:
        """The logits with each of the units alone at its value."""
        put = torch.tensor(values, dtype=maps.dtype, device=maps.device)
        if self.rectified_input:
            maps, put = maps.relu(), put.relu()
        change = maps.mean((2, 3))[:, units] - put
        return before - change.T[:, :, None] * self.weights.T[units][:, None]


def mean_head(model: nn.Module, x: Tensor, layer: str) -> MeanHead | None:
    """The head above ``layer``; None where it is another kind."""
    try:
        head, activation, _ = linear_head(model, x, layer)
    except ConvscopeError:
        return None
    if head.rectified or activation.ndim != 4 or activation.dtype not in _NEAR:
        return None
    return MeanHead(head.weights, head.rectified_input)


def is_near(found: Tensor, expected: Tensor) -> bool:
    """Equal up to rounding, of the largest logit."""
    room = _NEAR.get(expected.dtype, 0.0) * expected.abs().max().clamp(min=1e-6)
    return bool((found - expected).abs().max() <= room)


def single_units(sets: Sets) -> list[Unit] | None:
    """The units, where each set is one whole unit; None where one is not."""
    alone = [units[0] for units in sets if len(units) == 1 and units[0].position is None]
    return alone if len(alone) == len(sets) else None
