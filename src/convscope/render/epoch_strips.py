"""Strips over the epochs of a training: a row a class, a mistake or a layer, a column an epoch, the number a colour.

Where lines would lie over one another, fifty layers or sixty classes still stand below one another, and the eye finds
when something began. A column is as wide as the time to the next snapshot: the axis is the epoch, not its place in a
list. What is not known is grey. At the right stands the last number of each row. Lengths are in points,
``pixel_ratio`` pixels of the file each.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from convscope.errors import ConvscopeError
from convscope.render.frame import blank
from convscope.render.tile import column_of
from convscope.render.typography import FAINT, GREY, INK, Type, font, text_block, wrap

UNKNOWN = "#e4e8eb"
_HEADING, _NOTE, _SIZE = Type(11.5, INK, bold=True, lines=2), Type(9.5, GREY, lines=3), 9.0
_ROW, _MOST_NAME, _TICKS = 15.0, 230.0, 8  # points; numbers along the axis


@dataclass(frozen=True)
class Ramp:
    """What the colours mean: ``colours`` (n, 3) uint8 from one end to the other, and the ends' names."""

    colours: UInt8[np.ndarray, "n 3"]
    ends: tuple[str, str]


def epoch_strips(
    names: Sequence[str],
    epochs: Sequence[int],
    colours: UInt8[np.ndarray, "rows epochs 3"],
    *,
    known: Bool[np.ndarray, "rows epochs"] | None = None,
    texts: Sequence[str] = (),
    heading: str = "",
    note: str = "",
    ramp: Ramp | None = None,
    width: int = 300,
    pixel_ratio: int = 2,
) -> Image.Image:
    """The strips below their heading, the epochs below them; ``width`` is that of the strips alone.

    ``known``: where False, the place is grey; ``texts``: at the right of each row.

    Raises:
        ConvscopeError: no row, or names, epochs, texts and colours that do not go together.
    """
    rows, columns = colours.shape[:2]
    if not rows or (rows, columns) != (len(names), len(epochs)) or len(texts) not in (0, rows):
        raise ConvscopeError(
            f"{colours.shape} colours for {len(names)} names, {len(texts)} texts, {len(epochs)} epochs"
        )
    drawn = colours if known is None else np.where(known[..., None], colours, _rgb(UNKNOWN))
    sizes = _Sizes(names, texts, width * pixel_ratio, round(_ROW * pixel_ratio), pixel_ratio)
    body = column_of(_rows(names, texts, epochs, drawn.astype(np.uint8), sizes), _axis(epochs, sizes))
    parts = [text_block(heading, body.width, _HEADING, pixel_ratio=pixel_ratio)]
    parts += [text_block(note, body.width, _NOTE, pixel_ratio=pixel_ratio), body]
    if ramp is not None:
        parts.append(_ramp(ramp, sizes))
    return column_of(*parts, gap_px=4 * pixel_ratio)


@dataclass(frozen=True)
class _Sizes:
    names: Sequence[str]
    texts: Sequence[str]
    width: int
    row: int
    ratio: int

    @property
    def left(self) -> int:
        longest = max(font(round(_SIZE * self.ratio)).getlength(name) for name in self.names)
        return round(min(longest, _MOST_NAME * self.ratio)) + 6 * self.ratio

    @property
    def right(self) -> int:
        face = font(round(_SIZE * self.ratio))
        return round(max((face.getlength(text) for text in self.texts), default=0)) + 8 * self.ratio

    @property
    def whole(self) -> int:
        return self.left + self.width + self.right


def edges(epochs: Sequence[int], width: int) -> list[int]:
    """Where the columns begin and end, in pixels: each is in the middle between its neighbours' epochs.

    >>> edges([0, 1, 2], 30)
    [0, 10, 20, 30]
    """
    if len(epochs) == 1:
        return [0, width]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(epochs)]
    low, high = epochs[0] - (middles[0] - epochs[0]), epochs[-1] + (epochs[-1] - middles[-1])
    return [round(width * (place - low) / (high - low)) for place in (low, *middles, high)]


def _rows(
    names: Sequence[str], texts: Sequence[str], epochs: Sequence[int], colours: np.ndarray, sizes: _Sizes
) -> Image.Image:
    ratio = sizes.ratio
    at = edges(epochs, sizes.width)
    wide = np.repeat(colours, np.diff(at), axis=1)
    block = blank(sizes.whole, len(names) * sizes.row)
    draw, face = ImageDraw.Draw(block), font(round(_SIZE * ratio))
    for row, name in enumerate(names):
        y, middle = row * sizes.row, (row + 0.5) * sizes.row
        strip = Image.fromarray(np.repeat(wide[row : row + 1], sizes.row - 2 * ratio, axis=0))
        block.paste(strip, (sizes.left, y + ratio))
        shown = wrap(name, face, sizes.left - 6 * ratio, 1)
        draw.text((sizes.left - 4 * ratio, middle), shown[0] if shown else "", font=face, fill=INK, anchor="rm")
        if texts:
            draw.text((sizes.left + sizes.width + 5 * ratio, middle), texts[row], font=face, fill=INK, anchor="lm")
    draw.rectangle((sizes.left, 0, sizes.left + sizes.width - 1, block.height - 1), outline=FAINT, width=ratio)
    return block


def _axis(epochs: Sequence[int], sizes: _Sizes) -> Image.Image:
    """Some epochs below the middles of their columns, and the word."""
    ratio, line = sizes.ratio, round(1.45 * _SIZE * sizes.ratio)
    block = blank(sizes.whole, 2 * line)
    draw, face, at = ImageDraw.Draw(block), font(round((_SIZE - 0.5) * ratio)), edges(epochs, sizes.width)
    for place in ticks(epochs):
        x = sizes.left + (at[place] + at[place + 1]) / 2
        draw.line((x, 0, x, 2.5 * ratio), fill=GREY, width=max(1, ratio // 2))
        draw.text((x, 0.62 * line), str(epochs[place]), font=face, fill=GREY, anchor="mm")
    draw.text((sizes.left + sizes.width / 2, 1.55 * line), "epoch", font=face, fill=GREY, anchor="mm")
    return block


def ticks(epochs: Sequence[int], most: int = _TICKS) -> list[int]:
    """The places of the epochs that are named: at most about ``most``, multiples of 1, 2, 5, 10, ..., and the first.

    >>> ticks(list(range(21)))
    [0, 5, 10, 15, 20]
    """
    if len(epochs) == 1:
        return [0]
    span = epochs[-1] - epochs[0]
    power = 10 ** max(0, math.floor(math.log10(span / most))) if span > most else 1
    step = next(power * times for times in (1, 2, 5, 10, 20) if span / (power * times) <= most)
    return [place for place, epoch in enumerate(epochs) if epoch % step == 0] or [0]


def _ramp(ramp: Ramp, sizes: _Sizes) -> Image.Image:
    ratio, width = sizes.ratio, min(180 * sizes.ratio, sizes.width)
    place = ((np.arange(width) + 0.5) * len(ramp.colours) / width).astype(int)
    block = blank(sizes.whole, 24 * ratio)
    block.paste(Image.fromarray(np.repeat(ramp.colours[place][None], 8 * ratio, axis=0)), (sizes.left, 4 * ratio))
    draw, face = ImageDraw.Draw(block), font(round(_SIZE * ratio))
    draw.rectangle((sizes.left, 4 * ratio, sizes.left + width - 1, 12 * ratio - 1), outline=FAINT, width=ratio)
    draw.text((sizes.left, 18.5 * ratio), ramp.ends[0], font=face, fill=INK, anchor="lm")
    draw.text((sizes.left + width - 1, 18.5 * ratio), ramp.ends[1], font=face, fill=INK, anchor="rm")
    return block


def _rgb(colour: str) -> UInt8[np.ndarray, "3"]:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)
