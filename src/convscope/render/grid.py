"""Grids: many small pictures that differ in a number only, such as the maps or the filters of a layer.

A cell has its label above and its pictures below, side by side if there are several; one may bear a badge. Pixels stay
visible: where all pictures of a grid have one size, each pixel is a whole number of the file's, and the tile gives way.
Rows are of 8, 16 or 32, so that a number is found by counting; few cells stand in rows as even as can be, 9 of them in
5 and 4, not in 8 and 1. What has nothing to show is a grey field that says so: it is not stretched into a picture.
Lengths are in points, ``pixel_ratio`` pixels of the file each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict, Unpack

import numpy as np
from PIL import Image, ImageDraw

from convscope.errors import ConvscopeError
from convscope.render import frame
from convscope.render.colour_bar import ColourBar, bar_picture
from convscope.render.tile import as_image, column_of, fit
from convscope.render.typography import FAINT, GREY, INK, LEADING, WHITE, Type, font, text_block

_SIZES = ((64, 8, 128), (512, 16, 64))  # up to so many tiles: so many a row, of that width
_MOST = (32, 42)  # beyond
_ROWS_TO_COUNT = 5  # from so many rows on, places are found by counting
_FIELD = "#e9ecef"
_BADGE = "#0b6e4f"


class About(TypedDict, total=False):
    """What stands round the cells, see ``frame.page``."""

    title: str
    subtitle: str
    footer: str
    bar: ColourBar | None
    said: str
    photo: Image.Image | None


@dataclass(frozen=True)
class Cell:
    """One place of a grid.

    ``images``: Pillow images or uint8 (H, W, 3), side by side; a text in place of one stands on a grey field.
    ``notes``: a line each, in grey below the label; ``bars``: the colour bars below the pictures;
    ``below``: a line each, in grey below them; ``badge``: a word in the corner, and a frame in its colour;
    ``smooth``: enlarged without visible pixels (photos);
    ``outlined``: a faint line round the pictures, for those that may be white at their border.
    """

    images: tuple[Image.Image | np.ndarray | str, ...]
    label: str = ""
    notes: tuple[str, ...] = ()
    bars: tuple[ColourBar | None, ...] = ()
    smooth: bool = False
    outlined: bool = False
    below: tuple[str, ...] = ()
    badge: str = ""

    @property
    def pictures(self) -> list[Image.Image]:
        """The images without the texts."""
        return [as_image(image) for image in self.images if not isinstance(image, str)]


def grid(
    cells: Sequence[Cell],
    *,
    columns: int | None = None,
    tile_width: int | None = None,
    pixel_ratio: int = 2,
    **about: Unpack[About],
) -> Image.Image:
    """The cells in reading order; ``columns`` and ``tile_width`` None: by how many there are.

    Raises :class:`ConvscopeError` for no cells or sizes below 1.
    """
    if not cells or any(size is not None and size < 1 for size in (columns, tile_width, pixel_ratio)):
        raise ConvscopeError(f"a grid needs at least 1 cell and 1 column, not {len(cells)} and {columns}")
    by_count = next(((c, w) for most, c, w in _SIZES if len(cells) <= most), _MOST)
    columns, tile_width = columns or even_columns(len(cells), by_count[0]), tile_width or by_count[1]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    return rows_of_cells(rows, tile_width=tile_width, pixel_ratio=pixel_ratio, **about)


def even_columns(count: int, most: int) -> int:
    """A row's cells: ``most``; of few rows so many that no row is nearly empty.

    >>> [even_columns(count, 8) for count in (3, 8, 9, 12, 17, 32, 33)]
    [3, 8, 5, 6, 6, 8, 8]
    """
    rows = -(-count // most)
    return -(-count // rows) if rows < _ROWS_TO_COUNT else most


def rows_of_cells(
    rows: Sequence[Sequence[Cell]],
    *,
    row_headings: Sequence[str] = (),
    column_headings: Sequence[str] = (),
    tile_width: int = 64,
    pixel_ratio: int = 2,
    **about: Unpack[About],
) -> Image.Image:
    """Rows with headings, e.g. units x input channels; a row's further lines are grey. Otherwise as :func:`grid`.

    Raises :class:`ConvscopeError` where the headings are not as many as the rows or columns.
    """
    headings: dict[str, Sequence[str]] = {"row_headings": row_headings, "column_headings": column_headings}
    body = body_of_cells(rows, tile_width=tile_width, pixel_ratio=pixel_ratio, **headings)
    return frame.page(body, pixel_ratio=pixel_ratio, **about)


def body_of_cells(
    rows: Sequence[Sequence[Cell]],
    *,
    row_headings: Sequence[str] = (),
    column_headings: Sequence[str] = (),
    tile_width: int = 64,
    pixel_ratio: int = 2,
) -> Image.Image:
    """The rows alone, without what stands round them: a part of a page of several; see :func:`rows_of_cells`."""
    columns = max((len(row) for row in rows), default=0)
    for headings, count, what in ((row_headings, len(rows), "row"), (column_headings, columns, "column")):
        if not count or (headings and len(headings) != count):
            raise ConvscopeError(f"{count} {what}s cannot have {len(headings)} headings")
    cells = [cell for row in rows for cell in row]
    page = _Page(_tile_px(cells, tile_width * pixel_ratio), pixel_ratio, tile_width, columns, cells, row_headings)
    return column_of(page.columns_head(column_headings), *page.rows(rows), gap_px=page.gap)


def _tile_px(cells: Sequence[Cell], wanted: int) -> int:
    """The tile's side: a whole multiple of the pictures', where they all have one size and show their pixels."""
    sides = {max(picture.size) for cell in cells if not cell.smooth for picture in cell.pictures}
    if len(sides) != 1 or any(cell.smooth for cell in cells):
        return wanted
    side = sides.pop()
    return side * max(1, round(wanted / side)) if side <= wanted else wanted


@dataclass(frozen=True)
class _Page:
    """The measures of one grid: ``tile`` in pixels, ``points`` the width that the type goes by."""

    tile: int
    ratio: int
    points: int
    columns: int
    cells: Sequence[Cell]
    row_headings: Sequence[str]

    @property
    def gap(self) -> int:
        return max(4, self.points // 12) * self.ratio

    @property
    def type_size(self) -> float:
        return min(12.5, max(7.0, self.points / 10))

    @property
    def pictures(self) -> int:
        """Places side by side in a cell."""
        return max(len(cell.images) for cell in self.cells)

    @property
    def inner_gap(self) -> int:
        return 8 * self.ratio  # as their colour bars' numbers need

    @property
    def cell_width(self) -> int:
        return self.pictures * self.tile + (self.pictures - 1) * self.inner_gap

    @property
    def heading_width(self) -> int:
        """As wide as the longest needs; 0 without."""
        longest = max((len(line) for heading in self.row_headings for line in heading.split("\n")), default=0)
        return round(longest * 0.7 * self.heading.size + 6) * self.ratio if longest else 0

    @property
    def heading(self) -> Type:
        return Type(max(8.0, self.type_size), bold=True)

    @property
    def grey(self) -> Type:
        return Type(max(7.0, self.type_size - 1.5), GREY)

    def x(self, column: int) -> int:
        between = 2 * self.gap if self.pictures > 1 else self.gap
        return self.heading_width + column * (self.cell_width + between)

    @property
    def width(self) -> int:
        return self.x(self.columns - 1) + self.cell_width

    def columns_head(self, headings: Sequence[str]) -> Image.Image:
        return self.line([self.text(h, self.heading, "centre") for h in headings]) if headings else frame.blank(1, 0)

    def rows(self, rows: Sequence[Sequence[Cell]]) -> list[Image.Image]:
        return [self.row(row, self.row_headings[i] if self.row_headings else "") for i, row in enumerate(rows)]

    def row(self, cells: Sequence[Cell], heading: str) -> Image.Image:
        """The pictures of a row start below its highest label; the heading stands beside their middle."""
        heads, bodies = self.line([self.head(cell) for cell in cells]), self.line([self.body(cell) for cell in cells])
        if heading:
            width, types = self.heading_width - 6 * self.ratio, [self.heading, *[self.grey] * heading.count("\n")]
            lines = zip(heading.split("\n"), types, strict=True)
            text = column_of(*(text_block(line, width, type_, pixel_ratio=self.ratio) for line, type_ in lines))
            bodies.paste(text, (0, max(0, (self.tile - text.height) // 2)))
        return column_of(heads, bodies, gap_px=2 * self.ratio)

    def line(self, blocks: Sequence[Image.Image]) -> Image.Image:
        line = frame.blank(self.width, max(block.height for block in blocks))
        for column, block in enumerate(blocks):
            line.paste(block, (self.x(column), 0))
        return line

    def head(self, cell: Cell) -> Image.Image:
        label = self.text(
            cell.label, Type(self.type_size, INK, bold=bool(cell.notes or cell.bars or cell.below), lines=2)
        )
        return column_of(label, *(self.text(note, self.grey) for note in cell.notes))

    def text(self, text: str, type_: Type, align: str = "left") -> Image.Image:
        side = "centre" if align == "centre" else "left"
        return text_block(text, self.cell_width, type_, pixel_ratio=self.ratio, align=side)

    def body(self, cell: Cell) -> Image.Image:
        drawn = [self.picture(image, cell) for image in cell.images]
        bars = [bar and bar_picture(bar, self.tile, pixel_ratio=self.ratio) for bar in cell.bars]
        strip = self.strip(drawn)
        if cell.badge:
            strip = _badged(strip, cell.badge, Type(self.type_size - 1, WHITE, bold=True), self.ratio)
        type_ = replace(self.grey, lines=2)
        said = column_of(*(self.text(line, type_) for line in cell.below)) if cell.below else frame.blank(1, 0)
        return column_of(strip, self.strip(bars), said, gap_px=3 * self.ratio)

    def strip(self, pictures: Sequence[Image.Image | None]) -> Image.Image:
        """Side by side, each below its place."""
        strip = frame.blank(self.cell_width, max((p.height for p in pictures if p is not None), default=0))
        for place, picture in enumerate(pictures):
            if picture is not None:
                strip.paste(picture, (place * (self.tile + self.inner_gap), 0))
        return strip

    def picture(self, image: Image.Image | np.ndarray | str, cell: Cell) -> Image.Image:
        if isinstance(image, str):
            return self.field(image)
        shown = as_image(image)
        times, rest = divmod(self.tile, max(shown.size))
        if not rest and not cell.smooth:  # a fit would centre it in a square
            whole = shown.resize((times * shown.width, times * shown.height), Image.Resampling.NEAREST)
            return self.centred(_outlined(whole, self.ratio) if cell.outlined else whole)
        return fit(shown, self.tile, pixels=not cell.smooth)

    def centred(self, image: Image.Image) -> Image.Image:
        square = frame.blank(self.tile, image.height)
        square.paste(image, ((self.tile - image.width) // 2, 0))
        return square

    def field(self, text: str) -> Image.Image:
        shape = next((p.size for cell in self.cells for p in cell.pictures), (1, 1))
        height = max(1, round(self.tile * shape[1] / max(shape)))
        field = Image.new("RGB", (self.tile, height), _FIELD)
        type_ = Type(max(7.0, self.type_size - 1), GREY, lines=3)
        said = text_block(text, self.tile, type_, pixel_ratio=self.ratio, align="centre", ground=_FIELD)
        field.paste(said, (0, (height - said.height) // 2))
        return field


def _outlined(image: Image.Image, width_px: int) -> Image.Image:
    image = image.copy()
    ImageDraw.Draw(image).rectangle((0, 0, image.width - 1, image.height - 1), outline=FAINT, width=width_px)
    return image


def _badged(image: Image.Image, word: str, type_: Type, ratio: int) -> Image.Image:
    """A frame round the picture, and the word in its upper left corner on the same colour."""
    image, pad = image.copy(), 3 * ratio
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, image.width - 1, image.height - 1), outline=_BADGE, width=2 * ratio)
    face, height = font(round(type_.size * ratio), bold=type_.bold), round(type_.size * LEADING * ratio)
    draw.rectangle((0, 0, round(face.getlength(word)) + 3 * pad, height + pad), fill=_BADGE)
    draw.text((1.5 * pad, (height + pad) / 2), word, font=face, fill=type_.colour, anchor="lm")
    return image
