"""The bar that says what the colours of a picture mean, with the numbers at its ends."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from convscope.render.colour import colourise
from convscope.render.overlay import heat_over
from convscope.render.scale import Scale
from convscope.render.typography import FAINT, GREY, INK, WHITE, Type, font, number_text, text_block

_HEIGHT, _GAP, _NUMBERS = 8, 3, 10.5  # points: of the ramp, below it, of the type


@dataclass(frozen=True)
class ColourBar:
    """What a tile's colours mean.

    ``opacity``: of the overlay that it belongs to; the bar then fades over white as the heat fades over the photo.
    ``unit``: what is measured, e.g. ``"probability"``; printed below the numbers.
    """

    scale: Scale
    colour_map: str | None = None
    opacity: float | None = None
    unit: str = ""

    @property
    def remark(self) -> str:
        """The line below the numbers: the unit, and the percentile where the scale is clipped."""
        clip = self.scale.percentile
        parts = [self.unit, "" if clip is None else f"clipped: {clip:g} % of the values lie within"]
        return " · ".join(part for part in parts if part)


def bar_picture(bar: ColourBar, width_px: int, *, pixel_ratio: int) -> Image.Image:
    """The ramp, the numbers at its ends (0 in the middle of a signed one), and the remark."""
    numbers = round(_NUMBERS * 1.4 * pixel_ratio)
    remark = text_block(bar.remark, width_px, Type(9.5, GREY, lines=2), pixel_ratio=pixel_ratio, align="centre")
    height = _HEIGHT * pixel_ratio
    top = height + _GAP * pixel_ratio
    picture = Image.new("RGB", (width_px, top + numbers + remark.height), WHITE)
    picture.paste(Image.fromarray(ramp(bar, width_px, height)), (0, 0))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, width_px - 1, height - 1), outline=FAINT, width=pixel_ratio)
    face = font(round(_NUMBERS * pixel_ratio))
    for share, text in _fitting(_labels(bar.scale), bar.scale, face, width_px):
        x = share * (width_px - face.getlength(text))
        draw.text((x, top + numbers / 2), text, font=face, fill=INK, anchor="lm")
    picture.paste(remark, (0, top + numbers))
    return picture


def ramp(bar: ColourBar, width_px: int, height_px: int) -> np.ndarray:
    """The bar's colours from its low to its high end, uint8 of shape (height_px, width_px, 3)."""
    shares = (np.arange(width_px) + 0.5) / width_px
    values = np.tile(bar.scale.low + shares * (bar.scale.high - bar.scale.low), (height_px, 1))
    if bar.opacity is None:
        return colourise(values, bar.scale, bar.colour_map)
    return heat_over(np.full((*values.shape, 3), 255, np.uint8), values, bar.scale, bar.opacity, bar.colour_map)


def _fitting(
    labels: list[tuple[float, str]], scale: Scale, face: ImageFont.FreeTypeFont, width_px: int
) -> list[tuple[float, str]]:
    """The labels that a narrow bar has room for: without the 0 that white stands for, or both ends as one ``±``."""
    room = face.getlength("00")
    needed = sum(face.getlength(text) + room for _, text in labels) - room
    if len(labels) < 3 or not scale.signed or needed <= width_px:
        return labels
    ends = labels[::2]
    if sum(face.getlength(text) for _, text in ends) + room <= width_px:
        return ends
    return [(0.5, f"± {number_text(scale.high)}")]


def _labels(scale: Scale) -> list[tuple[float, str]]:
    """(place from 0 to 1, number) along the bar; one number where the scale has no extent.

    0 stands on a bar that passes it (the weights of filters), where there is room beside the numbers at the ends.
    """
    if scale.is_empty:
        return [(0.5 if scale.signed else 0.0, number_text(scale.low))]
    above, below = ("≥ ", "≤ ") if scale.percentile is not None else ("", "")
    ends = [(0.0, (below if scale.signed else "") + number_text(scale.low)), (1.0, above + number_text(scale.high))]
    zero = -scale.low / (scale.high - scale.low)
    return [ends[0], (zero, "0"), ends[1]] if 0.25 < zero < 0.75 else ends
