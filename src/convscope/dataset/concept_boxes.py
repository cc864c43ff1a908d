"""Boxes of a table as concepts, by the photos' paths.

A CSV with the columns ``path,x0,y0,x1,y1``; x0, y0 is the first pixel and x1, y1 the last, as ImageNet and VOC have
them, so that a box covers x0 <= x < x1 + 1. The concept is the column ``class``, or else the name of the photo's folder
in the path. Paths are those of the data's images with more or with fewer folders in front: the rule that fits the first
photo that the table has holds for all.

Memory: the table is held, some 200 bytes a box. A box that leaves its photo is refused: it is of another size of it.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool

from convscope.dataset.concepts import Grid, Region
from convscope.errors import ConvscopeError, nearest
from convscope.labels import without_wordnet_number

_COLUMNS = ("path", "x0", "y0", "x1", "y1")


@dataclass(frozen=True, eq=False)
class Boxes:
    """The rows of a table: path -> (concept, x0, y0, x1, y1) each, the last two those of the edges."""

    names: Sequence[str]
    rows: Mapping[str, Sequence[tuple[int, float, float, float, float]]]
    line: str
    table: str
    _rule: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])

    def known(self, image: str) -> bool:
        """Whether the table has a row for the photo."""
        return self._path(image) is not None

    def regions(self, image: str, grid: Grid) -> list[Region]:
        """One region a concept: the cells in any of its boxes."""
        path = self._path(image)
        by_concept: dict[int, list[tuple[float, float, float, float]]] = {}
        for concept, *edges in self.rows[path] if path is not None else ():
            self._check(image, edges, grid.photo_size)
            by_concept.setdefault(concept, []).append((edges[0], edges[1], edges[2], edges[3]))
        return [Region(c, _in_boxes(boxes, grid), tuple(boxes)) for c, boxes in by_concept.items()]

    def _path(self, image: str) -> str | None:
        """The photo's path in the table, by the one rule that holds for all."""
        for front, dropped in self._rule:
            path = front + "/".join(image.split("/")[dropped:])
            return path if path in self.rows else None
        return None

    def settle(self, images: Iterator[str], folders: Sequence[str]) -> None:
        """Find how paths of the table and ids of the data go together; ``folders`` lie in front of an id.

        Raises:
            ConvscopeError: no photo of the data is in the table.
        """
        first = ""
        for image in images:
            first = first or image
            for rule in _rules(image, folders):
                front, dropped = rule
                if front + "/".join(image.split("/")[dropped:]) in self.rows:
                    self._rule[:] = [rule]
                    return
        raise ConvscopeError(
            f"{self.table} has no row for any of the photos, such as {first}{nearest(first, self.rows)} "
            f"(the first that it has is {next(iter(self.rows))})"
        )

    def _check(self, image: str, edges: Sequence[float], photo_size: tuple[int, int]) -> None:
        x0, y0, x1, y1 = edges
        width, height = photo_size
        # a pixel over the edge is let through: tables that count from 1, or give the edges, have such
        if x0 < 0 or y0 < 0 or x1 > width + 1 or y1 > height + 1:
            raise ConvscopeError(
                f"the box {x0:g},{y0:g},{x1 - 1:g},{y1 - 1:g} of {image} in {self.table} leaves the photo, which is "
                f"{width} x {height} pixels"
            )


def _in_boxes(boxes: Sequence[tuple[float, float, float, float]], grid: Grid) -> Bool[np.ndarray, "h w"]:
    cells = np.zeros((len(grid.ys), len(grid.xs)), bool)
    for x0, y0, x1, y1 in boxes:
        cells |= ((grid.ys >= y0) & (grid.ys < y1))[:, None] & (grid.xs >= x0) & (grid.xs < x1)
    return cells & grid.on_photo


def _rules(image: str, folders: Sequence[str]) -> Iterator[tuple[str, int]]:
    """(what is put in front, how many folders are dropped): the plain id, then more folders, then fewer."""
    yield "", 0
    for count in range(1, len(folders) + 1):
        yield "/".join(folders[-count:]) + "/", 0
    for dropped in range(1, image.count("/") + 1):
        yield "", dropped


def read_boxes(table: Path, images: Iterator[str], folders: Sequence[str] = ()) -> Boxes:
    """The boxes of a CSV file, seen to go with the data.

    Args:
        table: with the columns path,x0,y0,x1,y1 and perhaps class.
        images: ids of the data, of which the first that the table has tells how paths go together.
        folders: the names of the folders that lie above the data, outermost first.

    Raises:
        ConvscopeError: a file that cannot be read, columns that are missing, a box that is none, no photo in common.
    """
    names: dict[str, int] = {}
    rows: dict[str, list[tuple[int, float, float, float, float]]] = {}
    count = 0
    for number, row in _csv_rows(table):
        path = row["path"].strip().replace("\\", "/").removeprefix("./")
        text = row.get("class", "").strip() or _spoken(PurePosixPath(path).parent.name)
        if not text:
            raise ConvscopeError(
                f"{table}, line {number}: {path!r} lies in no folder that says what the box shows; add a column 'class'"
            )
        edges = _edges(row, f"{table}, line {number}")
        rows.setdefault(path, []).append((names.setdefault(text, len(names)), *edges))
        count += 1
    if not rows:
        raise ConvscopeError(f"{table} has no boxes")
    boxes = Boxes(tuple(names), rows, f"{count:,} boxes of {table.name}", str(table))
    boxes.settle(images, folders)
    return boxes


def _spoken(folder: str) -> str:
    """A class as people say it: ``n02123045_king_penguin`` -> ``king penguin``."""
    return without_wordnet_number(folder).replace("_", " ")


def _csv_rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            has = list(reader.fieldnames or ())
            if missing := [name for name in _COLUMNS if name not in has]:
                raise ConvscopeError(
                    f"{table} has no column {', '.join(map(repr, missing))}; boxes have the columns "
                    f"{','.join(_COLUMNS)} and perhaps class, this has {','.join(map(str, has)) or 'none'}"
                )
            for row in reader:
                yield reader.line_num, row
    except OSError as error:
        raise ConvscopeError(f"cannot read {table}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConvscopeError(f"{table} is no CSV in UTF-8: {error}") from error


def _edges(row: Mapping[str, str], where: str) -> tuple[float, float, float, float]:
    try:
        x0, y0, x1, y1 = (float(row[name]) for name in _COLUMNS[1:])
    except ValueError:
        given = ",".join(row[name] for name in _COLUMNS[1:])
        raise ConvscopeError(f"{where}: {given!r} is no box; give numbers of pixels x0,y0,x1,y1") from None
    if not (np.isfinite([x0, y0, x1, y1]).all() and x0 <= x1 and y0 <= y1):
        raise ConvscopeError(
            f"{where}: a box runs from its first to its last pixel, not from {x0:g},{y0:g} to {x1:g},{y1:g}"
        )
    return x0, y0, x1 + 1, y1 + 1
