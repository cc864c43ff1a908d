"""Boxes of a table as concepts, by the photos' paths.

A CSV with the columns ``path,x0,y0,x1,y1``; x0, y0 is the first pixel and x1, y1 the last, as ImageNet and VOC have
them, so that a box covers x0 <= x < x1 + 1. The concept is the column ``class`` (or ``label``), or else the name of the
photo's folder in the path. How paths and the data's ids go together is told in ``annotated_paths``; rows of photos that
the data has not are left out, and so are concepts that only they show.

Memory: the table is held, some 200 bytes a box. A box that leaves its photo is refused: it is of another size of it.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool

from convscope.dataset.annotated_paths import Images, path_rule
from convscope.dataset.concepts import Grid, Region
from convscope.errors import ConvscopeError
from convscope.labels import without_wordnet_number

_COLUMNS = ("path", "x0", "y0", "x1", "y1")
_CLASS = ("class", "label")
_COLUMN = " or ".join(map(repr, _CLASS))

_Edges = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of the data's photos: id -> (concept, (x0, y0, x1, y1)) each, the last two those of the edges."""

    names: Sequence[str]
    rows: Mapping[str, Sequence[tuple[int, _Edges]]]
    line: str
    table: str

    def known(self, image: str) -> bool:
        """Whether the table has a row for the photo."""
        return image in self.rows

    def regions(self, image: str, grid: Grid) -> list[Region]:
        """One region a concept: the cells in any of its boxes."""
        by_concept: dict[int, list[_Edges]] = {}
        for concept, edges in self.rows.get(image, ()):
            self._check(image, edges, grid.photo_size)
            by_concept.setdefault(concept, []).append(edges)
        return [Region(c, _in_boxes(boxes, grid), tuple(boxes)) for c, boxes in by_concept.items()]

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


def read_boxes(table: Path, images: Images, folders: Sequence[str] = ()) -> Boxes:
    """The boxes that a CSV file has of the data.

    Args:
        table: with the columns path,x0,y0,x1,y1 and perhaps class or label.
        images: gives the ids of the data, by code points.
        folders: the names of the folders that lie above the data, outermost first.

    Raises:
        ConvscopeError: a file that cannot be read, columns that are missing, a box that is none, shares of the photo in
            place of pixels, no photo in common.
    """
    by_path = _boxes_by_path(table)
    rule = path_rule(str(table), by_path, images, folders)
    found = {image: by_path[path] for image in images() if (path := rule.path(image)) in by_path}
    used = {concept for each in found.values() for concept, _ in each}
    names = [name for name in dict.fromkeys(name for each in by_path.values() for name, _ in each) if name in used]
    numbers = {name: number for number, name in enumerate(names)}
    rows = {image: [(numbers[name], edges) for name, edges in each] for image, each in found.items()}
    count = sum(map(len, rows.values()))
    line = f"{count:,} box{'es' * (count != 1)} of {table.name}"
    if rule.renamed:
        line += f", whose paths lie below {rule.front}"
    return Boxes(tuple(names), rows, line, str(table))


def _boxes_by_path(table: Path) -> dict[str, list[tuple[str, _Edges]]]:
    rows: dict[str, list[tuple[str, _Edges]]] = {}
    names: dict[str, str] = {}  # one text a concept, not one a row
    pixels = False
    first = ""
    for number, row in _csv_rows(table):
        where = f"{table}, line {number}"
        path = row["path"].strip().replace("\\", "/").removeprefix("./").lstrip("/")
        edges = _edges(row, where)
        text = _concept(row, path, where)
        rows.setdefault(path, []).append((names.setdefault(text, text), edges))
        first = first or ",".join(row[name] for name in _COLUMNS[1:])
        pixels |= max(edges) > 2  # the edge after the last pixel
    if not rows:
        raise ConvscopeError(f"{table} has no boxes")
    if not pixels:
        raise ConvscopeError(
            f"{table}: all boxes lie between 0 and 1, as shares of a photo do (the first is {first}); give the numbers "
            "of pixels: x0 and x1 times the photo's width, y0 and y1 times its height"
        )
    return rows


def _concept(row: Mapping[str, str], path: str, where: str) -> str:
    given = next((text for name in _CLASS if (text := row.get(name, "").strip())), "")
    if text := given or _spoken(PurePosixPath(path).parent.name):
        return text
    raise ConvscopeError(f"{where}: {path!r} lies in no folder that says what the box shows; add a column {_COLUMN}")


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
                    f"{','.join(_COLUMNS)} and perhaps {_COLUMN}, this has {','.join(map(str, has)) or 'none'}"
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
