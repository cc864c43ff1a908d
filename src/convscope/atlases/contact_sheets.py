"""Contact sheets: what each unit of a layer looks for, one unit a block.

From left to right a block has the filter itself, where it is on colours or grey (a first layer); the crops of the
unit's exemplars, best first, at the exact receptive field; the same with their surroundings, the field outlined, where
these show more; and the crops' deconvnet pictures where they were made (Zeiler & Fergus 2014, fig. 2).

All crops of a sheet have one scale. A filter is drawn on its own, from its smallest weight to its largest: it is
compared with its crops, not with other filters. Under a block's name stand the first and the last exemplar's values:
nine that are all 0 are of a dead unit, whose crops say nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from PIL import Image

from convscope.atlases.atlas_stamp import stamp_of
from convscope.atlases.unit_patches import (
    UnitPatches,
    block_of,
    contexts_say_more,
    deconv_block,
    longest_side,
    patches_of,
)
from convscope.network.filters import filter_layers, filters_of
from convscope.network.layers import find_call
from convscope.network.targets import Unit
from convscope.render.colour import channels_picture
from convscope.render.grid import About, Cell, even_columns, grid
from convscope.render.scale import Scale
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.views.units_asked import checked_units, in_words

if TYPE_CHECKING:
    from convscope.network.loading import Network
    from convscope.store.atlas import Atlas

MOST = 96  # units that are drawn where none are named
_BLOCK, _NARROW, _NARROW_FROM, _PAGE = 126, 96, 3, 1300  # points: of a block, of one of more than 3, of a row about
_PATCHES = ("crops", "contexts", "deconvs")


@dataclass(frozen=True, eq=False)
class ContactSheet(Shown):
    """Patches of ``units`` of one layer, of ``count``; ``filters``: a picture each, empty where none can be drawn."""

    layer: str
    units: tuple[UnitPatches, ...] = field(repr=False)
    count: int
    field_line: str
    about_line: str
    filters: tuple[Image.Image, ...] = field(repr=False)
    stamp: Stamp = field(repr=False)

    def picture(self) -> Image.Image:
        """A cell a unit."""
        about: About = {"title": self.title, "subtitle": self.subtitle, "footer": self.stamp.line()}
        columns = max(1, _PAGE // (len(self._kinds) * (self._block + 8) + 16))
        return grid(self._cells(), columns=even_columns(len(self.units), columns), tile_width=self._block, **about)

    @property
    def _block(self) -> int:
        return _BLOCK if len(self._kinds) <= _NARROW_FROM else _NARROW

    @property
    def _kinds(self) -> tuple[str, ...]:
        """The blocks of a cell, from left to right."""
        filters = ("filter",) if self.filters else ()
        contexts = ("contexts",) if contexts_say_more(self.units) else ()
        fire = [one for one in self.units if one.fires]
        deconvs = ("deconvs",) if fire and all(one.has_deconvs for one in fire) else ()
        return (*filters, "crops", *contexts, *deconvs)

    def _cells(self) -> list[Cell]:
        sides = {kind: longest_side(p for one in self.units for p in getattr(one, kind)) for kind in _PATCHES}
        sides["deconvs"] = sides["crops"]  # as large as the crop that each belongs to

        def drawn(kind: str, place: int, one: UnitPatches) -> Image.Image | str:
            if kind == "filter":
                return self._filter(place)
            draw = deconv_block if kind == "deconvs" else block_of
            return draw(getattr(one, kind), 2 * self._block, sides[kind])

        cells: list[Cell] = []
        for place, one in enumerate(self.units):
            blocks = tuple(drawn(kind, place, one) for kind in self._kinds)
            cells.append(Cell(blocks, f"unit {one.unit.unit}", ("dead: " * one.dead + one.range_line,), smooth=True))
        return cells

    def _filter(self, place: int) -> Image.Image:
        """Enlarged by a whole number, its pixels visible."""
        filter_, side_px = self.filters[place], 2 * self._block
        whole = max(1, side_px // max(filter_.size))
        square = Image.new("RGB", (side_px, side_px), "white")
        shown = filter_.resize((whole * filter_.width, whole * filter_.height), Image.Resampling.NEAREST)
        square.paste(shown, ((side_px - shown.width) // 2, (side_px - shown.height) // 2))
        return square

    @property
    def title(self) -> str:
        """``What 96 units of features.0 look for``."""
        some = f"{len(self.units)} of {self.count}" if len(self.units) < self.count else str(self.count)
        return f"What {some} unit{'s' * (self.count != 1)} of {self.layer} look{'s' * (self.count == 1)} for"

    @property
    def subtitle(self) -> str:
        """What stands from left to right in a block, the field, the data, what is not drawn."""
        words = {
            "filter": "the filter on its own scale",
            "crops": f"the {self._top} strongest crops, best first",
            "contexts": "the same in their surroundings",
            "deconvs": "their deconvnet pictures, each on its own scale",
        }
        shown = ", ".join(words[kind] for kind in self._kinds)
        left = self.count - len(self.units)
        parts = [f"From left to right {shown}" if len(self._kinds) > 1 else shown.capitalize(), self.field_line]
        parts += [self.about_line, f"{left} more units (--units)" if left else ""]
        return " · ".join(part for part in parts if part)

    @property
    def _top(self) -> int:
        return max(len(one.exemplars) for one in self.units)

    def facts(self) -> Mapping[str, str]:
        """What is shown, and which units are dead."""
        facts = {"contact sheet": self.title, "shown": self.subtitle, "layer": self.layer}
        dead = [one.unit.unit for one in self.units if one.dead]
        return facts | ({"dead": in_words(dead)} if dead else {})

    def as_json(self) -> dict[str, Any]:
        """What ``convscope unit --json`` prints of it."""
        return {"layer": self.layer, "of": self.count, "units": [one.as_json() for one in self.units]}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Values, images and positions of the exemplars, a row a unit; NaN, empty and -1 where there are fewer."""
        return exemplar_arrays(self.units)


def exemplar_arrays(units: Sequence[UnitPatches]) -> dict[str, np.ndarray]:
    """The exemplars of several units as arrays."""
    top = max(len(one.exemplars) for one in units)
    nothing = (float("nan"), "", -1, -1)
    rows = [[*one.exemplars, *[nothing] * (top - len(one.exemplars))] for one in units]
    arrays = {"units": np.array([str(one.unit) for one in units])}
    arrays["values"] = np.array([[value for value, *_ in row] for row in rows], np.float32)
    arrays["images"] = np.array([[image for _, image, *_ in row] for row in rows])
    return arrays | {"positions": np.array([[place for _, _, *place in row] for row in rows])}


def contact_sheet(
    atlas: "Atlas",
    layer: str,
    units: Sequence[SupportsIndex] | None = None,
    *,
    net: "Network | None" = None,
    top: int | None = None,
    most: int = MOST,
) -> ContactSheet:
    """What the units of a layer look for.

    Args:
        atlas: from ``survey`` or ``open_atlas``.
        layer: one of the atlas.
        units: their numbers; None is the first ``most``.
        net: the network of the atlas, for its filters; None leaves them out.
        top: exemplars a unit; None is as many as the atlas has.
        most: how many units where none are named.

    Raises:
        ConvscopeError: a layer or unit that the atlas has not.
    """
    row, wanted = atlas.layer(layer), units_shown(atlas, layer, units, most)
    shown = patches_of(atlas, wanted, top)
    filters = () if net is None else _filter_pictures(net, layer, [unit.unit for unit in wanted])
    return ContactSheet(layer, shown, row.units, field_words(row), data_words(atlas), filters, stamp_of(atlas))


def units_shown(
    atlas: "Atlas", layer: str, units: Sequence[SupportsIndex] | None = None, most: int = MOST
) -> tuple[Unit, ...]:
    """The units on a contact sheet; raises :class:`ConvscopeError` for those that the atlas has not."""
    count = atlas.layer(layer).units
    numbers = range(min(count, most)) if units is None else checked_units(units, count, layer)
    return tuple(Unit(layer, number) for number in numbers)


def field_words(row: Any) -> str:
    """``fields of 7 x 7 px``, ``fields as large as the input``."""
    if row.field_size is None:
        return "fields as large as the input"
    return f"fields of {row.field_size[0]} x {row.field_size[1]} px"


def data_words(atlas: "Atlas") -> str:
    """``over 200 photos in imagenet_photos``."""
    line = atlas.about.get("data_line")
    return f"over {line}" if line else f"over {atlas.images} images"


def _filter_pictures(net: "Network", layer: str, units: Sequence[int]) -> tuple[Image.Image, ...]:
    """Each on its own scale; none where a layer has none, such as a ReLU, or a unit does not see colours or grey."""
    if find_call(net.module, layer).path not in filter_layers(net.module):
        return ()
    found = filters_of(net.module, layer)
    if found.inputs not in (1, 3) or found.groups != 1 or found.weights.shape[2:] == (1, 1):
        return ()
    weights = [found.weights[unit].numpy() for unit in units]
    scales = [Scale(float(one.min()), float(one.max())) for one in weights]
    return tuple(Image.fromarray(channels_picture(one, scale)) for one, scale in zip(weights, scales, strict=True))
