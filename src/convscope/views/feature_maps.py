"""Feature maps: what each unit of a layer answers to one photo, as a grid of small pictures.

A map is shown with its own pixels. All share one scale by default, so that a strong unit looks strong and a weak one
weak; with a scale of its own each shows its pattern, however faint, and the picture says so. A map that is zero
everywhere is an empty field: to stretch it would draw noise that is not there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from convscope.answers import Photo, Seen, refusing_input, seen_by
from convscope.errors import ConvscopeError, nearest
from convscope.network.head import default_layer
from convscope.network.loading import Network
from convscope.network.maps_of_layers import maps_of_layer, strongest_first
from convscope.render.colour import colourise
from convscope.render.colour_bar import ColourBar
from convscope.render.grid import About, Cell, grid
from convscope.render.scale import CLIP_PERCENTILE, Scale, scale_of
from convscope.results import Shown, fitted
from convscope.stamps import Stamp
from convscope.views.units_asked import checked_units, in_words

ORDERS = ("max", "mean")
ZERO = "all 0"


@dataclass(frozen=True, eq=False)
class FeatureMaps(Shown):
    """Maps of one layer on one photo. ``values (n, h, w)`` raw, ``units`` their numbers in that order, of ``count``."""

    values: Float[Tensor, "n h w"] = field(repr=False)
    layer: str
    units: tuple[int, ...]
    count: int
    photo: Image.Image = field(repr=False)
    stamp: Stamp = field(repr=False)
    own_scale: bool = False
    sort: str | None = None

    @property
    def zero(self) -> tuple[int, ...]:
        """The units whose maps are zero everywhere on this photo."""
        return tuple(unit for unit, map_ in zip(self.units, self.values, strict=True) if not bool(map_.any()))

    def picture(self) -> Image.Image:
        """The grid, in the order of ``units``."""
        maps = list(self.values.numpy())
        scales = scales_of(maps, own=self.own_scale)
        cells = [map_cell(m, str(u), s) for u, m, s in zip(self.units, maps, scales, strict=True)]
        about: About = {"title": self.title, "subtitle": self.subtitle, "footer": self.stamp.line()}
        about["photo"] = fitted(self.photo)
        if not self.own_scale:
            about["bar"] = ColourBar(scales[0], unit="activation")
        return grid(cells, **about)

    @property
    def title(self) -> str:
        """``64 maps of features.3``, or ``3 of 64 maps of features.3``."""
        some = "" if len(self.units) == self.count else f"{len(self.units)} of "
        return f"{some}{self.count} map{'s' * (self.count != 1)} of {self.layer}"

    @property
    def subtitle(self) -> str:
        """Which units, in which order, on which scale, and how many of them are zero."""
        h, w = self.values.shape[1:]
        order = "" if self.sort is None else f", the largest {self.sort} first"
        parts = [f"{in_words(self.units).capitalize()}{order}", f"{h} x {w} each", scale_in_words(self.own_scale)]
        if self.zero:
            parts.append(f"{len(self.zero)} zero everywhere")
        return " · ".join(parts)

    def facts(self) -> Mapping[str, str]:
        """What is shown, and the strongest units."""
        facts = {"feature maps": self.title, "shown": self.subtitle, "layer": self.layer}
        most = strongest_first(self.values)[:5]
        facts["strongest"] = ", ".join(f"unit {self.units[i]} ({float(self.values[i].max()):.4g})" for i in most)
        return facts | ({"zero everywhere": in_words(self.zero)} if self.zero else {})

    def as_json(self) -> dict[str, Any]:
        """What ``convscope features --json`` prints of it."""
        shown = {"layer": self.layer, "units": list(self.units), "of": self.count, "shape": list(self.values.shape)}
        return shown | {"zero": list(self.zero)}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The raw maps and the units' numbers."""
        return {"values": self.values.numpy(), "units": np.array(self.units)}


def features(
    net: Network,
    photo: Photo,
    layer: str | None = None,
    units: Sequence[SupportsIndex] | None = None,
    *,
    sort: str | None = None,
    own_scale: bool = False,
) -> FeatureMaps:
    """The maps of one layer on one photo.

    Args:
        net: from ``load``.
        photo: a path, a PIL image or a uint8 array.
        layer: its name; None is the last map before the head.
        units: numbers of the maps to show; None is all of them.
        sort: ``"max"`` or ``"mean"`` puts the maps with the largest such value first; None keeps the order.
        own_scale: draw each map on its own scale; the values are raw in any case.

    Raises:
        ConvscopeError: no such layer or unit, a layer without maps, a photo that cannot be read.
    """
    if sort is not None and sort not in ORDERS:
        raise ConvscopeError(f"sort={sort!r} is none of {', '.join(ORDERS)}{nearest(str(sort), ORDERS)}")
    seen = seen_by(net, photo)
    layer, maps = maps_seen(seen, layer)
    numbers = checked_units(units, len(maps), layer)
    if sort is not None:
        numbers = tuple(numbers[i] for i in strongest_first(maps[list(numbers)], sort))
    values = maps[list(numbers)]
    return FeatureMaps(values, layer, numbers, len(maps), seen.view, seen.stamp, own_scale, sort)


def maps_seen(seen: Seen, layer: str | None) -> tuple[str, Float[Tensor, "c h w"]]:
    """The layer, where None was the last one, and all its maps, float32."""
    with refusing_input(seen.net, seen.x):
        layer = layer or default_layer(seen.net.module, seen.x)
        return layer, maps_of_layer(seen.net.module, seen.x, layer).float()


def strongest_units_of(
    maps: Float[Tensor, "c h w"], units: Sequence[SupportsIndex] | None, layer: str, most: int
) -> tuple[int, ...]:
    """The units asked for; None is the ``most`` with the largest values, those that are zero left out."""
    if units is not None:
        return checked_units(units, len(maps), layer)
    if most < 1:
        raise ConvscopeError(f"most={most}: show at least one unit")
    alive = [unit for unit in strongest_first(maps) if bool(maps[unit].any())]
    if not alive:
        raise ConvscopeError(f"every map of layer {layer!r} is zero everywhere on this photo")
    return tuple(alive[:most])


def scales_of(maps: Sequence[np.ndarray], *, own: bool) -> list[Scale]:
    """A scale for each map: the same for all, or its own; signed for all where any map is negative somewhere.

    One for all is clipped at a percentile, which its colour bar says: a single strong cell of one unit would leave the
    others dark.
    """
    together = scale_of(maps, percentile=CLIP_PERCENTILE)
    return [scale_of(map_, signed=together.signed) if own else together for map_ in maps]


def map_cell(map_: Float[np.ndarray, "h w"], label: str, scale: Scale, notes: tuple[str, ...] = ()) -> Cell:
    """One map as a cell; an empty field where it is zero everywhere."""
    return Cell((colourise(map_, scale) if map_.any() else ZERO,), label, notes)


def scale_in_words(own_scale: bool) -> str:
    """What the picture says of its scale."""
    return "each on its own scale" if own_scale else "all on one scale"
