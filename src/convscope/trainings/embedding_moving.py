"""How the classes part: held-out images as points, epoch after epoch.

A point is an image, at the first two principal components of a layer's pooled features, or whatever the probe laid
out; each epoch's map was turned and mirrored onto the one before (orthogonal Procrustes), so that what moves are the
images. The layer's numbers grow as it learns, and on one scale the first maps would be a dot. So each map is drawn at
its own spread, the root mean square distance of its points from their middle,

    place = (point - mean) / spread,

and the spread is written beside it; the raw points are in the arrays. Below each map stands how many of an image's ten
nearest are of its class, in the layer and on the page: where the page says less, it hides what the layer knows.

Pitfalls: of a film only the moments at which it rests were measured. A class that is two clouds is not two mistakes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float
from PIL import Image

from convscope.dataset.embedding import neighbours_alike
from convscope.errors import ConvscopeError
from convscope.render import frame
from convscope.render.grid import Cell, body_of_cells
from convscope.render.moving_points import PointsPage, legend
from convscope.render.tile import column_of, row_of
from convscope.render.typography import GREY, Type, number_text, text_block
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.trainings.between_epochs import between
from convscope.trainings.training_run import TrainingRun, chosen_epochs

PICTURES, COLUMNS, NEAREST = 6, 3, 10  # small multiples; neighbours whose class is looked at
_TILE, _FILM, _MARGIN = 300, 520, 0.03  # points a side; share of the page that stays free
_TITLE, _NOTE = Type(13.0, bold=True), Type(10.5, GREY, lines=2)


@dataclass(frozen=True, eq=False)
class EmbeddingMoving(Shown):
    """``points (epochs, n, 2)`` as they were kept, aligned; ``labels`` the class of each; ``layer`` their features'.

    ``alike`` (epochs, 2): the share of an image's nearest that are of its class, in the layer and on the page.
    """

    name: str
    layer: str
    epochs: tuple[int, ...]
    points: Float[np.ndarray, "epochs n 2"] = field(repr=False)
    labels: tuple[str | None, ...] = field(repr=False)
    alike: Float[np.ndarray, "epochs 2"] = field(repr=False)
    shares: Mapping[int, Sequence[float]] = field(repr=False)
    lacking: str
    stamp: Stamp = field(repr=False)

    @cached_property
    def spreads(self) -> Float[np.ndarray, " epochs"]:
        """The root mean square distance of each epoch's points from their middle."""
        return np.sqrt((self._centred**2).sum(2).mean(1))

    @property
    def placed(self) -> Float[np.ndarray, "epochs n 2"]:
        """Within -1 and 1, each epoch at its own spread, all on one page that holds every point."""
        at = self._centred / np.where(self.spreads > 0, self.spreads, 1.0)[:, None, None]
        low, high = at.min((0, 1)), at.max((0, 1))
        half = float((high - low).max()) / 2 or 1.0
        return (at - (low + high) / 2) / half * (1 - 2 * _MARGIN)

    @property
    def _centred(self) -> Float[np.ndarray, "epochs n 2"]:
        return self.points - self.points.mean(1, keepdims=True)

    @property
    def title(self) -> str:
        """``How the classes part in relu4, epoch 0 to 20``."""
        if len(self.epochs) == 1:
            return f"The classes in {self.layer} after epoch {self.epochs[0]}"
        return f"How the classes part in {self.layer}, epoch {self.epochs[0]} to {self.epochs[-1]}"

    @property
    def _subtitle(self) -> str:
        parts = [f"{self.name}: {self.points.shape[1]:,} images, each map aligned to the one before, at its own spread"]
        if np.isfinite(self.alike).any():
            parts.append(f"Alike: of an image's {NEAREST} nearest, the share that is of its class")
        return ". ".join([*parts, *([self.lacking] if self.lacking else [])])

    def picture(self) -> Image.Image:
        """Small multiples beside the legend."""
        page = PointsPage(self.labels, side=_TILE)
        shown = chosen_epochs(self.epochs, PICTURES)
        cells = [
            Cell((page.drawn(self.placed[place]),), f"epoch {self.epochs[place]}", self._notes(place), smooth=True)
            for place in (self.epochs.index(epoch) for epoch in shown)
        ]
        rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
        body = row_of(body_of_cells(rows, tile_width=_TILE), legend(self.labels), gap_px=40)
        return frame.page(body, title=self.title, subtitle=self._subtitle, footer=self.stamp.line())

    def _notes(self, place: int) -> tuple[str, ...]:
        held = f"spread {number_text(float(self.spreads[place]))}"
        if all(map(math.isfinite, self.shares[self.epochs[place]])):
            held += f" · {sum(self.shares[self.epochs[place]]):.0%} of the variance"
        layer, on_page = self.alike[place].tolist()
        return (held, f"alike: {layer:.0%} in the layer, {on_page:.0%} here") if math.isfinite(layer) else (held,)

    def frames(self, pixel_ratio: int = 1) -> list[Image.Image]:
        """Of a film: the points move from snapshot to snapshot."""
        page, names = (
            PointsPage(self.labels, side=_FILM, pixel_ratio=pixel_ratio),
            legend(self.labels, pixel_ratio=pixel_ratio),
        )
        placed = list(self.placed)
        return [self._frame(page.drawn(one.of(placed)), names, one.start, pixel_ratio) for one in between(len(placed))]

    def _frame(self, points: Image.Image, names: Image.Image, place: int, ratio: int) -> Image.Image:
        width = points.width + 24 * ratio + names.width
        said = " · ".join(self._notes(place))
        head = text_block(f"epoch {self.epochs[place]} of {self.epochs[-1]}", width, _TITLE, pixel_ratio=ratio)
        note = text_block(f"{self.layer} · {said}", width, _NOTE, pixel_ratio=ratio)
        body = column_of(head, note, row_of(points, names, gap_px=24 * ratio), gap_px=4 * ratio)
        page = frame.blank(width, head.height + _NOTE.lines * 14 * ratio + points.height + 12 * ratio)
        page.paste(body, (0, 0))  # notes of one line and of two: frames of one size
        return frame.framed(page, pixel_ratio=ratio)

    def facts(self) -> Mapping[str, str]:
        """The layer, and how well the classes part at first and at last."""
        facts = {"embedding": self.title, "layer": self.layer, "images": f"{self.points.shape[1]:,}"}
        for place in dict.fromkeys((0, len(self.epochs) - 1)):
            facts[f"epoch {self.epochs[place]}"] = ", ".join(self._notes(place))
        return facts | ({"not there": self.lacking} if self.lacking else {})

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The raw points, and the classes, empty where there is none."""
        labels = np.array([label or "" for label in self.labels])
        return {"epochs": np.array(self.epochs), "points": self.points, "labels": labels, "alike": self.alike}


def embedding_moving(run: TrainingRun) -> EmbeddingMoving:
    """The held-out images as points after each epoch.

    Raises:
        ConvscopeError: no snapshot has an embedding, or they are not of the same images.
    """
    kept = [(one.epoch, one.embedding) for one in run.snapshots() if one.embedding is not None]
    if not kept:
        why = run.last.left_out.get("embedding", "the probe was not given a layer for it (embed=)")
        raise ConvscopeError(f"{run.path.name} has no embedding: {why}")
    last = kept[-1][1]
    for epoch, one in kept:
        if one.points.shape != last.points.shape or not np.array_equal(one.labels, last.labels):
            raise ConvscopeError(f"{run.path.name}: the embedding after epoch {epoch} is of other images")
    labels = tuple(_named(run, int(number)) for number in last.labels)
    alike = [[neighbours_alike(place, labels, NEAREST) for place in (one.features, one.points)] for _, one in kept]
    points = np.stack([np.asarray(one.points, np.float64) for _, one in kept])
    shares, epochs = {epoch: one.shares for epoch, one in kept}, tuple(epoch for epoch, _ in kept)
    return EmbeddingMoving(
        run.name, last.layer, epochs, points, labels, np.array(alike), shares, run.lacking(), run.stamp
    )  # fmt: skip


def _named(run: TrainingRun, number: int) -> str | None:
    if number < 0:
        return None
    return run.classes[number] if number < len(run.classes) else f"class {number}"
