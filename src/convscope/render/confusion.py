"""A confusion matrix: a row a true class, a column an answer, each cell the share of the row's images.

Right answers and mistakes are two questions, so they have two colours and two bars: the right ones in blue from 0 to
all, the mistakes in orange from 0 to the most that any cell has. On one scale the mistakes, each a few per cent, would
be as pale as nothing. An empty cell is white. Of few classes the counts stand in the cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib import colormaps
from PIL import Image, ImageDraw

from convscope.errors import ConvscopeError
from convscope.render.frame import blank
from convscope.render.tile import column_of
from convscope.render.typography import FAINT, GREY, INK, WHITE, Type, font, text_block, wrap
from convscope.wording import percent

MOST_COUNTED = 24  # classes: of more the cells are too small for a number
_CELL, _NAME, _LEGEND = (34.0, 11.0), Type(9.0, INK), Type(9.5, GREY)  # points
_MOST_NAME, _START = 130.0, 0.18  # points; how far from white the faintest colour is


@dataclass(frozen=True)
class _Sizes:
    cell: int
    ratio: int
    name: int  # wide is the room of a row's name
    head: int  # high is that of a column's
    is_upright: bool  # the columns' names are short enough to stand as they are read

    @property
    def face(self) -> int:
        return round(min(_NAME.size, 0.85 * self.cell / self.ratio) * self.ratio)


def confusion_matrix(
    counts: Int[np.ndarray, "rows columns"],
    right: Bool[np.ndarray, "rows columns"],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    worst: float | None = None,
    legend: bool = True,
    pixel_ratio: int = 2,
) -> Image.Image:
    """The matrix with its names and its two bars; ``right`` marks the cells of right answers.

    ``worst``: the share at which the mistakes' bar ends, for matrices to be compared; what is more is drawn as its
    end, and the bar says so. None: the largest. Without ``legend`` the bars are left out, see ``matrix_legend``.

    Raises :class:`ConvscopeError` where the names are not as many as the rows and columns, or nothing was counted.
    """
    if counts.shape != (len(rows), len(columns)) or counts.shape != right.shape:
        raise ConvscopeError(f"{counts.shape} counts for {len(rows)} x {len(columns)} names and {right.shape} marks")
    if not counts.sum():
        raise ConvscopeError("a confusion matrix of no image: none was counted")
    most = max(counts.shape)
    cell = round(_CELL[0] if most <= 10 else max(_CELL[1], min(26.0, 560.0 / most)))
    face = font(round(_NAME.size * pixel_ratio))
    widest = max(face.getlength(name) for name in (*rows, *columns))
    name = round(min(widest, _MOST_NAME * pixel_ratio)) + 6 * pixel_ratio
    is_upright = max(map(face.getlength, columns)) <= (cell - 6) * pixel_ratio
    head = round(1.6 * _NAME.size * pixel_ratio) if is_upright else name
    sizes = _Sizes(cell * pixel_ratio, pixel_ratio, name, head, is_upright)
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    largest = float(shares[~right].max(initial=0.0))
    end = largest if worst is None else worst
    body = _matrix(shares, end, counts, right, (rows, columns), sizes)
    if not legend:
        return body
    bars = matrix_legend(end, is_clipped=largest > end, has_right=bool(right.any()), pixel_ratio=pixel_ratio)
    return column_of(body, bars, gap_px=14 * pixel_ratio)


def _matrix(
    shares: Float[np.ndarray, "rows columns"],
    worst: float,
    counts: Int[np.ndarray, "rows columns"],
    right: Bool[np.ndarray, "rows columns"],
    names: tuple[Sequence[str], Sequence[str]],
    sizes: _Sizes,
) -> Image.Image:
    colours = cell_colours(shares, right, worst)
    cells = Image.fromarray(colours).resize((sizes.cell * shares.shape[1], sizes.cell * shares.shape[0]), 0)
    cells = _with_lines(cells, sizes)
    if max(shares.shape) <= MOST_COUNTED:
        _write_counts(cells, counts, colours, sizes)
    line = round(1.6 * _LEGEND.size * sizes.ratio)
    left, top = line + sizes.name, line + sizes.head
    page = Image.new("RGB", (left + cells.width, top + cells.height), WHITE)
    page.paste(cells, (left, top))
    page.paste(_names_above(names[1], sizes), (left, line))
    page.paste(_names_beside(names[0], sizes), (line, top))
    said, draw = font(round(_LEGEND.size * sizes.ratio)), ImageDraw.Draw(page)
    draw.text((left, line / 2), "answered →", font=said, fill=GREY, anchor="lm")
    draw.text((left - 4 * sizes.ratio, top - line / 2), "is ↓", font=said, fill=GREY, anchor="rm")
    return page


def cell_colours(
    shares: Float[np.ndarray, "rows columns"], right: Bool[np.ndarray, "rows columns"], worst: float
) -> np.ndarray:
    """uint8 (rows, columns, 3): right answers blue from 0 to 1, mistakes orange from 0 to ``worst``, nothing white."""
    strength = np.where(right, shares, shares / worst if worst else shares)
    place = _START + (1 - _START) * np.clip(strength, 0.0, 1.0)
    blue, orange = (colormaps[name](0.85 * place, bytes=True)[..., :3] for name in ("Blues", "Oranges"))
    drawn = np.where(right[..., None], blue, orange)
    return np.where((shares > 0)[..., None], drawn, 255).astype(np.uint8)


def _with_lines(cells: Image.Image, sizes: _Sizes) -> Image.Image:
    draw = ImageDraw.Draw(cells)
    for x in range(0, cells.width + 1, sizes.cell):
        draw.line((x, 0, x, cells.height), fill="#eef1f3")
    for y in range(0, cells.height + 1, sizes.cell):
        draw.line((0, y, cells.width, y), fill="#eef1f3")
    draw.rectangle((0, 0, cells.width - 1, cells.height - 1), outline=FAINT, width=sizes.ratio)
    return cells


def _write_counts(cells: Image.Image, counts: np.ndarray, colours: np.ndarray, sizes: _Sizes) -> None:
    draw, side, digits = ImageDraw.Draw(cells), sizes.cell / sizes.ratio, len(str(counts.max()))
    size = round(min(9.5, 0.36 * side, 1.4 * side / digits) * sizes.ratio)
    for row, column in zip(*np.nonzero(counts), strict=True):
        is_dark = float(colours[row, column].astype(float) @ (0.299, 0.587, 0.114)) < 140
        at = ((column + 0.5) * sizes.cell, (row + 0.5) * sizes.cell)
        draw.text(at, f"{counts[row, column]:d}", font=font(size), fill=WHITE if is_dark else INK, anchor="mm")


def _names_beside(names: Sequence[str], sizes: _Sizes) -> Image.Image:
    """A name a cell, its end at the cells; turned, its start is at the columns."""
    block = blank(sizes.name, sizes.cell * len(names))
    draw, face = ImageDraw.Draw(block), font(sizes.face)
    for place, name in enumerate(names):
        lines = wrap(name, face, sizes.name - 6 * sizes.ratio, 1)
        at = (sizes.name - 4 * sizes.ratio, (place + 0.5) * sizes.cell)
        draw.text(at, lines[0] if lines else "", font=face, fill=INK, anchor="rm")
    return block


def _names_above(names: Sequence[str], sizes: _Sizes) -> Image.Image:
    """A name a cell: in its middle as it is read, else turned."""
    if not sizes.is_upright:
        return _names_beside(names, sizes).transpose(Image.Transpose.ROTATE_90)
    block = blank(sizes.cell * len(names), sizes.head)
    draw, face = ImageDraw.Draw(block), font(sizes.face)
    for place, name in enumerate(names):
        at = ((place + 0.5) * sizes.cell, sizes.head / 2)
        draw.text(at, name, font=face, fill=INK, anchor="mm")
    return block


def matrix_legend(
    worst: float, *, is_clipped: bool = False, has_right: bool = True, pixel_ratio: int = 2
) -> Image.Image:
    """The two bars beside each other, each with what it says; ``is_clipped``: there are larger shares."""
    bars = [("right answers, share of the class", "Blues", percent(1.0))] if has_right else []
    end = ("≥ " if is_clipped else "") + percent(worst)
    bars += [("mistakes" if has_right else "answers, share of the class", "Oranges", end)] if worst else []
    width, ratio = 180 * pixel_ratio, pixel_ratio
    drawn: list[Image.Image] = []
    for said, colours, high in bars:
        place = _START + (1 - _START) * (np.arange(width) + 0.5) / width
        ramp = np.tile(colormaps[colours](0.85 * place, bytes=True)[None, :, :3], (8 * ratio, 1, 1))
        head = text_block(said, width, _LEGEND, pixel_ratio=ratio)
        drawn.append(column_of(head, Image.fromarray(ramp), _ends("0", high, width, ratio), gap_px=3 * ratio))
    legend, x = blank(len(drawn) * (width + 30 * ratio), max(each.height for each in drawn)), 0
    for each in drawn:
        legend.paste(each, (x, 0))
        x += width + 30 * ratio
    return legend


def _ends(low: str, high: str, width: int, ratio: int) -> Image.Image:
    block = blank(width, round(13 * ratio))
    draw, face = ImageDraw.Draw(block), font(round(9.5 * ratio))
    draw.text((0, block.height / 2), low, font=face, fill=INK, anchor="lm")
    draw.text((width - 1, block.height / 2), high, font=face, fill=INK, anchor="rm")
    return block
