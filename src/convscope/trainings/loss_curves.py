"""Is it learning, and does it learn by heart? Loss and accuracy of each split over the epochs.

Loss is the mean cross-entropy, accuracy the share of right answers, both measured after the epoch, in evaluation mode,
on the samples that the probe took once. A held-out loss that rises while the loss on the training images falls is
overfitting; the epoch of the lowest held-out loss is marked. Chance is the share of the largest class.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render import frame
from convscope.render.epoch_curves import EpochLine, epoch_curves
from convscope.render.tile import row_of
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.trainings.training_run import Scores, TrainingRun
from convscope.wording import percent

_LOG_FROM, _GAP_PX = 8.0, 48  # largest over smallest loss; pixels between the charts


@dataclass(frozen=True, eq=False)
class LossCurves(Shown):
    """``history`` an epoch each; ``judged_by`` is the split whose lowest loss is marked, ``chance`` its largest class.

    ``images`` are how many of each split the probe looked at, ``all_images`` how many there are, where that is known;
    ``is_annealed``: the learning rate falls to nothing.
    """

    name: str
    history: tuple[Scores, ...] = field(repr=False)
    splits: tuple[str, ...]
    judged_by: str
    images: Mapping[str, int]
    chance: float | None
    lacking: str
    stamp: Stamp = field(repr=False)
    is_annealed: bool = False
    all_images: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def best_epoch(self) -> int | None:
        """Of the lowest loss on ``judged_by``, the first of equals; None where no loss is a number."""
        known = [s for s in self.history if math.isfinite(s.losses[self.judged_by])]
        return min(known, key=lambda s: s.losses[self.judged_by]).epoch if known else None

    @property
    def title(self) -> str:
        """``97.8% of held out answered rightly after 20 epochs``."""
        last = self.history[-1]
        share = last.accuracies[self.judged_by]
        said = percent(share) if math.isfinite(share) else "No known share"
        return f"{said} of the {self.judged_by} images answered rightly after epoch {last.epoch}"

    def picture(self) -> Image.Image:
        """Loss and accuracy side by side."""
        charts = [chart for chart in (self._losses(), self._accuracies()) if chart is not None]
        return frame.page(
            row_of(*charts, gap_px=_GAP_PX), title=self.title, subtitle=self._subtitle, footer=self.stamp.line()
        )

    @property
    def _subtitle(self) -> str:
        images = ", ".join(f"{self._counted(split)} {split}" for split in self.images)
        said = f"{self.name}: mean cross-entropy and share of right answers after each epoch ({images} images)"
        return f"{said} · {self.lacking}" if self.lacking else said

    def _counted(self, split: str) -> str:
        """``445``, and of a sample ``512 of 1,352``."""
        seen = self.images[split]
        there = self.all_images.get(split, seen)
        return f"{seen:,}" if there == seen else f"{seen:,} of {there:,}"

    def _lines(self, what: str) -> list[EpochLine]:
        epochs = tuple(scores.epoch for scores in self.history)
        return [
            EpochLine(split, epochs, tuple(getattr(scores, what)[split] for scores in self.history))
            for split in self.splits[:4]
        ]

    def _losses(self) -> Image.Image | None:
        lines = self._lines("losses")
        known = [value for line in lines for value in line.values if math.isfinite(value)]
        if not known:
            return None
        log = min(known) > 0 and max(known) / min(known) >= _LOG_FROM
        what = "cross-entropy, logarithmic axis" if log else "cross-entropy"
        best = self.best_epoch
        marked = None if best is None or len(self.history) == 1 else (best, f"lowest {self.judged_by}: epoch {best}")
        return epoch_curves(lines, what=what, log=log, marked=marked)

    def _accuracies(self) -> Image.Image | None:
        lines = self._lines("accuracies")
        if not any(math.isfinite(value) for line in lines for value in line.values):
            return None
        level = None if self.chance is None else (self.chance, f"largest class {percent(self.chance)}")
        return epoch_curves(
            lines, what="right answers", limits=(0, 1.04), text=_share_text, level=level, log=False
        )  # fmt: skip

    def facts(self) -> Mapping[str, str]:
        """The last numbers of each split, and the best epoch."""
        last = self.history[-1]
        facts = {"training": self.title, "epochs": f"{len(self.history)} looked at, the last is {last.epoch}"}
        for split in self.splits:
            facts[split] = f"loss {last.losses[split]:.4g}, {percent(last.accuracies[split])} right"
        if self.best_epoch is not None:
            facts[f"lowest loss on {self.judged_by}"] = f"after epoch {self.best_epoch}"
        return facts | ({"not there": self.lacking} if self.lacking else {})

    def as_json(self) -> list[dict[str, Any]]:
        """An epoch each: its number, and the loss and accuracy of each split; null for what is no number."""
        return [
            {
                "epoch": scores.epoch,
                **{
                    split: {"loss": _json(scores.losses[split]), "accuracy": _json(scores.accuracies[split])}
                    for split in self.splits
                },
            }
            for scores in self.history
        ]

    def arrays(self) -> Mapping[str, np.ndarray]:
        """``epochs``, and ``(splits, epochs)`` of losses and accuracies."""
        numbers = {
            what: np.array([[getattr(scores, what)[split] for scores in self.history] for split in self.splits])
            for what in ("losses", "accuracies")
        }
        return {"epochs": np.array([s.epoch for s in self.history]), "splits": np.array(self.splits), **numbers}


def loss_curves(run: TrainingRun) -> LossCurves:
    """Loss and accuracy over the epochs.

    Raises:
        ConvscopeError: no snapshot has a loss or an accuracy that is a number.
    """
    numbers = [v for s in run.history for v in (*s.losses.values(), *s.accuracies.values())]
    if not any(math.isfinite(value) for value in numbers):
        raise ConvscopeError(f"{run.path.name} has no losses and no scores: its snapshots hold none")
    counts = run.last.splits[run.judged_by].confusion
    chance = float(counts.sum(1).max() / counts.sum()) if counts.sum() else None
    images = {name: split.images for name, split in run.last.splits.items()}
    annealed = run.training.settings.get("rate") == "cosine" and run.epochs[-1] >= run.training.epochs
    listed = run.training.data.get("splits", {})
    there = {name: listed[name]["images"] for name in images if listed.get(name, {}).get("images")}
    return LossCurves(
        run.name, run.history, run.splits, run.judged_by, images, chance, run.lacking(), run.stamp, annealed, there
    )  # fmt: skip


def _share_text(share: float) -> str:
    text = percent(share)
    return f"{share:.0%}" if text.endswith(".0%") else text


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None
