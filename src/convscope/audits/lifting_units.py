"""Which units lift the wrong class: what each unit gives to the logit that won, less what it gives to the right one.

With S the logits, p the class that was answered, e the one expected, and S^-k the logits with unit k of the layer at
zero, all others as they are:

    c_k = (S_p - S_e) - (S_p^-k - S_e^-k)

Right below a head that takes the mean of the maps A_k and one linear layer (weights w, bias b) this is read off it,

    c_k = (w_pk - w_ek) mean(A_k),      sum_k c_k = (S_p - S_e) - (b_p - b_e),

so that the units share the whole error out among themselves. Elsewhere it is measured by ablation and need not add up.
Where that takes a pass a unit, only those are switched off whose c_k is largest to first order,

    c_k ~ sum_yx d(S_p - S_e)/dA_kyx A_kyx                                                     (``unit_importance``).

For a confusion e -> p the c_k are means over its images; beside them stand the means over images of the same label that
were answered rightly: a unit that gives p as much there is not the reason. Of many images some are looked at, at equal
steps of their order, so that they are not the worst ones alone.

Pitfalls: the units of the last map only. What made them speak lies below (``convscope unit``, ``convscope survey``).
Units that back each other up show little one at a time, and may be missed by the first order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from convscope.answers import input_logits
from convscope.attribution.important_units import unit_importance
from convscope.attribution.unit_ablation import effect_of_each
from convscope.audits.answered import Answered, Judged
from convscope.dataset.head_effects import mean_head
from convscope.dataset.image_sources import ImageSource
from convscope.errors import ConvscopeError
from convscope.network.head import linear_head
from convscope.network.loading import Network
from convscope.network.targets import class_logits

CONFUSIONS, UNITS = 6, 4  # shown
MOST_READ, MOST_ABLATED = 50, 8  # images of a confusion: where the head is read off, and where a unit is a pass
CANDIDATES = 12  # units that are switched off one by one, where a unit is a pass


@dataclass(frozen=True)
class LiftingUnit:
    """``lift`` is the mean c_k over the confused images, ``usual`` over those answered rightly (NaN without any)."""

    unit: str
    lift: float
    usual: float


@dataclass(frozen=True)
class Confusion:
    """``images`` of data class ``label`` that were called ``called``; ``share`` of the label's judged images.

    ``margin`` is the mean S_p - S_e over the ``looked_at`` of them.
    """

    label: str
    called: str
    images: int
    share: float
    looked_at: int
    margin: float
    units: tuple[LiftingUnit, ...]


def lifts(
    logits: Float[Tensor, "b classes"],
    without: Float[Tensor, "b units classes"],
    predicted: Sequence[int],
    expected: Sequence[int],
) -> Float[Tensor, "b units"]:
    """c_k of each image and unit, of the image's own two classes."""
    rows = torch.arange(len(logits))
    p, e = torch.tensor(list(predicted)), torch.tensor(list(expected))
    margin = logits[rows, p] - logits[rows, e]
    return margin[:, None] - (without[rows, :, p] - without[rows, :, e])


class Lifting:
    """Asks one network and layer; ``is_read_off``: whether the units' parts are read off the head and add up.

    ``is_quick``: whether all units are known without a pass a unit; else the ``CANDIDATES`` are switched off.
    """

    def __init__(self, net: Network, source: ImageSource, layer: str, batch: int, example: Tensor) -> None:
        self.net, self.source, self.layer, self.batch = net, source, layer, batch
        self.is_read_off = mean_head(net.module, example, layer) is not None
        self.is_quick = self.is_read_off or _is_linear(net, example, layer)

    @property
    def by(self) -> str:
        """How the c_k come about, in a few words."""
        if self.is_read_off:
            return "read off the head"
        if self.is_quick:
            return "ablation of each unit"
        return f"ablation of the {CANDIDATES} units that a gradient puts first"

    def some(self, images: Sequence[Judged]) -> list[Judged]:
        """Those that are looked at, at equal steps."""
        most = min(len(images), MOST_READ if self.is_quick else MOST_ABLATED)
        return [images[place * len(images) // most] for place in range(most)]

    def candidates(self, images: Sequence[Judged]) -> list[int] | None:
        """The units to be asked: those of the largest c_k to first order; None is all."""
        if self.is_quick:
            return None
        found: list[Float[np.ndarray, " units"]] = []
        for one in images:
            try:
                x = self.net.input_of(self.source.read(one.name).image)
                margin = partial(_margin, predicted=one.predicted, expected=one.expected)
                found.append(unit_importance(self.net.module, x, target=margin, layer=self.layer)[0].cpu().numpy())
            except ConvscopeError:  # no photo any more, or no gradient: then all are asked
                continue
        return np.argsort(-np.mean(found, 0), kind="stable")[:CANDIDATES].tolist() if found else None

    def of(
        self, images: Sequence[Judged], predicted: int | None = None, units: Sequence[int] | None = None
    ) -> tuple[Float[np.ndarray, "images units"], Float[np.ndarray, " images"]]:
        """c_k of each image and of these units, or of all, and S_p - S_e; ``predicted``: p, if not the answer.

        Images that cannot be read any more are left out.
        """
        found: list[Float[np.ndarray, " units"]] = []
        margins: list[float] = []
        for one in images:
            try:
                x = self.net.input_of(self.source.read(one.name).image)
                logits = input_logits(self.net, x)
                without = effect_of_each(self.net.module, x, self.layer, units=units, batch=self.batch).float().cpu()
            except ConvscopeError:  # it was readable a moment ago: the others tell as much
                continue
            called = one.predicted if predicted is None else predicted
            found.append(lifts(logits, without, [called], [one.expected])[0].double().numpy())
            margins.append(float(logits[0, called] - logits[0, one.expected]))
        return np.stack(found) if found else np.zeros((0, 0)), np.array(margins)

    def strongest(self, one: Judged, most: int = 3) -> tuple[tuple[str, float], ...]:
        """The units that lift the wrong class most on one image."""
        asked = self.candidates([one])
        found, _ = self.of([one], units=asked)
        if not len(found):
            return ()
        best = np.argsort(-found[0], kind="stable")[:most].tolist()
        return tuple((self.name_of(at, asked), float(found[0, at])) for at in best if found[0, at] > 0)

    def name_of(self, place: int, asked: Sequence[int] | None) -> str:
        """``layer4:447``, of a unit by its place among those that were asked."""
        return f"{self.layer}:{place if asked is None else asked[place]}"


def _is_linear(net: Network, example: Tensor, layer: str) -> bool:
    try:
        linear_head(net.module, example, layer)
    except ConvscopeError:
        return False
    return True


def _margin(output: object, *, predicted: int, expected: int) -> Float[Tensor, " b"]:
    logits = class_logits(output)
    return logits[:, predicted] - logits[:, expected]


def confusions(
    answers: Answered,
    lifting: Lifting,
    *,
    most: int = CONFUSIONS,
    units: int = UNITS,
    on_step: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Confusion]:
    """The most frequent ones of two images or more, the first of equals by name; if there is none, the first."""
    rights, table = answers.labels.right, answers.table
    wrong = [(pair, n) for pair, n in table.confusion.items() if rights[pair[0]] and pair[1] not in rights[pair[0]]]
    wrong.sort(key=lambda each: (-each[1], each[0]))
    often = ([each for each in wrong if each[1] > 1] or wrong[:1])[:most]
    found: list[Confusion] = []
    for pair, count in often:
        found.append(_confusion(answers, lifting, *pair, count, units))
        on_step(len(found), len(often))
    return found


def _confusion(answers: Answered, lifting: Lifting, label: int, called: int, count: int, units: int) -> Confusion:
    own = lifting.some([each for each in answers.errors if (each.label, each.predicted) == (label, called)])
    right = lifting.some([each for each in answers.images if each.label == label and each.is_right])
    asked = lifting.candidates(own)
    lift, margins = lifting.of(own, units=asked)
    mean = lift.mean(0) if len(lift) else np.zeros(0)
    best = [place for place in np.argsort(-mean, kind="stable")[:units].tolist() if mean[place] > 0]
    usual, _ = lifting.of(right, called, best if asked is None else [asked[place] for place in best])
    compared = usual.mean(0) if len(usual) else np.full(len(best), np.nan)
    found = tuple(
        LiftingUnit(lifting.name_of(place, asked), float(mean[place]), float(other))
        for place, other in zip(best, compared, strict=True)
    )
    judged = answers.table.classes[label].judged
    margin = float(margins.mean()) if len(margins) else float("nan")
    name, answer = answers.labels.classes[label], lifting.net.class_name(called)
    return Confusion(name, answer, count, count / judged, len(lift), margin, found)
