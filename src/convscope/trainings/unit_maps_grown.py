"""What chosen units came to see: their maps on a few held-out images, or the pictures that drive them most.

A row a unit and image, a column an epoch. All maps of a unit are on one scale, white or dark where it is silent, so
that a unit that wakes up late is seen to do so; its colour bar stands in the row. Pictures made by activation
maximisation are drawn as they are, a row a unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.colour import colourise
from convscope.render.colour_bar import ColourBar
from convscope.render.grid import About, Cell, rows_of_cells
from convscope.render.scale import scale_of
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.training.snapshot import Snapshot
from convscope.trainings.training_run import TrainingRun, chosen_epochs

COLUMNS, ROWS = 7, 24  # epochs; rows of the sheet
_TILE, _SMALL_TILE, _MANY = 112, 80, 8  # points, of few rows and of more than eight
_SMOOTH_FROM = 64  # pixels a side


@dataclass(frozen=True, eq=False)
class UnitMapsGrown(Shown):
    """``maps``: unit -> (epochs, images, h, w); ``pictures``: unit -> (epochs, c, h, w); ``images (n, c, h, w)``."""

    name: str
    epochs: tuple[int, ...]
    maps: Mapping[str, np.ndarray] = field(repr=False)
    pictures: Mapping[str, np.ndarray] = field(repr=False)
    images: np.ndarray | None = field(repr=False)
    lacking: str
    stamp: Stamp = field(repr=False)

    @property
    def title(self) -> str:
        """``What 2 units came to see, epoch 0 to 20``."""
        units = list(dict.fromkeys([*self.maps, *self.pictures]))
        named = ", ".join(units) if len(units) <= 3 else f"{len(units)} units"
        if len(self.epochs) == 1:
            return f"What {named} see{'s'[: len(units) == 1]} after epoch {self.epochs[0]}"
        return f"What {named} came to see, epoch {self.epochs[0]} to {self.epochs[-1]}"

    @property
    def _subtitle(self) -> str:
        parts = [self.name]
        parts += ["maps on held-out images, one scale for each unit"] if self.maps else []
        parts += ["pictures made to drive the unit most"] if self.pictures else []
        if len(self._all_rows) > ROWS:
            parts.append(f"the first {ROWS} of {len(self._all_rows)} rows")
        return " · ".join([*parts, *([self.lacking] if self.lacking else [])])

    def picture(self) -> Image.Image:
        """A row a unit and image, the image itself first."""
        rows = self._all_rows[:ROWS]
        shown = [self.epochs.index(epoch) for epoch in chosen_epochs(self.epochs, COLUMNS)]
        first = [""] if self.maps else []
        about: About = {"title": self.title, "subtitle": self._subtitle, "footer": self.stamp.line()}
        return rows_of_cells(
            [self._row(unit, number, shown) for unit, number in rows],
            row_headings=[unit if number is None else f"{unit}\nimage {number}" for unit, number in rows],
            column_headings=[*first, *(f"epoch {self.epochs[place]}" for place in shown)],
            tile_width=_SMALL_TILE if len(rows) > _MANY else _TILE, **about,
        )  # fmt: skip

    @property
    def _all_rows(self) -> list[tuple[str, int | None]]:
        """(unit, number of the image, or None for its pictures)."""
        maps: list[tuple[str, int | None]] = [(unit, i) for unit, of in self.maps.items() for i in range(of.shape[1])]
        return [*maps, *((unit, None) for unit in self.pictures)]

    def _row(self, unit: str, number: int | None, shown: Sequence[int]) -> list[Cell]:
        if number is None:
            empty = [Cell(("",))] if self.maps else []
            return [*empty, *(_pixels(self.pictures[unit][place]) for place in shown)]
        scale = scale_of(self.maps[unit])
        cells = [Cell((colourise(self.maps[unit][place, number], scale),)) for place in shown]
        is_last = number == self.maps[unit].shape[1] - 1
        bar = (ColourBar(scale),) if is_last else ()
        photo = Cell(("",)) if self.images is None else _pixels(self.images[number])
        return [photo, *cells[:-1], Cell(cells[-1].images, bars=bar)]

    def facts(self) -> Mapping[str, str]:
        """The units, and the range of their maps."""
        facts = {"units": self.title, "shown": self._subtitle}
        return facts | {unit: f"{values.min():.4g} to {values.max():.4g}" for unit, values in self.maps.items()}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The raw maps and pictures of every epoch."""
        found = {f"maps {unit}": values for unit, values in self.maps.items()}
        found |= {f"pictures {unit}": values for unit, values in self.pictures.items()}
        return {"epochs": np.array(self.epochs), **found} | ({} if self.images is None else {"images": self.images})


def unit_maps_grown(run: TrainingRun) -> UnitMapsGrown:
    """The chosen units' maps or pictures after each epoch.

    Raises:
        ConvscopeError: the probe was given no units.
    """
    kept = [one for one in run.snapshots() if one.maps or one.pictures]
    if not kept:
        raise ConvscopeError(f"{run.path.name} has no maps of units: the probe was not given any (units=)")
    last = kept[-1]
    kept = [one for one in kept if _units(one) == _units(last)]
    maps = {unit: np.stack([one.maps[unit] for one in kept]) for unit in last.maps}
    pictures = {unit: np.stack([one.pictures[unit] for one in kept]) for unit in last.pictures}
    sound = {unit: values for unit, values in maps.items() if np.isfinite(values).all()}
    if not sound and not pictures:
        raise ConvscopeError(f"{run.path.name}: the maps of {', '.join(maps)} are NaN or infinite")
    bad = [unit for unit in maps if unit not in sound]
    lacking = "; ".join(part for part in (run.lacking(), f"NaN or infinite: {', '.join(bad)}" if bad else "") if part)
    epochs = tuple(one.epoch for one in kept)
    return UnitMapsGrown(run.name, epochs, sound, pictures, last.images, lacking, run.stamp)


def _units(one: Snapshot) -> tuple[set[str], set[str]]:
    return set(one.maps), set(one.pictures)


def _pixels(values: np.ndarray) -> Cell:
    """An image in [0, 1]: three channels are colours, of any other number the first is grey."""
    shown = values if len(values) == 3 else np.repeat(values[:1], 3, axis=0)
    levels = np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    return Cell((np.ascontiguousarray(levels),), smooth=min(levels.shape[:2]) >= _SMOOTH_FROM, outlined=True)
