"""What a network loses over a data set with units of it off: streaming sums, a class and a set of units each.

With z the logits of an image, z' those without the units of a set, R the network's classes that are right for it, and
p, p' the softmax of both, the set costs

    accuracy        percentage points   100 (right answers before - right answers after) / images
    right logit     mean over images    log sum_R exp z - log sum_R exp z'        (z_r - z'_r for one right class)
    probability     mean over images    sum_R p - sum_R p'

all images together and the images of each class alone. An answer is right where the largest logit is one of R. Where
the data's labels say nothing of the network's classes, R is what the intact network answers: "accuracy" is then the
share of answers kept, 100 % before.

Pitfalls: of few images a class a point of accuracy is noise: the counts stand beside every share. Logits that are not
finite without the units count as a wrong answer, and are left out of the means (``finite`` counts those in them).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from convscope.network.targets import Unit

Sets = tuple[tuple[Unit, ...], ...]  # of units that are off together
_SUMMED = ("won", "changed", "finite", "logit_drop", "probability_drop")


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of the ``b`` images of a batch with each of ``k`` sets off; ``won``: right, and not before."""

    right: Bool[Tensor, "k b"]
    won: Bool[Tensor, "k b"]
    changed: Bool[Tensor, "k b"]
    finite: Bool[Tensor, "k b"]
    logit_drop: Float[Tensor, "k b"]
    probability_drop: Float[Tensor, "k b"]


def outcome(
    before: Float[Tensor, "b classes"], after: Float[Tensor, "k b classes"], is_right: Bool[Tensor, "b classes"]
) -> Outcome:
    """Of logits before and after, with the right classes of each image (at least one)."""
    answer, without = answers(before), answers(after)
    score, share = _right_scores(before, is_right)
    score_without, share_without = _right_scores(after, is_right.expand_as(after))
    finite = after.isfinite().all(-1)
    right = finite & is_right.expand_as(after).gather(-1, without[..., None])[..., 0]
    return Outcome(
        right,
        right & ~is_right.gather(1, answer[:, None])[:, 0],
        ~finite | (without != answer),
        finite,
        torch.where(finite, score - score_without, 0.0),
        torch.where(finite, share - share_without, 0.0),
    )


def answers(logits: Float[Tensor, "*b classes"]) -> Int[Tensor, "*b"]:
    """The number of the largest logit; NaN is none."""
    return logits.masked_fill(logits.isnan(), -torch.inf).argmax(-1)


def _right_scores(
    logits: Float[Tensor, "*b classes"], is_right: Bool[Tensor, "*b classes"]
) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
    """The log sum exp of the right logits, and their probabilities' sum; in float64, as differences are taken."""
    logits = logits.double()
    score = logits.masked_fill(~is_right, -torch.inf).logsumexp(-1)
    return score, (score - logits.logsumexp(-1)).exp()


@dataclass(frozen=True, eq=False)
class Effects:
    """What was counted, of ``c`` classes of images and ``k`` sets of units: sums over images.

    ``won``: answers that are right without the units and were not before; ``changed``: other answers than before.
    """

    images: Int[np.ndarray, " c"]
    right: Int[np.ndarray, " c"]
    right_without: Int[np.ndarray, "k c"]
    won: Int[np.ndarray, "k c"]
    changed: Int[np.ndarray, "k c"]
    finite: Int[np.ndarray, "k c"]
    logit_drop: Float[np.ndarray, "k c"]
    probability_drop: Float[np.ndarray, "k c"]

    @property
    def accuracy(self) -> float:
        """Of the intact network, 0 to 1; NaN of no image."""
        return float(share(self.right.sum(), self.images.sum()))

    @property
    def accuracy_by_class(self) -> Float[np.ndarray, " c"]:
        """Likewise; NaN for a class without an image."""
        return share(self.right, self.images)

    @property
    def lost(self) -> Float[np.ndarray, " k"]:
        """Percentage points of accuracy that each set costs; negative where the network is better without it."""
        return 100 * share(self.right.sum() - self.right_without.sum(1), self.images.sum())

    @property
    def lost_by_class(self) -> Float[np.ndarray, "k c"]:
        """Likewise of the images of each class; NaN for a class without an image."""
        return 100 * share(self.right - self.right_without, self.images)

    @property
    def wrong_now(self) -> Int[np.ndarray, "k c"]:
        """Answers that were right before and are not without the units: what is lost is these less ``won``."""
        return self.right - self.right_without + self.won

    @property
    def mean_logit_drop(self) -> Float[np.ndarray, " k"]:
        """Of the right logit, over all images."""
        return share(self.logit_drop.sum(1), self.finite.sum(1))

    @property
    def mean_probability_drop(self) -> Float[np.ndarray, " k"]:
        """Of the right classes' probability, over all images."""
        return share(self.probability_drop.sum(1), self.finite.sum(1))

    @property
    def mean_logit_drop_by_class(self) -> Float[np.ndarray, "k c"]:
        """Over the images of each class."""
        return share(self.logit_drop, self.finite)

    @property
    def mean_probability_drop_by_class(self) -> Float[np.ndarray, "k c"]:
        """Likewise."""
        return share(self.probability_drop, self.finite)

    def ranking(self) -> Int[np.ndarray, " k"]:
        """The sets, most costly first: by accuracy lost, then by the mean drop of the right logit, then by place."""
        logit = np.nan_to_num(self.mean_logit_drop)
        # rounded: an order among drops that differ by rounding only would change with the size of the batches
        return np.lexsort((np.arange(len(self.lost)), -np.round(logit, 6), -np.nan_to_num(self.lost)))


def share(part: np.ndarray | np.integer[Any], whole: np.ndarray | np.integer[Any]) -> np.ndarray:
    """Of a part in a whole, in float64; NaN where the whole is 0."""
    counted = np.asarray(whole, np.float64)
    return np.divide(part, counted, out=np.full(np.broadcast(part, counted).shape, np.nan), where=counted > 0)


class EffectSums:
    """Accumulator of :class:`Effects`: ``update`` a batch, ``merge``, ``compute``; tensors in between for a keeper."""

    def __init__(self, sets: int, classes: int) -> None:
        whole, real = np.int64, np.float64
        self.sums = Effects(
            np.zeros(classes, whole), np.zeros(classes, whole), *(np.zeros((sets, classes), whole) for _ in range(4)),
            *(np.zeros((sets, classes), real) for _ in range(2)),
        )  # fmt: skip

    def begin(self, labels: Int[np.ndarray, " b"], right: Bool[np.ndarray, " b"]) -> None:
        """Add the images of a batch as the intact network answers them; ``labels`` are their classes' numbers."""
        np.add.at(self.sums.images, labels, 1)
        np.add.at(self.sums.right, labels, right.astype(np.int64))

    def update(self, first: int, labels: Int[np.ndarray, " b"], found: Outcome) -> None:
        """Add the same images with the sets off that begin at number ``first``."""
        part = slice(first, first + len(found.right))
        found_of = {"right_without": found.right, **{name: getattr(found, name) for name in _SUMMED}}
        for name, values in found_of.items():
            sums = getattr(self.sums, name)
            np.add.at(sums[part].T, labels, values.cpu().numpy().T.astype(sums.dtype))

    def merge(self, other: "EffectSums") -> None:
        """Add another's sums; in a fixed order the same to the last bit."""
        for name, values in other.tensors().items():
            getattr(self.sums, name)[...] += values

    def tensors(self) -> dict[str, np.ndarray]:
        """All sums by name, not copied."""
        return {field.name: getattr(self.sums, field.name) for field in fields(Effects)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> "EffectSums":
        """What ``tensors`` gave."""
        sets, classes = tensors["changed"].shape
        made = cls(sets, classes)
        for name, values in made.tensors().items():
            values[...] = tensors[name]
        return made

    def compute(self) -> Effects:
        """The sums; they are not copied."""
        return self.sums
