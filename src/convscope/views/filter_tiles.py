"""Filters: the weights of a layer's convolutions as pictures.

    position(w) = (w - min) / (max - min),      min and max over the whole layer, or over each filter (``own_scale``)

Filters on three channels are colours, those on one are grey, and a deeper layer's have a tile for each unit (row) and
input channel (column). A filter of one pixel is no picture: all of a 1x1 convolution's weights make one matrix, units
down and input channels across. Mid-grey is not 0: the colour bar says where 0 lies.

Pitfall: three input channels are taken for red, green and blue. A network that takes blue first shows its filters
with red and blue exchanged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.network.filters import filters_of
from convscope.network.loading import Network
from convscope.render.colour import channels_picture
from convscope.render.colour_bar import ColourBar
from convscope.render.frame import page
from convscope.render.grid import About, Cell, grid, rows_of_cells
from convscope.render.numbered_axes import with_numbers
from convscope.render.scale import Scale
from convscope.render.typography import number_text
from convscope.results import Shown
from convscope.stamps import Stamp, stamp
from convscope.views.units_asked import checked_units, in_words

FIRST = 16  # units, and channels, of a deeper layer that are drawn where none are named
MOST_TILES = 4096  # units x channels that are drawn at once
_RANGES = 64  # filters on own scales that still have room for their numbers


@dataclass(frozen=True, eq=False)
class FilterTiles(Shown):
    """Filters of one layer. ``values (n, c, kh, kw)`` raw; ``units`` and ``channels`` their numbers in that order.

    ``count`` units and ``inputs`` channels a unit has the layer; ``groups``: each unit sees 1 / groups of the layer's
    inputs. ``scales`` has one scale for each of ``units``, all the same unless ``own_scale``. ``drawn`` are how many of
    them, and of the channels, the picture shows; ``values`` has them all.
    """

    values: Float[Tensor, "n c kh kw"] = field(repr=False)
    layer: str
    type: str
    units: tuple[int, ...]
    channels: tuple[int, ...]
    count: int
    inputs: int
    groups: int
    scales: tuple[Scale, ...] = field(repr=False)
    own_scale: bool
    drawn: tuple[int, int]
    stamp: Stamp = field(repr=False)

    @property
    def look(self) -> str:
        """``"colour"``, ``"grey"`` (one channel), ``"matrix"`` (1x1), or ``"tiles"`` (a tile a unit and channel)."""
        channels, is_pixel = self.values.shape[1], self.values.shape[2:] == (1, 1)
        if is_pixel and len(self.units) > 1 and channels > 1:
            return "matrix"
        if self.channels == (0, 1, 2) and self.inputs == 3 and self.groups == 1:
            return "colour"
        return "grey" if channels == 1 else "tiles"

    def picture(self) -> Image.Image:
        """The filters that are drawn, with one colour bar where they share a scale."""
        about: About = {"title": self.title, "subtitle": self.subtitle, "footer": self.stamp.line()}
        if not self.own_scale:
            about["bar"] = ColourBar(self.scales[0], "grey", unit="weight")
            about["said"] = "One scale for all weights of the layer"
        if self.look == "matrix":
            return _matrix_picture(self, about)
        if self.look == "tiles":
            return _tiles_picture(self, about)
        return grid(_cells(self), **about)

    @property
    def title(self) -> str:
        """``64 filters of features.0``."""
        some = "" if len(self.units) == self.count else f"{len(self.units)} of "
        return f"{some}{self.count} filters of {self.layer}"

    @property
    def subtitle(self) -> str:
        """The shape of a filter, what is drawn, what is not and how to see it, and the scale."""
        kh, kw = self.values.shape[2:]
        size = f"{self.type}, each {self.inputs} x {kh} x {kw}"
        of_groups = f", in {self.groups} groups" if self.groups > 1 else ""
        scale = "each filter on its own scale, black its smallest weight, white its largest" if self.own_scale else ""
        return " · ".join(part for part in (size + of_groups, self._drawn_in_words, scale) if part)

    @property
    def _drawn_in_words(self) -> str:
        rows, columns = self.drawn
        words = in_words(self.units[:rows])
        if self.look == "colour":
            words += ", input channels 0, 1, 2 as red, green, blue"
        elif self.look != "grey" or self.inputs > 1:
            words += f", input {in_words(self.channels[:columns], what='channel')}"
        left = [
            f"{every - few} {what}"
            for every, few, what in (
                (len(self.units), rows, "more units (--units)"),
                (len(self.channels), columns, "more input channels (--channels)"),
            )
            if every > few
        ]
        return words + (f" · not drawn: {' and '.join(left)}" if left else "")

    def facts(self) -> Mapping[str, str]:
        """What is shown, and the range of the weights."""
        low, high = float(self.values.min()), float(self.values.max())
        shown = {"filters": self.title, "shown": self.subtitle, "layer": self.layer}
        return shown | {"weights": f"{low:.4g} to {high:.4g}"}

    def as_json(self) -> dict[str, Any]:
        """What ``convscope filters --json`` prints of it."""
        shown = {"layer": self.layer, "type": self.type, "units": list(self.units), "channels": list(self.channels)}
        low, high = float(self.values.min()), float(self.values.max())
        return shown | {"of": [self.count, self.inputs], "kernel": list(self.values.shape[2:]), "range": [low, high]}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The raw weights and the numbers of their units and channels."""
        return {"values": self.values.numpy(), "units": np.array(self.units), "channels": np.array(self.channels)}


def filters(
    net: Network,
    layer: str | None = None,
    units: Sequence[SupportsIndex] | None = None,
    channels: Sequence[SupportsIndex] | None = None,
    *,
    own_scale: bool = False,
) -> FilterTiles:
    """The filters of one layer. No photo is needed: they are the network's weights.

    Args:
        net: from ``load``.
        layer: its name; None is the first layer that has filters.
        units: numbers of the filters; None is all of them, of which a deeper layer's picture draws the first 16.
        channels: numbers of the input channels (of a unit's group); None as for ``units``.
        own_scale: draw each filter on its own scale, from its smallest weight to its largest; values are raw anyway.

    Raises:
        ConvscopeError: no such layer, unit or channel, a layer without filters, more tiles than can be drawn.
    """
    found = filters_of(net.module, layer)
    count, inputs = found.weights.shape[:2]
    rows = checked_units(units, count, found.layer)
    columns = checked_units(channels, inputs, found.layer, what="input channel")
    weights = found.weights[list(rows)]
    ranges = [(float(w.min()), float(w.max())) for w in (weights if own_scale else found.weights[None])]
    scales = tuple(Scale(low, high) for low, high in ranges) * (1 if own_scale else len(rows))
    tiles = FilterTiles(
        weights[:, list(columns)], found.layer, found.type, rows, columns, count, inputs, found.groups, scales,
        own_scale, (len(rows), len(columns)), stamp(net),
    )  # fmt: skip
    return _limited(tiles, units is None, channels is None)


def _limited(tiles: FilterTiles, every_unit: bool, every_channel: bool) -> FilterTiles:
    """Of what nobody named, a deeper layer's picture has the first."""
    rows, columns = tiles.drawn
    if tiles.look == "tiles":
        rows, columns = (FIRST if every_unit else rows), (FIRST if every_channel else columns)
        tiles = replace(tiles, drawn=(min(rows, tiles.drawn[0]), min(columns, tiles.drawn[1])))
        if tiles.drawn[0] * tiles.drawn[1] > MOST_TILES:
            raise ConvscopeError(
                f"{tiles.drawn[0]} units x {tiles.drawn[1]} input channels are more than {MOST_TILES} tiles; name "
                "fewer units or channels, or neither: the raw values (.npz) then hold them all"
            )
    return tiles


def _cells(tiles: FilterTiles) -> list[Cell]:
    """A cell a unit: its colours, or its only channel."""
    has_room = tiles.own_scale and len(tiles.units) <= _RANGES
    return [
        Cell((_kernel(weights, scale),), str(unit), (_range(scale),) if has_room else (), outlined=True)
        for unit, weights, scale in zip(tiles.units, tiles.values.numpy(), tiles.scales, strict=True)
    ]


def _tiles_picture(tiles: FilterTiles, about: About) -> Image.Image:
    rows, columns = tiles.drawn
    cells = [
        [Cell((_kernel(one[None], scale),), outlined=True) for one in weights[:columns]]
        for weights, scale in zip(tiles.values.numpy()[:rows], tiles.scales[:rows], strict=True)
    ]
    return rows_of_cells(
        cells,
        row_headings=[f"unit {unit}" for unit in tiles.units[:rows]],
        column_headings=[str(channel) for channel in tiles.channels[:columns]],
        tile_width=max(24, min(64, 1040 // columns)),
        **about,
    )


def _matrix_picture(tiles: FilterTiles, about: About) -> Image.Image:
    values = tiles.values.numpy()[:, :, 0, 0]
    lines = [channels_picture(row[None, None], scale) for row, scale in zip(values, tiles.scales, strict=True)]
    squares = Image.fromarray(np.concatenate(lines))
    times = max(1, min(32, 1600 // max(squares.size)))
    squares = squares.resize((times * squares.width, times * squares.height), Image.Resampling.NEAREST)
    axes = with_numbers(squares, tiles.units, tiles.channels, across="input channel", down="unit")
    return page(axes, **about)


def _kernel(weights: Float[np.ndarray, "c kh kw"], scale: Scale) -> np.ndarray | str:
    return f"all {number_text(scale.low)}" if scale.is_empty else channels_picture(weights, scale)


def _range(scale: Scale) -> str:
    return f"{number_text(scale.low)} to {number_text(scale.high)}"
