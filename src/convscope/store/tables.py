"""Writing the tables of an atlas: all at once beside the atlas, then renamed; later additions in one transaction.

SQLite's own journal would survive a kill as well, but the old tables and the new would be mixed in between: a file
written aside leaves whoever reads, and a run that fails, with the old one whole. Rows are streamed, one table after the
other, in the order given, which has to be that of the primary keys: it makes the file's bytes the rows' own.

Pitfall: a full disk comes as ``sqlite3.OperationalError`` ("database or disk is full"), not as an OSError.
"""

import os
import sqlite3
import zlib
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from convscope.store.schema import DATABASE, TABLES, create_statements, index_statements, insert_statement
from convscope.writing import UnwritableError

_ASIDE = ".atlas.sqlite.new"


def write_tables(folder: Path, rows: Mapping[str, Iterable[tuple[Any, ...]]]) -> Path:
    """Make ``folder/atlas.sqlite`` of the rows of each table, in the columns' order (``schema``); the rest stay empty.

    Raises:
        UnwritableError: no space, or no permission; tables that were there before stay.
        KeyError: no such table.
    """
    with writing_tables(folder) as put:
        for table in [*TABLES, *(name for name in rows if name not in TABLES)]:
            put(table, rows.get(table, ()))
    return folder / DATABASE


@contextmanager
def writing_tables(folder: Path) -> Generator[Callable[[str, Iterable[tuple[Any, ...]]], None]]:
    """Within the block ``put(table, rows)`` adds rows, to any table in any order; at its end the tables are in place.

    Raises:
        UnwritableError: as ``write_tables``; where the block fails, too, the tables that were there before stay.
    """
    path, aside = folder / DATABASE, folder / _ASIDE
    _remove(aside)
    try:
        with closing(_empty_tables(aside, path)) as tables:

            def put(table: str, rows: Iterable[tuple[Any, ...]]) -> None:
                statement = insert_statement(table)
                with refusing_full_disk(path):
                    tables.executemany(statement, rows)

            yield put
            with refusing_full_disk(path):
                for statement in index_statements():
                    tables.execute(statement)
                tables.execute("COMMIT")
        with refusing_full_disk(path):
            _synced(aside)
            aside.replace(path)
    finally:
        _remove(aside)


def _empty_tables(aside: Path, path: Path) -> sqlite3.Connection:
    with refusing_full_disk(path):
        tables = sqlite3.connect(aside, isolation_level=None)
        tables.execute("PRAGMA journal_mode = OFF")  # a broken file is thrown away, never rolled back
        tables.execute("PRAGMA synchronous = OFF")  # one sync at the end
        tables.execute("BEGIN")
        for statement in create_statements():
            tables.execute(statement)
    return tables


def add_rows(folder: Path, rows: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
    """Add rows to the tables of a finished atlas, in one transaction; those of the same key are replaced.

    Raises:
        UnwritableError: no space, no permission, or another process is adding at the same time for over a minute.
    """
    path = folder / DATABASE
    address = f"{path.absolute().as_uri()}?mode=rw"  # made by nobody else than write_tables
    with (
        refusing_full_disk(path),
        closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=60)) as tables,
    ):
        tables.execute("BEGIN IMMEDIATE")
        try:
            for table, added in rows.items():
                tables.executemany(insert_statement(table, replace=True), added)
            tables.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                tables.execute("ROLLBACK")
            raise


def packed(values: np.ndarray) -> bytes:
    """An array as a deflated blob: histograms are mostly zeros."""
    return zlib.compress(np.ascontiguousarray(values).tobytes(), 6)


def unpacked(blob: bytes, dtype: Any) -> np.ndarray:
    """The array again."""
    return np.frombuffer(zlib.decompress(blob), dtype)


@contextmanager
def refusing_full_disk(path: Path) -> Generator[None]:
    """SQLite's word for a full or locked disk as the error that every other file has."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        raise UnwritableError(f"cannot write {path}: {error}") from error


def _synced(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
