"""Effects ranked: a row a cause (a unit), with its name, a bar of its whole effect, and a cell for each class.

                       of all images        cat   dog   ship
    layer3:53   ███▌   1.6 (30 lost, 14 won)  ▓     ░           hurts most: cat −5, ...

Bars begin at 0, to either side, on one axis; a cell's colour is its effect on the class alone, on a scale with 0 in its
middle; where nothing was measured the cell is crossed out. Of few classes the numbers stand in the cells. Lengths are
in points, ``pixel_ratio`` pixels of the file each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from convscope.errors import ConvscopeError
from convscope.render.chart import BAR, MARKED, TRACK, Axis, value_axis
from convscope.render.colour import colourise
from convscope.render.frame import blank
from convscope.render.scale import Scale
from convscope.render.typography import FAINT, GREY, INK, WHITE, Type, font, wrap

MOST_NUMBERED = 14  # columns: of more the cells are too narrow for numbers
_LINE, _THICK, _GAP = 17.0, 10.0, 10.0  # points: a row, its bar, between the parts of a row
_BARS, _NUMBER, _SAID = 120.0, 108.0, 250.0
_NAME, _SMALL, _CELL = Type(9.0, INK), Type(8.5, GREY), Type(8.0, INK)
_MOST_NAME, _MOST_HEADING = 170.0, 110.0


@dataclass(frozen=True)
class Effect:
    """One row. ``by_class``: a number a column, NaN where nothing is known; ``note`` after the bar, ``said`` last."""

    name: str
    value: float
    by_class: Sequence[float]
    note: str = ""
    said: str = ""


def effect_chart(
    effects: Sequence[Effect | None],
    classes: Sequence[str],
    scale: Scale,
    *,
    heading: str,
    said: str = "",
    pixel_ratio: int = 2,
) -> Image.Image:
    """The rows in their order, below the names of the classes; ``heading`` is over the bars, ``said`` over the last.

    A None among the rows is a gap: something was left out there.

    Raises :class:`ConvscopeError` for no rows, rows of another number of classes, and a scale without a sign.
    """
    if not any(effects) or any(effect and len(effect.by_class) != len(classes) for effect in effects):
        raise ConvscopeError(
            f"{len(effects)} rows of effects do not have one number for each of {len(classes)} classes"
        )
    if not scale.signed:
        raise ConvscopeError("effects help or hurt: give a signed scale")
    sheet = _Chart(effects, classes, scale, pixel_ratio)
    page = blank(sheet.px(sheet.width), sheet.px(sheet.top + len(effects) * _LINE + 2))
    sheet.draw(page, heading, said)
    return page


class _Chart:
    """Measures of one chart, in points, and what is drawn on its page."""

    def __init__(self, rows: Sequence[Effect | None], classes: Sequence[str], scale: Scale, ratio: int) -> None:
        self.classes, self.scale, self.ratio = classes, scale, ratio
        self.effects = [(place * _LINE, effect) for place, effect in enumerate(rows) if effect]
        self.gaps = [place * _LINE for place, effect in enumerate(rows) if not effect]
        self.axis = value_axis([effect.value for _, effect in self.effects])
        count = len(classes)
        self.cell = 27.0 if count <= MOST_NUMBERED else max(9.0, min(20.0, 640.0 / max(1, count)))
        self.name = min(_MOST_NAME, max(self.long(effect.name, _NAME) for _, effect in self.effects)) + 4
        self.bars = self.name + 6
        self.notes = self.bars + _BARS + 6
        self.cells = self.notes + _NUMBER + _GAP
        self.said = self.cells + count * self.cell + _GAP
        self.width = self.said + (_SAID if any(effect.said for _, effect in self.effects) else 0)
        self.top = min(_MOST_HEADING, max((self.long(name, _NAME) for name in classes), default=0.0)) + 16

    def px(self, points: float) -> int:
        return round(points * self.ratio)

    def long(self, text: str, type_: Type) -> float:
        return font(self.px(type_.size)).getlength(text) / self.ratio

    def draw(self, page: Image.Image, heading: str, said: str) -> None:
        draw = ImageDraw.Draw(page)
        self.text(draw, self.bars, self.top - 8, heading, _SMALL, self.cells - self.bars)
        self.text(draw, self.said, self.top - 8, said, _SMALL, _SAID)
        self.headings(page)
        for top in self.gaps:
            self.text(draw, 0.0, self.top + top + _LINE / 2, "⋮", _NAME, self.name)
        for top, effect in self.effects:
            self.row(draw, self.top + top, effect)
            self.cells_of(draw, self.top + top, effect)

    def row(self, draw: ImageDraw.ImageDraw, top: float, effect: Effect) -> None:
        middle = top + _LINE / 2
        self.text(draw, 0.0, middle, effect.name, _NAME, self.name)
        self.bar(draw, middle, self.axis, effect.value)
        self.text(draw, self.notes, middle, effect.note, _SMALL, _NUMBER)
        self.text(draw, self.said, middle, effect.said, _SMALL, _SAID)

    def bar(self, draw: ImageDraw.ImageDraw, middle: float, axis: Axis, value: float) -> None:
        ends = [self.bars + _BARS * share for share in sorted((axis.share(0.0), axis.share(value)))]
        for (left, right), colour in (((self.bars, self.bars + _BARS), TRACK), (ends, MARKED if value > 0 else BAR)):
            if self.px(right) > self.px(left):
                top, bottom = self.px(middle - _THICK / 2), self.px(middle + _THICK / 2)
                draw.rectangle((self.px(left), top, self.px(right) - 1, bottom - 1), fill=colour)
        zero = self.px(self.bars + _BARS * axis.share(0.0))
        line = (zero, self.px(middle - _LINE / 2), zero + self.ratio - 1, self.px(middle + _LINE / 2))
        draw.rectangle(line, fill=FAINT)

    def headings(self, page: Image.Image) -> None:
        """The classes' names, read from below upwards."""
        room, face = self.px(self.top - 4), font(self.px(min(_NAME.size, 0.9 * self.cell)))
        for place, name in enumerate(self.classes):
            block = Image.new("RGB", (room, self.px(self.cell)), WHITE)
            text = (wrap(name, face, room, 1) or [""])[0]
            ImageDraw.Draw(block).text((0, block.height / 2), text, font=face, fill=INK, anchor="lm")
            turned = block.transpose(Image.Transpose.ROTATE_90)
            page.paste(turned, (self.px(self.cells + place * self.cell), self.px(self.top - 4) - room))

    def cells_of(self, draw: ImageDraw.ImageDraw, top: float, effect: Effect) -> None:
        values = np.array(effect.by_class, float).reshape(1, -1)
        colours = colourise(np.nan_to_num(values), self.scale)[0].tolist()
        for place, (value, (red, green, blue)) in enumerate(zip(values[0].tolist(), colours, strict=True)):
            left, right = (self.px(self.cells + (place + side) * self.cell) for side in (0, 1))
            box = (left, self.px(top), right - self.ratio, self.px(top + _LINE) - self.ratio)
            if np.isnan(value):
                draw.line(box, fill=FAINT, width=self.ratio)
                continue
            draw.rectangle(box, fill=(red, green, blue), outline="#eef1f3")
            if len(self.classes) <= MOST_NUMBERED and (text := _cell_text(value)):
                is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 140
                at = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
                draw.text(at, text, font=font(self.px(_CELL.size)), fill=WHITE if is_dark else INK, anchor="mm")

    def text(self, draw: ImageDraw.ImageDraw, x: float, middle: float, text: str, type_: Type, room: float) -> None:
        face = font(self.px(type_.size))
        line = (wrap(text, face, self.px(room), 1) or [""])[0]
        draw.text((self.px(x), self.px(middle)), line, font=face, fill=type_.colour, anchor="lm")


def _cell_text(value: float) -> str:
    """Short enough for a cell; empty for what rounds to 0."""
    text = (f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.1f}").removesuffix(".0").replace("-", "−")
    return "" if text in ("0", "−0") else text
