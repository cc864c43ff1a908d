"""Sheets: many pictures side by side, each with its caption and its colour bar, in a form that can be printed.

A sheet is a grid of tiles of one width. From top to bottom a tile has its caption, a note in grey, the picture, and the
colour bar; the pictures of a row start at one height. A map that says nothing says why, on the picture. A sheet whose
tiles share one scale has one bar below them all. Lengths are in points; ``pixel_ratio`` = 2 pixels a point keep type
and pictures sharp on today's screens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render import frame
from convscope.render.colour_bar import ColourBar
from convscope.render.tile import Tile, body, column_of, header
from convscope.render.typography import WHITE, Align, Type, text_block

HEADING = Type(12.5, bold=True, lines=3)
GAP, ROW_GAP, HEADING_WIDTH = 18, 22, 110  # points
_MOST_COLUMNS = 5


def sheet(
    tiles: Sequence[Tile],
    *,
    columns: int | None = None,
    title: str = "",
    subtitle: str = "",
    footer: str = "",
    bar: ColourBar | None = None,
    tile_width: int = 256,
    pixel_ratio: int = 2,
) -> Image.Image:
    """The tiles in reading order, ``columns`` a row (None: at most 5, and rows as even as can be).

    ``bar``: one colour bar below them all, for tiles on one scale; ``footer``: small, e.g. the stamp; ``tile_width`` in
    points. Raises :class:`ConvscopeError` for no tiles or sizes below 1.
    """
    if not tiles or (columns is not None and columns < 1):
        raise ConvscopeError(f"a sheet needs at least 1 tile and 1 column, not {len(tiles)} and {columns}")
    if columns is None:
        columns = -(-len(tiles) // -(-len(tiles) // _MOST_COLUMNS))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    return matrix(
        rows, title=title, subtitle=subtitle, footer=footer, bar=bar, tile_width=tile_width, pixel_ratio=pixel_ratio
    )


def matrix(
    rows: Sequence[Sequence[Tile | None]],
    *,
    row_headings: Sequence[str] = (),
    column_headings: Sequence[str] = (),
    title: str = "",
    subtitle: str = "",
    footer: str = "",
    bar: ColourBar | None = None,
    tile_width: int = 256,
    pixel_ratio: int = 2,
) -> Image.Image:
    """Rows of tiles with headings, e.g. images x methods; None leaves a place empty. Otherwise as :func:`sheet`.

    Raises :class:`ConvscopeError` where the headings are not as many as the rows or columns.
    """
    columns = max((len(row) for row in rows), default=0)
    if not columns or tile_width < 1 or pixel_ratio < 1:
        raise ConvscopeError(f"a sheet needs tiles of at least 1 point, not {columns} columns of {tile_width}")
    for headings, count, what in ((row_headings, len(rows), "row"), (column_headings, columns, "column")):
        if headings and len(headings) != count:
            raise ConvscopeError(f"{count} {what}s cannot have {len(headings)} headings: {', '.join(headings)}")
    page = _Page(tile_width * pixel_ratio, pixel_ratio, columns, bool(row_headings))
    head = frame.head(title, subtitle, page.width, pixel_ratio=pixel_ratio)
    blocks = [head, page.column_headings(column_headings)]
    for number, row in enumerate(rows):
        blocks += [page.row(row, row_headings[number] if row_headings else ""), page.blank(ROW_GAP)]
    blocks[-1:] = [page.shared_bar(bar), frame.foot(footer, page.width, pixel_ratio=pixel_ratio)]
    return frame.framed(column_of(*blocks), pixel_ratio=pixel_ratio)


@dataclass(frozen=True)
class _Page:
    """The measures of one sheet, lengths in pixels, and the blocks that lie below one another on it."""

    tile: int
    ratio: int
    columns: int
    has_row_headings: bool

    def x(self, column: int) -> int:
        left = (HEADING_WIDTH + GAP) * self.ratio if self.has_row_headings else 0
        return left + column * (self.tile + GAP * self.ratio)

    @property
    def width(self) -> int:
        return self.x(self.columns - 1) + self.tile

    def text(self, text: str, type_: Type, width: int | None = None, align: Align = "left") -> Image.Image:
        return text_block(text, self.width if width is None else width, type_, pixel_ratio=self.ratio, align=align)

    def blank(self, points: int) -> Image.Image:
        return frame.blank(self.width, points * self.ratio)

    def column_headings(self, headings: Sequence[str]) -> Image.Image:
        set_ = [self.text(heading, HEADING, self.tile, "centre") for heading in headings]
        height = max((each.height for each in set_), default=0)
        block = Image.new("RGB", (self.width, height), WHITE)
        for column, each in enumerate(set_):
            block.paste(each, (self.x(column), height - each.height))
        return column_of(block, self.blank(8)) if height else block

    def row(self, tiles: Sequence[Tile | None], heading: str) -> Image.Image:
        """The pictures start below the highest caption of the row; the heading stands beside their middle."""
        places = [(self.x(column), tile) for column, tile in enumerate(tiles) if tile is not None]
        heads = [(x, header(tile, self.tile, self.ratio)) for x, tile in places]
        bodies = [(x, body(tile, self.tile, self.ratio)) for x, tile in places]
        top = max((head.height for _, head in heads), default=0)
        top += 6 * self.ratio if top else 0
        beside = self.text(heading, HEADING, HEADING_WIDTH * self.ratio, "right")
        height = max(beside.height, top + max((each.height for _, each in bodies), default=0))
        row = Image.new("RGB", (self.width, height), WHITE)
        for x, head in heads:
            row.paste(head, (x, 0))
        for x, each in bodies:
            row.paste(each, (x, top))
        row.paste(beside, (0, min(height - beside.height, (top + height - beside.height) // 2)))
        return row

    def shared_bar(self, bar: ColourBar | None) -> Image.Image:
        if bar is None:
            return self.blank(0)
        width = min(self.width - self.x(0), round(1.6 * self.tile))
        column = frame.shared_bar(bar, width, pixel_ratio=self.ratio)
        block = frame.blank(self.width, column.height)
        block.paste(column, (self.x(0), 0))
        return column_of(self.blank(ROW_GAP), block)
