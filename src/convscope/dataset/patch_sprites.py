"""Sprite sheets: all crops of a layer in a few large pictures, for pages that show thousands at once.

A row a unit, a column a rank, square cells of one size. All crops of a layer have one scale: the largest fills its
cell, one that was clipped at its image's border stands in the middle of it. A layer of more units than fit goes on in
further sheets (WebP holds 16,383 pixels a side).
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from convscope.dataset.patches import CROP, Keep, PictureRow
from convscope.dataset.threads import in_order

CELL_PX = 64  # of a cell at most
UNITS_A_SHEET = 128
GROUND = "#f1f3f5"


@dataclass(frozen=True)
class SpriteRow:
    """A stored sheet: units ``first_unit`` on, ``units`` rows of ``columns`` cells of ``cell`` pixels."""

    layer: str
    kind: str
    first_unit: int
    units: int
    columns: int
    cell: int
    file: str

    def place(self, unit: int, rank: int) -> tuple[int, int]:
        """(left, top) of a cell in the sheet."""
        return rank * self.cell, (unit - self.first_unit) * self.cell


def sprites_of(
    rows: Sequence[PictureRow],
    read: Callable[[str], Image.Image],
    keep: Keep,
    *,
    kind: str = CROP,
    threads: int | None = None,
) -> Iterator[SpriteRow]:
    """The sheets of every layer in ``rows``, stored, one layer after the other.

    Args:
        rows: of stored pictures.
        read: a stored picture by its name.
        keep: stores an encoded picture and names it.
        kind: which of the pictures.
        threads: layers at once; None is the number of cores.
    """
    of_layer: dict[str, list[PictureRow]] = {}
    for row in rows:
        if row.kind == kind:
            of_layer.setdefault(row.layer, []).append(row)
    for sheets in in_order(of_layer, lambda layer: _sheets(layer, of_layer[layer], read, keep, kind), threads):
        yield from sheets


def _sheets(
    layer: str, rows: Sequence[PictureRow], read: Callable[[str], Image.Image], keep: Keep, kind: str
) -> list[SpriteRow]:
    sheets: list[SpriteRow] = []
    largest = max(max(row.size) for row in rows)
    cell = min(CELL_PX, largest)
    # made small one by one: all of a layer's crops together can be a gigabyte
    small = {name: scaled(read(name), cell / largest) for name in dict.fromkeys(row.file for row in rows)}
    units, columns = 1 + max(row.unit for row in rows), 1 + max(row.rank for row in rows)
    for first in range(0, units, UNITS_A_SHEET):
        count = min(UNITS_A_SHEET, units - first)
        sheet = SpriteRow(layer, kind, first, count, columns, cell, "")
        drawn = Image.new("RGB", (columns * cell, count * cell), GROUND)
        for row in rows:
            if first <= row.unit < first + count:
                left, top = sheet.place(row.unit, row.rank)
                picture = small[row.file]
                drawn.paste(picture, (left + (cell - picture.width) // 2, top + (cell - picture.height) // 2))
        sheets.append(replace(sheet, file=keep(_encoded(drawn))))
    return sheets


def scaled(picture: Image.Image, times: float) -> Image.Image:
    """Enlarged or made smaller, at least a pixel a side."""
    if times == 1:
        return picture
    size = max(1, round(times * picture.width)), max(1, round(times * picture.height))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _encoded(sheet: Image.Image) -> bytes:
    content = io.BytesIO()
    sheet.save(content, "WEBP", quality=80, method=2)
    return content.getvalue()
