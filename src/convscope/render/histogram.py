"""How often a unit says what: a histogram of its activations, or of one number a unit over the units of a layer.

The counts come in bins of any widths (an atlas keeps them by powers of two); they are drawn in equal bins on a linear
axis, each given bin's count spread evenly over its width. What is 0, as half the values after a ReLU, lies in a bin of
next to no width, which would tower above the others: it is said in words. The counts are drawn on a logarithmic axis,
in shares of all: the rare strong values, which a unit is known by, are one in a thousand. Drawn with matplotlib's
objects, as ``chart.py``.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Num
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.chart import BAR, MARKED
from convscope.render.typography import FAINT, GREY, INK, number_text
from convscope.wording import percent

BINS = 64
_FONT = "DejaVu Sans"
Mark = tuple[float, str]  # a value on the axis, and its name


def histogram(
    edges: Float[np.ndarray, " edges"],
    counts: Num[np.ndarray, " bins"],
    *,
    marks: Sequence[Mark] = (),
    title: str = "",
    what: str = "activation",
    log: bool = True,
    bins: int = BINS,
    width: int = 320,
    height: int = 200,
    pixel_ratio: int = 2,
) -> Image.Image:
    """``counts`` between neighbouring ``edges``, which ascend; a bin of next to no width round 0 is said in words.

    ``marks``: values that are pointed at, e.g. the mean; ``log=False``: shares on a linear axis; ``bins``: how many are
    drawn. Sizes in points. Raises :class:`ConvscopeError` for no counts, edges that do not ascend, and numbers that
    are not finite.
    """
    edges, counts = np.asarray(edges, float), np.asarray(counts, float)
    _check(edges, counts)
    zero_share = float(counts[_is_zero(edges, counts)].sum() / counts.sum())
    places, shares = equal_bins(edges, counts, bins)
    figure = Figure(figsize=(width / 72, height / 72), dpi=72 * pixel_ratio, facecolor="white", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if title:
        axes.set_title(
            title.replace("$", r"\$"), loc="left", fontsize=11.5, fontweight="bold", color=INK, fontfamily=_FONT
        )
    _draw(axes, places, shares, log=log)
    _draw_marks(axes, marks)
    said = f"   ·   0: {percent(zero_share)}" if zero_share else ""
    axes.set_xlabel(f"{what}{said}".replace("$", r"\$"), fontfamily=_FONT, fontsize=9, color=GREY)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def equal_bins(
    edges: Float[np.ndarray, " edges"], counts: Num[np.ndarray, " bins"], bins: int = BINS
) -> tuple[Float[np.ndarray, " places"], Float[np.ndarray, " shares"]]:
    """The same counts in equal bins from the first to the last value that occurs, as shares of all.

    Those of a bin of next to no width round 0 are left out of the bins, and counted in the whole.
    """
    whole, kept = counts.sum(), np.where(_is_zero(edges, counts), 0.0, counts)
    low, high = _ends(edges, counts)
    if low == high:
        low, high = low - 0.5, high + 0.5
    places = np.linspace(low, high, bins + 1)
    rising = np.concatenate([[0.0], np.cumsum(kept)])  # linear between the edges
    return places, np.diff(np.interp(places, edges, rising)) / whole


def _ends(edges: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    used = np.nonzero(counts)[0]
    return float(edges[used[0]]), float(edges[used[-1] + 1])


def _is_zero(edges: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The bin round 0, where it is a thousand times narrower than one that is drawn."""
    low, high = _ends(edges, counts)
    return (edges[:-1] <= 0) & (edges[1:] >= 0) & (np.diff(edges) <= 1e-3 * (high - low) / BINS)


def _check(edges: np.ndarray, counts: np.ndarray) -> None:
    if edges.ndim != 1 or counts.shape != (len(edges) - 1,):
        raise ConvscopeError(f"{counts.shape} counts do not lie between {edges.shape} edges")
    if not (np.isfinite(edges).all() and np.isfinite(counts).all()) or (np.diff(edges) < 0).any():
        raise ConvscopeError("a histogram has finite edges that ascend, and finite counts")
    if counts.sum() <= 0 or (counts < 0).any():
        raise ConvscopeError("a histogram of nothing: no value was counted")


def _draw(axes: Axes, places: np.ndarray, shares: np.ndarray, *, log: bool) -> None:
    lefts, widths = places[:-1], np.diff(places)
    seen = shares > 0
    if log and seen.any():
        floor = 10.0 ** math.floor(math.log10(shares[seen].min()))
        floor = max(floor, 1e-6)
        axes.set_yscale("log")
        axes.set_ylim(floor, max(10.0 ** math.ceil(math.log10(shares.max())), 10 * floor))
        axes.bar(lefts[seen], shares[seen] - floor, widths[seen], bottom=floor, align="edge", color=BAR, linewidth=0)
        ticks = [10.0**i for i in range(round(math.log10(floor)), 1)]
        axes.set_yticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
        axes.set_ylim(floor, max(10.0 ** math.ceil(math.log10(shares.max())), 10 * floor))
        axes.minorticks_off()
    else:
        axes.bar(lefts, shares, widths, align="edge", color=BAR, linewidth=0)
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    axes.set_xlim(places[0], places[-1])
    axes.xaxis.set_major_formatter(lambda value, _: number_text(value))
    axes.locator_params(axis="x", nbins=6)
    axes.tick_params(which="both", length=0, labelsize=8.5, labelcolor=GREY, labelfontfamily=_FONT)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    if places[0] < 0 < places[-1]:
        axes.axvline(0, color=GREY, linewidth=0.7)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(FAINT)


def _draw_marks(axes: Axes, marks: Sequence[Mark]) -> None:
    """A line at each value, its name beside its upper end, towards the middle of the chart."""
    low, high = axes.get_xlim()
    for number, (value, name) in enumerate(marks):
        if not low <= value <= high:
            continue
        on_the_right = (value - low) / (high - low) > 0.6
        axes.axvline(value, color=MARKED, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.annotate(
            name.replace("$", r"\$"), (value, 0.97 - 0.1 * number), xycoords=("data", "axes fraction"),
            xytext=(-3 if on_the_right else 3, 0), textcoords="offset points", color=MARKED, fontsize=8.5,
            ha="right" if on_the_right else "left", va="top", fontfamily=_FONT,
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1},
        )  # fmt: skip
