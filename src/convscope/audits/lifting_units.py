"""Which units lift the wrong class: what each unit gives to the logit that won, less what it gives to the right one.

With S the logits, p the class that was answered, e the one expected, and S^-k the logits with unit k of the layer at
zero, all others as they are:

    c_k = (S_p - S_e) - (S_p^-k - S_e^-k)

Right below a head that takes the mean of the maps A_k and one linear layer (weights w, bias b) this is read off it,

    c_k = (w_pk - w_ek) mean(A_k),      sum_k c_k = (S_p - S_e) - (b_p - b_e),

so that the units share the whole error out among themselves. Elsewhere it is measured by ablation, a pass a unit, and
need not add up. For a confusion e -> p the c_k are means over its images; beside them stand the means over images of
the same label that were answered rightly: a unit that gives p as much there is not the reason.

Pitfall: the units of the last map only. What made them speak lies below (``convscope unit``, ``convscope survey``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from convscope.answers import input_logits
from convscope.attribution.unit_ablation import effect_of_each
from convscope.audits.answered import Answered, Judged
from convscope.dataset.head_effects import mean_head
from convscope.dataset.image_sources import ImageSource
from convscope.errors import ConvscopeError
from convscope.network.loading import Network

CONFUSIONS, UNITS = 6, 4  # shown
MOST_READ, MOST_ABLATED = 50, 4  # images of a confusion: where the head is read off, and where a unit is a pass


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
    """Asks one network and layer; ``is_read_off``: whether the units' parts are read off the head."""

    def __init__(self, net: Network, source: ImageSource, layer: str, batch: int, example: Tensor) -> None:
        self.net, self.source, self.layer, self.batch = net, source, layer, batch
        self.is_read_off = mean_head(net.module, example, layer) is not None

    @property
    def most(self) -> int:
        """Images of a confusion that are looked at."""
        return MOST_READ if self.is_read_off else MOST_ABLATED

    def of(
        self, images: Sequence[Judged], predicted: int | None = None
    ) -> tuple[Float[np.ndarray, "images units"], Float[np.ndarray, " images"]]:
        """c_k of each image, and S_p - S_e; ``predicted``: p, if not the answer. Unreadable ones are left out."""
        found: list[Float[np.ndarray, " units"]] = []
        margins: list[float] = []
        for one in images:
            try:
                x = self.net.input_of(self.source.read(one.name).image)
                logits = input_logits(self.net, x)
                without = effect_of_each(self.net.module, x, self.layer, batch=self.batch).float().cpu()
            except ConvscopeError:  # it was readable a moment ago: the others tell as much
                continue
            called = one.predicted if predicted is None else predicted
            found.append(lifts(logits, without, [called], [one.expected])[0].double().numpy())
            margins.append(float(logits[0, called] - logits[0, one.expected]))
        return np.stack(found) if found else np.zeros((0, 0)), np.array(margins)

    def strongest(self, one: Judged, most: int = 3) -> tuple[tuple[str, float], ...]:
        """The units that lift the wrong class most on one image; () where that takes a pass a unit."""
        if not self.is_read_off:
            return ()
        found, _ = self.of([one])
        if not len(found):
            return ()
        best = np.argsort(-found[0], kind="stable")[:most]
        return tuple((f"{self.layer}:{unit}", float(found[0, unit])) for unit in best.tolist() if found[0, unit] > 0)


def confusions(answers: Answered, lifting: Lifting, *, most: int = CONFUSIONS, units: int = UNITS) -> list[Confusion]:
    """The most frequent ones of two images or more, the first of equals by name; if there is none, the first."""
    rights, table = answers.labels.right, answers.table
    wrong = [(pair, n) for pair, n in table.confusion.items() if rights[pair[0]] and pair[1] not in rights[pair[0]]]
    wrong.sort(key=lambda each: (-each[1], each[0]))
    often = [each for each in wrong if each[1] > 1] or wrong[:1]
    return [_confusion(answers, lifting, *pair, count, units) for pair, count in often[:most]]


def _confusion(answers: Answered, lifting: Lifting, label: int, called: int, count: int, units: int) -> Confusion:
    most = lifting.most
    own = [each for each in answers.errors if (each.label, each.predicted) == (label, called)][:most]
    right = [each for each in answers.images if each.label == label and each.is_right][:most]
    (lift, margins), (usual, _) = lifting.of(own), lifting.of(right, called)
    mean = lift.mean(0) if len(lift) else np.zeros(0)
    compared = usual.mean(0) if len(usual) else np.full(len(mean), np.nan)
    best = np.argsort(-mean, kind="stable")[:units].tolist()
    found = tuple(LiftingUnit(f"{lifting.layer}:{k}", float(mean[k]), float(compared[k])) for k in best)
    judged = answers.table.classes[label].judged
    margin = float(margins.mean()) if len(margins) else float("nan")
    name, answer = answers.labels.classes[label], lifting.net.class_name(called)
    return Confusion(name, answer, count, count / judged, len(lift), margin, found)
