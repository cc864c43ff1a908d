"""What finished pictures reach, as they are and after a small shift and a small turn.

A picture that was made to please a network may please it at one exact place only. Scores, and the probabilities of
classes, are therefore read three times (``synthesis.steadiness``). A unit's peak is the largest value on its map.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.network.evaluation import evaluation
from convscope.network.layers import copied, run_model
from convscope.network.passes import outputs_of, raw
from convscope.network.targets import class_logits
from convscope.optimised.picture_targets import Target
from convscope.synthesis.objectives import Objective, each, evaluate, logit, units
from convscope.synthesis.steadiness import steady


@dataclass(frozen=True, eq=False)
class Reached:
    """Of a batch of pictures. Columns: as it is, shifted, turned; NaN where there is none.

    ``odds`` is log p / (1 - p) of classes: it still tells apart what rounds to a probability of 1.
    """

    scores: Float[Tensor, "b 3"]
    peaks: Float[Tensor, " b"]
    probabilities: Float[Tensor, "b 3"]
    odds: Float[Tensor, "b 3"]


def together(targets: Sequence[Target]) -> Objective:
    """One objective for a batch: each image its own target's."""
    if all(one.unit is not None for one in targets):
        return units([str(one.unit) for one in targets])
    if all(one.index is not None for one in targets):
        return logit([one.index for one in targets if one.index is not None])
    return each([one.objective for one in targets])


def reached(
    model: nn.Module, targets: Sequence[Target], images: Float[Tensor, "b c h w"], to_input: Callable[[Tensor], Tensor]
) -> Reached:
    """Scores, peaks and probabilities of finished pictures, one of each target."""
    objective, blank = together(targets), torch.full((len(targets), 3), torch.nan)
    scores, probabilities, odds = blank.clone(), blank.clone(), blank.clone()
    classes = [i for i, one in enumerate(targets) if one.index is not None]
    numbers = [one.index for one in targets if one.index is not None]
    with torch.no_grad():
        for column, moved in enumerate(steady(images).values()):
            x = to_input(moved)
            scores[:, column] = raw(evaluate(model, objective, x)).cpu()
            if classes:
                p, log_odds = _of_classes(model, x, classes, numbers)
                probabilities[classes, column], odds[classes, column] = p, log_odds
    return Reached(scores, _peaks(model, targets, to_input(images)), probabilities, odds)


def _of_classes(model: nn.Module, x: Tensor, images: list[int], classes: list[int]) -> tuple[Tensor, Tensor]:
    with evaluation(model), torch.no_grad():
        logits = class_logits(run_model(model, copied(x)))[images].double().cpu()
    own = logits.gather(1, torch.tensor(classes)[:, None])[:, 0]
    others = logits.scatter(1, torch.tensor(classes)[:, None], -torch.inf).logsumexp(1)
    return torch.sigmoid(own - others).float(), (own - others).float()


def _peaks(model: nn.Module, targets: Sequence[Target], x: Tensor) -> Float[Tensor, " b"]:
    """The largest value on the map of each unit, and of each neuron its own."""
    peaks = torch.full((len(targets),), torch.nan)
    layers = dict.fromkeys(one.unit.layer for one in targets if one.unit is not None)
    if not layers:
        return peaks
    seen = outputs_of(model, x, *layers)
    for i, one in enumerate(targets):
        if one.unit is not None:
            values = raw(seen[one.unit.layer])[i, one.unit.unit]
            peaks[i] = float(values.max() if one.unit.position is None else values[one.unit.position])
    return peaks
