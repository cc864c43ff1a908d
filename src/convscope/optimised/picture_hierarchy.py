"""What units look for from the first layer to the last, a row a layer: colours and edges, textures, parts of objects.

A row's heading has how many pixels a unit of the layer sees: nothing larger than that can drive it, and where the
picture is larger, the pattern is repeated over it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from convscope.answers import refusing_input
from convscope.errors import ConvscopeError
from convscope.network.layers import LayerOutput, find_calls, numbered, trace_layers
from convscope.network.loading import Network
from convscope.network.receptive_fields import ReceptiveField, receptive_fields
from convscope.network.targets import Unit
from convscope.optimised.made_pictures import Run, make, run_of
from convscope.optimised.one_picture import Picture
from convscope.optimised.picture_cells import cell_of
from convscope.optimised.unit_pictures import CLAIM, LIMITS, Pictures, pictures_of
from convscope.render.grid import About, Cell, rows_of_cells
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.views.unit_names import layer_of, units_named

WIDTH = 1120  # points for the tiles of a row


@dataclass(frozen=True, eq=False)
class Hierarchy(Shown):
    """Rows are ``layers`` in the order in which they run. ``sees``: layer -> pixels a side, where that is known.

    ``made`` has all pictures; ``row(layer)`` those of one layer.
    """

    layers: tuple[str, ...]
    sees: Mapping[str, str]
    made: Pictures = field(repr=False)
    stamp: Stamp = field(repr=False)

    def row(self, layer: str) -> list[Picture]:
        """The pictures of one layer's units."""
        return [one for one in self.made.pictures if one.unit is not None and one.unit.layer == layer]

    @property
    def title(self) -> str:
        """``What units of squeezenet look for, from features.3 to features.12``."""
        return f"What units look for, from {self.layers[0]} to {self.layers[-1]}"

    def picture(self) -> Image.Image:
        """The sheet."""
        rows = [self.row(layer) for layer in self.layers]
        most = max(map(len, rows))
        width = max(88, min(208, WIDTH // most))
        cells = [[self._cell(one, width) for one in row] for row in rows]
        headings = [f"{name}\n{self.sees[name]}" if name in self.sees else name for name in self.layers]
        about: About = {"title": self.title, "subtitle": self.made.how, "footer": self.stamp.line()}
        return rows_of_cells(cells, row_headings=headings, tile_width=width, **about)

    def _cell(self, one: Picture, width: int) -> Cell:
        return cell_of(one, self.made.strongest, width, label=f"unit {_number(one)}")

    def facts(self) -> Mapping[str, str]:
        """Layer by layer what was reached, and what such pictures do not show."""
        facts = {"hierarchy": self.title, "made": self.made.how}
        for layer in self.layers:
            sees = f" ({self.sees[layer]})" if layer in self.sees else ""
            facts[layer + sees] = ", ".join(f"unit {_number(one)} {one.reached}" for one in self.row(layer))
        return facts | {"what it shows": CLAIM, "what it does not": LIMITS}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """As of ``Pictures``, all layers together."""
        return self.made.arrays()

    def as_json(self) -> list[dict[str, Any]]:
        """What ``convscope visualize --json`` prints of it."""
        known = self.made.strongest
        return [{"layer": layer, "units": [one.as_json(known) for one in self.row(layer)]} for layer in self.layers]


def hierarchy(net: Network, layers: Sequence[str], per_layer: int = 8, **options: Any) -> Hierarchy:
    """What units look for from the first layer to the last, a row a layer, in the order in which the layers run.

    Args:
        net: from ``load``.
        layers: names, in any order; ``"layer:3,7,11"`` names the units too.
        per_layer: units of each layer that names none, spread evenly over its numbers.
        options: all that ``visualize`` takes.

    Raises:
        ConvscopeError: as ``visualize``; no layers, per_layer below 1.
    """
    if isinstance(layers, str) or not layers or per_layer < 1:
        raise ConvscopeError(f"layers={layers!r}, per_layer={per_layer}: give a list of layers, and at least 1 unit")
    strongest = options.get("strongest")
    run = run_of(net, **{name: value for name, value in options.items() if name != "strongest"})
    asked = {layer_of(name) if ":" in name else name: name for name in layers}
    find_calls(net.module, asked)
    ran = _layers_that_ran(run, list(asked))
    targets = run.targets([str(unit) for one in ran for unit in _units(one, asked[one.name], per_layer)])
    sees = {one.name: one.sees for one in ran if one.sees}

    def sheet(made: Sequence[Picture], missing: Sequence[str]) -> Hierarchy:
        done = pictures_of(run, strongest, made, missing)
        rows = tuple(one.name for one in ran if any(p.unit is not None and p.unit.layer == one.name for p in made))
        return Hierarchy(rows, sees, done, done.stamp)

    return make(run, targets, sheet)


@dataclass(frozen=True, eq=False)
class _Ran:
    """A layer of the pass: how many units, and how many pixels each sees."""

    name: str
    count: int
    sees: str


def _layers_that_ran(run: Run, wanted: Sequence[str]) -> list[_Ran]:
    """The wanted layers in the order in which they ended."""
    image, found = run.grey.requires_grad_(), list[tuple[str, tuple[int, ...], GradientEdge | None]]()

    def visit(item: LayerOutput) -> None:
        # now: `h += shortcut` after this layer would make its output that of the sum
        is_map = item.output.ndim == 4 and item.output.requires_grad
        found.append((item.name, tuple(item.output.shape), get_gradient_edge(item.output) if is_map else None))

    with refusing_input(run.net, image):
        trace_layers(run.net.module, image, visit, graph=True)
    names = numbered([name for name, _, _ in found])
    called = [
        (own if own in wanted else name, shape, edge)
        for name, (own, shape, edge) in zip(names, found, strict=True)
        if own in wanted or name in wanted
    ]
    for name in wanted:
        if name not in [one for one, _, _ in called]:
            run.targets(f"{name}:0")  # refuses it with the reason
    sees = _seen({name: edge for name, _, edge in called if edge is not None}, image)
    return [_Ran(name, shape[1] if len(shape) > 1 else 0, sees.get(name, "")) for name, shape, _ in called]


def _seen(edges: Mapping[str, GradientEdge], image: Tensor) -> dict[str, str]:
    """``sees 19 px`` for each layer; nothing where an operation hides what is inside."""
    try:
        fields = receptive_fields(edges, image)
    except ConvscopeError:
        return {}
    return {name: _pixels(one) for name, one in fields.items()}


def _pixels(one: ReceptiveField | None) -> str:
    if one is None:
        return "sees all of it"
    return f"sees {one.size[0]} px" if one.size[0] == one.size[1] else f"sees {one.size[0]} x {one.size[1]} px"


def _units(layer: _Ran, asked: str, most: int) -> list[Unit]:
    """Those that are named, else ``most`` spread evenly."""
    if ":" in asked:
        return list(units_named([asked], {layer.name: layer.count}))
    few = min(most, layer.count)
    return [Unit(layer.name, (2 * i + 1) * layer.count // (2 * few)) for i in range(few)]


def _number(one: Picture) -> str:
    return "" if one.unit is None else str(one.unit).rpartition(":")[2]
