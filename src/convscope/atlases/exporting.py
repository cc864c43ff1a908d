"""An atlas's tables for other programs: CSV, or Parquet (extra ``[parquet]``), a file a table.

Names stand where the atlas has numbers of layers, images and classes, and what it packs into blobs is unfolded: a
unit's quantiles are columns (``q0.5``), its histogram and its statistics a class are tables of their own, with a row
for each bin or class that has something in it. Rows come in the order of the tables' keys and are streamed.
"""

import csv
import io
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from convscope.errors import ConvscopeError
from convscope.store.atlas import Atlas
from convscope.store.schema import DATABASE
from convscope.store.tables import unpacked
from convscope.writing import UnwritableError, file_aside, writable_folder

ROWS_AT_ONCE = 20_000
_LAYER, _IMAGE = "JOIN layers ON layers.number = t.layer", "JOIN images ON images.number = t.image"
_FIGURES = "positions, mean, variance, share_positive, maximum, minimum"
_UNIT = (
    f"{_FIGURES}, selectivity, classes.name AS class, dead, nans, infinities, nonfinite_images, "
    "images.name AS first_nonfinite"
)
_CLASS_FIGURES = f"{_FIGURES}, rectified"
_TEXTS = (
    "class",
    "label",
    "reason",
    "first_nonfinite",
)  # a column that may begin with many NULLs is one of these, or of numbers
_BOX = "y, x, y0, x0, y1, x1"
_SHARED = (  # the JSON list of images' numbers as one of their names, in its order
    "(SELECT json_group_array(name) FROM (SELECT images.name AS name FROM json_each(t.images) AS each "
    "JOIN images ON images.number = each.value ORDER BY each.key))"
)

# table -> the query of its rows
_QUERIES = {
    "about": "SELECT key, value FROM about ORDER BY key",
    "layers": "SELECT * FROM layers ORDER BY number",
    "classes": "SELECT * FROM classes ORDER BY number",
    "images": "SELECT t.number, t.name AS image, classes.name AS label, predicted, probability, loss, right_logit, "
    "lower(hex(digest)) AS digest, input_height, input_width "
    "FROM images t LEFT JOIN classes ON classes.number = t.label ORDER BY t.number",
    "skipped": "SELECT number, name AS image, reason FROM skipped ORDER BY number",
    "exemplars": f"SELECT layers.name AS layer, unit, rank, value, images.name AS image, {_BOX} "
    f"FROM exemplars t {_LAYER} {_IMAGE} ORDER BY t.layer, unit, rank",
    "confusion": "SELECT classes.name AS class, predicted, t.images FROM confusion t "
    "JOIN classes ON classes.number = class_number ORDER BY class_number, predicted",
    "prototypes": "SELECT classes.name AS class, kind, rank, images.name AS image, value FROM prototypes t "
    f"JOIN classes ON classes.number = class_number {_IMAGE} ORDER BY class_number, kind, rank",
    "suspects": f"SELECT rank, images.name AS image, t.loss FROM suspects t {_IMAGE} ORDER BY rank",
    "neighbours": "SELECT layers.name AS layer, unit, rank, other, correlation "
    f"FROM neighbours t {_LAYER} ORDER BY t.layer, unit, rank",
    "duplicates": f"SELECT layers.name AS layer, unit, other, shared, {_SHARED} AS images FROM duplicates t {_LAYER} "
    "ORDER BY t.layer, unit, other",
    "pictures": f"SELECT layers.name AS layer, unit, rank, kind, file, y, x FROM pictures t {_LAYER} "
    "ORDER BY t.layer, unit, rank, kind",
    "sprites": "SELECT layers.name AS layer, kind, first_unit, t.units, columns, cell, file "
    f"FROM sprites t {_LAYER} ORDER BY t.layer, kind, first_unit",
    "runs": "SELECT * FROM runs ORDER BY number",
}
_UNITS = (
    f"SELECT layers.name AS layer, t.unit, {_UNIT}, histogram, quantiles FROM units t {_LAYER} "
    "LEFT JOIN classes ON classes.number = selective_class LEFT JOIN images ON images.number = first_nonfinite "
    "ORDER BY t.layer, t.unit"
)
_UNIT_CLASSES = (
    f"SELECT layers.name AS layer, unit, {_CLASS_FIGURES} FROM unit_classes t {_LAYER} ORDER BY t.layer, unit"
)


@dataclass(frozen=True)
class Table:
    """A table's name, its columns, and its rows as they are read."""

    name: str
    columns: tuple[str, ...]
    rows: Iterable[Sequence[Any]]


def tables_of(atlas: Atlas, base: sqlite3.Connection) -> Iterator[Table]:
    """Every table of the atlas, one after the other; each has to be read before the next is asked for."""
    for name, query in _QUERIES.items():
        found = base.execute(query)
        yield Table(name, _columns(found), found)
    yield _units(atlas, base.execute(_UNITS))
    yield _histograms(atlas, base.execute(_UNITS))
    yield _unit_classes(atlas, base.execute(_UNIT_CLASSES))
    ablations = base.execute(
        f"SELECT layers.name AS layer, classes.name AS class, t.* FROM ablations t {_LAYER} "
        "LEFT JOIN classes ON classes.number = class_number ORDER BY t.layer, unit, mode, class_number"
    )
    kept = [n for n, c in enumerate(_columns(ablations)) if n < 2 or c not in ("layer", "class_number")]
    columns = tuple(_columns(ablations)[n] for n in kept)
    yield Table("ablations", columns, (tuple(row[n] for n in kept) for row in ablations))


def _columns(found: sqlite3.Cursor) -> tuple[str, ...]:
    return tuple(each[0] for each in found.description)


def _units(atlas: Atlas, found: sqlite3.Cursor) -> Table:
    quantiles = tuple(f"q{q:g}" for q in atlas.about["quantiles"])
    rows = ((*row[:-2], *np.frombuffer(row[-1], "<f8").tolist()) for row in found)
    return Table("units", (*_columns(found)[:-2], *quantiles), rows)


def _histograms(atlas: Atlas, found: sqlite3.Cursor) -> Table:
    edges = atlas.about["histogram_edges"]

    def rows() -> Iterator[Sequence[Any]]:
        for layer, unit, *_, packed, _ in found:
            counts = unpacked(packed, "<i8")
            for place in np.flatnonzero(counts).tolist():
                yield layer, unit, edges[place], edges[place + 1], int(counts[place])

    return Table("histograms", ("layer", "unit", "from", "to", "count"), rows())


def _unit_classes(atlas: Atlas, found: sqlite3.Cursor) -> Table:
    def rows() -> Iterator[Sequence[Any]]:
        for layer, unit, count, *blobs in found:
            counts = np.frombuffer(count, "<i8")
            figures = [np.frombuffer(blob, "<f4") for blob in blobs]
            for number in np.flatnonzero(counts).tolist():
                values = (figure[number].item() for figure in figures)
                yield layer, unit, atlas.classes[number], int(counts[number]), *values

    return Table("unit_classes", ("layer", "unit", "class", *_CLASS_FIGURES.split(", ")), rows())


Write = Callable[[Path, Table], None]


def export(atlas: Atlas, folder: Path, form: str) -> list[Path]:
    """Write every table that has rows into ``folder`` as ``form``: ``csv`` or ``parquet``; the files.

    Raises:
        ConvscopeError: no such form, Parquet without pyarrow, or a folder that is the atlas's own.
        UnwritableError: a file cannot be written.
    """
    writers: dict[str, Write] = {"csv": _write_csv, "parquet": _write_parquet}
    if form not in writers:
        raise ConvscopeError(f"no form {form!r}; an atlas is exported as {', '.join(writers)}")
    if form == "parquet":
        _pyarrow()
    if folder.resolve().is_relative_to(atlas.path.resolve()):
        raise ConvscopeError(f"{folder} lies inside the atlas; choose another folder")
    writable_folder(folder)
    files: list[Path] = []
    address = f"{(atlas.path / DATABASE).absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as base:
        for table in tables_of(atlas, base):
            first = list(islice(rows := iter(table.rows), 1))
            if first:
                files.append(folder / f"{table.name}.{form}")
                writers[form](files[-1], Table(table.name, table.columns, chain(first, rows)))
    return files


def _write_csv(path: Path, table: Table) -> None:
    with file_aside(path) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(table.rows)
        text.detach()  # else it would close the file, which is still to be put in its place


def _write_parquet(path: Path, table: Table) -> None:
    arrow, parquet = _pyarrow()
    schema: Any = None
    with file_aside(path) as file:
        writer: Any = None
        try:
            waiting = iter(table.rows)
            while rows := list(islice(waiting, ROWS_AT_ONCE)):
                columns = dict(zip(table.columns, zip(*rows, strict=True), strict=True))
                if writer is None:
                    schema = _types(arrow, columns)
                    writer = parquet.ParquetWriter(file, schema)
                writer.write_table(arrow.table(columns, schema=schema))
        except arrow.ArrowException as error:
            raise UnwritableError(f"cannot write {path}: {error}") from error
        finally:
            if writer is not None:
                writer.close()


def _types(arrow: Any, columns: dict[str, tuple[Any, ...]]) -> Any:
    """The columns' types: of the first rows' values; where all of these are NULL, of what such a column holds."""
    kinds = {int: arrow.int64(), float: arrow.float64(), str: arrow.string(), bytes: arrow.binary()}
    fields: list[Any] = []
    for name, values in columns.items():
        known = {type(value) for value in values if value is not None}
        kind = float if known == {int, float} else next(iter(known), str if name in _TEXTS else float)
        fields.append(arrow.field(name, kinds[kind]))
    return arrow.schema(fields)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConvscopeError(f"Parquet needs pyarrow: pip install 'convscope[parquet]' ({error})") from error
    return pyarrow, pyarrow.parquet
