"""Pictures laid where their points are, one a cell, so that none covers another.

The square is divided into cells; of the points in a cell the one nearest to its middle has its picture there. Empty
cells stay white, which keeps the shape of the point cloud. A line in its class's colour runs below each picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageOps

from convscope.render.class_marks import UNNAMED, marks_of
from convscope.render.scatter import placed
from convscope.render.typography import FAINT, WHITE

_MOST, _FEWEST = 26, 10  # cells a side
_EMPTY = "#e9ecef"


@dataclass(frozen=True)
class Shown:
    """The point whose picture stands in a cell."""

    point: int
    row: int
    column: int


def cells_for(count: int) -> int:
    """Cells a side for so many points: most points are in company, and have to share."""
    return int(np.clip(np.ceil(1.5 * np.sqrt(count)), _FEWEST, _MOST))


def one_a_cell(points: Float[np.ndarray, "n 2"], cells: int) -> list[Shown]:
    """Which points are shown, row by row; the same picture of the cloud as ``scatter`` draws."""
    at = placed(points, float(cells), 0.5)
    place = np.clip(np.floor(at), 0, cells - 1).astype(int)
    off = ((at - place - 0.5) ** 2).sum(1)
    found: dict[tuple[int, int], Shown] = {}
    for point in np.argsort(off, kind="stable").tolist():
        column, row = place[point].tolist()
        found.setdefault((row, column), Shown(point, row, column))
    return [found[key] for key in sorted(found)]


def thumbnail_map(
    shown: Sequence[Shown],
    pictures: Mapping[int, Image.Image],
    classes: Sequence[str | None],
    cells: int,
    *,
    side: int = 560,
    pixel_ratio: int = 2,
) -> Image.Image:
    """``pictures`` by point, a grey field where there is none; ``classes`` of all points, as ``scatter`` has them."""
    side_px = side * pixel_ratio
    page = Image.new("RGB", (side_px, side_px), WHITE)
    names = sorted({name for name in classes if name is not None})
    colours = {name: mark.colour for name, mark in zip(names, marks_of(len(names)), strict=True)}
    for each in shown:
        x0, x1 = (round(each.column * side_px / cells), round((each.column + 1) * side_px / cells))
        y0, y1 = (round(each.row * side_px / cells), round((each.row + 1) * side_px / cells))
        line = max(2, (y1 - y0) // 12)
        size = x1 - x0 - 2, y1 - y0 - 2 - line
        picture = pictures.get(each.point)
        tile = (
            Image.new("RGB", size, _EMPTY) if picture is None else ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
        )
        page.paste(tile, (x0 + 1, y0 + 1))
        name = classes[each.point]
        colour = UNNAMED if name is None else colours[name]
        ImageDraw.Draw(page).rectangle((x0 + 1, y1 - 1 - line, x1 - 2, y1 - 2), fill=colour)
    ImageDraw.Draw(page).rectangle((0, 0, side_px - 1, side_px - 1), outline=FAINT, width=pixel_ratio)
    return page
