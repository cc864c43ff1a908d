"""The numbers of one unit: how often it says what, and to which classes.

The histogram is of the values at a sample of positions of all images, on a logarithmic axis of counts: what a unit is
known by is rare. The bars are the mean of max(A, 0) over the images of a class, by which the class and the selectivity
go: before a ReLU plain means are mostly negative, and the class of the largest need not be the one that excites most.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from convscope.atlases.atlas_stamp import stamp_of
from convscope.atlases.dossier_charts import strongest_classes
from convscope.atlases.unit_ranks import finite
from convscope.errors import ConvscopeError
from convscope.network.targets import parse_unit
from convscope.render import frame
from convscope.render.chart import BAR, MARKED
from convscope.render.histogram import histogram
from convscope.render.ranked_bars import Bar, Panel, ranked_bars
from convscope.render.tile import row_of
from convscope.render.typography import number_text
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.wording import percent

if TYPE_CHECKING:
    from convscope.store.atlas import Atlas

MOST_BARS = 30  # classes on the sheet: the strongest, and a few of the weakest
_WEAKEST = 5
NUMBERS = ("mean", "deviation", "share_positive", "maximum", "minimum", "selectivity")


@dataclass(frozen=True, eq=False)
class UnitStatistics(Shown):
    """``numbers`` of one unit by name; ``class_means`` by class and ``rectified``, the means of max(A, 0), both empty
    without labels; ``odd`` what is not finite.
    """

    unit: str
    numbers: Mapping[str, float]
    selective_class: str | None
    class_means: Mapping[str, float]
    rectified: Mapping[str, float]
    quantiles: Mapping[float, float]
    edges: np.ndarray
    counts: np.ndarray
    odd: tuple[int, int]
    data_line: str
    stamp: Stamp

    def picture(self) -> Image.Image:
        """The histogram beside the classes."""
        blocks = [self.histogram()] if self.counts.sum() else []
        blocks += [self.class_bars()] if any(value > 0 for value in self.rectified.values()) else []
        body = row_of(*blocks, gap_px=36 * 2) if blocks else frame.blank(1, 1)
        return frame.page(body, title=f"What {self.unit} says", subtitle=self.line, footer=self.stamp.line())

    def histogram(self, width: int = 360, height: int = 230) -> Image.Image:
        """How often which value occurs, with the mean and the value that one in a hundred exceeds."""
        marks = [(self.numbers["mean"], f"mean {number_text(self.numbers['mean'])}")]
        if 0.99 in self.quantiles:
            marks += [(self.quantiles[0.99], f"1 in 100 above {number_text(self.quantiles[0.99])}")]
        known = [mark for mark in marks if np.isfinite(mark[0])]
        return histogram(self.edges, self.counts, marks=known, width=width, height=height)

    def class_bars(self, width: int = 300, most: int = MOST_BARS) -> Image.Image:
        """The classes by the unit's mean of max(A, 0), the largest first; of many the weakest few at the end."""
        ranked = self.ranked
        bars: list[Bar | None] = [
            Bar(name, self.rectified[name], MARKED if name == self.selective_class else BAR) for name in ranked
        ]
        if len(bars) > most:
            bars = [*bars[: most - _WEAKEST - 1], None, *bars[-_WEAKEST:]]
        note = "the rest as 0" if self.numbers["minimum"] < 0 else ""
        note += f"{'; ' if note else ''}{len(ranked):,} classes" if len(ranked) > most else ""
        return ranked_bars([Panel("Mean of what is above 0, by class", tuple(bars), note)], width=width)

    @property
    def ranked(self) -> list[str]:
        """The classes, by the mean of max(A, 0)."""
        return strongest_classes(self.rectified, self.selective_class)

    @property
    def line(self) -> str:
        """The numbers in one line."""
        n = self.numbers
        if np.isfinite(n["mean"]):
            parts = [f"mean {number_text(n['mean'])} ± {number_text(n['deviation'])}"]
            parts += [f"above zero {percent(n['share_positive'])}", f"strongest {number_text(n['maximum'])}"]
        else:
            parts = ["no finite value"]
        if self.selective_class is not None and np.isfinite(n["selectivity"]):
            parts += [f"selectivity {n['selectivity']:.2f} ({self.selective_class})"]
        parts += [f"{self.odd[0]} NaN, {self.odd[1]} infinite values"] if any(self.odd) else []
        return " · ".join([*parts, self.data_line]).rstrip(" ·")

    def facts(self) -> Mapping[str, str]:
        """The numbers, the quantiles, the strongest classes."""
        facts = {"unit": self.unit, "numbers": self.line}
        facts["quantiles"] = ", ".join(f"{100 * q:g} %: {number_text(v)}" for q, v in self.quantiles.items())
        facts["strongest classes"] = ", ".join(f"{n} {number_text(self.rectified[n])}" for n in self.ranked[:5])
        return {name: text for name, text in facts.items() if text}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Histogram, and the two means of the classes with their names."""
        names, means = list(self.class_means), list(self.class_means.values())
        rectified = np.array([self.rectified[name] for name in names])
        found = {"edges": self.edges, "counts": self.counts, "classes": np.array(names)}
        return {**found, "class_means": np.array(means), "class_means_above_0": rectified}

    def as_json(self) -> dict[str, Any]:
        """All numbers, quantiles and classes."""
        return {
            "unit": self.unit,
            **{name: finite(value) for name, value in self.numbers.items()},
            "class": self.selective_class,
            "quantiles": {f"{q:g}": finite(value) for q, value in self.quantiles.items()},
            "by_class": {name: finite(value) for name, value in self.class_means.items()},
            "rectified_by_class": {name: finite(self.rectified[name]) for name in self.ranked},
            "nans": self.odd[0],
            "infinities": self.odd[1],
        }


def unit_statistics(atlas: "Atlas", unit: str) -> UnitStatistics:
    """The numbers of ``"LAYER:NUMBER"``.

    Raises:
        ConvscopeError: text that names no unit, or a unit that is not in the atlas.
    """
    asked = parse_unit(unit)
    if asked is None or asked.position is not None:
        raise ConvscopeError(f"{unit!r} names no unit; give LAYER:NUMBER")
    kept = atlas.statistics(unit)
    numbers = {name: _number(kept.get(name)) for name in NUMBERS if name != "deviation"}
    numbers["deviation"] = float(np.sqrt(_number(kept.get("variance"))))
    by_class = {name: each for name, each in (kept.get("by_class") or {}).items() if np.isfinite(each["mean"])}
    edges, counts = kept["histogram"]
    odd = next(((nans, inf) for name, nans, inf, *_ in atlas.nonfinite() if name == unit), (0, 0))
    return UnitStatistics(
        unit,
        numbers,
        kept.get("class"),
        {name: float(each["mean"]) for name, each in by_class.items()},
        {name: float(each["rectified"]) for name, each in by_class.items()},
        {float(q): float(v) for q, v in (kept.get("quantiles") or {}).items() if np.isfinite(v)},
        np.asarray(edges, float),
        np.asarray(counts, float),
        (int(odd[0]), int(odd[1])),
        str(atlas.about.get("data_line", "")),
        stamp_of(atlas),
    )


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
