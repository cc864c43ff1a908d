"""Units over the photo: where each fires, and which classes it speaks for.

A unit speaks for the classes whose logits fall when it alone is switched off, all others left as they are:

    drop_c = S_c - S_c(unit at 0)

The drop is what the class owes to the unit on this photo, not what the unit stands for: a unit that is silent here
speaks for nothing here, and two that back each other up show small drops both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, SupportsIndex

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from convscope.answers import Photo, seen_by
from convscope.attribution.unit_ablation import effect_of_each
from convscope.network.loading import Network
from convscope.render.colour_bar import ColourBar
from convscope.render.grid import About, Cell, grid
from convscope.render.overlay import OPACITY, overlay
from convscope.render.typography import number_text
from convscope.results import Shown, fitted
from convscope.stamps import Stamp
from convscope.views.feature_maps import ZERO, maps_seen, scale_in_words, scales_of, strongest_units_of
from convscope.views.units_asked import in_words
from convscope.wording import percent

MOST = 12  # units that are shown where none are named
NAMED = 3  # classes that are named for a unit
_ROUNDINGS = 8  # a batch of another size rounds otherwise: drops of so many times the precision are none
_SIDE, _COLUMNS = 256, 4  # points of a tile, tiles a row


@dataclass(frozen=True, eq=False)
class UnitOverlays(Shown):
    """Maps ``values (n, h, w)`` of ``units`` of one layer, raw, and ``drops (n, classes)`` of the logits.

    ``classes`` has for each unit the classes that it speaks for: (name, drop), the largest drop first.
    """

    values: Float[Tensor, "n h w"] = field(repr=False)
    drops: Float[Tensor, "n classes"] = field(repr=False)
    layer: str
    units: tuple[int, ...]
    count: int
    classes: tuple[tuple[tuple[str, float], ...], ...]
    answer: str
    photo: Image.Image = field(repr=False)
    stamp: Stamp = field(repr=False)
    own_scale: bool = False

    def picture(self) -> Image.Image:
        """One overlay a unit, with its classes above."""
        photo, maps = fitted(self.photo), list(self.values.numpy())
        scales = scales_of(maps, own=self.own_scale)
        cells: list[Cell] = []
        for unit, map_, scale, named in zip(self.units, maps, scales, self.classes, strict=True):
            drawn = overlay(photo, map_, scale) if map_.any() else ZERO
            bars = (ColourBar(scale, opacity=OPACITY),) if self.own_scale and map_.any() else ()
            cells.append(Cell((drawn,), f"unit {unit}", _lines(named), bars, smooth=True))
        about: About = {"title": self.title, "subtitle": self.subtitle, "footer": self.stamp.line(), "photo": photo}
        if not self.own_scale:
            about["bar"] = ColourBar(scales[0], opacity=OPACITY, unit="activation")
        return grid(cells, columns=min(_COLUMNS, len(cells)), tile_width=_SIDE, **about)

    @property
    def title(self) -> str:
        """``12 of 512 units of features.12``."""
        return f"{len(self.units)} of {self.count} units of {self.layer}"

    @property
    def subtitle(self) -> str:
        """The answer, and what the numbers are."""
        what = "With each unit the classes whose logits fall most when it is switched off"
        return f"{self.answer}. {what} · {scale_in_words(self.own_scale)}"

    def facts(self) -> Mapping[str, str]:
        """The classes of each unit."""
        facts = {"units over the photo": self.title, "shown": self.subtitle, "layer": self.layer}
        facts["units"] = in_words(self.units)
        spoken = zip(self.units, self.classes, strict=True)
        return facts | {f"unit {unit}": ", ".join(_lines(named)) for unit, named in spoken}

    def as_json(self) -> dict[str, Any]:
        """What ``convscope features --json`` prints of it."""
        shown = {"layer": self.layer, "units": list(self.units), "of": self.count, "shape": list(self.values.shape)}
        spoken = [[{"class": name, "drop": drop} for name, drop in named] for named in self.classes]
        return shown | {"classes": spoken}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The raw maps, the units' numbers, and the drop of every class's logit for each unit."""
        return {"values": self.values.numpy(), "units": np.array(self.units), "drops": self.drops.numpy()}


def units_on_photo(
    net: Network,
    photo: Photo,
    layer: str | None = None,
    units: Sequence[SupportsIndex] | None = None,
    *,
    most: int = MOST,
    own_scale: bool = False,
    batch: int = 32,
    on_step: Callable[[int, int], None] | None = None,
) -> UnitOverlays:
    """Maps of single units as heat over the photo, each with the classes that it speaks for.

    Args:
        net: from ``load``, with class logits as its output.
        photo: a path, a PIL image or a uint8 array.
        layer: its name; None is the last map before the head.
        units: their numbers; None is the ``most`` with the largest values on this photo.
        most: how many where none are named.
        own_scale: draw each map on its own scale.
        batch: switched-off copies of the photo in one pass.
        on_step: called with (done, all) units.

    Raises:
        ConvscopeError: no such layer or unit, a layer without maps or with nothing but zero, no class logits.
    """
    seen = seen_by(net, photo)
    layer, maps = maps_seen(seen, layer)
    numbers = strongest_units_of(maps, units, layer, most)
    without = effect_of_each(net.module, seen.x, layer, units=numbers, batch=batch, on_step=on_step)[0]
    drops = seen.logits - without.float().cpu()
    answer = ", ".join(f"{name} {percent(probability)}" for name, probability in seen.answer[:NAMED])
    rounding = _ROUNDINGS * torch.finfo(seen.x.dtype).eps * float(seen.logits.abs().max())
    spoken = tuple(_spoken_for(net, row, rounding) for row in drops)
    about: dict[str, Any] = {"own_scale": own_scale}
    values, count = maps[list(numbers)], len(maps)
    return UnitOverlays(values, drops, layer, numbers, count, spoken, answer, seen.view, seen.stamp, **about)


def _spoken_for(net: Network, drops: Float[Tensor, " classes"], rounding: float) -> tuple[tuple[str, float], ...]:
    """The classes whose logit falls by more than rounding, the most first."""
    order = drops.argsort(descending=True, stable=True)[:NAMED].tolist()
    return tuple((net.class_name(i), float(drops[i])) for i in order if drops[i] > rounding)


def _lines(named: Sequence[tuple[str, float]]) -> tuple[str, ...]:
    """A line a class."""
    return tuple(f"{name} −{number_text(drop)}" for name, drop in named) or ("no logit falls",)
