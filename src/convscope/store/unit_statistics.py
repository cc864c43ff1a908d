"""Statistics of an atlas's units as they are read: of one unit, of a layer's units, of a layer's units a class."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import ConvscopeError, nearest
from convscope.store.database import Database, Row
from convscope.store.tables import unpacked

FIGURES = ("mean", "variance", "share_positive", "maximum", "minimum")
CLASS_FIGURES = (*FIGURES, "rectified")  # of a unit a data class
Histogram = tuple[NDArray[np.float64], NDArray[np.int64]]  # edges (bins + 1,), counts (bins,)


class ByClass(Mapping[str, Mapping[str, Any]]):
    """Data class -> figures of one unit over its images, those classes that have some; made when looked at."""

    def __init__(self, classes: Sequence[str], columns: Mapping[str, NDArray[Any]]) -> None:
        self._columns = columns
        counts = columns.get("count", np.zeros(0, np.int64))
        self._numbers = {classes[i]: i for i in np.flatnonzero(counts).tolist()}

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        if name not in self._numbers:
            raise KeyError(name)
        return {key: values[self._numbers[name]].item() for key, values in self._columns.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


def of_unit(base: Database, about: Mapping[str, Any], classes: Sequence[str], layer: int, unit: int) -> dict[str, Any]:
    """All that is known of one unit.

    ``class`` is the data class that ``selectivity`` is of, of the largest ``rectified`` in ``by_class``, the mean of
    max(A, 0); before a ReLU it need not be that of the largest ``mean``. None without labels, and of a dead unit.
    """
    rows = base.rows("SELECT *, positions AS count FROM units WHERE layer = ? AND unit = ?", (layer, unit))
    if not rows:
        raise ConvscopeError(f"{base.path} is damaged: it has no statistics of unit {unit} of layer {layer}")
    row = rows[0]
    figures = {key: _number(row[key]) for key in ("count", *FIGURES, "selectivity")}
    return {
        **figures,
        "class": classes[row["selective_class"]] if row["selective_class"] >= 0 else None,
        "dead": bool(row["dead"]),
        "quantiles": dict(zip(about["quantiles"], np.frombuffer(row["quantiles"], "<f8").tolist(), strict=True)),
        "histogram": _histogram(row, about),
        "by_class": _by_class(base, classes, layer, unit),
    }


def of_layer(base: Database, classes: Sequence[str], layer: int) -> dict[str, Any]:
    """The figures of all units of a layer, arrays ``(units,)``; ``class`` is a list of names or None."""
    columns = ("count", *FIGURES, "selectivity", "selective_class")
    rows = base.rows("SELECT *, positions AS count FROM units WHERE layer = ? ORDER BY unit", (layer,))
    found: dict[str, Any] = {key: np.array([_number(row[key]) for row in rows], float) for key in columns[1:-1]}
    found["count"] = np.array([row["count"] for row in rows], np.int64)
    found["class"] = [classes[row["selective_class"]] if row["selective_class"] >= 0 else None for row in rows]
    return found


def of_classes(base: Database, classes: Sequence[str], layer: int, figure: str) -> NDArray[Any]:
    """One figure of all units of a layer a data class, ``(classes, units)``; NaN (count: 0) where there is no image."""
    if figure not in (*CLASS_FIGURES, "count"):
        raise ConvscopeError(
            f"no figure {figure!r}{nearest(figure, CLASS_FIGURES)}; there are count, {', '.join(CLASS_FIGURES)}"
        )
    column, dtype = _column(figure), _dtype(figure)
    rows = base.rows(f"SELECT {column} FROM unit_classes WHERE layer = ? ORDER BY unit", (layer,))
    if not rows:
        return np.zeros((len(classes), 0), dtype)
    return np.stack([np.frombuffer(row[column], dtype) for row in rows], axis=1)


def _histogram(row: Row, about: Mapping[str, Any]) -> Histogram:
    return np.array(about["histogram_edges"], np.float64), unpacked(row["histogram"], "<i8")


def _by_class(base: Database, classes: Sequence[str], layer: int, unit: int) -> ByClass:
    rows = base.rows("SELECT *, positions AS count FROM unit_classes WHERE layer = ? AND unit = ?", (layer, unit))
    columns = {key: np.frombuffer(rows[0][key], _dtype(key)) for key in ("count", *CLASS_FIGURES)} if rows else {}
    return ByClass(classes, columns)


def _column(figure: str) -> str:
    return "positions" if figure == "count" else figure  # a row is a tuple, which has a count() already


def _dtype(figure: str) -> str:
    return "<i8" if figure == "count" else "<f4"


def _number(value: float | int | None) -> float | int:
    """SQLite keeps NaN as NULL."""
    return float("nan") if value is None else value


def numbers_of(text: str) -> tuple[int, ...]:
    """A JSON list of whole numbers."""
    return tuple(int(number) for number in json.loads(text))
