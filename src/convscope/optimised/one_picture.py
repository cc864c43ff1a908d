"""One finished picture and what it reached; also as tensors, for a keeper."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from convscope.network.targets import Unit
from convscope.optimised.picture_targets import Kind, Target
from convscope.optimised.reached import Reached
from convscope.optimised.transparency import over_squares
from convscope.render.typography import number_text
from convscope.wording import percent

_PROBABILITIES = ("probability", "probability_shifted", "probability_turned")


@dataclass(frozen=True, eq=False)
class Picture:
    """One finished picture. ``score``: a unit's mean over its map, a neuron's value, a class's logit.

    ``moved_scores`` are those after a small shift and a small turn; ``peak`` the largest value on a unit's map;
    ``probabilities`` and ``odds`` (log p / (1 - p)) those of a class as it is, shifted, turned. ``dead``: it never
    fired, at no step. ``alpha (1, h, w)``: how opaque, where the recipe has that; it is read on mid-grey then.
    """

    name: str
    kind: Kind
    values: Float[Tensor, "c h w"]
    score: float
    moved_scores: tuple[float, float]
    peak: float | None = None
    probabilities: tuple[float, float, float] | None = None
    odds: tuple[float, float, float] | None = None
    unit: Unit | None = None
    dead: bool = False
    alpha: Float[Tensor, "1 h w"] | None = None

    @property
    def shown(self) -> Float[Tensor, "c h w"]:
        """What is drawn: the values, with alpha on squares that show where there is nothing."""
        return over_squares(self.values[None], None if self.alpha is None else self.alpha[None])[0]

    @property
    def steadiness(self) -> float:
        """What is left after a shift and after a turn, the smaller: a class's log odds, else the score."""
        return min(self.moved_scores) if self.odds is None else min(self.odds[1:])

    @property
    def reached(self) -> str:
        """``12.3, peak 48``, or of a class ``99.2%, logit 31.4``."""
        if self.dead:
            return "never fires"
        if self.probabilities is not None:
            return f"{percent(self.probabilities[0])}, logit {number_text(self.score)}"
        return f"{number_text(self.score)}" + (
            f", peak {number_text(self.peak)}" if self.kind == "unit" and self.peak is not None else ""
        )

    def as_json(self, strongest: Mapping[str, float]) -> dict[str, Any]:
        """Without the picture."""
        said: dict[str, Any] = {"name": self.name, "kind": self.kind, "score": self.score, "dead": self.dead}
        said["score_shifted"], said["score_turned"] = self.moved_scores
        if self.peak is not None:
            said["peak"] = self.peak
        if self.probabilities is not None:
            said |= dict(zip(_PROBABILITIES, self.probabilities, strict=True))
        if (share := self.share_of(strongest)) is not None:
            said["share_of_strongest"] = share
        return said

    def share_of(self, strongest: Mapping[str, float]) -> float | None:
        """The peak over the strongest activation in real data; None where that is not known or not above 0."""
        unit = self.name if self.unit is None else f"{self.unit.layer}:{self.unit.unit}"
        known = strongest.get(unit, 0.0)
        return self.peak / known if known > 0 and self.peak is not None else None


def picture_of_batch(
    target: Target, values: Tensor, found: Reached, i: int, fired: bool, alpha: Tensor | None
) -> Picture:
    """The i-th of a batch. ``fired``: the target gave something else than 0 at some step."""
    score, *moved = found.scores[i].tolist()
    probabilities, odds = found.probabilities[i].tolist(), found.odds[i].tolist()
    peak = float(found.peaks[i])
    is_class, is_unit = target.index is not None, target.unit is not None
    return Picture(
        target.name, target.kind, values, score, (moved[0], moved[1]),
        unit=target.unit,
        peak=peak if is_unit else None,
        probabilities=(probabilities[0], probabilities[1], probabilities[2]) if is_class else None,
        odds=(odds[0], odds[1], odds[2]) if is_class else None,
        dead=not fired and score == 0 and not (is_unit and peak != 0), alpha=alpha,
    )  # fmt: skip


def tensors_of(picture: Picture) -> dict[str, Tensor]:
    """For a keeper."""
    nan3 = (torch.nan,) * 3
    tensors = {"values": picture.values, "scores": torch.tensor([picture.score, *picture.moved_scores])}
    tensors["peak"] = torch.tensor(torch.nan if picture.peak is None else picture.peak)
    tensors["probabilities"] = torch.tensor(picture.probabilities or nan3)
    tensors["odds"], tensors["dead"] = torch.tensor(picture.odds or nan3), torch.tensor(picture.dead)
    return tensors | ({} if picture.alpha is None else {"alpha": picture.alpha})


def from_tensors(target: Target, kept: Mapping[str, Tensor]) -> Picture:
    """As it was kept."""
    found = Reached(kept["scores"][None], kept["peak"][None], kept["probabilities"][None], kept["odds"][None])
    made = picture_of_batch(target, kept["values"], found, 0, True, kept.get("alpha"))
    return replace(made, dead=bool(kept["dead"]))
