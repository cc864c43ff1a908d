"""Masks as concepts: picture files beside the photos, one number a pixel.

PNG files named as the photos (``cats/12.jpg`` and ``cats/12.png``), grey or palette, 8 or 16 bits, of the photo's own
size. 0 is nothing; where names are given, so is every number without one (VOC's 255, "void").

Masks are read one at a time. Pitfalls: masks that were saved in colour, or resized smoothly, have other numbers.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from PIL import Image

from convscope.dataset.concepts import Grid, Region
from convscope.errors import ConvscopeError

_SUFFIXES = (".png", ".PNG")
_GREY_MODES = ("1", "L", "P", "I", "I;16", "I;16B")


@dataclass(frozen=True, eq=False)
class Masks:
    """A folder of PNG files; the names of numbers, empty where none were given."""

    folder: Path
    given: Mapping[int, str]
    _numbers: dict[int, int] = field(default_factory=dict[int, int])  # a mask's number -> the concept's

    @property
    def names(self) -> Sequence[str]:
        """Of the numbers that occurred so far, in that order."""
        return tuple(self.given.get(number, f"concept {number}") for number in self._numbers)

    @property
    def line(self) -> str:
        """``the masks in NAME``."""
        return f"the masks in {self.folder.name}"

    def known(self, image: str) -> bool:
        """Whether there is a mask of the photo."""
        return self._file(image) is not None

    def regions(self, image: str, grid: Grid) -> list[Region]:
        """One region a number that occurs within what the network sees."""
        file = self._file(image)
        if file is None:
            return []
        numbers = mask_numbers(file)
        if numbers.shape != grid.photo_size[::-1]:
            (width, height), (rows, columns) = grid.photo_size, numbers.shape
            raise ConvscopeError(f"the mask of {image} is {columns} x {rows} pixels, the photo {width} x {height}")
        seen = grid.on_photo
        ys, xs = (
            np.clip(np.floor(at), 0, side - 1).astype(int)
            for at, side in zip((grid.ys, grid.xs), numbers.shape, strict=True)
        )
        cells = np.where(seen, numbers[ys[:, None], xs], 0)
        return [
            Region(self._concept(number), cells == number)
            for number in np.unique(cells).tolist()
            if self._counts(number)
        ]

    def _counts(self, number: int) -> bool:
        return number != 0 and (not self.given or number in self.given)

    def _concept(self, number: int) -> int:
        return self._numbers.setdefault(number, len(self._numbers))

    def _file(self, image: str) -> Path | None:
        files = ((self.folder / image).with_suffix(suffix) for suffix in _SUFFIXES)
        return next((file for file in files if file.is_file()), None)


def mask_numbers(file: Path) -> Int[np.ndarray, "h w"]:
    """The numbers of a mask's pixels: of a palette the places in it, not its colours.

    Raises:
        ConvscopeError: a file that cannot be read, or a picture in colour.
    """
    try:
        with Image.open(file, formats=("PNG",)) as image:
            if image.mode not in _GREY_MODES:
                raise ConvscopeError(
                    f"{file} is of mode {image.mode}; a mask has one number a pixel (grey or palette), no colours"
                )
            return np.asarray(image).astype(np.int64)
    except ConvscopeError:
        raise
    except Exception as error:  # Pillow's decoder lets many kinds out on damaged data
        raise ConvscopeError(f"the mask {file} cannot be read: {error or type(error).__name__}") from error


def read_masks(folder: Path, names: Path | None = None) -> Masks:
    """The masks in a folder, and what their numbers are called.

    Args:
        folder: PNG files with the photos' names.
        names: a CSV with the columns number,name, or a JSON object; None calls them ``concept 7``.

    Raises:
        ConvscopeError: no such folder, no PNG in it, names that are none.
    """
    if not folder.is_dir():
        raise ConvscopeError(f"{folder} is no folder of masks")
    if not any(file.suffix in _SUFFIXES for file in folder.rglob("*")):
        raise ConvscopeError(f"no mask in {folder}: no file name ends in .png")
    return Masks(folder, {} if names is None else _read_names(names))


def _read_names(file: Path) -> dict[int, str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix.lower() == ".json":
            listed: Any = json.loads(text)
            return {int(number): str(name) for number, name in dict(listed).items()}
        head, *rows = csv.reader(text.splitlines())
        number, name = head.index("number"), head.index("name")
        return {int(row[number]): row[name].strip() for row in rows if row}
    except (OSError, UnicodeDecodeError) as error:
        raise ConvscopeError(f"cannot read the names of concepts from {file}: {error}") from error
    except (ValueError, IndexError, TypeError) as error:
        raise ConvscopeError(
            f"{file} holds no names of concepts: give a CSV with the columns number,name, or a JSON object such as "
            '{"1": "sky"}'
        ) from error
