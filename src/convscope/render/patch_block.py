"""Blocks: the best patches of one unit as one small square, three by three, as Zeiler & Fergus 2014 (fig. 2) show them.

All patches of a block have one scale: the longest side among them fills its cell, and one that was clipped at its
image's border stands in the middle of its cell, not stretched. A box is drawn just outside the pixels that it
encloses, a bright line within a dark one, so that it is seen on every ground and hides nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from convscope.errors import ConvscopeError
from convscope.render.typography import WHITE

GROUND = "#e9ecef"  # of a cell that its patch does not fill
BRIGHT, DARK = "#ffd43b", "#1b1f24"


@dataclass(frozen=True)
class Patch:
    """A picture, and (y0, x0, y1, x1) in its pixels where a part of it is to be marked; None: nothing to show."""

    image: Image.Image | None
    box: tuple[int, int, int, int] | None = None


def block(
    patches: Sequence[Patch],
    side_px: int,
    *,
    columns: int | None = None,
    longest: int | None = None,
    pixels: bool = False,
    ground: str = GROUND,
    pixel_ratio: int = 2,
) -> Image.Image:
    """The patches in reading order on ``side_px`` pixels, ``columns`` a row (None: as square as can be).

    ``longest``: the side, in the patches' own pixels, that fills a cell; None is the longest there is. ``pixels``:
    enlarged with its pixels left visible; ``ground``: of cells, where a patch does not fill them. Raises
    :class:`ConvscopeError` for no patches or too narrow a block.
    """
    columns = columns or math.ceil(math.sqrt(len(patches)))
    gap = pixel_ratio
    cell = (side_px - gap * (columns - 1)) // columns if columns else 0
    if not patches or cell < 1:
        raise ConvscopeError(f"{len(patches)} patches do not fit a block of {side_px} pixels")
    longest = longest or max((max(p.image.size) for p in patches if p.image is not None), default=1)
    rows = -(-len(patches) // columns)
    drawn = Image.new("RGB", (side_px, rows * (cell + gap) - gap), WHITE)
    for place, patch in enumerate(patches):
        row, column = divmod(place, columns)
        picture = _cell(patch, cell, cell / longest, pixels, ground, pixel_ratio)
        drawn.paste(picture, (column * (cell + gap), row * (cell + gap)))
    return drawn


def _cell(patch: Patch, cell: int, times: float, pixels: bool, ground: str, pixel_ratio: int) -> Image.Image:
    drawn = Image.new("RGB", (cell, cell), GROUND if patch.image is None else ground)
    if patch.image is None:
        return drawn
    size = max(1, round(times * patch.image.width)), max(1, round(times * patch.image.height))
    how = Image.Resampling.NEAREST if pixels else Image.Resampling.BICUBIC
    shown = patch.image.convert("RGB").resize(size, how)
    left, top = (cell - size[0]) // 2, (cell - size[1]) // 2
    drawn.paste(shown, (left, top))
    if patch.box is not None:
        y0, x0, y1, x1 = (times * side for side in patch.box)
        _outline(drawn, (left + x0, top + y0, left + x1, top + y1), pixel_ratio)
    return drawn


def _outline(image: Image.Image, box: tuple[float, float, float, float], pixel_ratio: int) -> None:
    """A bright line just outside the box, a dark one around it."""
    draw = ImageDraw.Draw(image)
    x0, y0, x1, y1 = (round(side) for side in box)
    most_x, most_y = image.width - 1, image.height - 1
    for colour, width in ((DARK, 2), (BRIGHT, 1)):
        out = width * pixel_ratio // 2 + 1
        corners = (max(0, x0 - out), max(0, y0 - out), min(most_x, x1 - 1 + out), min(most_y, y1 - 1 + out))
        draw.rectangle(corners, outline=colour, width=pixel_ratio)
