"""How many numbers lie over the epochs of a training: small charts, the median a line, most of the numbers bands.

The bands are of two tones and hold one another, so that they are told apart without colour; the line is dark, and 0 a
thin one where it is in sight. Each chart has a scale of its own: what goes on in it is to be seen, not how large it is
beside the others. Drawn with matplotlib's objects, as ``chart.py``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.chart import MARKED, printable
from convscope.render.typography import FAINT, GREY, INK, number_text

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of the outer band, the inner, the line, the inner, the outer
_FONT, _WIDTH, _HEIGHT = "DejaVu Sans", 232, 132  # points of a chart
_OUTER, _INNER = 0.22, 0.3  # how much of the colour: where they lie over each other, both


@dataclass(frozen=True)
class EpochBands:
    """``quantiles``: the ``QUANTILES`` after each epoch, NaN where there are none; ``note`` in grey beside the name."""

    name: str
    note: str
    quantiles: Float[np.ndarray, "epochs 5"]


def epoch_bands(
    charts: Sequence[EpochBands], epochs: Sequence[int], *, columns: int = 4, pixel_ratio: int = 2
) -> Image.Image:
    """The charts in reading order, all on one axis of epochs.

    Raises:
        ConvscopeError: no chart, other numbers of epochs, quantiles that are nowhere finite.
    """
    if not charts or columns < 1 or any(chart.quantiles.shape != (len(epochs), len(QUANTILES)) for chart in charts):
        raise ConvscopeError(f"bands over {len(epochs)} epochs need {len(QUANTILES)} quantiles for each of them")
    if nothing := [chart.name for chart in charts if not np.isfinite(chart.quantiles).any()]:
        raise ConvscopeError(f"no number of {', '.join(nothing)} is finite: there are no bands to draw")
    rows = math.ceil(len(charts) / columns)
    columns = math.ceil(len(charts) / rows)
    size = (columns * _WIDTH / 72, rows * _HEIGHT / 72)
    figure = Figure(figsize=size, dpi=72 * pixel_ratio, facecolor="white", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, chart in zip(places, charts, strict=False):
        _draw(axes, chart, epochs)
    for axes in places[len(charts) :]:
        axes.axis("off")
    for axes in places[max(0, len(charts) - columns) : len(charts)]:
        axes.set_xlabel("epoch", fontfamily=_FONT, fontsize=8, color=GREY)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _draw(axes: Axes, chart: EpochBands, epochs: Sequence[int]) -> None:
    low, lower, middle, upper, high = chart.quantiles.T
    if len(epochs) > 1:
        axes.fill_between(epochs, low, high, color=MARKED, alpha=_OUTER, linewidth=0)
        axes.fill_between(epochs, lower, upper, color=MARKED, alpha=_INNER, linewidth=0)
    else:  # between one epoch and none there is no area
        axes.vlines(epochs, low, high, color=MARKED, alpha=_OUTER, linewidth=18)
        axes.vlines(epochs, lower, upper, color=MARKED, alpha=_INNER, linewidth=18)
    axes.plot(epochs, middle, color=INK, linewidth=1.4, marker="o", markersize=2.6 if len(epochs) <= 40 else 0)
    bottom, top = axes.get_ylim()
    if bottom < 0 < top:
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    axes.set_title(
        printable(chart.name), loc="left", fontsize=9, fontweight="bold", color=INK, fontfamily=_FONT, parse_math=False
    )
    axes.set_title(chart.note, loc="right", fontsize=8, color=GREY, fontfamily=_FONT, parse_math=False)
    _set_axes(axes, epochs)


def _set_axes(axes: Axes, epochs: Sequence[int]) -> None:
    if len(epochs) > 1:
        axes.set_xlim(epochs[0], epochs[-1])
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    else:
        axes.set_xlim(epochs[0] - 0.5, epochs[0] + 0.5)
        axes.set_xticks(list(epochs))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.yaxis.set_major_formatter(lambda value, _: number_text(value))
    axes.tick_params(which="both", length=0, labelsize=8, labelcolor=GREY, labelfontfamily=_FONT)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(FAINT)
