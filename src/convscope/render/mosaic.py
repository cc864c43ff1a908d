"""Mosaics: pictures in rows with their names above them, one layout for many frames of an animation.

Lengths are in pixels of the file: an animation is watched, not enlarged.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.typography import GREY, INK, WHITE, Type, text_block

WIDTH_PX, LEAST_TILE_PX, MOST_TILE_PX = 960, 48, 320
_MARGIN, _GAP = 16, 10
_TITLE, _NOTE, _LABEL = Type(16.0, INK, bold=True), Type(14.0, GREY), Type(11.0, INK)


def tile_side(count: int) -> int:
    """How large the tiles of so many pictures are, in pixels: about a square of rows, in ``WIDTH_PX``."""
    columns = _columns(count)
    return max(LEAST_TILE_PX, min(MOST_TILE_PX, (WIDTH_PX - 2 * _MARGIN + _GAP) // columns - _GAP))


def _columns(count: int) -> int:
    return max(1, math.ceil(math.sqrt(count)))


@dataclass(frozen=True)
class Mosaic:
    """A title, and a place with a label for each picture; all pictures of one size, ``tile`` (width, height)."""

    labels: tuple[str, ...]
    tile: tuple[int, int]
    title: str = ""

    def frame(self, pictures: Sequence[Image.Image], note: str = "") -> Image.Image:
        """The pictures in their places, and ``note`` at the right of the title.

        Raises:
            ConvscopeError: another number or size of pictures.
        """
        if len(pictures) != len(self.labels) or any(picture.size != self.tile for picture in pictures):
            raise ConvscopeError(f"a mosaic of {len(self.labels)} pictures of {self.tile} px was given others")
        frame = self._blank.copy()
        block = text_block(note, self._width - 2 * _MARGIN, _NOTE, pixel_ratio=1)
        frame.paste(block, (_MARGIN, _MARGIN + self._title.height))
        for place, picture in enumerate(pictures):
            x, y = self._corner(place)
            frame.paste(picture, (x, y + self._label_height))
        return frame

    @cached_property
    def _title(self) -> Image.Image:
        return text_block(self.title, self._width - 2 * _MARGIN, _TITLE, pixel_ratio=1)

    @cached_property
    def _blank(self) -> Image.Image:
        rows = math.ceil(len(self.labels) / _columns(len(self.labels)))
        blank = Image.new("RGB", (self._width, self._corner(0)[1] + rows * self._row_height + _MARGIN - _GAP), WHITE)
        blank.paste(self._title, (_MARGIN, _MARGIN))
        for place, label in enumerate(self.labels):
            blank.paste(text_block(label, self.tile[0], _LABEL, pixel_ratio=1), self._corner(place))
        return blank

    @property
    def _width(self) -> int:
        columns = min(len(self.labels), _columns(len(self.labels)))
        return max(360, 2 * _MARGIN + columns * (self.tile[0] + _GAP) - _GAP)

    @property
    def _label_height(self) -> int:
        return round(_LABEL.size * 1.5)

    @property
    def _row_height(self) -> int:
        return self._label_height + self.tile[1] + _GAP

    def _corner(self, place: int) -> tuple[int, int]:
        row, column = divmod(place, _columns(len(self.labels)))
        top = _MARGIN + self._title.height + round(_NOTE.size * 1.32) + _GAP
        return _MARGIN + column * (self.tile[0] + _GAP), top + row * self._row_height
