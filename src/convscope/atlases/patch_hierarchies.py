"""What units look for, layer by layer: the crops beside their deconvnet pictures, from edges to parts of objects.

Zeiler & Fergus 2014 (arXiv:1311.2901, fig. 2): for some units of each layer the nine strongest crops and, beside
them, what in each crop drove the unit. A row a layer, in the order in which the layers run, a pair of blocks a unit.

Nobody picks the units that look best: where none are named, they are taken at even steps through the layer's numbers
among those that have fired, and the layers at even steps through the network. Crops of a layer have one scale, so a
row's heading says how many pixels its field is; deconvnet pictures have each its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from convscope.atlases.atlas_stamp import stamp_of
from convscope.atlases.contact_sheets import data_words, exemplar_arrays
from convscope.atlases.unit_patches import UnitPatches, block_of, deconv_block, longest_side, patches_of
from convscope.attribution.unit_values import layers_of
from convscope.errors import ConvscopeError
from convscope.network.targets import Unit
from convscope.render.grid import About, Cell, rows_of_cells
from convscope.results import Shown
from convscope.stamps import Stamp

if TYPE_CHECKING:
    from convscope.store.atlas import Atlas

LAYERS, UNITS = 5, 4  # that are drawn where none are named
_BLOCK, _NARROW = 144, 108  # points: of a block; of one where a row has more units


@dataclass(frozen=True, eq=False)
class PatchHierarchy(Shown):
    """Rows (layer, words on its field, its units' patches), in the order in which the layers run."""

    rows: tuple[tuple[str, str, tuple[UnitPatches, ...]], ...] = field(repr=False)
    chosen: bool
    about_line: str
    stamp: Stamp = field(repr=False)

    @property
    def layers(self) -> list[str]:
        """Their names."""
        return [layer for layer, _, _ in self.rows]

    @property
    def units(self) -> tuple[UnitPatches, ...]:
        """Of all rows."""
        return tuple(one for _, _, units in self.rows for one in units)

    def picture(self) -> Image.Image:
        """A row a layer."""
        about: About = {"title": self.title, "subtitle": self.subtitle, "footer": self.stamp.line()}
        most = max(len(units) for _, _, units in self.rows)
        width = _BLOCK if most * (1 + self.has_deconvs) <= 2 * UNITS else _NARROW
        cells = [self._cells(units, width) for _, _, units in self.rows]
        headings = [f"{layer}\n{words}" for layer, words, _ in self.rows]
        return rows_of_cells(cells, row_headings=headings, tile_width=width, **about)

    def _cells(self, units: Sequence[UnitPatches], width: int) -> list[Cell]:
        side = longest_side(patch for one in units for patch in one.crops)
        cells: list[Cell] = []
        for one in units:
            blocks = [block_of(one.crops, 2 * width, side)]
            if self.has_deconvs:
                blocks.append(deconv_block(one.deconvs, 2 * width, side))
            cells.append(Cell(tuple(blocks), f"unit {one.unit.unit}", (one.range_line,), smooth=True))
        return cells

    @property
    def has_deconvs(self) -> bool:
        """Whether any unit has reconstructions."""
        return any(one.has_deconvs for one in self.units)

    @property
    def title(self) -> str:
        """``What units look for, from features.0 to features.12``."""
        ends = f", from {self.layers[0]} to {self.layers[-1]}" if len(self.layers) > 1 else f" in {self.layers[0]}"
        return f"What units look for{ends}"

    @property
    def subtitle(self) -> str:
        """What is beside what, how the units were chosen, the data."""
        top = max(len(one.exemplars) for one in self.units)
        beside = ", beside them their deconvnet pictures, each on its own scale" if self.has_deconvs else ""
        chosen = "units at even steps through each layer, not picked by eye" if self.chosen else ""
        return " · ".join(p for p in (f"The {top} strongest crops{beside}", chosen, self.about_line) if p)

    def facts(self) -> Mapping[str, str]:
        """What is shown."""
        units = ", ".join(str(one.unit) for one in self.units)
        return {"patches, layer by layer": self.title, "shown": self.subtitle, "units": units}

    def as_json(self) -> dict[str, Any]:
        """What ``convscope unit --json`` prints of it."""
        return {"layers": self.layers, "units": [one.as_json() for one in self.units]}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Values, images and positions of all exemplars."""
        return exemplar_arrays(self.units)


def patch_hierarchy(
    atlas: "Atlas", units: Sequence[Unit] | None = None, *, top: int | None = None, chosen: bool | None = None
) -> PatchHierarchy:
    """Some units of some layers on one sheet.

    Args:
        atlas: from ``survey`` or ``open_atlas``.
        units: which to show; None is some of five layers, see ``units_at_even_steps``.
        top: exemplars a unit; None is as many as the atlas has.
        chosen: whether they were taken at even steps, which the sheet says; None: where none were named.

    Raises:
        ConvscopeError: a layer or unit that the atlas has not, a layer of which no unit has fired.
    """
    shown = units_at_even_steps(atlas) if units is None else list(units)
    if not shown:
        raise ConvscopeError("no unit was asked for; give at least one, or None for some of five layers")
    wanted = {layer: [one for one in shown if one.layer == layer] for layer in layers_of(shown)}
    rows = [
        (layer, field_line(atlas.layer(layer)), patches_of(atlas, wanted[layer], top))
        for layer in sorted(wanted, key=lambda layer: atlas.layer(layer).number)
    ]
    at_even_steps = units is None if chosen is None else chosen
    return PatchHierarchy(tuple(rows), at_even_steps, data_words(atlas), stamp_of(atlas))


def units_at_even_steps(atlas: "Atlas", layers: Sequence[str] | None = None, each: int = UNITS) -> list[Unit]:
    """Some units of some layers; None: five, at even steps through the network.

    Raises:
        ConvscopeError: a layer that the atlas has not, or of which no unit has fired.
    """
    chosen = list(layers) if layers else at_even_steps([row.name for row in atlas.layers], LAYERS)
    return [unit for layer in chosen for unit in _chosen(atlas, layer, each)]


def at_even_steps(names: Sequence[Any], count: int) -> list[Any]:
    """At most ``count`` of them, the first and the last among them."""
    if len(names) <= count:
        return list(names)
    return [names[round(place)] for place in np.linspace(0, len(names) - 1, count)]


def field_line(row: Any) -> str:
    """``107 x 107 px``, or ``the whole input``."""
    return "the whole input" if row.field_size is None else f"{row.field_size[0]} x {row.field_size[1]} px"


def _chosen(atlas: "Atlas", layer: str, each: int) -> list[Unit]:
    row, dead = atlas.layer(layer), set(atlas.dead())
    alive = [Unit(layer, number) for number in range(row.units) if f"{layer}:{number}" not in dead]
    if not alive:
        raise ConvscopeError(f"no unit of {layer} has fired on these images: there is nothing to show")
    return at_even_steps(alive, each)
