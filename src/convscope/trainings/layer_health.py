"""Do layers die, or stand still? A row a layer, a column an epoch, three questions.

    size      |w_e| / |w_first|               parameters of a layer as one vector, against the first snapshot; log2
    change    |w_e - w_before| / |w_before|   against the snapshot before; logarithmic
    dead      share of the units that are above zero on none of the watched images

A layer whose change is orders of magnitude below the others' stands still (frozen, or gradients that vanish); one that
changes by its own length each epoch does not settle. Units that die do not come back by themselves: nothing flows
through them. A layer without parameters has no row in the first two, one that no rectifier follows none in the third.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render import frame
from convscope.render.colour import colourise
from convscope.render.epoch_strips import Ramp, epoch_strips
from convscope.render.scale import Scale
from convscope.render.tile import row_of
from convscope.render.typography import number_text
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.trainings.training_run import TrainingRun, called
from convscope.wording import percent

STILL, DYING = 1e-3, 0.25  # a change below, a share of dead units from which it is said of a layer
_DECADES, _DOUBLINGS = (-4.0, 0.0), 1.0  # of the change's colours; of the size's at least
_WIDTH, _GAP_PX = 250, 48
MEASURES = ("weight_norm", "relative_change", "dead_share", "mean", "sd")


@dataclass(frozen=True, eq=False)
class LayerHealth(Shown):
    """``values``: measure -> (layers, epochs), NaN where there is no number; ``layers`` in the order of the network."""

    name: str
    layers: tuple[str, ...]
    epochs: tuple[int, ...]
    values: Mapping[str, Float[np.ndarray, "layers epochs"]] = field(repr=False)
    lacking: str
    stamp: Stamp = field(repr=False)

    @property
    def still(self) -> tuple[str, ...]:
        """Layers that never changed by more than a thousandth from one snapshot to the next."""
        change = self.values["relative_change"]
        known = {name: row[np.isfinite(row)] for name, row in zip(self.layers, change, strict=True)}
        return tuple(name for name, row in known.items() if len(row) and float(row.max()) < STILL)

    @property
    def broken(self) -> tuple[str, ...]:
        """Layers whose weights had a length once, and have none after the last epoch."""
        known = np.isfinite(self.values["weight_norm"])
        return tuple(name for name, row in zip(self.layers, known, strict=True) if row.any() and not row[-1])

    @property
    def dying(self) -> tuple[tuple[str, float], ...]:
        """(layer, share of its units) where a quarter or more is dead after the last epoch, the most first."""
        last = zip(self.layers, map(float, self.values["dead_share"][:, -1]), strict=True)
        return tuple(sorted(((n, share) for n, share in last if share >= DYING), key=lambda each: -each[1]))

    @property
    def title(self) -> str:
        """What is to be worried about, in words."""
        if self.broken:
            return f"Weights that are NaN or infinite: {', '.join(map(called, self.broken[:4]))}"
        dying = ", ".join(f"{percent(share)} of {called(name)}" for name, share in self.dying[:3])
        if dying:
            more = len(self.dying) - 3
            return f"Dead units: {dying}" + (f", and many in {more} more layers" if more > 0 else "")
        if self.still:
            return f"Standing still: {', '.join(map(called, self.still[:4]))}"
        is_known = np.isfinite(self.values["relative_change"]).any()
        learns = "Every layer learns" if is_known else "Whether layers learn, one look does not tell"
        shares = dict(zip(self.layers, self.values["dead_share"][:, -1].tolist(), strict=True))
        known = {name: share for name, share in shares.items() if math.isfinite(share)}
        if not known:
            return learns
        worst = max(known, key=known.__getitem__)
        most = f"at most {percent(known[worst])} of a layer's units are dead, in {called(worst)}"
        dead = most if known[worst] else "no unit is dead"
        return f"{learns}; {dead}"

    def picture(self) -> Image.Image:
        """Three panels side by side."""
        panels = [panel for panel in (self._sizes(), self._changes(), self._dead()) if panel is not None]
        body = row_of(*panels, gap_px=_GAP_PX)
        subtitle = f"{self.name}: at the right of each row, what is measured after epoch {self.epochs[-1]}"
        subtitle += f" · {self.lacking}" if self.lacking else ""
        return frame.page(body, title=self.title, subtitle=subtitle, footer=self.stamp.line())

    def _panel(
        self, measure: str, drawn: Float[np.ndarray, "layers epochs"], scale: Scale, colour_map: str,
        ends: tuple[str, str], texts: Sequence[str], heading: str, note: str,
    ) -> Image.Image | None:  # fmt: skip
        rows: list[int] = [i for i, row in enumerate(self.values[measure]) if np.isfinite(row).any()]
        if not rows:
            return None
        known = np.isfinite(drawn[rows])
        inside = np.clip(np.where(known, drawn[rows], scale.low), scale.low, scale.high)
        return epoch_strips(
            [called(self.layers[i]) for i in rows], self.epochs, _colours(inside, scale, colour_map), known=known,
            texts=[texts[i] for i in rows], heading=heading, note=note,
            ramp=Ramp(_colours(np.linspace(scale.low, scale.high, 256)[None], scale, colour_map)[0], ends),
            width=_WIDTH,
        )  # fmt: skip

    def _sizes(self) -> Image.Image | None:
        norms = self.values["weight_norm"]
        doublings = _logarithm(norms / _first(norms), 2)
        most = max(_DOUBLINGS, float(np.nanmax(np.abs(doublings), initial=0.0)))
        texts = [_times(float(row[-1])) for row in norms / _first(norms)]
        ends = f"× {number_text(2**-most)}", f"× {number_text(2**most)}"
        note = "length of the parameters, against the first snapshot"
        scale = Scale(-most, most, True)
        return self._panel("weight_norm", doublings, scale, "diverging", ends, texts, "Size of the weights", note)

    def _changes(self) -> Image.Image | None:
        change = self.values["relative_change"]
        low, high = _DECADES
        texts = [percent(float(row[-1])) if math.isfinite(row[-1]) else "" for row in change]
        drawn = _logarithm(change, 10)
        ends = f"≤ {100 * 10**low:g}%", f"≥ {100 * 10**high:g}%"
        note = "since the snapshot before, share of their length; logarithmic"
        scale = Scale(low, high)
        return self._panel("relative_change", drawn, scale, "viridis", ends, texts, "Change of the weights", note)

    def _dead(self) -> Image.Image | None:
        shares = self.values["dead_share"]
        texts = [percent(float(row[-1])) if math.isfinite(row[-1]) else "" for row in shares]
        note = "above zero on none of the watched images"
        return self._panel("dead_share", shares, Scale(0.0, 1.0), "dead", ("0", "100%"), texts, "Dead units", note)

    def facts(self) -> Mapping[str, str]:
        """Each layer after the last epoch."""
        facts = {"layers": self.title}
        for number, layer in enumerate(self.layers):
            said = {what: float(self.values[what][number, -1]) for what in MEASURES}
            facts[layer] = ", ".join(f"{n.replace('_', ' ')} {v:.4g}" for n, v in said.items() if math.isfinite(v))
        return facts | ({"not there": self.lacking} if self.lacking else {})

    def arrays(self) -> Mapping[str, np.ndarray]:
        """``(layers, epochs)`` of every measure."""
        return {"epochs": np.array(self.epochs), "layers": np.array(self.layers), **self.values}


def layer_health(run: TrainingRun) -> LayerHealth:
    """Weights, their change, and dead units of each layer over the epochs.

    Raises:
        ConvscopeError: no snapshot looked at a layer.
    """
    rows = {epoch: {one["name"]: one for one in facts["layers"]} for epoch, facts in run.facts.items()}
    names = tuple(dict.fromkeys(name for of_epoch in rows.values() for name in of_epoch))
    if not names:
        raise ConvscopeError(f"{run.path.name} has no layers: the probe looked at none (layers=)")
    values = {
        what: np.array([[_number(of_epoch.get(name, {}).get(what)) for of_epoch in rows.values()] for name in names])
        for what in MEASURES
    }
    return LayerHealth(run.name, names, run.epochs, values, run.lacking(), run.stamp)


def _number(value: float | None) -> float:
    return float("nan") if value is None or not math.isfinite(value) else float(value)


def _first(norms: Float[np.ndarray, "layers epochs"]) -> Float[np.ndarray, "layers 1"]:
    """The first known norm of each layer that is above zero, NaN where there is none."""
    known = np.isfinite(norms) & (norms > 0)
    first = norms[np.arange(len(norms)), known.argmax(1)]
    return np.where(known.any(1), first, np.nan)[:, None]


def _logarithm(values: Float[np.ndarray, "layers epochs"], base: int) -> Float[np.ndarray, "layers epochs"]:
    """Of 0 a number far below every other, of NaN NaN."""
    return np.where(np.isnan(values), np.nan, np.log(np.maximum(values, 1e-12)) / math.log(base))


def _colours(values: np.ndarray, scale: Scale, colour_map: str) -> np.ndarray:
    if colour_map == "dead":  # white, and from the first dead unit on orange, as mistakes are
        drawn = colormaps["Oranges"](0.85 * (0.18 + 0.82 * values), bytes=True)[..., :3]
        return np.where((values > 0)[..., None], drawn, 255).astype(np.uint8)
    return colourise(values, scale, colour_map)


def _times(ratio: float) -> str:
    return f"× {number_text(ratio)}" if math.isfinite(ratio) else ""
