"""How the classes part: held-out images as points, epoch after epoch.

A point is an image, laid out from a layer's pooled features by the probe, or here again: by t-SNE, each map begun at
the one before, or at the first two principal components. Each epoch's map is turned and mirrored onto the one before
(orthogonal Procrustes), so that what moves are the images. The layer's numbers grow as it learns, and on one scale the
first maps would be a dot. So each map is drawn at its own spread, the root mean square distance of its points from
their middle,

    place = (point - mean) / spread,

which of principal components, where it means something, is written beside it. The raw points are in the arrays. With
each map stands how many of an image's ten
nearest are of its class, in the layer and on the page, and how many of the ten stayed among the ten nearest: where the
page says less, it hides what the layer knows.

Pitfalls: of a film only the moments at which it rests were measured. A class that is two clouds is not two mistakes.
Principal components move as the layer does, t-SNE also by itself; distances between its clouds mean little. A layer
before all that learns stands still: then one map is drawn, and there is no film.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float
from PIL import Image

from convscope.dataset.embedding import neighbours_alike, neighbours_kept
from convscope.errors import ConvscopeError, nearest
from convscope.render import frame
from convscope.render.grid import Cell, body_of_cells, even_columns
from convscope.render.moving_points import PointsPage, legend
from convscope.render.tile import column_of, row_of
from convscope.render.typography import GREY, Type, number_text, text_block
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.training.aligned_embedding import FOLLOWED, embed_after
from convscope.training.snapshot import Embedded
from convscope.trainings.between_epochs import between
from convscope.trainings.training_run import TrainingRun, called, chosen_epochs, listed

PICTURES, COLUMNS, NEAREST = 6, 3, 10  # small multiples; neighbours whose class is looked at
_CALLED = {"pca": "principal components", "t-sne": "t-SNE"}
_TILE, _FILM, _MARGIN = 300, 520, 0.03  # points a side; share of the page that stays free
_TITLE, _NOTE = Type(13.0, bold=True), Type(10.5, GREY, lines=2)


@dataclass(frozen=True, eq=False)
class EmbeddingMoving(Shown):
    """``points (epochs, n, 2)`` as they were kept, aligned; ``labels`` the class of each; ``layer`` their features'.

    ``alike`` (epochs, 2): the share of an image's nearest that are of its class, in the layer and on the page;
    ``kept``: of an image's nearest in the layer, the share that is so on the page. ``stands_still``: the features are
    the same after every epoch. ``without``: the epochs that have no map, and why, as a sentence.
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
    kept: Float[np.ndarray, " epochs"] = field(repr=False)
    method: str = "pca"
    stands_still: bool = False
    without: str = ""

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
            return f"The classes in {called(self.layer)} after epoch {self.epochs[0]}"
        if self.stands_still:
            return f"The classes in {called(self.layer)}, the same after every epoch"
        return f"How the classes part in {called(self.layer)}, epoch {self.epochs[0]} to {self.epochs[-1]}"

    @property
    def _subtitle(self) -> str:
        parts = [f"{self.name}: {self.points.shape[1]:,} images by {_CALLED[self.method]}"]
        if self.stands_still:
            parts[0] += ". Nothing up to this layer learns: what learns comes after it"
        elif len(self.epochs) > 1:
            parts[0] += ", each map aligned to the one before, at its own spread"
        if self.method == "t-sne":
            parts.append("How far one cloud is from another, and how wide, means little")
        parts.append(f"Kept: of an image's {NEAREST} nearest in the layer, the share that is so here")
        if np.isfinite(self.alike).any():
            parts.append("Alike: the share that is of its class")
        said = ". ".join([*parts, *filter(None, [self.without])])
        return f"{said} · {self.lacking}" if self.lacking else said

    def picture(self) -> Image.Image:
        """Small multiples beside the legend."""
        page = PointsPage(self.labels, side=_TILE)
        shown = chosen_epochs(self.epochs, 1 if self.stands_still else PICTURES)
        cells = [
            Cell((page.drawn(self.placed[place]),), self._when(place), self._notes(place), smooth=True)
            for place in (self.epochs.index(epoch) for epoch in shown)
        ]
        columns = even_columns(len(cells), COLUMNS)
        rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
        body = row_of(body_of_cells(rows, tile_width=_TILE), legend(self.labels), gap_px=40)
        return frame.page(body, title=self.title, subtitle=self._subtitle, footer=self.stamp.line())

    def _when(self, place: int) -> str:
        return "after every epoch" if self.stands_still else f"epoch {self.epochs[place]}"

    def _notes(self, place: int) -> tuple[str, ...]:
        held = [f"kept: {self.kept[place]:.0%}"] if math.isfinite(self.kept[place]) else []
        if self.method == "pca":
            held.append(f"spread {number_text(float(self.spreads[place]))}")
            if all(map(math.isfinite, self.shares[self.epochs[place]])):
                held.append(f"{sum(self.shares[self.epochs[place]]):.0%} of variance")
        layer, on_page = self.alike[place].tolist()
        alike = [f"alike: {layer:.0%} in the layer, {on_page:.0%} here"] if math.isfinite(layer) else []
        return (" · ".join(held), *alike)

    def frames(self, pixel_ratio: int = 1) -> list[Image.Image]:
        """Of a film: the points move from snapshot to snapshot."""
        page, names = (
            PointsPage(self.labels, side=_FILM, pixel_ratio=pixel_ratio),
            legend(self.labels, pixel_ratio=pixel_ratio),
        )
        placed = list(self.placed)[-1:] if self.stands_still else list(self.placed)
        return [self._frame(page.drawn(one.of(placed)), names, one.start, pixel_ratio) for one in between(len(placed))]

    def _frame(self, points: Image.Image, names: Image.Image, place: int, ratio: int) -> Image.Image:
        width = points.width + 24 * ratio + names.width
        said = " · ".join(self._notes(place))
        head = text_block(f"epoch {self.epochs[place]} of {self.epochs[-1]}", width, _TITLE, pixel_ratio=ratio)
        note = text_block(f"{called(self.layer)} · {said}", width, _NOTE, pixel_ratio=ratio)
        body = column_of(head, note, row_of(points, names, gap_px=24 * ratio), gap_px=4 * ratio)
        page = frame.blank(width, head.height + _NOTE.lines * 14 * ratio + points.height + 12 * ratio)
        page.paste(body, (0, 0))  # notes of one line and of two: frames of one size
        return frame.framed(page, pixel_ratio=ratio)

    def facts(self) -> Mapping[str, str]:
        """The layer, and how well the classes part at first and at last."""
        facts = {"embedding": self.title, "layer": self.layer, "images": f"{self.points.shape[1]:,}"}
        facts["by"] = _CALLED[self.method]
        for place in dict.fromkeys((0, len(self.epochs) - 1)):
            facts[f"epoch {self.epochs[place]}"] = ", ".join(self._notes(place))
        return facts | ({"not there": self.lacking} if self.lacking else {})

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The raw points, and the classes, empty where there is none."""
        labels = np.array([label or "" for label in self.labels])
        return {"epochs": np.array(self.epochs), "points": self.points, "labels": labels} | {
            "alike": self.alike, "kept": self.kept
        }  # fmt: skip


def embedding_moving(run: TrainingRun, method: str | None = None) -> EmbeddingMoving:
    """The held-out images as points after each epoch.

    Args:
        run: from ``open_training``.
        method: ``"pca"`` or ``"t-sne"``, laid out now, of the features that were kept; None: as the probe did.

    Raises:
        ConvscopeError: another method, no snapshot has an embedding, or they are not of the same images.
    """
    check_method(method)
    kept, why = _kept(run, method)
    last = kept[-1][1]
    labels = tuple(_named(run, int(number)) for number in last.labels)
    points = [np.asarray(one.points, np.float64) for _, one in kept]
    both = [(one.features, at) for (_, one), at in zip(kept, points, strict=True)]
    alike = [[neighbours_alike(places, labels, NEAREST) for places in pair] for pair in both]
    near = [neighbours_kept(*pair, NEAREST) for pair in both]
    still = len(kept) > 1 and all(np.array_equal(one.features, last.features) for _, one in kept)
    return EmbeddingMoving(
        run.name, last.layer, tuple(epoch for epoch, _ in kept), np.stack(points), labels, np.array(alike),
        {epoch: one.shares for epoch, one in kept}, run.lacking(), run.stamp, np.array(near), last.method, still, why,
    )  # fmt: skip


def check_method(method: str | None) -> None:
    """Raises ConvscopeError for another way to lay images out than ``pca`` and ``t-sne``."""
    if method is not None and method not in FOLLOWED:
        raise ConvscopeError(f"no embedding {method!r} of a training{nearest(method, FOLLOWED)} (it is pca or t-sne)")


def _kept(run: TrainingRun, method: str | None) -> tuple[list[tuple[int, Embedded]], str]:
    """The embeddings, and a sentence on the epochs without one."""
    kept: list[tuple[int, Embedded]] = []
    without: dict[int, str] = {}
    for one in run.snapshots():
        if one.embedding is not None:
            kept.append((one.epoch, _laid_out(one.embedding, kept[-1][1] if kept else None, method)))
        else:
            without[one.epoch] = one.left_out.get("embedding", "the probe was not given a layer for it (embed=)")
    if not kept:
        raise ConvscopeError(f"{run.path.name} has no embedding: {next(reversed(without.values()))}")
    last = kept[-1][1]
    for epoch, one in kept:
        if one.points.shape != last.points.shape or not np.array_equal(one.labels, last.labels):
            raise ConvscopeError(f"{run.path.name}: the embedding after epoch {epoch} is of other images")
    said = f"None after {listed(tuple(without))}: {next(reversed(without.values()))}" if without else ""
    return kept, said


def _laid_out(one: Embedded, before: Embedded | None, method: str | None) -> Embedded:
    """By another method than the probe's, if one is asked for; what did not change stays where it is."""
    if method is None or method == one.method:
        return one
    if before is not None and np.array_equal(one.features, before.features):
        return before
    made = embed_after(one.features, None if before is None else before.points, method)
    return replace(one, points=made.points, method=method, shares=made.shares or (math.nan, math.nan))


def _named(run: TrainingRun, number: int) -> str | None:
    if number < 0:
        return None
    return run.classes[number] if number < len(run.classes) else f"class {number}"
