"""One page of points for many frames: the marks of the classes stay, the points move.

``scatter.py`` writes each class's name at the middle of its points; here names would jump, so they stand in a legend
beside the page, each with its mark. Classes that are called by one letter or digit are drawn as that. Whoever draws
says where the page ends, and all frames lie on one page. The chart is made once, and its points are moved. Drawn with
matplotlib's objects, as ``scatter.py``.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.chart import printable
from convscope.render.class_marks import UNNAMED, Mark, marks_of
from convscope.render.typography import FAINT, INK, font, wrap

MOST_LISTED = 42  # classes in the legend: as many as have marks of their own
_FONT, _LINE, _NAME, _A_COLUMN = "DejaVu Sans", 19.0, 9.5, 22  # points of a line and of its type; lines of a column
_WRITTEN = "letter "  # before the letter, in the place of a shape
_MOST_NAME, _LETTER = 130.0, 1.7  # points; how much larger a letter's area is than a disc's


class PointsPage:
    """A square page of ``side`` points on which x and y run from -1 to 1, y upwards.

    Args:
        classes: of each point; None is a point without a class: small and grey.
        side: in points.
        pixel_ratio: pixels of the file a point.
    """

    def __init__(self, classes: Sequence[str | None], *, side: int = 520, pixel_ratio: int = 2) -> None:
        if not classes:
            raise ConvscopeError("a page of points needs at least one")
        self._figure = Figure(figsize=(side / 72, side / 72), dpi=72 * pixel_ratio, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)
        rim = 1 / side  # so that the frame's lines are in the picture
        axes = self._figure.add_axes((rim, rim, 1 - 2 * rim, 1 - 2 * rim))
        axes.set(xlim=(-1, 1), ylim=(-1, 1), xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_color(FAINT)
        self._count, self._groups = len(classes), list[tuple[np.ndarray, PathCollection]]()
        marks_of_classes = marks_by_class(classes)
        is_written = any(mark.shape.startswith(_WRITTEN) for mark in marks_of_classes.values())
        size = float(np.clip(19000 / len(classes), 9, 46)) * side / 560 * (_LETTER if is_written else 1)
        for name, mark in [(None, Mark(UNNAMED, "o")), *marks_of_classes.items()]:
            of = np.array([one == name for one in classes])
            if of.any():
                marks = axes.scatter(
                    [], [], s=size, c=mark.colour, marker=_marker(mark.shape), linewidths=0, alpha=0.75, zorder=3
                )
                self._groups.append((of, marks))

    def drawn(self, points: Float[np.ndarray, "n 2"]) -> Image.Image:
        """The page with its points there. Raises ConvscopeError for another number of points."""
        if len(points) != self._count:
            raise ConvscopeError(f"a page of {self._count} points was given {len(points)}")
        for of, marks in self._groups:
            marks.set_offsets(points[of])
        self._canvas.draw()
        return Image.fromarray(np.asarray(self._canvas.buffer_rgba())[..., :3].copy())


def marks_by_class(classes: Sequence[str | None]) -> dict[str, Mark]:
    """Each class's mark, in the order of the names: colours as on every chart of points; a letter marks itself."""
    names = sorted({name for name in classes if name is not None})
    marks = dict(zip(names, marks_of(len(names)), strict=True))
    if all(len(name) == 1 and name.isascii() and name.isalnum() for name in names):
        return {name: replace(mark, shape=f"{_WRITTEN}{name}") for name, mark in marks.items()}
    return marks


def legend(classes: Sequence[str | None], *, pixel_ratio: int = 2) -> Image.Image:
    """Each class's mark and name, in columns; of very many classes those of the most points."""
    lines, more = _listed(classes)
    face = font(round(4 * _NAME))
    width = min(_MOST_NAME, max((face.getlength(name) / 4 for name, _ in lines), default=0)) + 34
    columns, rows = -(-len(lines) // _A_COLUMN), min(len(lines), _A_COLUMN) + bool(more)
    size = (max(1.0, width * columns), max(1.0, _LINE * rows))
    figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=72 * pixel_ratio, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0))
    axes.axis("off")
    for place, (name, mark) in enumerate(lines):
        column, row = divmod(place, _A_COLUMN)
        axes.scatter(
            [column * width + 8], [(row + 0.5) * _LINE], s=42, c=mark.colour, marker=_marker(mark.shape), linewidths=0
        )
        _write(axes, column * width + 20, row, "".join(wrap(name, face, round(4 * _MOST_NAME), 1)))
    if more:
        _write(axes, 0, rows - 1, f"and {more} more")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _marker(shape: str) -> Path | str:
    """A letter's outline, round its middle and half as large as a disc is wide; any other shape as it is."""
    if not shape.startswith(_WRITTEN):
        return shape
    # no "$a$" of matplotlib's: it would look for TeX's fonts, and say that they are missing
    outline = TextPath((0, 0), shape.removeprefix(_WRITTEN), prop=FontProperties(family=_FONT, weight="bold"))
    box = outline.get_extents()
    middle = Affine2D().translate(-(box.x0 + box.x1) / 2, -(box.y0 + box.y1) / 2).scale(1 / _digit_height())
    return middle.transform_path(outline)


def _digit_height() -> float:
    """Of a digit, so that all letters are on one scale."""
    box = TextPath((0, 0), "0", prop=FontProperties(family=_FONT, weight="bold")).get_extents()
    return float(box.y1 - box.y0)


def _listed(classes: Sequence[str | None]) -> tuple[list[tuple[str, Mark]], int]:
    """(name, mark) of the classes of the most points, in the order of the names; how many more there are."""
    marks, counts = marks_by_class(classes), Counter(name for name in classes if name is not None)
    listed = sorted(sorted(counts, key=lambda name: (-counts[name], name))[:MOST_LISTED])
    lines = [(name, marks[name]) for name in listed]
    if None in classes:
        lines.append(("without a class", Mark(UNNAMED, "o")))
    return lines, len(marks) - len(listed)


def _write(axes: Axes, x: int | float, row: int, text: str) -> None:
    axes.text(
        x, (row + 0.5) * _LINE, printable(text), va="center", color=INK, fontsize=_NAME, fontfamily=_FONT,
        parse_math=False,
    )  # fmt: skip
