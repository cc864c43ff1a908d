"""Text on pictures: the DejaVu Sans that comes with matplotlib, so that a sheet looks the same on every machine.

Lengths are in points of a sheet, 1 point = ``pixel_ratio`` pixels of its file. What does not fit its width is wrapped,
what does not fit its lines ends in an ellipsis.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

INK = "#1b1f24"
GREY = "#667079"
FAINT = "#d5dade"
WHITE = "#ffffff"
Align = Literal["left", "centre", "right"]
LEADING = 1.32  # distance of lines in font sizes


@dataclass(frozen=True)
class Type:
    """A size in points and a colour of text; ``lines``: the most lines before the ellipsis."""

    size: float
    colour: str = INK
    bold: bool = False
    lines: int = 1


@lru_cache(maxsize=64)
def font(size_px: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans of ``size_px`` pixels, always laid out by Pillow itself (Raqm is not everywhere)."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(mpl.get_data_path(), "fonts", "ttf", name)
    return ImageFont.truetype(str(path), size_px, layout_engine=ImageFont.Layout.BASIC)


def wrap(text: str, face: ImageFont.FreeTypeFont, width_px: int, most: int) -> list[str]:
    """``text`` in at most ``most`` lines of ``width_px``: broken at spaces, inside a word only where it must be.

    A word that is broken is so after a dot, if it has one there: ``features.3.`` and ``expand1x1``.
    """
    lines: list[str] = []
    rest = " ".join(text.split())
    while rest and len(lines) < most:
        end = _fitting(rest, face, width_px)
        if end < len(rest):
            if len(lines) == most - 1:
                lines.append(_shortened(rest, face, width_px))
                return lines
            end = _line_end(rest, end)
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return lines


def _line_end(text: str, most: int) -> int:
    """Where a line of at most ``most`` letters ends: at a space, else after a dot (of a layer's name), else there."""
    if " " in text[1 : most + 1]:
        return text.rfind(" ", 1, most + 1)
    return text.rfind(".", 1, most) + 1 or most


def _fitting(text: str, face: ImageFont.FreeTypeFont, width_px: int) -> int:
    """How many characters of ``text`` fit, at least one."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if face.getlength(text[:middle]) <= width_px else (low, middle - 1)
    return low


def _shortened(text: str, face: ImageFont.FreeTypeFont, width_px: int) -> str:
    end = _fitting(text, face, max(1, width_px - round(face.getlength("…"))))
    return text[:end].rstrip(" ,;:·-") + "…"


def text_block(
    text: str,
    width_px: int,
    type_: Type,
    *,
    pixel_ratio: int,
    align: Align = "left",
    ground: str = WHITE,
) -> Image.Image:
    """``text`` set in a picture of that width; its height is that of its lines, 0 for no text."""
    face = font(round(type_.size * pixel_ratio), type_.bold)
    lines = wrap(text, face, width_px, type_.lines)
    leading = round(type_.size * LEADING * pixel_ratio)
    block = Image.new("RGB", (width_px, leading * len(lines)), ground)
    draw = ImageDraw.Draw(block)
    share = {"left": 0.0, "centre": 0.5, "right": 1.0}[align]
    for number, line in enumerate(lines):
        x = share * (width_px - face.getlength(line))
        draw.text((x, (number + 0.5) * leading), line, font=face, fill=type_.colour, anchor="lm")
    return block


def number_text(value: float) -> str:
    """Three digits that count, in few characters: ``0.0123``, ``12300``, ``−4.6×10⁻⁵`` with a true minus."""
    if not value:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        text = f"{float(f'{value:.3g}'):g}"  # twice: the first rounds, the second writes without an exponent
    else:
        digits, power = f"{value:.2e}".split("e")
        raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        text = f"{digits.rstrip('0').rstrip('.')}×10{raised}"
    return text.replace("-", "−")
