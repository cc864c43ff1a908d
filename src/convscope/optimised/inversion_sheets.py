"""Inversions side by side, with the curve of their errors: a strip of layers, strengths x layers, networks x layers.

Columns of several networks are their depth: the first layers stand below each other, and so do the last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.optimised.one_inversion import CLAIM, ERROR, LIMITS, Inversion, how_in_words
from convscope.render import frame
from convscope.render.curve import Line, layer_curves
from convscope.render.sheet import matrix, sheet
from convscope.render.tile import Tile, column_of
from convscope.results import Shown
from convscope.stamps import Stamp, combined

Kind = Literal["layers", "strengths", "networks"]
_COLUMNS, _CURVE_HEIGHT, _RATIO = 9, 300, 2
_MOST_SIDE_BY_SIDE = 12  # columns of a sheet with rows; more go on below
_GREY = "a grey picture"


@dataclass(frozen=True, eq=False)
class Inversions(Shown):
    """``rows`` of inversions: one of all layers; or one a strength or network, headed by ``headings``.

    ``left_out`` are layers without an inversion, with the reason; ``missing`` those that an interrupted run did not
    come to.
    """

    rows: tuple[tuple[Inversion, ...], ...] = field(repr=False)
    kind: Kind
    headings: tuple[str, ...]
    left_out: Mapping[str, str]
    missing: tuple[str, ...]
    stamp: Stamp = field(repr=False)

    def picture(self) -> Image.Image:
        """The pictures, and below them the curve of the errors where there are several layers."""
        top = self._strip() if self.kind == "layers" else self._matrix()
        width = top.width - 2 * frame.MARGIN * _RATIO
        parts: list[Image.Image] = []
        if max(len(row) for row in self.rows) > 1:
            parts += [frame.blank(width, 14 * _RATIO), self.curve(width // _RATIO)]
        parts.append(frame.foot(self.footer, width, pixel_ratio=_RATIO))
        below = column_of(*parts)
        both = frame.blank(top.width, top.height - frame.MARGIN * _RATIO + below.height + frame.MARGIN * _RATIO)
        both.paste(top, (0, 0))
        both.paste(below, (frame.MARGIN * _RATIO, top.height - frame.MARGIN * _RATIO))
        return both

    def curve(self, width: int = 640) -> Image.Image:
        """The errors over the layers, on a logarithmic axis."""
        lines = [
            Line(name, tuple(i.layer for i in row), *self._errors(row))
            for name, row in zip(self.headings or ("",), self.rows, strict=True)
        ]
        ordered = self.kind == "strengths"
        return layer_curves(
            lines, what="relative squared error", level=_GREY, ordered=ordered, width=width, height=_CURVE_HEIGHT
        )

    @staticmethod
    def _errors(row: Sequence[Inversion]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return tuple(i.relative_error for i in row), tuple(i.grey_error for i in row)

    def _strip(self) -> Image.Image:
        row = self.rows[0]
        tiles = [row[0].photo_tile(), *(one.tile() for one in row)]
        lines = -(-len(tiles) // _COLUMNS)
        return sheet(
            tiles,
            columns=-(-len(tiles) // lines),
            title=self.title,
            subtitle=self.subtitle,
            tile_width=148 if len(tiles) > 5 else 220,
        )

    def _matrix(self) -> Image.Image:
        """Rows of strengths or networks; where they are long they go on below."""
        places = [self._placed(row) for row in self.rows]
        count = len(places[0])
        blocks = -(-count // _MOST_SIDE_BY_SIDE)
        each = -(-count // blocks)
        rows: list[list[Tile | None]] = []
        headings: list[str] = []
        for start in range(0, count, each):
            for heading, row, cells in zip(self.headings, self.rows, places, strict=True):
                part = cells[start : start + each]
                first = row[0].photo_tile() if self.kind == "networks" or heading == self.headings[0] else None
                rows.append([first if start == 0 else None, *part])
                headings.append(heading)
        width = 116 if each > 6 else 168
        return matrix(rows, row_headings=headings, title=self.title, subtitle=self.subtitle, tile_width=width)

    def _placed(self, row: Sequence[Inversion]) -> list[Tile | None]:
        """A row's tiles in as many columns as the longest row has, by depth."""
        count = max(len(other) for other in self.rows)
        cells: list[Tile | None] = [None] * count
        for i, one in enumerate(row):
            at = i if len(row) == count or len(row) == 1 else round(i * (count - 1) / (len(row) - 1))
            cells[at] = one.tile()
        return cells

    @property
    def title(self) -> str:
        """What is inverted."""
        names = list(dict.fromkeys(one.layer for row in self.rows for one in row))
        what = names[0] if len(names) == 1 else f"{len(names)} layers"
        if self.kind == "networks":
            return f"What {len(self.rows)} networks keep of a photo, layer by layer"
        model = self.rows[0][0].stamp.model
        return f"What {what} of {model} keep{'s' * (len(names) == 1)} of a photo"

    @property
    def subtitle(self) -> str:
        """How the pictures were made, and what the error is."""
        how = self.rows[0][0].how
        made = how_in_words(how) if self.kind != "strengths" else how_in_words(how, without_tv=True)
        missing = f" · not made: {', '.join(self.missing)}" if self.missing else ""
        return f"Pictures that give a layer the photo's features · error: {ERROR} · {made}{missing}"

    @property
    def footer(self) -> str:
        """What the pictures do not show, what was left out, and the stamp."""
        left_out = "; ".join(f"{name} ({why})" for name, why in self.left_out.items())
        said = f" Left out: {left_out}." if left_out else ""
        return f"{LIMITS}{said} {self.stamp.line()}"

    def facts(self) -> Mapping[str, str]:
        """The errors, row by row."""
        facts = {"inversions": self.title, "made": how_in_words(self.rows[0][0].how), "error": ERROR}
        for name, row in zip(self.headings or ("",), self.rows, strict=True):
            facts |= {f"{name} {one.layer}".strip(): f"{one.error_line}; {one.numbers_line}" for one in row}
        facts |= {f"left out: {name}": why for name, why in self.left_out.items()}
        facts |= {"not made": ", ".join(self.missing)} if self.missing else {}
        return facts | {"what it shows": CLAIM, "what it does not": LIMITS}

    def as_json(self) -> dict[str, Any]:
        """What ``convscope invert --json`` prints of it."""
        rows = [[one.as_json() for one in row] for row in self.rows]
        about: dict[str, Any] = {"layers": rows[0]} if self.kind == "layers" else {}
        if self.kind != "layers":
            about = {"rows": [{"name": n, "layers": r} for n, r in zip(self.headings, rows, strict=True)]}
        return about | {"left_out": dict(self.left_out), "missing": list(self.missing)}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Each picture by its layer, with the heading before it where there are several rows; and the errors."""
        arrays: dict[str, np.ndarray] = {}
        for name, row in zip(self.headings or ("",), self.rows, strict=True):
            arrays |= {" ".join(filter(None, (name, one.layer))): one.values.numpy() for one in row}
        return arrays | {"errors": np.array([one.relative_error for row in self.rows for one in row])}


def strip(
    made: Sequence[Inversion], *, left_out: Mapping[str, str] | None = None, missing: Sequence[str] = ()
) -> Inversions:
    """Inversions of several layers of one network, in order.

    Raises:
        ConvscopeError: none at all.
    """
    return _of([made], "layers", (), left_out or {}, missing)


def strengths(
    made: Mapping[int | float, Sequence[Inversion]],
    *,
    left_out: Mapping[str, str] | None = None,
    missing: Sequence[str] = (),
) -> Inversions:
    """Rows of one network's inversions with several weights of the total variation: weight -> layers.

    Raises:
        ConvscopeError: none at all.
    """
    return _of(list(made.values()), "strengths", [f"TV {weight:g}" for weight in made], left_out or {}, missing)


def networks(
    made: Mapping[str, Sequence[Inversion]], *, left_out: Mapping[str, str] | None = None, missing: Sequence[str] = ()
) -> Inversions:
    """Rows of several networks' inversions: name -> layers.

    Raises:
        ConvscopeError: none at all.
    """
    return _of(list(made.values()), "networks", list(made), left_out or {}, missing)


def _of(
    rows: Sequence[Sequence[Inversion]],
    kind: Kind,
    headings: Sequence[str],
    left_out: Mapping[str, str],
    missing: Sequence[str],
) -> Inversions:
    found = [(i, row) for i, row in enumerate(rows) if row]
    if not found:
        raise ConvscopeError("a sheet of inversions needs at least one")
    kept = tuple(tuple(row) for _, row in found)
    names = tuple(headings[i] for i, _ in found) if headings else ()
    stamp = combined([one.stamp for row in kept for one in row])
    return Inversions(kept, kind, names, dict(left_out), tuple(missing), replace(stamp, seed=kept[0][0].stamp.seed))
