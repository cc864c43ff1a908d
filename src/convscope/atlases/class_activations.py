"""Filter activation statistics: which units of a layer a class makes active.

Of a layer with units k and a class c over its images,

    m_ck = mean of max(A_k, 0) over the positions of all images of c,
    rank of k in c = its place when the units are ordered by m_ck, the largest first.

Drawn as bars, class by class: one bar and one colour a unit, the same colour in every class, so that a colour that
stands on top here and lower there is seen at once. A unit that is on top everywhere says nothing of a class: each bar
bears a mark at the unit's mean over the images of all classes, and ``rank="difference"`` orders by m_ck less that mean
instead. After a ReLU m_ck is the plain mean. Before one plain means are mostly
negative, and the least negative is no strongest. They are kept beside it, for ``--json``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from convscope.atlases.atlas_stamp import stamp_of
from convscope.atlases.classes_asked import classes_asked
from convscope.atlases.unit_ranks import by_rank, finite, left_out_line, most_telling, prominence
from convscope.errors import ConvscopeError, nearest
from convscope.render import frame
from convscope.render.ranked_bars import Bar, Panel, ranked_bars
from convscope.render.unit_colours import unit_colours
from convscope.results import Shown
from convscope.stamps import Stamp

if TYPE_CHECKING:
    from convscope.store.atlas import Atlas

RANKS = ("mean", "difference")
MOST_CLASSES, MOST_UNITS = 20, 12  # on a sheet of bars


@dataclass(frozen=True, eq=False)
class ClassActivations(Shown):
    """Means of max(A, 0) ``values`` (classes, units) of one layer, ``overall`` (units,) over all classes' images.

    ``plain``: the means of A itself. ``shown`` are the classes on the sheet, ``top`` how many units of each; ``rank``
    what orders them.
    """

    layer: str
    classes: tuple[str, ...]
    values: Float[np.ndarray, "classes units"]
    overall: Float[np.ndarray, " units"]
    plain: Float[np.ndarray, "classes units"]
    shown: tuple[str, ...]
    top: int
    rank: str
    stamp: Stamp

    @property
    def ranked(self) -> Float[np.ndarray, "classes units"]:
        """The numbers that order the units."""
        return self.values if self.rank == "mean" else self.values - self.overall

    def order(self, name: str) -> list[int]:
        """The units of a class, the strongest first."""
        return by_rank(self.ranked[self.classes.index(name)]).tolist()

    def picture(self) -> Image.Image:
        """A panel a class: its strongest units, a bar and a colour each."""
        colours = dict(zip(prominence(self.ranked).tolist(), unit_colours(len(self.overall)), strict=True))
        panels = [self._panel(name, colours) for name in self.shown]
        body = ranked_bars(panels, columns=min(5, len(panels)), width=168)
        return frame.page(body, title=self.title, subtitle=self._subtitle, footer=self.stamp.line())

    def _panel(self, name: str, colours: Mapping[int, str]) -> Panel:
        row = self.classes.index(name)
        is_mean = self.rank == "mean"
        bars = [
            Bar(str(k), float(self.ranked[row, k]), colours[k], float(self.overall[k]) if is_mean else None)
            for k in self.order(name)[: self.top]
            if np.isfinite(self.ranked[row, k])
        ]
        return Panel(name, tuple(bars), "" if bars else "no finite value")

    @property
    def title(self) -> str:
        """What the sheet shows."""
        return f"Which units of {self.layer} each class makes active"

    @property
    def _subtitle(self) -> str:
        what = "mean of what is above 0, the rest as 0"
        what += "" if self.rank == "mean" else "; over the class less that over all"
        parts = [
            f"{what}; the {self.top} strongest of {len(self.overall)} units, a colour each, the same in all classes"
        ]
        parts += ["line: the same over all classes"] if self.rank == "mean" else []
        parts += [left_out_line(self.shown, self.classes)] if len(self.shown) < len(self.classes) else []
        return ". ".join(part[0].upper() + part[1:] for part in parts) + "."

    def facts(self) -> Mapping[str, str]:
        """The strongest units of each class on the sheet."""
        top = {name: ", ".join(f"{k} ({self._number(name, k)})" for k in self.order(name)[:5]) for name in self.shown}
        shows = "A unit on top in one class and not in others is one that the network may know the class by."
        limits = "Strong is not important: switch the unit off (convscope ablate) to see what it is worth."
        return {"sheet": self.title, **top, "what it shows": shows, "what it does not": limits}

    def _number(self, name: str, unit: int) -> str:
        return f"{self.ranked[self.classes.index(name), unit]:.3g}"

    def arrays(self) -> Mapping[str, np.ndarray]:
        """All classes and units, not only those on the sheet."""
        found = {"rectified": self.values, "overall_rectified": self.overall, "means": self.plain}
        return {**found, "classes": np.array(self.classes)}

    def as_json(self) -> dict[str, Any]:
        """Every class on the sheet with its strongest units."""
        classes = [
            {"class": name, "units": [{"unit": f"{self.layer}:{k}", **self._numbers(name, k)} for k in order]}
            for name in self.shown
            for order in (self.order(name)[: self.top],)
        ]
        return {"layer": self.layer, "units": len(self.overall), "rank": self.rank, "classes": classes}

    def _numbers(self, name: str, unit: int) -> dict[str, float | None]:
        row = self.classes.index(name)
        numbers = {"rectified": self.values[row, unit], "overall_rectified": self.overall[unit]}
        return {key: finite(float(v)) for key, v in {**numbers, "mean": self.plain[row, unit]}.items()}


def class_activations(
    atlas: "Atlas",
    layer: str,
    classes: Sequence[str] | None = None,
    *,
    top: int = MOST_UNITS,
    rank: str = "mean",
    most: int = MOST_CLASSES,
) -> ClassActivations:
    """Which units of a layer each class makes active.

    Args:
        atlas: a finished one, of images with labels.
        layer: one of its layers.
        classes: data classes by name; None: all, or the ``most`` whose units differ most from those of all images.
        top: units a class.
        rank: ``"mean"``, or ``"difference"`` from the mean over the images of all classes.
        most: classes on the sheet where none are named.

    Raises:
        ConvscopeError: no such layer, class or rank, or an atlas without labels.
    """
    check_rank(rank)
    names, values = atlas.class_statistics(layer, "rectified")
    values, plain = np.asarray(values, float), np.asarray(atlas.class_statistics(layer, "mean")[1], float)
    overall = _over_all(values, np.asarray(atlas.class_statistics(layer, "count")[1], float))
    wanted = classes_asked(classes, names, atlas)
    if wanted is None:
        wanted = tuple(names[place] for place in most_telling(values, most))
    top = min(top, len(overall))
    return ClassActivations(layer, tuple(names), values, overall, plain, wanted, top, rank, stamp_of(atlas))


def _over_all(
    values: Float[np.ndarray, "classes units"], counts: Float[np.ndarray, "classes units"]
) -> Float[np.ndarray, " units"]:
    """The mean over the positions of all classes; NaN for a unit without a finite value."""
    every = counts.sum(0)
    return np.where(counts > 0, values * counts, 0.0).sum(0) / np.where(every > 0, every, np.nan)


def check_rank(rank: str) -> None:
    """Refuse what nothing is ordered by."""
    if rank not in RANKS:
        raise ConvscopeError(f"no rank {rank!r}{nearest(rank, RANKS)} (there are {', '.join(RANKS)})")
