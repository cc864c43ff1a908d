"""The tables of an atlas: one NamedTuple a table, whose fields are its columns, and the SQL made from them.

``atlas.sqlite`` holds all that a survey found, but for pictures (files, named here by their content), pooled features
and mean patterns (``.safetensors`` beside it). Images, layers and data classes are known by number here and by name
outside; -1 or NULL stands for "none". Blobs are little-endian arrays, one number a data class, bin or quantile.

Rows come in a fixed order (primary keys ascending), so two surveys of one plan give equal tables, ``runs`` aside. The
number of the layout is in ``about`` and in the manifest: a reader refuses one that is newer than itself.
"""

from collections.abc import Iterator
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints

SCHEMA = 1
DATABASE = "atlas.sqlite"


class AboutRow(NamedTuple):
    """A fact of the whole atlas: ``value`` is JSON."""

    key: str
    value: str


class LayerRow(NamedTuple):
    """A layer in the order in which it runs; ``field_*`` NULL where one unit sees the whole input."""

    number: int
    name: str
    type: str
    units: int
    height: int
    width: int
    field_height: int | None
    field_width: int | None
    stride_y: float | None
    stride_x: float | None
    offset_y: float | None
    offset_x: float | None


class ClassRow(NamedTuple):
    """A data class: the network's classes that count as it (JSON list), its images that were read, those of them that
    have a right answer and a finite one (``judged``), and how many were answered rightly.
    """

    number: int
    name: str
    network_classes: str
    images: int
    judged: int
    correct: int
    mean_loss: float | None


class ImageRow(NamedTuple):
    """An image that was read. ``label`` is a data class, ``predicted`` a class of the network."""

    number: int
    name: str
    label: int
    predicted: int
    probability: float | None
    loss: float | None
    right_logit: float | None
    digest: bytes
    input_height: int
    input_width: int


class SkippedRow(NamedTuple):
    """An image that was left out, and why."""

    number: int
    name: str
    reason: str


class UnitRow(NamedTuple):
    """Statistics of one unit over all images. ``selective_class``: the data class of the selectivity, of the largest
    ``unit_classes.rectified``; -1 without labels, and of a unit that is never above 0.

    ``histogram``: int64 counts in the bins of ``about["histogram_edges"]``, deflated; ``quantiles``: float64 at
    ``about["quantiles"]``; ``nans`` and ``infinities`` count values, ``nonfinite_images`` the images that have some,
    ``first_nonfinite`` is the first of them or -1; ``dead`` is 1 for a unit that no image switches on.
    """

    layer: int
    unit: int
    positions: int
    mean: float | None
    variance: float | None
    share_positive: float | None
    maximum: float | None
    minimum: float | None
    selectivity: float | None
    selective_class: int
    dead: int
    nans: int
    infinities: int
    nonfinite_images: int
    first_nonfinite: int
    histogram: bytes
    quantiles: bytes


class UnitClassesRow(NamedTuple):
    """Statistics of one unit a data class: float32 blobs with one number a class, NaN where it has no image;
    ``positions`` int64. ``rectified`` is the mean of max(A, 0).
    """

    layer: int
    unit: int
    positions: bytes
    mean: bytes
    variance: bytes
    share_positive: bytes
    maximum: bytes
    minimum: bytes
    rectified: bytes


class ExemplarRow(NamedTuple):
    """The rank-th strongest activation of a unit (0 is the strongest): where, and its receptive box in the network's
    input, ``y0 <= row < y1``.
    """

    layer: int
    unit: int
    rank: int
    value: float
    image: int
    y: int
    x: int
    y0: int
    x0: int
    y1: int
    x1: int


class ConfusionRow(NamedTuple):
    """How many images of a data class were called ``predicted``, a class of the network; never 0."""

    class_number: int
    predicted: int
    images: int


class PrototypeRow(NamedTuple):
    """``kind``: ``least loss`` or ``largest logit``, of the images of one data class; rank 0 is the best."""

    class_number: int
    kind: str
    rank: int
    image: int
    value: float


class SuspectRow(NamedTuple):
    """The images of largest loss: perhaps wrongly labelled."""

    rank: int
    image: int
    loss: float


class NeighbourRow(NamedTuple):
    """The unit of the same layer whose pooled activations go with this one's, most alike first."""

    layer: int
    unit: int
    rank: int
    other: int
    correlation: float


class DuplicateRow(NamedTuple):
    """Two units of a layer whose exemplars are the same few crops; ``images``: their numbers, a JSON list."""

    layer: int
    unit: int
    other: int
    shared: int
    images: str


class PictureRow(NamedTuple):
    """A picture of a unit: ``kind`` crop, context, deconv, synthetic; ``y``, ``x``: the receptive box begins there."""

    layer: int
    unit: int
    rank: int
    kind: str
    file: str
    y: int
    x: int


class SpriteRow(NamedTuple):
    """A sheet of one layer's pictures: a row a unit from ``first_unit`` on, a column a rank, cells of ``cell`` px."""

    layer: int
    kind: str
    first_unit: int
    units: int
    columns: int
    cell: int
    file: str


class AblationRow(NamedTuple):
    """A unit switched off (``mode`` zero or mean): what became of the images of one data class (-1: of all).

    The drops are means over these images, of the right class's logit and probability. In an atlas without labels of the
    network's classes, what the intact network answers counts as correct.
    """

    layer: int
    unit: int
    mode: str
    class_number: int
    images: int
    correct_before: int
    correct_after: int
    logit_drop: float | None
    probability_drop: float | None


class RunRow(NamedTuple):
    """A run that worked on the atlas: the only table that may differ between surveys of one plan."""

    number: int
    started: str
    seconds: float
    host: str
    engine: str
    shards: int
    versions: str


TABLES: dict[str, tuple[Any, tuple[str, ...]]] = {  # its row, its primary key
    "about": (AboutRow, ("key",)),
    "layers": (LayerRow, ("number",)),
    "classes": (ClassRow, ("number",)),
    "images": (ImageRow, ("number",)),
    "skipped": (SkippedRow, ("number",)),
    "units": (UnitRow, ("layer", "unit")),
    "unit_classes": (UnitClassesRow, ("layer", "unit")),
    "exemplars": (ExemplarRow, ("layer", "unit", "rank")),
    "confusion": (ConfusionRow, ("class_number", "predicted")),
    "prototypes": (PrototypeRow, ("class_number", "kind", "rank")),
    "suspects": (SuspectRow, ("rank",)),
    "neighbours": (NeighbourRow, ("layer", "unit", "rank")),
    "duplicates": (DuplicateRow, ("layer", "unit", "other")),
    "pictures": (PictureRow, ("layer", "unit", "rank", "kind")),
    "sprites": (SpriteRow, ("layer", "kind", "first_unit")),
    "ablations": (AblationRow, ("layer", "unit", "mode", "class_number")),
    "runs": (RunRow, ("number",)),
}

_TYPES: dict[Any, str] = {int: "INTEGER", float: "REAL", str: "TEXT", bytes: "BLOB"}
_INDEXES = ("CREATE INDEX images_by_name ON images (name)", "CREATE INDEX exemplars_by_image ON exemplars (image)")


def create_statements() -> Iterator[str]:
    """The SQL that makes the empty tables."""
    for table, (row, keys) in TABLES.items():
        hints = get_type_hints(row)
        columns = [f"{name} {_column_type(hints[name])}" for name in columns_of(table)]
        yield f"CREATE TABLE {table} ({', '.join(columns)}, PRIMARY KEY ({', '.join(keys)})) WITHOUT ROWID"


def index_statements() -> tuple[str, ...]:
    """The SQL of the indexes, made after the rows."""
    return _INDEXES


def insert_statement(table: str, *, replace: bool = False) -> str:
    """``INSERT INTO table VALUES (?, ...)``."""
    marks = ", ".join("?" for _ in columns_of(table))
    return f"INSERT {'OR REPLACE ' if replace else ''}INTO {table} VALUES ({marks})"


def columns_of(table: str) -> tuple[str, ...]:
    """The names of a table's columns."""
    return TABLES[table][0]._fields


def _column_type(hint: Any) -> str:
    """``REAL`` for ``float | None``, ``REAL NOT NULL`` for ``float``."""
    options = get_args(hint)
    plain = next((option for option in options if option is not NoneType), hint)
    return _TYPES[plain] + ("" if NoneType in options else " NOT NULL")
