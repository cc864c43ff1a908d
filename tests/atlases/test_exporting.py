"""Exports of a small atlas that was written by hand. Oracles: the schema, and the rows that were written."""

import csv
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import convscope as cs
from convscope.atlases.exporting import export, tables_of
from convscope.store.schema import DATABASE, TABLES, columns_of
from tests.store.small_atlas import small_atlas

AS_NAMES = {"class_number": "class", "selective_class": "class"}  # numbers that names stand for
ELSEWHERE = {"histogram": ("histograms", "count"), "quantiles": ("units", "q0.01")}  # blobs that are unfolded
NAMED = {("images", "name"): "image", ("skipped", "name"): "image"}


@pytest.fixture
def atlas(tmp_path: Path) -> Iterator[cs.Atlas]:
    opened = cs.open_atlas(small_atlas(tmp_path / "a.atlas"))
    yield opened
    opened.close()


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def test_every_table_and_every_column_of_the_schema_is_exported(atlas: cs.Atlas) -> None:
    with closing(sqlite3.connect(atlas.path / DATABASE)) as base:
        exported = {table.name: table.columns for table in tables_of(atlas, base)}
    for table in TABLES:
        for column in columns_of(table):
            name = NAMED.get((table, column), AS_NAMES.get(column, column))
            where, what = ELSEWHERE.get(column, (table, name))
            assert what in exported.get(where, ()), f"{table}.{column}"
    assert set(exported) - set(TABLES) == {"histograms"}
    assert [columns for columns in exported.values() if len(set(columns)) < len(columns)] == []


def test_every_row_is_exported_with_names_for_numbers(atlas: cs.Atlas, tmp_path: Path) -> None:
    export(atlas, tmp_path / "out", "csv")
    with closing(sqlite3.connect(atlas.path / DATABASE)) as base:
        for table in set(TABLES) - {"unit_classes"}:
            (count,) = base.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert len(rows(tmp_path / "out" / f"{table}.csv")) == count > 0, table
    file = atlas.sprites("conv1")[0]["file"]
    assert rows(tmp_path / "out" / "sprites.csv") == [
        {"layer": "conv1", "kind": "crop", "first_unit": "0", "units": "2", "columns": "9", "cell": "32", "file": file}
    ]
    first = {f"{row['layer']}:{row['unit']}": row["first_nonfinite"] for row in rows(tmp_path / "out" / "units.csv")}
    assert first == {**dict.fromkeys(("conv1:0", "conv1:1", "conv2:0", "conv2:1"), ""), "conv2:2": "d.jpg"}
    (duplicate,) = rows(tmp_path / "out" / "duplicates.csv")
    assert json.loads(duplicate["images"]) == atlas.duplicates()[0][2] == ["d.jpg", "cat/a.jpg"]


def test_columns_that_begin_with_nothing_keep_their_type_in_parquet(atlas: cs.Atlas, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export(atlas, tmp_path / "out", "parquet")
    assert parquet.read_table(tmp_path / "out" / "units.parquet")["first_nonfinite"].to_pylist() == [None] * 4 + [
        "d.jpg"
    ]
