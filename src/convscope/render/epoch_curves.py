"""Curves over the epochs of a training: one number an epoch, a line for each split, told apart in four ways.

Colour, dash, mark, and the name with the last value at the line's end, so that nobody looks anything up and a grey
print can be read. Numbers that are not finite leave a gap in their line. A logarithmic axis has its whole decades
named. Drawn with matplotlib's objects, as ``chart.py``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.chart import printable
from convscope.render.typography import FAINT, GREY, number_text

_STYLES = (
    ("#2a788e", "-", "o"),
    ("#c8553d", (0, (5, 2)), "s"),
    ("#7a5195", (0, (1, 1.5)), "^"),
    ("#4f8a4c", (0, (6, 2, 1, 2)), "D"),
)
_FONT = "DejaVu Sans"
_OVER_LINES = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1}  # words that a line may cross
_APART, _MOST_MARKS, _MOST_TICKS = 12.0, 40, 8  # points between names; epochs beyond which lines have no marks; decades


@dataclass(frozen=True)
class EpochLine:
    """``values`` after ``epochs``; NaN where there is none."""

    name: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]


def epoch_curves(
    lines: Sequence[EpochLine],
    *,
    what: str,
    log: bool = False,
    limits: tuple[int | float, int | float] | None = None,
    text: Callable[[float], str] = number_text,
    marked: tuple[int, str] | None = None,
    level: tuple[int | float, str] | None = None,
    width: int = 430,
    height: int = 290,
    pixel_ratio: int = 2,
) -> Image.Image:
    """The lines on one pair of axes, ``what`` along the upright one.

    Args:
        lines: at most four.
        what: the numbers' name, with their unit.
        log: a logarithmic axis.
        limits: of the upright axis; None: by the numbers.
        text: how a number is written, at the axis and at the lines' ends.
        marked: an epoch and what is to be said of it: a thin upright line.
        level: a number and its name: a thin level line, such as chance.
        width: of the chart, in points.
        height: likewise.
        pixel_ratio: pixels of the file a point.

    Raises:
        ConvscopeError: no line or too many, other numbers of values than of epochs, no finite number, 0 or less on a
            logarithmic axis.
    """
    _check(lines, log)
    figure = Figure(figsize=(width / 72, height / 72), dpi=72 * pixel_ratio, facecolor="white", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for line, (colour, dash, mark) in zip(lines, _STYLES, strict=False):
        seen = mark if len(line.epochs) <= _MOST_MARKS else "None"
        axes.plot(line.epochs, line.values, color=colour, linestyle=dash, marker=seen, markersize=4.2, linewidth=1.7)
    _set_x(axes, sorted({epoch for line in lines for epoch in line.epochs}))
    _set_y(axes, what, log, limits, text)
    _draw_notes(axes, marked, level)
    _name_ends(axes, lines, height, text)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _check(lines: Sequence[EpochLine], log: bool) -> None:
    if not 1 <= len(lines) <= len(_STYLES):
        raise ConvscopeError(f"a chart has 1 to {len(_STYLES)} lines, not {len(lines)}")
    for line in lines:
        if len(line.epochs) != len(line.values):
            raise ConvscopeError(f"the line {line.name!r} has {len(line.values)} numbers for {len(line.epochs)} epochs")
    known = [value for line in lines for value in line.values if math.isfinite(value)]
    if not known:
        raise ConvscopeError("a curve needs at least one number that is finite")
    if log and min(known) <= 0:
        raise ConvscopeError(f"a logarithmic axis has no place for {min(known):g}")


def _set_x(axes: Axes, epochs: Sequence[int]) -> None:
    low, high = epochs[0], epochs[-1]
    room = 0.03 * (high - low) if high > low else 0.5
    axes.set_xlim(low - room, high + room)
    if high > low:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    else:
        axes.set_xticks([low])
    axes.set_xlabel("epoch (0 is before training)" if low == 0 else "epoch", fontfamily=_FONT, fontsize=9.5, color=GREY)


def _set_y(
    axes: Axes, what: str, log: bool, limits: tuple[int | float, int | float] | None, text: Callable[[float], str]
) -> None:
    if log:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        shown = _decade_ticks(low, high)
        axes.set_yticks(shown, [text(tick) for tick in shown])
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        if limits is not None:
            axes.set_ylim(*limits)
        said = _tick_text if text is number_text else text
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(lambda value, _: said(value))
    axes.tick_params(which="both", length=0, labelsize=9, labelcolor=GREY, labelfontfamily=_FONT)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_ylabel(what, fontfamily=_FONT, fontsize=9.5, color=GREY)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(FAINT)


def _tick_text(value: float) -> str:
    """All digits of a tick: one of 2.305 that is called 2.31 does not stand where it says."""
    return f"{value:.6g}" if 1e-3 <= value < 1e5 else number_text(value)


def _decade_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside = [power for power in decades if low <= 10.0**power <= high]
    if len(inside) > 2:  # a loss may run away over forty of them
        return [10.0**power for power in inside[:: math.ceil(len(inside) / _MOST_TICKS)]]
    return [tick for power in decades for step in (1, 2, 5) if low <= (tick := step * 10.0**power) <= high]


def _draw_notes(axes: Axes, marked: tuple[int, str] | None, level: tuple[int | float, str] | None) -> None:
    if marked is not None:
        axes.axvline(marked[0], color=GREY, linewidth=0.8, zorder=1)
        is_late = marked[0] > sum(axes.get_xlim()) / 2
        aside, align = (-3, "right") if is_late else (3, "left")
        _note(axes, marked[1], (marked[0], 1), (aside, 2), ("data", "axes fraction"), align)
    if level is not None:
        axes.axhline(level[0], color=GREY, linewidth=0.8, zorder=1)
        _note(axes, level[1], (1, level[0]), (-2, 2), ("axes fraction", "data"), "right")


def _note(
    axes: Axes,
    text: str,
    at: tuple[int | float, int | float],
    aside: tuple[int, int],
    where: tuple[Any, Any],
    align: Literal["left", "right"],
) -> None:
    axes.annotate(
        printable(text), at, aside, xycoords=where, textcoords="offset points", ha=align, va="bottom", color=GREY,
        fontsize=8.5, fontfamily=_FONT, parse_math=False, bbox=_OVER_LINES,
    )  # fmt: skip


def _name_ends(axes: Axes, lines: Sequence[EpochLine], height: int, text: Callable[[float], str]) -> None:
    """Each line's name and last number right of its end, pushed apart where ends lie close."""
    shown = [(number, line, _last(line.values)) for number, line in enumerate(lines)]
    known = [(number, line, last) for number, line, last in shown if last is not None]
    at = [float(axes.transAxes.inverted().transform(axes.transData.transform((0, last)))[1]) for _, _, last in known]
    tall = 0.8 * height  # of the axes in points, about
    for (number, line, last), place in zip(known, spread([tall * y for y in at], _APART), strict=True):
        axes.annotate(
            f"{printable(line.name)} {text(last)}", (1, place / tall), (6, 0), xycoords="axes fraction",
            textcoords="offset points", color=_STYLES[number][0], fontsize=9, fontfamily=_FONT, fontweight="bold",
            va="center", ha="left", parse_math=False,
        )  # fmt: skip


def spread(places: Sequence[float], apart: float) -> list[float]:
    """Places in their order, moved as little as is needed to stand ``apart`` from one another.

    >>> spread([0.0, 1.0, 50.0], 10)
    [-4.5, 5.5, 50.0]
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    groups: list[list[int]] = []
    for i in order:
        groups.append([i])
        while len(groups) > 1 and _low(places, groups[-1], apart) - _high(places, groups[-2], apart) < apart:
            groups[-2:] = [groups[-2] + groups[-1]]
    moved = list(map(float, places))
    for group in groups:
        for rank, i in enumerate(group):
            moved[i] = _low(places, group, apart) + rank * apart
    return moved


def _low(places: Sequence[float], group: Sequence[int], apart: float) -> float:
    return sum(places[i] for i in group) / len(group) - apart * (len(group) - 1) / 2


def _high(places: Sequence[float], group: Sequence[int], apart: float) -> float:
    return _low(places, group, apart) + apart * (len(group) - 1)


def _last(values: Sequence[float]) -> float | None:
    return next((value for value in reversed(values) if math.isfinite(value)), None)
