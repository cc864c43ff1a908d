"""Points on a page, each with the mark of its class, the classes' names at their middles.

The name of a class stands at the median of its points, in its colour, with a white halo; names that would lie over one
another are pushed apart until they do not, and a thin line leads back from those that moved far. There is no legend
to look up. Both axes have one scale. Drawn with matplotlib's objects, as ``chart.py``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patheffects import withStroke
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.chart import printable
from convscope.render.class_marks import UNNAMED, Mark, marks_of
from convscope.render.typography import FAINT, GREY, font

MOST_NAMES = 60  # classes that are named: those of the most points
_FONT, _MARGIN = "DejaVu Sans", 22.0  # points
_ROUNDS, _LED_FROM = 300, 1.6  # of pushing; in heights of a name


def scatter(
    points: Float[np.ndarray, "n 2"],
    classes: Sequence[str | None],
    *,
    axes_names: tuple[str, str] = ("", ""),
    side: int = 560,
    pixel_ratio: int = 2,
) -> Image.Image:
    """The points in a square of ``side`` points. None is a point without a class: small and grey.

    Raises:
        ConvscopeError: no point, points that are not finite, another number of classes than points.
    """
    if not len(points) or len(points) != len(classes) or not np.isfinite(points).all():
        raise ConvscopeError(f"a chart needs finite points and a class for each, not {len(points)} and {len(classes)}")
    figure = Figure(figsize=(side / 72, side / 72), dpi=72 * pixel_ratio, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    at = placed(points, side)
    _prepare(axes, side, axes_names)
    names = list(dict.fromkeys(sorted(name for name in classes if name is not None)))
    marks = dict(zip(names, marks_of(len(names)), strict=True))
    size = float(np.clip(14000 / len(points), 7, 42))
    _draw_unnamed(axes, at[[name is None for name in classes]], size)
    groups = {name: at[[one == name for one in classes]] for name in names}
    for name, group in groups.items():
        _draw(axes, group, marks[name], size)
    _write_names(axes, groups, marks, side)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def placed(
    points: Float[np.ndarray, "n 2"], side: int | float, margin: int | float = _MARGIN
) -> Float[np.ndarray, "n 2"]:
    """(x, y) within a square of ``side``, y downwards, both axes on one scale, in the middle."""
    low, high = points.min(0), points.max(0)
    span = float((high - low).max()) or 1.0
    at = (points - (low + high) / 2) / span * (side - 2 * margin) + side / 2
    return np.stack([at[:, 0], side - at[:, 1]], 1)


def _prepare(axes: Axes, side: int | float, names: tuple[str, str]) -> None:
    axes.set(xlim=(0, side), ylim=(side, 0), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    style: dict[str, Any] = {"fontsize": 9, "color": GREY, "fontfamily": _FONT, "zorder": 6}
    axes.text(side - 8, side - 8, names[0], ha="right", va="bottom", **style)
    axes.text(8, 8, names[1], ha="left", va="top", rotation=90, **style)


def _draw_unnamed(axes: Axes, at: Float[np.ndarray, "n 2"], size: float) -> None:
    axes.scatter(at[:, 0], at[:, 1], s=0.6 * size, c=UNNAMED, marker="o", linewidths=0, zorder=2)


def _draw(axes: Axes, at: Float[np.ndarray, "n 2"], mark: Mark, size: float) -> None:
    # see-through, so that where many lie can be seen
    axes.scatter(at[:, 0], at[:, 1], s=size, c=mark.colour, marker=mark.shape, linewidths=0, alpha=0.75, zorder=3)


def _write_names(
    axes: Axes, groups: dict[str, Float[np.ndarray, "n 2"]], marks: dict[str, Mark], side: int | float
) -> None:
    shown = sorted(groups, key=lambda name: (-len(groups[name]), name))[:MOST_NAMES]
    if not shown:
        return
    size = 11.0 if len(shown) <= 12 else 9.0 if len(shown) <= 30 else 7.5
    face = font(round(4 * size), bold=True)
    widths = np.array([face.getlength(name) / 4 + 4 for name in shown])
    middles = np.array([np.median(groups[name], 0) for name in shown])
    at = apart(middles, np.stack([widths, np.full(len(shown), 1.25 * size)], 1), side)
    for name, place, middle in zip(shown, at, middles, strict=True):
        if np.abs(place - middle).max() > _LED_FROM * size:
            axes.plot(*zip(place, middle, strict=True), color=marks[name].colour, linewidth=0.7, alpha=0.8, zorder=4)
        axes.text(
            place[0],
            place[1],
            printable(name),
            color=marks[name].colour,
            ha="center",
            va="center",
            zorder=5,
            fontproperties=FontProperties(family=_FONT, size=size, weight="bold"),
            path_effects=[withStroke(linewidth=2.6, foreground="white")],
            parse_math=False,  # a class may be called "$100"
        )


def apart(
    middles: Float[np.ndarray, "n 2"], sizes: Float[np.ndarray, "n 2"], side: int | float
) -> Float[np.ndarray, "n 2"]:
    """Boxes (width, height) near their middles, pushed until none lies over another, all within the square.

    Two that overlap part along the axis on which they overlap less, half the way each. Where there is no room for all,
    what is left of the overlap stays.
    """
    half, number = sizes / 2, np.arange(len(middles))
    at = np.clip(middles.astype(np.float64), half, side - half)
    before = np.where(number[:, None] < number, -1.0, 1.0)[..., None]  # two in one place have to part somewhere
    for _ in range(_ROUNDS):
        gap = at[:, None] - at[None]
        over = half[:, None] + half[None] - np.abs(gap)
        over[number, number] = 0
        touching = over.min(2) > 1e-6
        if not touching.any():
            break
        down = over[..., 1] <= over[..., 0]
        way = np.where(gap == 0, before, np.sign(gap))
        push = np.where(touching[..., None], np.stack([~down, down], 2) * way * over / 2, 0)
        at = np.clip(at + 0.6 * push.sum(1), half, side - half)
    return at
