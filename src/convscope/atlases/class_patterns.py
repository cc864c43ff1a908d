"""Where on its maps a class makes each unit active: mean maps, tinted by the unit's rank in the class.

The mean map of unit k over the images of class c, on a grid of at most 14 x 14 cells as the survey keeps it. The depth
of a colour is the map's value, each unit on one scale over all classes; the tint is the unit's rank in the class, see
``unit_ranks``. So a column says where and in which classes one unit is active, a row what a class is made of.

Pitfall: a mean over photos of all poses is blurred; an even map says that the pattern may be anywhere, not that it is
everywhere. Maps below 0, as before a ReLU, are grey; ranks go by the means of max(A, 0).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from convscope.atlases.atlas_stamp import stamp_of
from convscope.atlases.classes_asked import classes_asked
from convscope.atlases.unit_ranks import TINTED, leading_units, most_telling, ordinal, rank_tint, ranks_of
from convscope.errors import ConvscopeError
from convscope.render.colour_bar import ColourBar
from convscope.render.grid import Cell, rows_of_cells
from convscope.render.scale import Scale
from convscope.render.tinted_map import tinted_map
from convscope.results import Shown
from convscope.stamps import Stamp

if TYPE_CHECKING:
    from convscope.store.atlas import Atlas

MOST_PATTERN_CLASSES, MOST_PATTERN_UNITS = 16, 16  # on a sheet


@dataclass(frozen=True, eq=False)
class MeanPatterns(Shown):
    """Mean maps ``(classes, units, gh, gw)`` of one layer; ``ranks`` (classes, units) from 1, ``numbers`` the units."""

    layer: str
    classes: tuple[str, ...]
    numbers: tuple[int, ...]
    maps: Float[np.ndarray, "classes units gh gw"]
    ranks: Int[np.ndarray, "classes units"]
    of: tuple[int, int]
    stamp: Stamp

    def picture(self) -> Image.Image:
        """Classes x units; a tint a rank, each unit on one scale over all classes."""
        highest = np.abs(self.maps).max(axis=(0, 2, 3))
        rows = [[self._cell(row, column, highest[column]) for column in range(len(self.numbers))] for row in self._rows]
        bar = ColourBar(Scale(1.0, float(TINTED)), "viridis", unit=f"behind the {ordinal(TINTED)}: grey blue")
        about: dict[str, Any] = {"title": f"Mean maps of {self.layer}, class by class", "subtitle": self._subtitle}
        headings = {"row_headings": self.classes, "column_headings": [f"unit {k}" for k in self.numbers]}
        return rows_of_cells(
            rows, **headings, tile_width=56, bar=bar, said="Tint: the unit's rank in the class",
            footer=self.stamp.line(), **about,
        )  # fmt: skip

    @property
    def _rows(self) -> range:
        return range(len(self.classes))

    def _cell(self, row: int, column: int, highest: float) -> Cell:
        values, rank = self.maps[row, column], int(self.ranks[row, column])
        if not np.isfinite(values).all():
            return Cell(("not finite",))
        return Cell((tinted_map(values, rank_tint(rank), highest),), label=ordinal(rank), outlined=True)

    @property
    def _subtitle(self) -> str:
        classes, units = self.of
        parts = ["The deeper a colour the stronger the unit is there on average; a unit has one scale over all classes"]
        parts += ["Grey: below 0"] if (self.maps < 0).any() else []
        few = []
        few += [f"{len(self.classes)} of {classes} classes"] if len(self.classes) < classes else []
        few += (
            [f"{len(self.numbers)} of {units} units, the first ones of these classes"]
            if len(self.numbers) < units
            else []
        )
        return ". ".join([*parts, *([", ".join(few)] if few else [])]) + "."

    def facts(self) -> Mapping[str, str]:
        """What is shown, and the first units of each class."""
        first = {
            name: ", ".join(str(self.numbers[k]) for k in np.argsort(self.ranks[row], kind="stable")[:5])
            for row, name in enumerate(self.classes)
        }
        return {"sheet": f"Mean maps of {self.layer}, class by class", **first}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Maps, ranks, and the units' numbers."""
        return {"maps": self.maps, "ranks": self.ranks, "units": np.array(self.numbers)}

    def as_json(self) -> dict[str, Any]:
        """The rank of each unit on the sheet in each class."""
        ranks = {
            name: {f"{self.layer}:{k}": int(rank) for k, rank in zip(self.numbers, self.ranks[row], strict=True)}
            for row, name in enumerate(self.classes)
        }
        return {"layer": self.layer, "units": self.of[1], "ranks": ranks}


def mean_patterns(
    atlas: "Atlas",
    layer: str,
    classes: Sequence[str] | None = None,
    *,
    units: Sequence[int] | None = None,
    most: int = MOST_PATTERN_UNITS,
    most_classes: int = MOST_PATTERN_CLASSES,
) -> MeanPatterns:
    """The mean map of units a class, tinted by the unit's rank in the class.

    ``classes`` as in ``class_activations``; ``units``: by number, None: the ``most`` that come first in the classes.

    Raises:
        ConvscopeError: no such layer, class or unit, or a layer whose maps were not kept (``survey --patterns``).
    """
    names, values = atlas.class_statistics(layer, "rectified")  # as the bars of class_activations
    values = np.asarray(values, float)
    wanted = classes_asked(classes, names, atlas)
    if wanted is None:
        wanted = tuple(names[place] for place in most_telling(values, most_classes))
    places = [names.index(name) for name in wanted]
    numbers = leading_units(values[places], most) if units is None else list(units)
    for number in numbers:
        if not 0 <= number < values.shape[1]:
            raise ConvscopeError(f"no unit {number} in {layer}: it has {values.shape[1]} (0 to {values.shape[1] - 1})")
    maps = np.stack([np.asarray(atlas.mean_patterns(layer, name), float)[numbers] for name in wanted])
    ranks = np.stack([ranks_of(values[place])[numbers] for place in places])
    of = (len(names), values.shape[1])
    return MeanPatterns(layer, wanted, tuple(numbers), maps, ranks, of, stamp_of(atlas))
