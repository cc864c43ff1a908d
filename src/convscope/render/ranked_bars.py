"""Ranked bars: a name, a bar and a number a line, in panels that stand side by side, on one axis or each its own.

For what is ranked and compared: the units of a layer, class by class; classes by their accuracy. A bar has a colour of
its own (one a unit, the same in every panel), and may bear a mark: a thin line where something to compare with lies,
such as the mean over all classes. Bars start at 0, to either side; the axis is said by the numbers, bar by bar, and by
the line at 0. Lengths are in points, ``pixel_ratio`` pixels of the file each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from convscope.errors import ConvscopeError
from convscope.render.chart import BAR, TRACK, Axis, value_axis
from convscope.render.tile import column_of, row_of
from convscope.render.typography import FAINT, GREY, INK, WHITE, Type, font, number_text, text_block, wrap

TITLE, NOTE, NAME = Type(11.5, INK, bold=True, lines=1), Type(9.0, GREY, lines=2), Type(9.0, INK)
LINE, THICK = 14.0, 9.0  # points: from bar to bar, of a bar
NUMBER_WIDTH, LEAST_NAMES, GAP, ROW_GAP = 52.0, 22.0, 30, 26
_MOST_NAMES = 0.42  # share of a panel that names may take


@dataclass(frozen=True)
class Bar:
    """``text``: what stands for the number, else its three digits; ``mark``: where the thin line lies."""

    name: str
    value: int | float
    colour: str = BAR
    mark: int | float | None = None
    text: str = ""


@dataclass(frozen=True)
class Panel:
    """Bars below one another; a None among them is a gap: something was left out there."""

    title: str
    bars: tuple[Bar | None, ...]
    note: str = ""
    axis: Axis | None = None

    @property
    def values(self) -> list[int | float]:
        """What an axis has to hold."""
        return [value for bar in self.bars if bar for value in (bar.value, bar.mark) if value is not None]


def shared_axis(panels: Sequence[Panel]) -> Axis:
    """The axis of all bars of all panels."""
    return value_axis(float(value) for panel in panels for value in panel.values)


def ranked_bars(
    panels: Sequence[Panel], *, columns: int | None = None, width: int = 200, shared: bool = True, pixel_ratio: int = 2
) -> Image.Image:
    """The panels in reading order, ``columns`` a row (None: at most 5), each of ``width`` points.

    ``shared``: one axis for them all, but for those that bring theirs; else each panel has its own. Raises
    :class:`ConvscopeError` for no panels, and values that are not finite.
    """
    if not panels:
        raise ConvscopeError("ranked bars need at least one panel")
    columns = columns or -(-len(panels) // -(-len(panels) // 5))
    common = shared_axis([p for p in panels if p.axis is None]) if shared else None
    names = min(_MOST_NAMES * width, max(LEAST_NAMES, *(_longest(panel) for panel in panels)))
    heads = [_head(panel, width, pixel_ratio) for panel in panels]
    bodies = [_body(p, p.axis or common or shared_axis([p]), width, names, pixel_ratio) for p in panels]
    rows: list[Image.Image] = []
    for start in range(0, len(panels), columns):  # the bars of a row begin on one line
        gap, end = GAP * pixel_ratio, start + columns
        row = [row_of(*blocks[start:end], gap_px=gap) for blocks in (heads, bodies)]
        rows.append(column_of(*row, gap_px=3 * pixel_ratio))
    return column_of(*rows, gap_px=ROW_GAP * pixel_ratio)


def _longest(panel: Panel) -> float:
    face = font(round(4 * NAME.size))
    return max((face.getlength(bar.name) / 4 for bar in panel.bars if bar), default=0.0)


def _head(panel: Panel, width: int, ratio: int) -> Image.Image:
    title = text_block(panel.title, width * ratio, TITLE, pixel_ratio=ratio)
    return column_of(title, text_block(panel.note, width * ratio, NOTE, pixel_ratio=ratio), gap_px=2 * ratio)


def _body(panel: Panel, axis: Axis, width: int, names: float, ratio: int) -> Image.Image:
    body = Image.new("RGB", (width * ratio, round(LINE * max(1, len(panel.bars)) * ratio)), WHITE)
    draw = _Bars(ImageDraw.Draw(body), axis, names, width - NUMBER_WIDTH, ratio)
    for place, bar in enumerate(panel.bars):
        draw.bar(place * LINE, bar)
    return body


@dataclass(frozen=True)
class _Bars:
    """Draws lines of one panel: names up to ``names`` points, bars from there to ``end``, numbers behind it."""

    draw: ImageDraw.ImageDraw
    axis: Axis
    names: float
    end: float
    ratio: int

    def bar(self, top: float, bar: Bar | None) -> None:
        middle = top + LINE / 2
        if bar is None:
            self.text(self.names + 4, middle, "⋮", "lm", GREY)
            return
        self.text(self.names, middle, self.shortened(bar.name), "rm", INK)
        self.rectangle(self.x(self.axis.low), middle, self.x(self.axis.high), TRACK)
        left, right = sorted((self.x(0.0), self.x(bar.value)))
        self.rectangle(left, middle, right, bar.colour)
        if self.axis.low < 0:
            self.line(self.x(0.0), middle, LINE / 2, FAINT)
        if bar.mark is not None:
            self.line(self.x(bar.mark), middle, THICK / 2 + 1.5, INK)
        self.text(self.end + NUMBER_WIDTH, middle, bar.text or number_text(float(bar.value)), "rm", INK)

    def shortened(self, name: str) -> str:
        lines = wrap(name, font(round(NAME.size * self.ratio)), round(self.names * self.ratio), 1)
        return lines[0] if lines else ""

    def x(self, value: int | float) -> float:
        start = self.names + 6
        return start + (self.end - start) * self.axis.share(float(value))

    def rectangle(self, left: float, middle: float, right: float, colour: str) -> None:
        if right <= left:
            return
        top, bottom = round((middle - THICK / 2) * self.ratio), round((middle + THICK / 2) * self.ratio) - 1
        start, end = round(left * self.ratio), round(right * self.ratio) - 1
        self.draw.rectangle((start, top, max(start, end), bottom), fill=colour)  # a short one is seen, too

    def line(self, x: float, middle: float, half: float, colour: str) -> None:
        x_px = round(x * self.ratio)
        box = (x_px, round((middle - half) * self.ratio), x_px + self.ratio - 1, round((middle + half) * self.ratio))
        self.draw.rectangle(box, fill=colour)

    def text(self, x: float, y: float, text: str, anchor: str, colour: str) -> None:
        face = font(round(NAME.size * self.ratio))
        self.draw.text((x * self.ratio, y * self.ratio), text, font=face, fill=colour, anchor=anchor)
