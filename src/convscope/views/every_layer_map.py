"""One photo through a whole network: the output of every layer in order, one map each, in a single figure.

The map is the mean over the layer's units, one unit's, or that of the unit with the largest value. Values grow and
shrink from layer to layer, so each map has its own scale, whose ends stand above it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from convscope.answers import Photo, refusing_input, seen_by
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.maps_of_layers import LayerMap, Reading, map_of_every_layer
from convscope.render.colour_bar import ColourBar
from convscope.render.grid import About, Cell, grid
from convscope.render.scale import scale_of
from convscope.results import Shown, fitted
from convscope.stamps import Stamp
from convscope.views.feature_maps import map_cell

_NAMED = 8  # layers that are named for one reason
FUNCTIONS = "Functions that forward calls (F.relu, +) are no layers; they show in the output of the block around them."


@dataclass(frozen=True, eq=False)
class EveryLayer(Shown):
    """``maps`` of all layers in the order in which they ran; ``left_out`` says which have none, and why."""

    maps: tuple[LayerMap, ...] = field(repr=False)
    left_out: Mapping[str, str]
    reading: Reading
    photo: Image.Image = field(repr=False)
    stamp: Stamp = field(repr=False)

    def picture(self) -> Image.Image:
        """The figure, in reading order."""
        columns, width = (None, 112) if len(self.maps) <= 64 else (12, 96)
        title, subtitle = f"{len(self.maps)} layers of {self.stamp.model}", f"{self.shown} · each on its own scale"
        footer = f"{FUNCTIONS} {self.not_drawn} {self.stamp.line()}"
        about: About = {"title": title, "subtitle": subtitle, "footer": footer, "photo": fitted(self.photo)}
        return grid([_cell(one) for one in self.maps], columns=columns, tile_width=width, **about)

    @property
    def shown(self) -> str:
        """What of each layer."""
        if isinstance(self.reading, int):
            return f"Unit {self.reading} of each layer, in the order in which they run"
        of = {"mean": "The mean over the units", "strongest": "The unit with the largest value"}
        return f"{of[self.reading]} of each layer, in the order in which they run"

    @property
    def not_drawn(self) -> str:
        """The layers without a map, with the reasons; empty where every layer has one."""
        reasons: dict[str, list[str]] = {}
        for name, why in self.left_out.items():
            reasons.setdefault(why, []).append(name)
        parts = [f"{_some(names)} ({why})" for why, names in reasons.items()]
        return f"Not drawn: {'; '.join(parts)}." if parts else ""

    def facts(self) -> Mapping[str, str]:
        """What is shown, layer by layer, and what is not."""
        facts = {"every layer": self.shown, "functions": FUNCTIONS}
        facts |= {one.layer: " · ".join((one.type, *_notes(one))) for one in self.maps}
        return facts | {f"not drawn: {name}": why for name, why in self.left_out.items()}

    def as_json(self) -> dict[str, Any]:
        """What ``convscope features --json`` prints of it."""
        maps = [{"layer": m.layer, "type": m.type, "shape": list(m.shape), "unit": m.unit} for m in self.maps]
        return {"maps": maps, "left_out": dict(self.left_out)}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The raw map of each layer by its name."""
        return {one.layer: one.values.numpy() for one in self.maps}


def every_layer(net: Network, photo: Photo, reading: str | int = "mean") -> EveryLayer:
    """The output of every layer in order, in one pass; only the maps that are drawn are kept.

    Args:
        net: from ``load``.
        photo: a path, a PIL image or a uint8 array.
        reading: of each layer ``"mean"`` over its units, the ``"strongest"`` unit, or a unit's number.

    Raises:
        ConvscopeError: another reading, a unit that no layer has, a network without maps.
    """
    asked = _reading(reading)
    seen = seen_by(net, photo)
    with refusing_input(net, seen.x):
        maps, left_out = map_of_every_layer(net.module, seen.x, asked)
    if not maps:
        why = next(iter(left_out.items()), None)
        raise ConvscopeError(f"no layer of {net.name} has such a map" + (f"; {why[0]} {why[1]}" if why else ""))
    return EveryLayer(tuple(maps), left_out, asked, seen.view, seen.stamp)


def _reading(asked: str | int) -> Reading:
    if isinstance(asked, str) and asked in ("mean", "strongest"):
        return asked
    if isinstance(asked, int) and not isinstance(asked, bool) and asked >= 0:
        return asked
    raise ConvscopeError(f"{asked!r} is neither 'mean', 'strongest' nor a unit's number")


def _cell(one: LayerMap) -> Cell:
    values = one.values.float().numpy()
    scale = scale_of(values)
    cell = map_cell(values, one.layer, scale, _notes(one))
    return replace(cell, bars=(ColourBar(scale),) if values.any() else ())


def _notes(one: LayerMap) -> tuple[str, str]:
    unit = "" if one.unit is None else f" · unit {one.unit}"
    return f"{one.type}{unit}", " x ".join(map(str, one.shape))


def _some(names: Sequence[str]) -> str:
    """All of a few, the first of many; the page has them all."""
    return ", ".join(names if len(names) <= _NAMED else [*names[: _NAMED - 2], f"{len(names) - _NAMED + 2} more"])
