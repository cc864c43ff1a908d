"""How often the network is right, class by class, and what it says instead: accuracy and confusion matrix.

Of the images of data class i that were judged, n_ij were answered with class j:

    accuracy of i = sum over the right answers of i of n_ij / n_i,      mistake i -> j = n_ij where j is not right.

A data class may have several right answers (ImageNet has two cranes), and answers may be classes that the data has
not: these share one last column. Of many classes the sheet shows those that are taken for each other most often, and
says so; the table and the arrays have all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image

from convscope.atlases.atlas_stamp import stamp_of
from convscope.atlases.classes_asked import classes_asked
from convscope.errors import ConvscopeError
from convscope.render import frame
from convscope.render.chart import MARKED, PROBABILITIES, Axis
from convscope.render.confusion import confusion_matrix
from convscope.render.ranked_bars import Bar, Panel, ranked_bars, shared_axis
from convscope.render.tile import column_of, row_of
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.wording import percent

if TYPE_CHECKING:
    from convscope.store.atlas import Atlas

MOST_CLASSES, MOST_BARS, MOST_PAIRS = 60, 100, 24  # in the matrix, among the bars, in the list of mistakes
OTHERS = "other classes"
FEW, GAP_PX = 14, 72  # classes, whose accuracies stand beside the matrix; pixels between the parts of the sheet


@dataclass(frozen=True)
class Mistake:
    """Images of data class ``name`` that were answered ``answer``; ``share`` of the class's images."""

    name: str
    answer: str
    images: int
    share: float


@dataclass(frozen=True, eq=False)
class Confusions(Shown):
    """``counts`` (classes, answers) of images; ``is_right`` marks the right answers; ``shown`` the matrix's classes.

    ``accuracies`` are (right, judged images) of each class; ``mistakes`` the most frequent first.
    """

    classes: tuple[str, ...]
    answers: tuple[str, ...]
    counts: Int[np.ndarray, "classes answers"]
    is_right: Bool[np.ndarray, "classes answers"]
    accuracies: Mapping[str, tuple[int, int]]
    mistakes: tuple[Mistake, ...]
    shown: tuple[str, ...]
    stamp: Stamp

    @property
    def accuracy(self) -> float | None:
        """Of all images that were judged; None where the network has none of the classes."""
        right, judged = (sum(pair[i] for pair in self.accuracies.values()) for i in (0, 1))
        return right / judged if judged else None

    def picture(self) -> Image.Image:
        """The matrix; below it the accuracy of each class, worst first, and the most frequent mistakes."""
        answers, counts, is_right = self._matrix()
        matrix, is_few = confusion_matrix(counts, is_right, self.shown, answers), len(self.classes) <= FEW
        beside = [] if self.accuracy is None else [self._bars(1 if is_few else 4), *self._pairs(1 if is_few else 2)]
        if is_few and beside:  # there is room beside the matrix
            body = row_of(matrix, column_of(*beside, gap_px=GAP_PX), gap_px=GAP_PX)
        else:
            body = column_of(matrix, *beside, gap_px=GAP_PX)
        return frame.page(body, title=self.title, subtitle=self._subtitle, footer=self.stamp.line())

    def _matrix(self) -> tuple[list[str], Int[np.ndarray, "rows columns"], Bool[np.ndarray, "rows columns"]]:
        """The rows that are shown; beside the answers that are theirs, all others in one last column."""
        rows = [self.classes.index(name) for name in self.shown]
        counts, is_right = self.counts[rows], self.is_right[rows]
        known: Bool[np.ndarray, " answers"] = np.asarray(is_right.any(0))
        if not known.any():  # groups: the answers that occur most
            known = np.isin(np.arange(len(known)), np.argsort(-counts.sum(0), kind="stable")[:MOST_CLASSES])
        # in the order of the classes that they answer, so that what is right lies on the diagonal
        order = sorted(np.nonzero(known)[0].tolist(), key=lambda at: (_first(is_right[:, at]), at))
        others = counts[:, ~known].sum(1, keepdims=True)
        names = [self.answers[at] for at in order]
        counts, is_right = counts[:, order], is_right[:, order]
        if others.any():
            names.append(OTHERS)
            counts = np.concatenate([counts, others], 1)
            is_right = np.pad(is_right, ((0, 0), (0, 1)))
        return names, counts, is_right

    def _bars(self, columns: int) -> Image.Image:
        """Accuracy of each class, the worst first; a line at that of all images."""
        judged = [(name, right / n, n) for name, (right, n) in self.accuracies.items() if n]
        ranked = sorted(judged, key=lambda each: each[1])
        bars: list[Bar | None] = [
            Bar(name, share, MARKED, self.accuracy, f"{percent(share)}") for name, share, _ in ranked
        ]
        if len(bars) > MOST_BARS:
            half = MOST_BARS // 2
            bars = [*bars[: half - 1], None, *bars[-half:]]
        return _in_columns("Accuracy by class, worst first", bars, columns, 340 if columns == 1 else 210, PROBABILITIES)

    def _pairs(self, columns: int) -> list[Image.Image]:
        often = [m for m in self.mistakes if m.images > 1][:MOST_PAIRS]  # one image is an accident
        if not often:
            return []
        bars = [Bar(f"{m.name} → {m.answer}", m.images, text=f"{m.images:,}  {m.share:.0%}") for m in often]
        return [
            _in_columns("Most frequent mistakes: images, share of class", bars, columns, 340 if columns == 1 else 450)
        ]

    @property
    def title(self) -> str:
        """The accuracy in words."""
        if self.accuracy is None:
            return "What the network answers, group by group"
        return f"{percent(self.accuracy)} of the images are answered rightly"

    @property
    def _subtitle(self) -> str:
        images = int(self.counts.sum())
        parts = [f"{images:,} images of {len(self.classes):,} classes"]
        if len(self.shown) < len(self.classes):
            parts += [f"the matrix has {len(self.shown)} that are taken for each other"]
        return "; ".join(parts) + ". A row is what an image is, a column what it was called."

    def facts(self) -> Mapping[str, str]:
        """Accuracy, the worst classes, the most frequent mistakes."""
        facts = {"sheet": self.title, "images": f"{int(self.counts.sum()):,}"}
        for mistake in self.mistakes[:10]:
            facts[f"{mistake.name} → {mistake.answer}"] = f"{mistake.images} images, {percent(mistake.share)}"
        return facts

    def arrays(self) -> Mapping[str, np.ndarray]:
        """All counts, and the names of their rows and columns."""
        return {"counts": self.counts, "classes": np.array(self.classes), "answers": np.array(self.answers)}

    def as_json(self) -> dict[str, Any]:
        """Accuracy of all and of each class, and all mistakes."""
        classes = [
            {"class": name, "right": right, "judged": n, "accuracy": right / n if n else None}
            for name, (right, n) in self.accuracies.items()
        ]
        mistakes = [{"is": m.name, "answered": m.answer, "images": m.images} for m in self.mistakes]
        return {"accuracy": self.accuracy, "images": int(self.counts.sum()), "classes": classes, "mistakes": mistakes}


def confusions(atlas: "Atlas", classes: Sequence[str] | None = None, *, most: int = MOST_CLASSES) -> Confusions:
    """What the network answers to the images of each class.

    Args:
        atlas: a finished one, of images with labels.
        classes: those of the matrix; None: all, or the ``most`` that are taken for each other most often.
        most: classes in the matrix where none are named.

    Raises:
        ConvscopeError: an atlas without labels, or a class that it has not.
    """
    names = tuple(atlas.classes)
    wanted = classes_asked(classes, names, atlas)
    found = list(atlas.confusion())
    if not found:
        raise ConvscopeError(
            f"{atlas.path.name} has no answers to compare: its network gave no class scores, or none that are finite"
        )
    numbers = sorted({number for _, number, _ in found} | {n for name in names for n in atlas.right(name)})
    counts = np.zeros((len(names), len(numbers)), np.int64)
    row, column = {name: i for i, name in enumerate(names)}, {n: i for i, n in enumerate(numbers)}
    for name, number, images in found:
        counts[row[name], column[number]] = images
    is_right = np.zeros(counts.shape, bool)
    for name in names:
        is_right[row[name], [column[n] for n in atlas.right(name)]] = True
    answers = tuple(_named(atlas, number) for number in numbers)
    shown = wanted if wanted is not None else tuple(names[i] for i in most_mistaken(counts, is_right, most))
    mistakes = _mistakes(names, answers, counts, is_right)
    return Confusions(names, answers, counts, is_right, dict(atlas.accuracy()), mistakes, shown, stamp_of(atlas))


def _in_columns(
    title: str, bars: Sequence[Bar | None], columns: int, width: int, axis: Axis | None = None
) -> Image.Image:
    """Bars in one ranking, cut into columns of one height, on one axis."""
    size = -(-len(bars) // columns)
    parts = [tuple(bars[start : start + size]) for start in range(0, len(bars), size)]
    panels = [Panel(title if number == 0 else "", part) for number, part in enumerate(parts)]
    return ranked_bars([replace(p, axis=axis or shared_axis(panels)) for p in panels], columns=columns, width=width)


def _named(atlas: "Atlas", number: int) -> str:
    return atlas.network_classes[number] if atlas.network_classes else f"class {number}"


def _mistakes(
    names: Sequence[str], answers: Sequence[str], counts: np.ndarray, is_right: np.ndarray
) -> tuple[Mistake, ...]:
    """Of classes that the network knows, the most frequent first; ties in the order of the classes."""
    wrong = np.where(is_right, 0, counts) * is_right.any(1, keepdims=True)
    order = np.argsort(-wrong.ravel(), kind="stable")[: int((wrong > 0).sum())]
    found: list[Mistake] = []
    for place in order.tolist():
        i, j = (int(axis) for axis in np.unravel_index(place, wrong.shape))
        found.append(Mistake(names[i], answers[j], int(wrong[i, j]), float(wrong[i, j] / counts[i].sum())))
    return tuple(found)


def most_mistaken(
    counts: Int[np.ndarray, "classes answers"], is_right: Bool[np.ndarray, "classes answers"], most: int
) -> list[int]:
    """``most`` classes that are taken for each other most often, in their own order.

    Down the mistakes from class i to class j, the most frequent first, each puts both on the sheet until it is full;
    if these do not fill it, those with the most mistakes of all kinds.
    """
    if len(counts) <= most:
        return list(range(len(counts)))
    wrong = np.where(is_right, 0, counts)
    between = wrong.astype(float) @ is_right.T.astype(float)  # of i, answered with what is right for j
    order = np.argsort(-between.ravel(), kind="stable")[: int((between > 0).sum())]
    pairs = np.stack(np.unravel_index(order, between.shape), 1).ravel()
    by_mistakes = np.argsort(-wrong.sum(1), kind="stable")
    return sorted(list(dict.fromkeys([*pairs.tolist(), *by_mistakes.tolist()]))[:most])


def _first(marks: Bool[np.ndarray, " rows"]) -> int:
    return int(marks.argmax()) if marks.any() else len(marks)
