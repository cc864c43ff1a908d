"""How a number that every unit has lies in each layer: the median as a line, most of the units as a band round it.

For one look over a whole network: one panel a number, the layers in their order on the axis that all panels share.
Drawn with matplotlib's objects, as ``chart.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.chart import MARKED
from convscope.render.typography import FAINT, GREY, INK, number_text

WITHIN = (10.0, 90.0)  # percentiles of the units that the band holds
_FONT, _MOST_NAMES = "DejaVu Sans", 48


@dataclass(frozen=True)
class Band:
    """One number of every unit of every layer; ``limits`` of its axis, None where the values set them."""

    title: str
    values: Sequence[Float[np.ndarray, " _"]]
    limits: tuple[int | float, int | float] | None = None
    as_percent: bool = False


def layer_bands(
    labels: Sequence[str], bands: Sequence[Band], *, width: int = 640, each: int = 130, pixel_ratio: int = 2
) -> Image.Image:
    """The bands below one another over the layers ``labels``; units without the number (NaN) are left out.

    Sizes in points. Raises :class:`ConvscopeError` for no band, or another number of layers than labels.
    """
    if not bands or not labels or any(len(band.values) != len(labels) for band in bands):
        raise ConvscopeError(f"bands over {len(labels)} layers need a list of values for each")
    names = 5 * min(18, max(map(len, labels))) if len(labels) > 4 else 20
    height = each * len(bands) + names
    figure = Figure(figsize=(width / 72, height / 72), dpi=72 * pixel_ratio, facecolor="white", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(len(bands), 1, sharex=True, squeeze=False)[:, 0]
    for axes, band in zip(panels, bands, strict=True):
        _draw(axes, band)
    _name(panels[-1], labels)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _draw(axes: Axes, band: Band) -> None:
    known = [values[np.isfinite(values)] for values in band.values]
    percentiles = [np.percentile(v, [WITHIN[0], 50, WITHIN[1]]) if v.size else np.full(3, np.nan) for v in known]
    low, middle, high = np.array(percentiles).T
    x = np.arange(len(known))
    # a bar a layer, not one area: between two layers there is nothing
    axes.vlines(x, low, high, color=MARKED, alpha=0.3, linewidth=min(9.0, 300 / len(known)))
    axes.plot(x, middle, color=MARKED, marker="o", markersize=4, linewidth=1.0, zorder=3)
    axes.set_title(band.title.replace("$", r"\$"), loc="left", fontsize=10, color=INK, fontfamily=_FONT)
    if band.limits is not None:
        axes.set_ylim(*band.limits)
    axes.locator_params(axis="y", nbins=4)
    axes.yaxis.set_major_formatter(_share_text if band.as_percent else _number_text)
    axes.tick_params(which="both", length=0, labelsize=8.5, labelcolor=GREY, labelfontfamily=_FONT)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(FAINT)


def _share_text(value: float, _: object) -> str:
    return f"{100 * value:g} %"


def _number_text(value: float, _: object) -> str:
    return number_text(value)


def _name(axes: Axes, labels: Sequence[str]) -> None:
    every = -(-len(labels) // _MOST_NAMES)
    at = list(range(0, len(labels), every))
    steep = len(labels) > 4
    said = [labels[i].replace("$", r"\$") for i in at]
    axes.set_xticks(at, said, rotation=45 if steep else 0, ha="right" if steep else "center", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(labels) - 0.4)
