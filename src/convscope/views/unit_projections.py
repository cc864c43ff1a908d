"""Units beside their deconvnet pictures: where each fires, and what in the photo drove it.

The deconvnet starts from the unit's whole map (Zeiler & Fergus 2014) and goes back to the pixels through the
rectifiers, the switches of the max-pooling and the transposed filters; layer by layer, from the first on, the
pictures grow from edges to parts. Their sizes differ by orders of magnitude between units, so each has its own scale.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, SupportsIndex

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from convscope.answers import Photo, refusing_input, seen_by
from convscope.attribution.deconvolution import deconvnet
from convscope.drawing import draw_tile, scale_for
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.targets import Unit
from convscope.render.colour_bar import ColourBar
from convscope.render.grid import About, Cell, grid
from convscope.results import Shown, fitted
from convscope.stamps import Stamp
from convscope.views.feature_maps import map_cell, maps_seen, scale_in_words, scales_of, strongest_units_of
from convscope.views.units_asked import in_words

MOST = 8  # units that are shown where none are named
_SIDE, _COLUMNS = 176, 3  # points of a picture, pairs a row


@dataclass(frozen=True, eq=False)
class UnitProjections(Shown):
    """Maps ``values (n, h, w)`` of ``units`` of one layer and ``projections (n, c, H, W)`` of them to pixels, raw."""

    values: Float[Tensor, "n h w"] = field(repr=False)
    projections: Float[Tensor, "n c H W"] = field(repr=False)
    layer: str
    units: tuple[int, ...]
    count: int
    photo: Image.Image = field(repr=False)
    stamp: Stamp = field(repr=False)
    own_scale: bool = False

    def picture(self) -> Image.Image:
        """A pair a unit: its map, its deconvnet picture."""
        photo, maps = fitted(self.photo), list(self.values.numpy())
        scales = scales_of(maps, own=self.own_scale)
        cells: list[Cell] = []
        for unit, map_, scale, values in zip(self.units, maps, scales, self.projections, strict=True):
            (left,) = map_cell(map_, "", scale).images
            right, bar = _drawn(values, photo)
            bars = (ColourBar(scale, unit="activation") if map_.any() else None, bar)
            cells.append(Cell((left, right), f"unit {unit}", bars=bars))
        about: About = {"title": self.title, "subtitle": self.subtitle, "footer": self.stamp.line(), "photo": photo}
        return grid(cells, columns=min(_COLUMNS, len(cells)), tile_width=_SIDE, **about)

    @property
    def title(self) -> str:
        """``8 of 64 units of features.3 and what drove them``."""
        return f"{len(self.units)} of {self.count} units of {self.layer}, and what drove them"

    @property
    def subtitle(self) -> str:
        """What is beside what, and the scales."""
        maps = scale_in_words(self.own_scale)
        words = in_words(self.units).capitalize()
        return f"{words}. Left the unit's map, {maps}; right its deconvnet picture, each on its own scale"

    def facts(self) -> Mapping[str, str]:
        """What is shown, and which pictures are zero."""
        facts = {"units and their deconvnet pictures": self.title, "shown": self.subtitle, "layer": self.layer}
        zero = [u for u, values in zip(self.units, self.projections, strict=True) if not bool(values.any())]
        return facts | ({"zero everywhere": in_words(zero)} if zero else {})

    def as_json(self) -> dict[str, Any]:
        """What ``convscope features --json`` prints of it."""
        return {"layer": self.layer, "units": list(self.units), "of": self.count, "shape": list(self.values.shape)}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The raw maps and projections, and the units' numbers."""
        arrays = {"values": self.values.numpy(), "projections": self.projections.numpy()}
        return arrays | {"units": np.array(self.units)}


def units_projected(
    net: Network,
    photo: Photo,
    layer: str | None = None,
    units: Sequence[SupportsIndex] | None = None,
    *,
    most: int = MOST,
    own_scale: bool = False,
    partial: bool = False,
    batch: int = 8,
    on_step: Callable[[int, int], None] | None = None,
) -> UnitProjections:
    """Maps of single units beside their deconvnet pictures.

    Args:
        net: from ``load``.
        photo: a path, a PIL image or a uint8 array.
        layer: its name, the first one too; None is the last map before the head.
        units: their numbers; None is the ``most`` with the largest values on this photo.
        most: how many where none are named.
        own_scale: draw each map on its own scale.
        partial: accept nonlinearities below the layer that are no rectifiers, and leave them plain.
        batch: units in one pass.
        on_step: called with (done, all) units.

    Raises:
        ConvscopeError: as for ``deconvnet`` and ``features``.
    """
    if batch < 1:
        raise ConvscopeError(f"batch={batch}: at least one unit goes through the network at a time")
    seen = seen_by(net, photo)
    layer, maps = maps_seen(seen, layer)
    numbers = strongest_units_of(maps, units, layer, most)
    found: list[Tensor] = []
    with refusing_input(net, seen.x):
        for start in range(0, len(numbers), batch):
            targets = [str(Unit(layer, number)) for number in numbers[start : start + batch]]
            x = seen.x.expand(len(targets), -1, -1, -1)
            found.append(deconvnet(net.module, x, target=targets, layer=layer, partial=partial).float().cpu())
            if on_step is not None:
                on_step(start + len(targets), len(numbers))
    values, count = maps[list(numbers)], len(maps)
    made = seen.stamp
    return UnitProjections(values, torch.cat(found), layer, numbers, count, seen.view, made, own_scale)


def _drawn(values: Float[Tensor, "c H W"], photo: Image.Image) -> tuple[Image.Image | np.ndarray | str, Any]:
    """As ``explain`` draws a deconvnet picture, and its colour bar."""
    if not bool(values.any()):
        return "zero: no signal reaches the pixels", None
    tile = draw_tile("deconvnet", values, photo, scale=scale_for("deconvnet", [values]), caption="", note="")
    return ("" if tile.image is None else tile.image), tile.bar
