"""Curves over the layers of a network: one number a layer on a logarithmic axis, one line a network or a setting.

Lines over the same layers stand on their names; lines over different ones on their depth, from the first to the last
layer. A faint dashed line of the same colour is what the number is without doing anything. Numbers below ``FLOOR`` are
drawn at it. Drawn with matplotlib's objects, as ``chart.py``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.typography import FAINT, GREY, INK

FLOOR = 1e-6
_COLOURS = ("#2a788e", "#c8553d", "#7a5195", "#d9a400", "#4f8a4c", "#5b6770")
_FONT = "DejaVu Sans"
_MOST_NAMES = 48


@dataclass(frozen=True)
class Line:
    """``values`` of ``labels`` in order; ``levels`` what each would be without doing anything, empty where unknown."""

    name: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    levels: tuple[float, ...] = ()


def layer_curves(
    lines: Sequence[Line],
    *,
    what: str,
    level: str = "",
    ordered: bool = False,
    width: int = 640,
    height: int = 300,
    pixel_ratio: int = 2,
) -> Image.Image:
    """The lines on one pair of axes; ``what`` labels the numbers, ``level`` the dashed lines.

    ``ordered``: the lines are steps of one setting, in its order. Sizes in points. Raises :class:`ConvscopeError` for
    no line, and numbers that are negative or not finite.
    """
    _check(lines)
    figure = Figure(figsize=(width / 72, height / 72), dpi=72 * pixel_ratio, facecolor="white", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    same = all(line.labels == lines[0].labels for line in lines)
    colours = _colours(len(lines), ordered)
    shown = {line.levels for line in lines if line.levels}
    for line, colour in zip(lines, colours, strict=True):
        _draw(axes, line, colour, by_depth=not same, level_colour=GREY if len(shown) == 1 else colour)
    _set_x(axes, lines[0].labels if same else None)
    _set_y(axes, what)
    _legend(axes, lines, colours, level if shown else "")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _check(lines: Sequence[Line]) -> None:
    if not lines or not all(line.values for line in lines):
        raise ConvscopeError("a curve needs at least one number")
    for line in lines:
        if len(line.labels) != len(line.values) or (line.levels and len(line.levels) != len(line.values)):
            raise ConvscopeError(f"the line {line.name!r} has {len(line.values)} numbers for {len(line.labels)} layers")
        if not all(math.isfinite(v) and v >= 0 for v in (*line.values, *line.levels)):
            raise ConvscopeError(f"the line {line.name!r} has a number that is negative or not finite")


def _colours(count: int, ordered: bool) -> list[str]:
    if ordered and count > 1:
        return [to_hex(colormaps["viridis"](0.85 * i / (count - 1))) for i in range(count)]
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]


def _draw(axes: Axes, line: Line, colour: str, *, by_depth: bool, level_colour: str) -> None:
    count = len(line.values)
    x = np.linspace(0, 1, count) if by_depth and count > 1 else np.arange(count)
    axes.plot(x, np.maximum(line.values, FLOOR), color=colour, marker="o", markersize=4, linewidth=1.6, zorder=3)
    if line.levels:
        axes.plot(
            x, np.maximum(line.levels, FLOOR), color=level_colour, linewidth=0.9, linestyle=(0, (4, 3)), alpha=0.8
        )


def _set_x(axes: Axes, labels: Sequence[str] | None) -> None:
    if labels is None:
        axes.set_xticks([0, 1], ["first layer", "last layer"], fontfamily=_FONT, fontsize=9, color=GREY)
        axes.set_xlabel("depth, in shares of the layers", fontfamily=_FONT, fontsize=9.5, color=GREY)
        axes.set_xlim(-0.03, 1.03)
        return
    every = -(-len(labels) // _MOST_NAMES)
    at = list(range(0, len(labels), every))
    steep = max(len(label) for label in labels) > 4 and len(labels) > 4
    axes.set_xticks(
        at,
        [labels[i].replace("$", r"\$") for i in at],
        fontfamily=_FONT,
        fontsize=8.5,
        color=GREY,
        rotation=45 if steep else 0,
        ha="right" if steep else "center",
        rotation_mode="anchor",
    )
    axes.set_xlim(-0.4, len(labels) - 0.6)


def _set_y(axes: Axes, what: str) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    at = range(math.floor(math.log10(low)), math.ceil(math.log10(high) + 0.01))
    axes.set_ylim(10.0 ** at[0], max(high, 1.2 * 10.0 ** at[-1]))
    axes.set_yticks([10.0**i for i in at], [f"{10.0**i:g}" if i >= -4 else f"10⁻{_raised(-i)}" for i in at])
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="both", length=0, labelsize=9, labelcolor=GREY, labelfontfamily=_FONT)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.set_ylabel(what, fontfamily=_FONT, fontsize=9.5, color=GREY)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(FAINT)


def _raised(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _legend(axes: Axes, lines: Sequence[Line], colours: Sequence[str], level: str) -> None:
    names = [line.name.replace("$", r"\$") for line in lines]
    handles = [Line2D([], [], color=c, marker="o", markersize=4, linewidth=1.6) for c in colours]
    if not any(names):
        handles, names = [], []
    if level:
        handles.append(Line2D([], [], color=GREY, linewidth=0.9, linestyle=(0, (4, 3))))
        names.append(level)
    if handles:
        axes.legend(
            handles,
            names,
            frameon=False,
            loc="lower left",
            bbox_to_anchor=(0, 1.0),
            ncols=min(4, len(names)),
            prop={"family": _FONT, "size": 9},
            labelcolor=INK,
        )
