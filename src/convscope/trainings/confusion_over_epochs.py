"""Which classes are mixed up, and since when: the confusion matrix epoch after epoch.

Three matrices, of the first, a middle and the last epoch, on one scale; below them a row a class (how much of it is
right) and a row a mistake (how much of the class is answered so), a column an epoch. Of n_ij images of class i that
were answered with j,

    accuracy of i = n_ii / n_i,      share of mistake i -> j = n_ij / n_i.

The mistakes' colour ends at the largest share of the later half of the epochs, since in the first epoch a network often
answers everything with one class, and nothing could be told apart beside that; what is more is drawn as the end, and
the bar says so. The rows' mistakes are those of the last epoch, the most frequent first, then those that came and went.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from convscope.atlases.confusions import MOST_CLASSES, most_mistaken
from convscope.errors import ConvscopeError
from convscope.render import frame
from convscope.render.confusion import cell_colours, confusion_matrix, matrix_legend
from convscope.render.epoch_strips import epoch_strips
from convscope.render.tile import column_of, row_of
from convscope.render.typography import Type, font, text_block
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.trainings.training_run import TrainingRun, split_asked
from convscope.wording import percent

MOST_LETTERS = 34  # of both names of a mistake's row
MOST_MISTAKES, LEAST_END = 16, 0.1  # rows; share at which the mistakes' colour ends at the earliest
_CAPTION, _GAP_PX, _WIDTH = Type(12.5, bold=True), 56, 380  # pixels between the parts; points of a strip
FRAMES = 60  # of a film, at most


@dataclass(frozen=True, eq=False)
class ConfusionOverEpochs(Shown):
    """``counts (epochs, classes, classes)``: a row what an image is, a column what it was called."""

    name: str
    split: str
    classes: tuple[str, ...]
    epochs: tuple[int, ...]
    counts: Int[np.ndarray, "epochs classes answers"] = field(repr=False)
    lacking: str
    stamp: Stamp = field(repr=False)

    @property
    def accuracies(self) -> Float[np.ndarray, "epochs classes"]:
        """Of each class after each epoch; NaN for a class without images."""
        return self._shares.diagonal(0, 1, 2)

    @property
    def mistakes(self) -> tuple[tuple[int, int], ...]:
        """(is, answered), the most frequent of the last epoch first; then those of the epochs before."""
        wrong = np.where(np.eye(len(self.classes), dtype=bool), 0, self.counts)
        late = wrong[len(wrong) // 2 :].sum(0)
        order = np.lexsort((-late.ravel(), -wrong[-1].ravel()))
        kept = [place for place in order.tolist() if late.ravel()[place]][:MOST_MISTAKES]
        return tuple(divmod(place, len(self.classes)) for place in kept)

    def since(self, mistake: tuple[int, int]) -> int | None:
        """The epoch from which on the mistake was made after every epoch; None: not after the last."""
        made = self.counts[:, mistake[0], mistake[1]] > 0
        if not made[-1]:
            return None
        gaps = np.nonzero(~made)[0]
        return self.epochs[int(gaps[-1]) + 1 if len(gaps) else 0]

    def picture(self) -> Image.Image:
        """The three matrices, their bars, and the strips."""
        places = tuple(dict.fromkeys((0, (len(self.epochs) - 1) // 2, len(self.epochs) - 1)))
        matrices = row_of(*(self.matrix(place) for place in places), gap_px=_GAP_PX)
        parts = [matrices, matrix_legend(self._worst, is_clipped=self._is_clipped)]
        if len(self.epochs) > 1:
            parts.append(row_of(*self._strips(), gap_px=_GAP_PX))
        subtitle = f"{self.name}, {int(self.counts[-1].sum()):,} {self.split} images. " + self._subtitle
        body = column_of(*parts, gap_px=_GAP_PX // 2)
        return frame.page(body, title=self.title, subtitle=subtitle, footer=self.stamp.line())

    @property
    def title(self) -> str:
        """The most frequent mistake in words."""
        worst = next((m for m in self.mistakes if self.counts[-1][m]), None)
        if worst is None:
            return f"No class is mixed up after epoch {self.epochs[-1]}"
        if self.counts[-1][worst] == 1:  # one image is an accident
            wrong = int(self.counts[-1].sum() - np.trace(self.counts[-1]))
            return f"{wrong} of {self.counts[-1].sum():,} images mixed up, no two of them in the same way"
        i, j = worst
        images = f"{self.counts[-1][worst]} of {self.counts[-1][i].sum()}"
        return f"Most often mixed up: {self.classes[i]}, called {self.classes[j]} ({images} images)"

    @property
    def _subtitle(self) -> str:
        few = len(self._shown) < len(self.classes)
        some = f"The matrices have {len(self._shown)} of {len(self.classes)} classes. " if few else ""
        said = f"{some}A row is what an image is, a column what it was called"
        return said + (f" · {self.lacking}" if self.lacking else ".")

    def matrix(self, place: int, *, pixel_ratio: int = 2, legend: bool = False) -> Image.Image:
        """The matrix after the epoch at that place, below the epoch and its accuracy."""
        shown = self._shown
        counts, names = self.counts[place][np.ix_(shown, shown)], [self.classes[i] for i in shown]
        right = np.eye(len(shown), dtype=bool)
        worst = self._worst
        body = confusion_matrix(counts, right, names, names, worst=worst, legend=legend, pixel_ratio=pixel_ratio)
        whole = self.counts[place]
        said = f"epoch {self.epochs[place]}: {percent(float(np.trace(whole) / max(1, whole.sum())))} right"
        room = round(font(round(_CAPTION.size * pixel_ratio), _CAPTION.bold).getlength(said)) + pixel_ratio
        caption = text_block(said, max(room, body.width), _CAPTION, pixel_ratio=pixel_ratio)
        return column_of(caption, body, gap_px=6 * pixel_ratio)

    def frames(self) -> list[Image.Image]:
        """The matrix after each epoch, of one size; of many epochs the first, the last and some between."""
        count = len(self.epochs)
        shown = min(count, FRAMES)
        places = [round(i * (count - 1) / max(1, shown - 1)) for i in range(shown)]
        return [frame.framed(self.matrix(place, legend=True), pixel_ratio=1) for place in places]

    @property
    def _shares(self) -> Float[np.ndarray, "epochs classes answers"]:
        images = self.counts.sum(2, keepdims=True)
        return np.where(images > 0, self.counts / np.maximum(1, images), np.nan)

    @property
    def _wrong(self) -> Float[np.ndarray, "epochs classes answers"]:
        return np.where(np.eye(len(self.classes), dtype=bool), 0.0, np.nan_to_num(self._shares))

    @property
    def _worst(self) -> float:
        return max(LEAST_END, float(self._wrong[len(self.epochs) // 2 :].max()))

    @property
    def _is_clipped(self) -> bool:
        return float(self._wrong.max()) > self._worst

    @property
    def _shown(self) -> list[int]:
        return most_mistaken(self.counts[-1], np.eye(len(self.classes), dtype=bool), MOST_CLASSES)

    def _strips(self) -> list[Image.Image]:
        shares = self.accuracies.T[self._shown]
        known, filled = np.isfinite(shares), np.nan_to_num(shares)
        texts = [percent(float(row[-1])) if np.isfinite(row[-1]) else "no image" for row in shares]
        names = [self.classes[i] for i in self._shown]
        drawn = [
            epoch_strips(
                names, self.epochs, cell_colours(filled, np.ones(filled.shape, bool), 1.0), known=known, texts=texts,
                heading="Right answers, class by class", note="at the right: after the last epoch", width=_WIDTH,
            )
        ]  # fmt: skip
        return [*drawn, self._mistakes_strip()] if self.mistakes else drawn

    def _mistakes_strip(self) -> Image.Image:
        pairs = self.mistakes
        shares = np.stack([self._wrong[:, i, j] for i, j in pairs])
        last = [int(self.counts[-1][pair]) for pair in pairs]
        texts = [_images(n, float(row[-1])) for n, row in zip(last, shares, strict=True)]
        colours = cell_colours(shares, np.zeros(shares.shape, bool), self._worst)
        names = [" called ".join(_shortened(self.classes[i], self.classes[j])) for i, j in pairs]
        return epoch_strips(
            names, self.epochs, colours, texts=texts,
            heading="Mistakes, and since when", note="at the right: images after the last epoch, share of the class",
            width=_WIDTH,
        )  # fmt: skip

    def facts(self) -> Mapping[str, str]:
        """The mistakes of the last epoch, and since when."""
        facts = {"mistakes": self.title, "split": self.split}
        for pair in self.mistakes:
            since = self.since(pair)
            if since is not None:
                i, j = pair
                said = f"{self.counts[-1][pair]} of {self.counts[-1][i].sum()} images, since epoch {since}"
                facts[f"{self.classes[i]} called {self.classes[j]}"] = said
        return facts | ({"not there": self.lacking} if self.lacking else {})

    def arrays(self) -> Mapping[str, np.ndarray]:
        """All counts."""
        return {"epochs": np.array(self.epochs), "counts": self.counts, "classes": np.array(self.classes)}


def confusion_over_epochs(run: TrainingRun, split: str | None = None) -> ConfusionOverEpochs:
    """The confusion matrix after each epoch.

    Args:
        run: from ``open_training``.
        split: of which; None: the held-out one.

    Raises:
        ConvscopeError: no such split, or no snapshot has a matrix of it that counts an image.
    """
    split = split_asked(run, split)
    found = {one.epoch: one.splits[split].confusion for one in run.snapshots() if split in one.splits}
    counts = {epoch: array for epoch, array in found.items() if array.sum()}
    if not counts:
        raise ConvscopeError(f"{run.path.name} has no confusion matrix of {split}: its snapshots hold none")
    names = _names(run.classes, len(next(iter(counts.values()))))
    stacked = np.stack(list(counts.values())).astype(np.int64)
    return ConfusionOverEpochs(run.name, split, names, tuple(counts), stacked, run.lacking(), run.stamp)


def _names(classes: Sequence[str], count: int) -> tuple[str, ...]:
    """A matrix may have answers that the data has no name for."""
    return tuple(classes[i] if i < len(classes) else f"class {i}" for i in range(count))


def _shortened(a: str, b: str) -> tuple[str, str]:
    """Two names that both are still seen where a row of ``MOST_LETTERS`` ends."""
    half = MOST_LETTERS // 2
    room_a, room_b = max(half, MOST_LETTERS - len(b)), max(half, MOST_LETTERS - len(a))
    return _within(a, room_a), _within(b, room_b)


def _within(name: str, letters: int) -> str:
    return name if len(name) <= letters else name[: letters - 1].rstrip() + "…"


def _images(count: int, share: float) -> str:
    return f"{count} image{'s'[: count != 1]}, {percent(share)}" if count else "none"
