"""Writing tables. Oracles: the rows read back by sqlite3 itself; the old file's bytes; killed processes."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope.store import schema
from convscope.store.picture_files import keep_picture
from convscope.store.schema import DATABASE, TABLES, AboutRow, columns_of
from convscope.store.tables import add_rows, packed, unpacked, write_tables, writing_tables
from convscope.writing import UnwritableError
from tests.store.small_atlas import rows, small_atlas, webp


def read(folder: Path, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / DATABASE)) as tables:
        return tables.execute(f"SELECT * FROM {table}").fetchall()


def null_for_nan(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(None if isinstance(value, float) and np.isnan(value) else value for value in row)


def test_every_table_has_the_columns_and_the_rows_that_were_given_in_their_order(tmp_path: Path) -> None:
    given = rows(keep_picture(tmp_path, webp((0, 0, 0))))
    assert given.keys() == TABLES.keys()  # the example has rows for all
    write_tables(tmp_path, {table: iter(some) for table, some in given.items()})
    for table, some in given.items():
        assert read(tmp_path, table) == [null_for_nan(tuple(row)) for row in some], table
        with closing(sqlite3.connect(tmp_path / DATABASE)) as tables:
            found = [row[1] for row in tables.execute(f"PRAGMA table_info({table})")]
        assert tuple(found) == columns_of(table)
    assert sorted(path.name for path in tmp_path.iterdir()) == [DATABASE, "images"]


def test_equal_rows_make_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_tables(tmp_path / name, rows("x.webp"))
    assert (tmp_path / "a" / DATABASE).read_bytes() == (tmp_path / "b" / DATABASE).read_bytes()


def test_a_missing_value_where_there_must_be_one_is_an_error_and_leaves_the_old_tables(tmp_path: Path) -> None:
    write_tables(tmp_path, {"about": [AboutRow("a", "1")]})
    before = (tmp_path / DATABASE).read_bytes()
    with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
        write_tables(tmp_path, {"skipped": [(3, "x.jpg", None)]})
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        write_tables(tmp_path, {"skipped": [(3, "x.jpg", "a"), (3, "y.jpg", "b")]})
    with pytest.raises(KeyError):
        write_tables(tmp_path, {"no such table": []})
    assert (tmp_path / DATABASE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [DATABASE]


def test_a_run_that_fails_while_rows_stream_leaves_the_old_tables(tmp_path: Path) -> None:
    write_tables(tmp_path, {"about": [AboutRow("a", "1")]})

    def broken():
        yield (0, "x.jpg", "a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tables(tmp_path, {"skipped": broken()})
    with pytest.raises(sqlite3.IntegrityError), writing_tables(tmp_path) as put:
        put("about", [AboutRow("b", "2"), AboutRow("b", "3")])
    assert read(tmp_path, "about") == [("a", "1")]
    assert [path.name for path in tmp_path.iterdir()] == [DATABASE]


def test_a_full_disk_is_said_and_leaves_the_old_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own limit of pages gives the very error of a full disk: "database or disk is full"."""
    write_tables(tmp_path, {"about": [AboutRow("a", "1")]})
    real = schema.create_statements

    def with_little_room():
        yield from real()
        yield "PRAGMA max_page_count = 45"

    monkeypatch.setattr("convscope.store.tables.create_statements", with_little_room)
    with pytest.raises(UnwritableError, match=r"cannot write .*atlas.sqlite: database or disk is full"):
        write_tables(tmp_path, {"about": (AboutRow(f"{i:06d}", "x" * 1000) for i in range(1000))})
    assert read(tmp_path, "about") == [("a", "1")]
    assert [path.name for path in tmp_path.iterdir()] == [DATABASE]


def test_a_folder_that_cannot_be_written_into_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnwritableError, match=r"cannot write .*nowhere.atlas.sqlite"):
        write_tables(tmp_path / "nowhere", {})


class TestAdding:
    def test_rows_are_added_and_those_of_the_same_key_replaced(self, tmp_path: Path) -> None:
        small_atlas(tmp_path)
        before = read(tmp_path, "pictures")
        new = [(0, 0, 0, "crop", "new.webp", 0, 0), (1, 2, 0, "synthetic", "s.webp", 0, 0)]
        add_rows(tmp_path, {"pictures": new})
        assert read(tmp_path, "pictures") == [before[0], *new]

    def test_all_or_nothing(self, tmp_path: Path) -> None:
        small_atlas(tmp_path)
        before = read(tmp_path, "pictures")
        with pytest.raises(sqlite3.IntegrityError):
            add_rows(
                tmp_path, {"pictures": [(1, 2, 0, "synthetic", "s.webp", 0, 0), (1, 2, 1, "synthetic", None, 0, 0)]}
            )
        assert read(tmp_path, "pictures") == before

    def test_nothing_is_made_where_there_are_no_tables(self, tmp_path: Path) -> None:
        with pytest.raises(UnwritableError):
            add_rows(tmp_path, {"pictures": []})
        assert list(tmp_path.iterdir()) == []

    def test_a_process_killed_while_it_adds_leaves_whole_additions(self, tmp_path: Path) -> None:
        """Oracle: additions of ten rows each; after kill -9 there are none of a part of ten."""
        small_atlas(tmp_path)
        before = len(read(tmp_path, "ablations"))
        script = textwrap.dedent("""
            import sys
            from pathlib import Path
            from convscope.store.tables import add_rows
            print("ready", flush=True)
            for unit in range(10**6):
                rows = [(1, unit, "zero", number, 1, 1, 1, 0.0, 0.0) for number in range(10)]
                add_rows(Path(sys.argv[1]), {"ablations": rows})
        """)
        for moment in range(3):
            adder = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
            assert adder.stdout is not None
            adder.stdout.readline()
            time.sleep(0.03 + 0.021 * moment)
            os.kill(adder.pid, signal.SIGKILL)
            adder.wait()
            adder.stdout.close()
            assert (len(read(tmp_path, "ablations")) - before) % 10 == 0
        assert len(read(tmp_path, "ablations")) > before


def test_tables_are_old_or_new_when_a_process_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from convscope.store.tables import write_tables
        print("ready", flush=True)
        for number in range(10**6):
            write_tables(Path(sys.argv[1]), {"about": ((f"{i:05d}", str(number)) for i in range(3000))})
    """)
    write_tables(tmp_path, {"about": [(f"{i:05d}", "old") for i in range(3000)]})
    for moment in range(3):
        writer = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.02 + 0.029 * moment)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        found = read(tmp_path, "about")
        assert len(found) == 3000
        assert len({value for _, value in found}) == 1  # all of one run
    write_tables(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == [DATABASE]  # what was left half made is gone


def test_packed_arrays_come_back() -> None:
    values = np.array([0] * 300 + [7, 1 << 40], "<i8")
    assert len(packed(values)) < 60
    np.testing.assert_array_equal(unpacked(packed(values), "<i8"), values)
