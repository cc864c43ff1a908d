"""The numbers of a whole network, of a layer, or of one unit, as tables and sheets.

Of a unit over all positions of all images: mean, standard deviation, share above zero, extremes; of the means of
max(A, 0) over the images of each class its selectivity (Morcos et al. 2018),

    s = (m_max - m_rest) / (m_max + m_rest),   m_max the largest class mean, m_rest the mean of the others,

0 for a unit that is alike in all classes, 1 for one that is active in one only. Dead: never above zero. Duplicates:
two units at least half of whose strongest patches are the same, looked for only over enough images (``dataset/
duplicates.py``). Pitfall: before a ReLU "above zero" is what the ReLU
lets through, and the class of the largest mean need not be the one that s is of.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from convscope.atlases.atlas_stamp import stamp_of
from convscope.atlases.duplicates_sought import enough_images, not_sought, sought
from convscope.atlases.unit_ranks import finite
from convscope.errors import ConvscopeError
from convscope.render import frame
from convscope.render.bands import Band, layer_bands
from convscope.render.chart import MARKED, PROBABILITIES
from convscope.render.histogram import histogram
from convscope.render.ranked_bars import Bar, Panel, ranked_bars
from convscope.render.tile import column_of, row_of
from convscope.results import Shown
from convscope.stamps import Stamp

if TYPE_CHECKING:
    from convscope.store.atlas import Atlas

LISTED = 15  # units of a ranking on the sheet
MOST_BINS = 40
LIMITS = (
    "Selective is not important, and a unit that is alike in all classes may be needed by all: switch it off "
    "(convscope ablate) to see."
)


@dataclass(frozen=True, eq=False)
class LayerStatistics(Shown):
    """``numbers`` (units,) of one layer by name: mean, deviation, share_positive, maximum, minimum, selectivity.

    ``classes``: the class of each unit's largest mean of max(A, 0); ``dead``, ``alike`` (unit, other, images; None: not
    looked for, with fewer images than ``enough``) and ``nonfinite`` (unit, NaN, infinite values) what is odd.
    """

    layer: str
    numbers: Mapping[str, Float[np.ndarray, " units"]]
    classes: tuple[str | None, ...]
    dead: tuple[int, ...]
    alike: tuple[tuple[int, int, int], ...] | None
    enough: int
    nonfinite: tuple[tuple[int, int, int], ...]
    data_line: str
    stamp: Stamp

    @property
    def units(self) -> int:
        """How many units the layer has."""
        return len(self.classes)

    @property
    def has_classes(self) -> bool:
        """Whether the images had labels."""
        return any(name is not None for name in self.classes)

    def picture(self) -> Image.Image:
        """How each number is spread over the units, and below it the units that lead."""
        columns = [self._column(*about) for about in _RANKINGS if about[0] != "selectivity" or self.has_classes]
        body = row_of(*columns, gap_px=30 * 2)
        return frame.page(
            body, title=f"The {self.units} units of {self.layer}", subtitle=self.line, footer=self.stamp.line()
        )

    def _column(self, name: str, title: str, leaders: str) -> Image.Image:
        values = self.numbers[name]
        known = values[np.isfinite(values)]
        if not known.size:
            return frame.blank(1, 1)
        bins = min(MOST_BINS, max(8, known.size // 4))
        edges = np.linspace(*_ends(known), bins + 1)
        counts = np.histogram(known, edges)[0]
        spread = histogram(
            edges, counts, title=title, what="height: share of the units", log=False, bins=bins, width=220, height=150
        )
        # of equal ones, such as a selectivity of 1, the strongest first
        keys = (-np.where(np.isfinite(v), v, -np.inf) for v in (self.numbers["maximum"], values))
        order = np.lexsort(tuple(keys))[:LISTED]
        bars = tuple(Bar(self._name(int(k), name), float(values[k]), MARKED) for k in order if np.isfinite(values[k]))
        axis = PROBABILITIES if name == "share_positive" else None
        return column_of(spread, ranked_bars([Panel(leaders, bars, axis=axis)], width=220), gap_px=16)

    def _name(self, unit: int, number: str) -> str:
        return f"{unit} {self.classes[unit]}" if number == "selectivity" else str(unit)

    @property
    def line(self) -> str:
        """What is odd, in one line."""
        parts = [self.data_line]
        parts += [f"{len(self.dead)} dead ({_first(self.dead)})"] if self.dead else ["no dead unit"]
        parts += [_pairs(len(self.alike))] if self.alike else []
        parts += [not_sought(self.enough)] if self.alike is None else []
        parts += [f"NaN or infinite values in {_first(tuple(k for k, *_ in self.nonfinite))}"] if self.nonfinite else []
        return " · ".join(part for part in parts if part)

    def facts(self) -> Mapping[str, str]:
        """What is odd, and what the numbers mean."""
        facts = {"sheet": f"The {self.units} units of {self.layer}", "units": self.line}
        facts |= {"duplicates": ", ".join(f"{a} and {b}" for a, b, _ in self.alike)} if self.alike else {}
        return facts | {"what it does not": LIMITS}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """All numbers of all units."""
        return dict(self.numbers)

    def as_json(self) -> dict[str, Any]:
        """All units."""
        rows = [
            {"unit": f"{self.layer}:{k}", **{n: finite(float(v[k])) for n, v in self.numbers.items()}, "class": name,
             "dead": k in self.dead}
            for k, name in enumerate(self.classes)
        ]  # fmt: skip
        pairs = None if self.alike is None else [((a, b), n) for a, b, n in self.alike]
        duplicates = None if pairs is None else [
            {"units": [f"{self.layer}:{unit}" for unit in pair], "shared": n} for pair, n in pairs
        ]  # fmt: skip
        odd = [{"unit": f"{self.layer}:{k}", "nans": nans, "infinities": inf} for k, nans, inf in self.nonfinite]
        return {"layer": self.layer, "units": rows, "duplicates": duplicates, "nonfinite": odd}


_RANKINGS = (
    ("mean", "mean activation", "largest means"),
    ("share_positive", "share above zero", "most often above zero"),
    ("maximum", "strongest activation", "strongest at their best"),
    ("selectivity", "class selectivity", "most selective, and their class"),
)


def layer_statistics(atlas: "Atlas", layer: str) -> LayerStatistics:
    """The units of one layer. Raises :class:`ConvscopeError` for a layer that is not in the atlas."""
    return _layer_statistics(atlas, layer, _odd(atlas))


@dataclass(frozen=True)
class _Odd:
    """What is odd in all layers, read once: units by layer."""

    dead: Mapping[str, list[int]]
    alike: Mapping[str, list[tuple[int, int, int]]]
    nonfinite: Mapping[str, list[tuple[int, int, int]]]


def _odd(atlas: "Atlas") -> _Odd:
    odd = _Odd(defaultdict(list), defaultdict(list), defaultdict(list))
    for unit in atlas.dead():
        odd.dead[_layer(unit)].append(_number(unit))
    for unit, other, images in atlas.duplicates():
        odd.alike[_layer(unit)].append((_number(unit), _number(other), len(images)))
    for unit, nans, infinities, *_ in atlas.nonfinite():
        odd.nonfinite[_layer(unit)].append((_number(unit), nans, infinities))
    return odd


def _layer_statistics(atlas: "Atlas", layer: str, odd: _Odd) -> LayerStatistics:
    kept = atlas.layer_statistics(layer)
    numbers = {name: np.asarray(kept[name], float) for name in ("mean", "share_positive", "maximum", "minimum")}
    numbers["deviation"] = np.sqrt(np.asarray(kept["variance"], float))
    numbers["selectivity"] = np.asarray(kept["selectivity"], float)
    data_line, stamp = str(atlas.about.get("data_line", "")), stamp_of(atlas)
    dead, nonfinite = tuple(odd.dead[layer]), tuple(odd.nonfinite[layer])
    alike = tuple(odd.alike[layer]) if sought(atlas) else None
    classes, enough = tuple(kept["class"]), enough_images(atlas)
    return LayerStatistics(layer, numbers, classes, dead, alike, enough, nonfinite, data_line, stamp)


@dataclass(frozen=True, eq=False)
class NetworkStatistics(Shown):
    """Every layer of an atlas, first to last."""

    name: str
    layers: tuple[LayerStatistics, ...]
    stamp: Stamp

    def picture(self) -> Image.Image:
        """Selectivity, share above zero and strongest activation, from layer to layer."""
        selectivity = [layer.numbers["selectivity"] for layer in self.layers]
        bands = [Band("share of the values above zero", self._of("share_positive"), (0, 1), as_percent=True)]
        bands += [Band("class selectivity", selectivity)] if any(np.isfinite(s).any() for s in selectivity) else []
        bands += [Band("strongest activation of a unit", self._of("maximum"))]
        chart = layer_bands([layer.layer for layer in self.layers], bands)
        return frame.page(chart, title=f"The units of {self.name}", subtitle=self.line, footer=self.stamp.line())

    def _of(self, name: str) -> list[np.ndarray]:
        return [layer.numbers[name] for layer in self.layers]

    @property
    def line(self) -> str:
        """How many layers and units, and what is odd."""
        units, dead = sum(layer.units for layer in self.layers), sum(len(layer.dead) for layer in self.layers)
        alike, odd = (sum(len(getattr(layer, name) or ()) for layer in self.layers) for name in ("alike", "nonfinite"))
        layers = "1 layer" if len(self.layers) == 1 else f"{len(self.layers)} layers"
        parts = [f"{layers}, {units:,} units: the median, and a band that holds 80 % of a layer's units"]
        parts += [f"{dead} dead"] if dead else []
        parts += [_pairs(alike)] if alike else []
        parts += [not_sought(self.layers[0].enough)] if self.layers[0].alike is None else []
        parts += [f"{odd} with NaN or infinite values"] if odd else []
        return ". ".join([parts[0], *([", ".join(parts[1:])] if parts[1:] else [])]) + "."

    def facts(self) -> Mapping[str, str]:
        """A line a layer."""
        return {"sheet": f"The units of {self.name}", **{x.layer: f"{x.units} units; {x.line}" for x in self.layers}}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """All numbers of all units, ``LAYER.mean`` and so on."""
        return {f"{layer.layer}.{name}": v for layer in self.layers for name, v in layer.numbers.items()}

    def as_json(self) -> list[dict[str, Any]]:
        """A line a layer: medians, and what is odd."""
        return [
            {"layer": x.layer, "units": x.units, "dead": len(x.dead),
             "duplicates": None if x.alike is None else len(x.alike),
             "nonfinite": len(x.nonfinite), **{f"median_{n}": _median(v) for n, v in x.numbers.items()}}
            for x in self.layers
        ]  # fmt: skip


def network_statistics(atlas: "Atlas") -> NetworkStatistics:
    """Every layer of an atlas."""
    odd = _odd(atlas)
    layers = tuple(_layer_statistics(atlas, row.name, odd) for row in atlas.layers)
    if not layers:
        raise ConvscopeError(f"{atlas.path.name} has no layers")
    return NetworkStatistics(atlas.path.name, layers, stamp_of(atlas))


def _pairs(count: int) -> str:
    return f"{count} pair{'' if count == 1 else 's'} of units sharing most patches"


def _median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _layer(unit: str) -> str:
    return unit.rpartition(":")[0]


def _number(unit: str) -> int:
    return int(unit.rpartition(":")[2])


def _first(units: tuple[int, ...], most: int = 8) -> str:
    return ", ".join(map(str, units[:most])) + (", …" if len(units) > most else "")
