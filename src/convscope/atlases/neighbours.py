"""Which units of a layer go together: those whose pooled activations rise and fall with a unit's over the images.

    r_kl = correlation over the images (a sample of them) of the means of the maps of k and l

Units that are near see the same thing, or things that come together; of duplicates at least half of the strongest
patches are the same (``dataset/duplicates.py``), which is said below them. Units of r <= 0 do not go together, and are
no neighbours, however few others there are. Of a whole layer each pair stands once, in the row of the unit that comes
first. Pitfalls: pooled activations do not know where: an eye's and a fur's unit go together in faces. Over few images r
is near 1 for no reason; the sheet says over how many.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from convscope.atlases.atlas_stamp import stamp_of
from convscope.atlases.unit_patches import UnitPatches, block_of, longest_side, patches_of
from convscope.atlases.unit_ranks import finite, ordinal
from convscope.atlases.units_named import is_layer, units_of
from convscope.errors import ConvscopeError
from convscope.network.targets import Unit, parse_unit
from convscope.render.grid import Cell, rows_of_cells
from convscope.results import Shown
from convscope.stamps import Stamp

if TYPE_CHECKING:
    from convscope.store.atlas import Atlas

SHOWN, MOST_UNITS = 6, 12  # neighbours a row, rows on a sheet
PATCHES, _SIDE = 9, 92  # of a unit; points of its block
R = "correlation of the pooled activations"
Near = tuple[str, float]  # the unit's name, its correlation


@dataclass(frozen=True, eq=False)
class Neighbours(Shown):
    """``near`` by unit: (unit, correlation), most alike first; ``classes``: of the largest mean of max(A, 0) of
    every unit here; ``images``: over how many the correlations are; ``of_layer``: each pair once.

    ``patches`` of every unit that is drawn; ``shared``: of pairs of duplicates, how many strongest patches they share.
    """

    near: Mapping[str, tuple[Near, ...]]
    classes: Mapping[str, str | None]
    shared: Mapping[frozenset[str], int]
    patches: Mapping[str, UnitPatches]
    left_out: int
    images: int
    of_layer: bool
    stamp: Stamp

    def picture(self) -> Image.Image:
        """A row a unit: its strongest patches, then those of its neighbours."""
        shown = list(self.near)[:MOST_UNITS]
        longest = longest_side(patch for one in self.patches.values() for patch in one.crops)
        rows = [
            [self._cell(unit, longest), *(self._cell(n, longest, unit, r) for n, r in self.near[unit])]
            for unit in shown
        ]
        title = f"What goes with {shown[0]}" if len(shown) == 1 else "Units that go together"
        about: dict[str, Any] = {"title": title, "subtitle": self._subtitle, "footer": self.stamp.line()}
        most = max(len(row) for row in rows)
        ranks = ["nearest first", *[""] * (most - 2)] if self.of_layer else [ordinal(n) for n in range(1, most)]
        about["column_headings"] = ["the unit", *ranks[: most - 1]]
        return rows_of_cells(rows, tile_width=_SIDE, **about)

    def _cell(self, unit: str, longest: int, of: str = "", r: float = 1.0) -> Cell:
        drawn = block_of(self.patches[unit].crops, 2 * _SIDE, longest) if unit in self.patches else "not drawn"
        below = [name] if (name := self.classes.get(unit)) else []
        if shared := self.shared.get(frozenset((unit, of))):
            below.append(f"shares {shared} patches")
        return Cell((drawn,), unit, (_said(r),) if of else (" ",), below=tuple(below), outlined=True)

    @property
    def _subtitle(self) -> str:
        parts = [f"The strongest patches of each unit; {r_words(self.images)}"]
        parts += ["of a layer each pair once"] if self.of_layer else []
        parts += ["below: the class that makes the unit most active"] if any(self.classes.values()) else []
        few = min(len(self.near), MOST_UNITS)
        if self.left_out or few < len(self.near):
            parts += [f"{few} of {len(self.near) + self.left_out} units, those with the nearest neighbour"]
        return "; ".join(parts) + "."

    def facts(self) -> Mapping[str, str]:
        """The neighbours of each unit."""
        named = {unit: ", ".join(f"{name} ({r:.2f})" for name, r in near) for unit, near in self.near.items()}
        limits = "Pooled activations do not know where: units that only come together in photos are near, too."
        what = {"r": f"{R} over {self.images:,} images"}
        return {"sheet": "Units that go together", **named, **what, "what it does not": limits}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Correlations by unit, and the neighbours' names."""
        return {unit: np.array([r for _, r in near]) for unit, near in self.near.items()}

    def as_json(self) -> list[dict[str, Any]]:
        """Every unit with its neighbours."""
        return [
            {"unit": unit, "class": self.classes.get(unit),
             "neighbours": [{"unit": name, "correlation": finite(r), "class": self.classes.get(name),
                             "shared_patches": self.shared.get(frozenset((unit, name)), 0)} for name, r in near]}
            for unit, near in self.near.items()
        ]  # fmt: skip


def neighbours(atlas: "Atlas", names: Sequence[str], *, top: int = SHOWN, most: int = MOST_UNITS) -> Neighbours:
    """The units that go with each of some units, or with those of a layer.

    Args:
        atlas: a finished one.
        names: units ``"LAYER:NUMBER"``, several as ``"LAYER:3,7-9"``; a layer's name is its ``most`` units with the
            nearest neighbours, each pair once.
        top: neighbours of each; an atlas keeps ten.
        most: units of a layer.

    Raises:
        ConvscopeError: no such unit or layer, or none at all.
    """
    if not names:
        raise ConvscopeError("whose neighbours? Give units as LAYER:NUMBER, or a layer")
    units: dict[str, tuple[Near, ...]] = {}
    left_out, whole = 0, [name for name in names if is_layer(atlas, name)]
    for name in names:
        if name not in whole:
            units |= {str(unit): near_units(atlas, str(unit), top) for unit in units_of(atlas, [name])}
            continue
        every = {unit: near_units(atlas, unit, top) for unit in atlas.units(atlas.layer(name).name)}
        rows = _each_pair_once(every, most)
        units |= {unit: near for unit, near in rows.items() if unit not in units}
        left_out += len(every) - len(rows)
    if not any(units.values()):
        raise ConvscopeError(
            f"nothing goes with {', '.join(names)} in {atlas.path.name}: no correlation is above 0. They are over its "
            "images, and of one image, or of units that say the same for all, there are none"
        )
    drawn = list(
        dict.fromkeys(name for unit, near in list(units.items())[:MOST_UNITS] for name in (unit, *(n for n, _ in near)))
    )
    patches = dict(zip(drawn, patches_of(atlas, [_unit(name) for name in drawn], PATCHES), strict=True))
    shared = {frozenset((a, b)): len(images) for a, b, images in atlas.duplicates()}
    images, classes = images_compared(atlas), _classes(atlas, units)
    return Neighbours(units, classes, shared, patches, left_out, images, bool(whole), stamp_of(atlas))


def near_units(atlas: "Atlas", unit: str, top: int) -> tuple[Near, ...]:
    """The ``top`` units that go most with one, of those that go with it: of a small layer the others run against it."""
    return tuple((name, float(r)) for name, r in atlas.neighbours(unit, top) if r > 0)


def images_compared(atlas: "Atlas") -> int:
    """Over how many images the correlations are: those whose features were kept, the same for all layers."""
    return len(atlas.features(atlas.layers[0].name)[0])


def r_words(images: int) -> str:
    """``r: correlation of the pooled activations over 200 images``."""
    return f"r: {R} over {images:,} images"


def _each_pair_once(every: Mapping[str, tuple[Near, ...]], most: int) -> dict[str, tuple[Near, ...]]:
    """So many rows at most, the nearest pair first; a pair that stands in a row is left out of the later ones."""
    rows: dict[str, tuple[Near, ...]] = {}
    said: set[frozenset[str]] = set()
    for unit in sorted((u for u in every if every[u]), key=lambda unit: -every[unit][0][1]):
        if frozenset((unit, every[unit][0][0])) in said:
            continue  # what it is nearest to has a row with it
        rows[unit] = tuple(near for near in every[unit] if frozenset((unit, near[0])) not in said)
        said |= {frozenset((unit, name)) for name, _ in rows[unit]}
        if len(rows) == most:
            break
    return rows


def _classes(atlas: "Atlas", units: Mapping[str, tuple[Near, ...]]) -> dict[str, str | None]:
    """The class of the largest mean of max(A, 0) of every unit that is named."""
    named = {name for unit, near in units.items() for name in (unit, *(n for n, _ in near))}
    by_layer = {layer: atlas.layer_statistics(layer)["class"] for layer in {_unit(name).layer for name in named}}
    return {name: by_layer[_unit(name).layer][_unit(name).unit] for name in named}


def _unit(name: str) -> Unit:
    found = parse_unit(name)
    if found is None or found.position is not None:
        raise ConvscopeError(f"{name!r} names no unit; give LAYER:NUMBER")
    return found


def _said(correlation: float) -> str:
    return f"r = {correlation:.2f}".replace("-", "−")
