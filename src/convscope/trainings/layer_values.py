"""How each layer's weights and values lie, epoch after epoch.

A chart a layer: the median, the middle half and the middle nine tenths. Of its weights, all parameters of the layer; of
its values, what comes out of all its units on the watched images, at the places that were read: with the share that is
above zero, which is what a rectifier lets through. Quantiles are read off the snapshot's histograms of n numbers, its
bins [e_i, e_i+1) with c_i each, evenly spread within a bin:

    quantile(q) = e_i + (q n - C_i) / c_i (e_i+1 - e_i),      C_i = c_0 + ... + c_i-1 <= q n <= C_i + c_i

Bands that grow from epoch to epoch by the same factor blow up; values whose band closes round one number say the same
of every image; values that sink below zero die. They are a layer's own, before its rectifier where that is a module or
a function of its own.

Pitfalls: a bin is a fifth of its numbers wide, and so far may a quantile be off. Units differ: a band is of all of
them. Before a batch norm the size of weights means little: the norm divides it out. The bins end at 2^24: what is
beyond is counted at their end, and the sheet says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Num
from PIL import Image

from convscope.dataset.histograms import EDGES
from convscope.errors import ConvscopeError
from convscope.render import frame
from convscope.render.epoch_bands import QUANTILES, EpochBands, epoch_bands
from convscope.render.tile import column_of
from convscope.render.typography import Type, number_text, text_block
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.trainings.training_run import TrainingRun, called
from convscope.wording import percent

MOST_LAYERS = 16  # charts of a kind on a sheet
KINDS = ("weights", "values")
_OUTERMOST = float(EDGES[-2])  # from here on a number may be larger than its bin
_HEADING, _GAP_PX = Type(13.0, bold=True), 24


@dataclass(frozen=True, eq=False)
class Spread:
    """Of one kind of numbers: ``quantiles (layers, epochs, 5)``, ``positive (layers, epochs)`` the share above zero."""

    layers: tuple[str, ...]
    quantiles: Float[np.ndarray, "layers epochs 5"]
    positive: Float[np.ndarray, "layers epochs"]

    @property
    def shown(self) -> list[int]:
        """Places of the layers that are drawn, from the first to the last."""
        count = min(MOST_LAYERS, len(self.layers))
        return np.linspace(0, len(self.layers) - 1, count).round().astype(int).tolist()


@dataclass(frozen=True, eq=False)
class LayerValues(Shown):
    """``spreads``: ``weights`` and ``values``, or one of them."""

    name: str
    epochs: tuple[int, ...]
    spreads: Mapping[str, Spread] = field(repr=False)
    lacking: str
    stamp: Stamp = field(repr=False)

    @property
    def title(self) -> str:
        """``How the weights and values of 5 layers lie, epoch 0 to 20``."""
        count = max(len(spread.layers) for spread in self.spreads.values())
        said = f"How the {' and '.join(self.spreads)} of {count} layer{'s'[: count != 1]} lie"
        if len(self.epochs) == 1:
            return f"{said} after epoch {self.epochs[0]}"
        return f"{said}, epoch {self.epochs[0]} to {self.epochs[-1]}"

    @property
    def _subtitle(self) -> str:
        drawn = "the median (line), the middle half and nine tenths (bands)"
        parts = [f"{self.name}: over the epochs, {drawn}; each on its own scale"]
        if "values" in self.spreads:
            parts.append(f"beside a layer, how many of its values are above zero after epoch {self.epochs[-1]}")
        if any(len(spread.shown) < len(spread.layers) for spread in self.spreads.values()):
            parts.append(f"{MOST_LAYERS} layers are drawn, all are in the raw values")
        if any(np.nanmax(np.abs(spread.quantiles)) >= _OUTERMOST for spread in self.spreads.values()):
            parts.append(f"what is beyond {number_text(float(EDGES[-1]))} is counted as that")
        return " · ".join([*parts, *([self.lacking] if self.lacking else [])])

    def picture(self) -> Image.Image:
        """A chart a layer, those of the weights first."""
        parts: list[Image.Image] = []
        for kind, spread in self.spreads.items():
            notes = [_above_zero(spread, place) if kind == "values" else "" for place in spread.shown]
            charts = [
                EpochBands(called(spread.layers[place]), note, spread.quantiles[place])
                for place, note in zip(spread.shown, notes, strict=True)
            ]
            body = epoch_bands(charts, self.epochs)
            heading = text_block(kind.capitalize(), body.width, _HEADING, pixel_ratio=2)
            parts.append(column_of(heading, body, gap_px=8))
        body = column_of(*parts, gap_px=_GAP_PX)
        return frame.page(body, title=self.title, subtitle=self._subtitle, footer=self.stamp.line())

    def facts(self) -> Mapping[str, str]:
        """Each layer's median and nine tenths after the last epoch."""
        facts = {"spread": self.title}
        for kind, spread in self.spreads.items():
            for place, layer in enumerate(spread.layers):
                facts[f"{kind} of {layer}"] = _in_words(spread, place, kind)
        return facts | ({"not there": self.lacking} if self.lacking else {})

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The quantiles and shares of both kinds."""
        found: dict[str, np.ndarray] = {"epochs": np.array(self.epochs), "at": np.array(QUANTILES)}
        for kind, spread in self.spreads.items():
            found |= {f"{kind} layers": np.array(spread.layers), f"{kind} quantiles": spread.quantiles}
            found[f"{kind} above zero"] = spread.positive
        return found


def layer_values(run: TrainingRun) -> LayerValues:
    """The weights and values of each layer over the epochs; layers that never had a finite one are left out.

    Raises:
        ConvscopeError: no snapshot has a histogram that counts anything.
    """
    kept: dict[str, list[Mapping[str, _Histogram]]] = {kind: [] for kind in KINDS}
    for one in run.snapshots():
        kept["weights"].append({layer.name: (layer.weight_edges, layer.weight_counts) for layer in one.layers})
        kept["values"].append({layer.name: (layer.edges, layer.counts) for layer in one.layers})
    found = {kind: _spread(epochs) for kind, epochs in kept.items()}
    spreads = {kind: spread for kind, spread in found.items() if spread is not None}
    if not spreads:
        raise ConvscopeError(f"{run.path.name} has no weights and values of layers: its snapshots count none")
    return LayerValues(run.name, run.epochs, spreads, run.lacking(), run.stamp)


_Histogram = tuple[np.ndarray, np.ndarray]


def _spread(kept: Sequence[Mapping[str, _Histogram]]) -> Spread | None:
    names = tuple(dict.fromkeys(name for of_epoch in kept for name, (_, counts) in of_epoch.items() if counts.sum()))
    if not names:
        return None
    nothing = np.zeros(1), np.zeros(0)
    found = [[of_epoch.get(name, nothing) for of_epoch in kept] for name in names]
    quantiles = np.array([[quantiles_of(edges, counts, QUANTILES) for edges, counts in row] for row in found])
    positive = np.array([[share_above_zero(edges, counts) for edges, counts in row] for row in found])
    return Spread(names, quantiles, positive)


def quantiles_of(
    edges: Float[np.ndarray, " bins_and_1"], counts: Num[np.ndarray, " bins"], at: Sequence[float]
) -> Float[np.ndarray, " q"]:
    """The numbers below which the shares ``at`` lie; NaN of no counts.

    >>> quantiles_of(np.array([0.0, 1.0, 3.0]), np.array([2, 2]), [0.25, 0.5, 0.75]).tolist()
    [0.5, 1.0, 2.0]
    """
    held = counts > 0  # over an empty bin the curve is flat, and its inverse many-valued
    if not held.any():
        return np.full(len(at), np.nan)
    below = np.concatenate([[0.0], np.cumsum(counts[held])]) / counts.sum()
    low, high = edges[:-1][held], edges[1:][held]
    place = np.clip(np.searchsorted(below, at, side="left") - 1, 0, len(low) - 1)
    return low[place] + (np.asarray(at) - below[place]) / (below[place + 1] - below[place]) * (high - low)[place]


def share_above_zero(edges: Float[np.ndarray, " bins_and_1"], counts: Num[np.ndarray, " bins"]) -> float:
    """Of the numbers those in bins above zero; the bin round zero is none of them. NaN of no counts."""
    return float(counts[edges[:-1] >= 0].sum() / counts.sum()) if counts.sum() else float("nan")


def _in_words(spread: Spread, place: int, kind: str) -> str:
    """After the last epoch."""
    low, _, middle, _, high = spread.quantiles[place, -1].tolist()
    if not np.isfinite([low, high]).all():
        return "no finite number"
    ends = f"nine tenths from {number_text(low)} to {number_text(high)}"
    above = f", {_above_zero(spread, place)}" if kind == "values" else ""
    return f"median {number_text(middle)}, {ends}{above}"


def _above_zero(spread: Spread, place: int) -> str:
    share = float(spread.positive[place, -1])
    return f"{percent(share)} > 0" if np.isfinite(share) else ""
