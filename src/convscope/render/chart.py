"""Charts that stand in sheets: bars of class probabilities, always from 0 to 1, so that no two need be rescaled; bars
of other values, from 0 to either side, on an axis that charts to be compared share (``value_axis`` of all of them).

Drawn with matplotlib's objects on a canvas of their own (no pyplot: no global figure, no window, safe in threads).
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Rectangle
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.typography import FAINT, GREY, Type, font, number_text, wrap
from convscope.wording import percent

MARKED, BAR, TRACK = "#2a788e", "#9fb3bf", "#eef1f3"  # the first: viridis at 0.4
_BAR_HEIGHT, _AXIS_HEIGHT = 26.0, 18.0  # points: a bar with its name, the numbers below them all
_STEP, _LEAST_HEIGHT, _NUMBER = 50.0, 17.0, 60.0  # points: from bar to bar at most; of a bar at least; of its number
_FILLED = 0.82  # of the room at most: a name must not seem to belong to the bar above it
_AXIS, _TITLE = 9.0, 12.5  # points of type

_NEAR = 0.15  # share of an axis: a number at its end that is nearer to the 0 would lie on it

Prediction = tuple[str, float]  # class name, probability


@dataclass(frozen=True)
class Axis:
    """What bars are measured on, from ``low`` to ``high`` with 0 among them; ``ticks`` are (value, label)."""

    low: float
    high: float
    text: Callable[[float], str]
    ticks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        """Where a value lies, 0 to 1; the ends for what is beyond them."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def value_axis(values: Iterable[float]) -> Axis:
    """The axis of all bars of these values. Raises :class:`ConvscopeError` for values that are not finite."""
    known = [float(value) for value in values]
    if not np.isfinite(known).all():
        raise ConvscopeError("a bar has a finite length, but a value is NaN or infinite")
    low, high = min([0.0, *known]), max([0.0, *known])
    high = 1.0 if low == high else high
    zero = -low / (high - low)
    ends = [(low, zero > _NEAR), (high, zero < 1 - _NEAR)]
    ticks = [(0.0, "0"), *((end, number_text(end)) for end, is_clear in ends if is_clear)]
    return Axis(low, high, lambda value: f"{value:.2f}".replace("-", "−"), tuple(ticks))


def probability_bars(
    predictions: Sequence[Prediction],
    *,
    marked: Collection[str] = (),
    title: str = "",
    width: int = 256,
    height: int = 256,
    pixel_ratio: int = 2,
) -> Image.Image:
    """One bar a class in the order given, as ``predict`` returns them; ``marked`` classes in another colour.

    Sizes in points. Raises :class:`ConvscopeError` for no class or numbers that are no probabilities.
    """
    _check(predictions)
    return _charts([(title, predictions)], marked, (width, height), pixel_ratio, PROBABILITIES)


def value_bars(
    values: Sequence[tuple[str, float]],
    axis: Axis,
    *,
    marked: Collection[str] = (),
    title: str = "",
    width: int = 256,
    height: int = 256,
    pixel_ratio: int = 2,
) -> Image.Image:
    """One bar a class for numbers of either sign, such as logits; else as :func:`probability_bars`."""
    return _charts([(title, values)], marked, (width, height), pixel_ratio, axis)


def before_and_after_bars(
    before: Sequence[Prediction],
    after: Sequence[Prediction],
    *,
    titles: tuple[str, str] = ("before", "after"),
    marked: Collection[str] = (),
    width: int = 530,
    height: int = 256,
    pixel_ratio: int = 2,
) -> Image.Image:
    """Two charts side by side on one scale, e.g. before and after units were switched off; else as the one above."""
    _check(before)
    _check(after)
    panels = [(titles[0], before), (titles[1], after)]
    return _charts(panels, marked, (width, height), pixel_ratio, PROBABILITIES)


def _charts(
    panels: Sequence[tuple[str, Sequence[Prediction]]],
    marked: Collection[str],
    size: tuple[int, int],
    pixel_ratio: int,
    scale: Axis,
) -> Image.Image:
    width, height = size
    figure = Figure(figsize=(width / 72, height / 72), dpi=72 * pixel_ratio, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    gap = 18
    each = (width - gap * (len(panels) - 1)) / len(panels)
    most = max(len(predictions) for _, predictions in panels)
    for number, (title, predictions) in enumerate(panels):
        axes = figure.add_axes((number * (each + gap) / width, 0, each / width, 1))
        axes.set(xlim=(0, each), ylim=(height, 0))
        axes.axis("off")
        _Panel(axes, each, float(height), scale).draw(title, predictions, marked, most)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _check(predictions: Sequence[Prediction]) -> None:
    if not predictions:
        raise ConvscopeError("a chart of probabilities needs at least one class")
    for name, probability in predictions:
        if not 0 <= probability <= 1 + 1e-6:  # a softmax in float32 may sum to a little more
            raise ConvscopeError(f"{probability} is not a probability, but was given for {name!r}")


class _Panel:
    """One chart, drawn on axes whose unit is a point and whose y runs down."""

    def __init__(self, axes: Axes, width: float, height: float, scale: Axis) -> None:
        self.axes, self.width, self.height, self.scale = axes, width, height, scale

    def draw(self, title: str, predictions: Sequence[Prediction], marked: Collection[str], most: int) -> None:
        top = 26.0 if title else 4.0
        if title:
            self.text(0.0, top / 2 - 4, title, Type(_TITLE, bold=True), "left", self.width)
        room = self.height - _AXIS_HEIGHT - top
        high = min(_BAR_HEIGHT, _FILLED * room / most)
        if high < _LEAST_HEIGHT:
            needed = self.height - room + most * _LEAST_HEIGHT / _FILLED
            raise ConvscopeError(f"{most} bars need a height of {needed:.0f} points to be read, not {self.height:g}")
        step = min(_STEP, (room - high) / max(1, most - 1))
        for place, (name, value) in enumerate(predictions):
            self.bar(top + place * step, high, name, value, marked=name in marked)
        self.axis(top + (len(predictions) - 1) * step + high)

    def bar(self, y: float, high: float, name: str, value: float, *, marked: bool) -> None:
        """``high`` points: the name and the number on a line, the bar on its track close below it."""
        thick, size, number = 0.35 * high, 0.42 * high, self.scale.text(value)
        self.text(0.0, y + 0.25 * high, name, Type(size, bold=marked), "left", self.width - _NUMBER)
        self.text(self.width, y + 0.25 * high, number, Type(size, bold=marked), "right", _NUMBER)
        self.rectangle(0.0, y + high - thick, self.width, thick, TRACK)
        left, right = sorted((self.width * self.scale.share(0.0), self.width * self.scale.share(value)))
        self.rectangle(left, y + high - thick, right - left, thick, MARKED if marked else BAR)

    def axis(self, y: float) -> None:
        for value, label in self.scale.ticks:
            share = self.scale.share(value)
            x = share * self.width
            align = "left" if share < 0.1 else "right" if share > 0.9 else "center"
            self.axes.plot((x, x), (y + 1, y + 4), color=FAINT, linewidth=0.8, clip_on=False)
            self.text(x, y + 10, label, Type(_AXIS, GREY), align, self.width / 3)

    def text(self, x: float, y: float, text: str, type_: Type, align: str, room: float) -> None:
        lines = wrap(printable(text), font(round(4 * type_.size), type_.bold), round(4 * room), 1)
        self.axes.text(
            x,
            y,
            lines[0] if lines else "",
            color=type_.colour,
            horizontalalignment=align,
            verticalalignment="center",
            fontproperties=FontProperties(family="DejaVu Sans", size=type_.size, weight="bold" if type_.bold else 400),
            parse_math=False,  # a class may be called "$100"
        )

    def rectangle(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        self.axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="none", antialiased=True))


PROBABILITIES = Axis(0.0, 1.0, percent, ((0.0, "0"), (0.5, "50%"), (1.0, "100%")))


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    return frozenset(FT2Font(str(Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))).get_charmap())


def printable(text: str) -> str:
    """Letters that the font lacks as boxes: matplotlib would draw the same, with a warning for each."""
    return "".join(letter if ord(letter) in _glyphs() else "□" for letter in text)
