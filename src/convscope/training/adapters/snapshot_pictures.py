"""A snapshot's pictures, each alone and by a name: what loggers that show images are given.

They are plainer than the sheets of ``convscope training``, which show all epochs beside each other: here the program
that shows them has a slider over the epochs.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from PIL import Image

from convscope.drawing import picture_of
from convscope.render.colour import channels_picture, colourise
from convscope.render.colour_bar import ColourBar
from convscope.render.confusion import confusion_matrix
from convscope.render.frame import framed
from convscope.render.grid import Cell, grid
from convscope.render.moving_points import PointsPage, legend
from convscope.render.scale import Scale, scale_of
from convscope.render.tile import fit, row_of
from convscope.training.snapshot import Embedded, Snapshot

MOST_FILTERS, MOST_CLASSES = 64, 40  # drawn, and in a matrix that can be read
_SIDE, _LEAST_TILE, _MOST_TILE, _GAP, _RATIO = 420, 36, 120, 12, 1  # points; pixels a point


def pictures_of(snapshot: Snapshot) -> dict[str, Image.Image]:
    """``filters``, ``confusion/SPLIT``, ``embedding``, ``maps/UNIT`` and ``pictures/UNIT``: those there are.

    A confusion matrix of more than 40 classes, and what has values that are not finite, is left out.
    """
    names, drawn = snapshot.classes, dict[str, Image.Image]()
    if snapshot.filters is not None and np.isfinite(snapshot.filters).all():
        drawn["filters"] = _filters(snapshot.filters)
    for split, state in snapshot.splits.items():
        if len(state.confusion) <= MOST_CLASSES and state.confusion.sum():
            drawn[f"confusion/{split}"] = _confusion(state.confusion, names)
    if snapshot.embedding is not None and np.ptp(snapshot.embedding.points, axis=0).any():
        drawn["embedding"] = _embedding(snapshot.embedding, names)
    finite = {unit: maps for unit, maps in snapshot.maps.items() if np.isfinite(maps).all()}
    drawn |= {f"maps/{unit}": _maps(maps) for unit, maps in finite.items()}
    made = {unit: torch.from_numpy(picture) for unit, picture in snapshot.pictures.items()}
    return drawn | {
        f"pictures/{unit}": fit(picture_of(picture), _SIDE // 2, pixels=True) for unit, picture in made.items()
    }


def _filters(weights: np.ndarray) -> Image.Image:
    """The first 64; of more or fewer channels than 1 or 3 the first channel."""
    shown = weights[:MOST_FILTERS] if weights.shape[1] in (1, 3) else weights[:MOST_FILTERS, :1]
    scale = Scale(float(shown.min()), float(shown.max()))
    cells = [Cell((channels_picture(one, scale),), str(k), outlined=True) for k, one in enumerate(shown)]
    bar = ColourBar(scale, "grey", unit="weight")
    tile = max(_LEAST_TILE, min(_MOST_TILE, _SIDE // math.ceil(math.sqrt(len(cells)))))
    return grid(
        cells, columns=math.ceil(math.sqrt(len(cells))), tile_width=tile, pixel_ratio=_RATIO, bar=bar,
        said="One scale for all filters",
    )  # fmt: skip


def _confusion(counts: np.ndarray, classes: Sequence[str]) -> Image.Image:
    names = _names(range(len(counts)), classes)
    matrix = confusion_matrix(counts, np.eye(len(counts), dtype=bool), names, names, pixel_ratio=_RATIO)
    return framed(matrix, pixel_ratio=_RATIO)


def _embedding(embedded: Embedded, classes: Sequence[str]) -> Image.Image:
    """The points on a page that just holds them: its scale is this epoch's own."""
    names = _names(embedded.labels.tolist(), classes)
    centred = embedded.points - (embedded.points.max(0) + embedded.points.min(0)) / 2
    points = PointsPage(names, side=_SIDE, pixel_ratio=_RATIO).drawn(0.95 * centred / np.abs(centred).max())
    return framed(row_of(points, legend(names, pixel_ratio=_RATIO), gap_px=_GAP), pixel_ratio=_RATIO)


def _maps(maps: np.ndarray) -> Image.Image:
    """On the watched images, side by side, on one scale."""
    scale = scale_of(list(maps))
    cells = [Cell((colourise(one, scale),), f"image {k}") for k, one in enumerate(maps)]
    return grid(cells, pixel_ratio=_RATIO, bar=ColourBar(scale), said="One scale for all maps")


def _names(numbers: Iterable[int], classes: Sequence[str]) -> list[str]:
    return [str(classes[k]) if k < len(classes) else str(k) for k in numbers]
