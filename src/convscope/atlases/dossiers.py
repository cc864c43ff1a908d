"""Dossiers: all that an atlas knows of one unit, on one sheet.

From top to bottom: its exemplars, best first, a column each: the winning field in its surroundings, the crop, its
deconvnet picture where it was made (Zeiler & Fergus 2014, fig. 2, unrolled); then how often it says what, for which
data classes it says most, what the network loses without it, and the picture that optimisation makes of it, where these
are known; then its neighbours: the units of its layer that go up and down with it over the images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from convscope.atlases.added_pictures import SYNTHETIC
from convscope.atlases.atlas_stamp import stamp_of
from convscope.atlases.contact_sheets import data_words, exemplar_arrays, field_words
from convscope.atlases.dossier_charts import CLASSES, charts, strongest_classes
from convscope.atlases.neighbours import images_compared, near_units, r_words
from convscope.atlases.unit_patches import (
    UnitPatches,
    block_of,
    contexts_say_more,
    deconv_block,
    longest_side,
    patches_of,
)
from convscope.network.targets import Unit, parse_unit
from convscope.render import frame
from convscope.render.grid import Cell, body_of_cells
from convscope.render.tile import column_of
from convscope.render.typography import GREY, Type, number_text, text_block
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.wording import percent

if TYPE_CHECKING:
    from convscope.store.atlas import Atlas

NEIGHBOURS = 8  # that are drawn
_TILE, _RATIO, _GAP = 112, 2, 26  # points of a patch, pixels a point, points between parts
_HEADING, _CAPTION = Type(13.5, bold=True), Type(10.5, GREY)
_ROWS = {"contexts": "in its image", "crops": "crop", "deconvs": "deconvnet"}


@dataclass(frozen=True, eq=False)
class Dossier(Shown):
    """One unit. ``statistics`` as ``Atlas.statistics`` gives them, ``ablation`` as ``Atlas.ablation``; ``neighbours``
    with the correlation of each, over ``images_compared``; ``labels``: what each exemplar's image is, where that is
    known.
    """

    patches: UnitPatches
    statistics: Mapping[str, Any] = field(repr=False)
    neighbours: tuple[tuple[UnitPatches, float], ...] = field(repr=False)
    images_compared: int = field(repr=False)
    ablation: Mapping[str, Any] = field(repr=False)
    synthetic: Image.Image | None = field(repr=False)
    labels: tuple[str, ...] = field(repr=False)
    about_line: str
    stamp: Stamp = field(repr=False)

    @property
    def unit(self) -> str:
        """``features.10:7``."""
        return str(self.patches.unit)

    def picture(self) -> Image.Image:
        """The sheet."""
        parts = [self._exemplars()]
        drawn = charts(self.statistics, self.ablation, self.synthetic)
        parts += [] if drawn is None else [drawn]
        parts += [self._neighbours()] if self.neighbours else []
        body = column_of(*parts, gap_px=_GAP * _RATIO)
        return frame.page(body, title=self.title, subtitle=self.subtitle, footer=self.stamp.line(), pixel_ratio=_RATIO)

    def _exemplars(self) -> Image.Image:
        """A column an exemplar."""
        if not self.patches.exemplars:
            words = "It has no exemplar: no image gave it a finite value."
            return text_block(words, 400 * _RATIO, _HEADING, pixel_ratio=_RATIO)
        shown = self._rows
        side = longest_side(self.patches.crops)
        rows: list[list[Cell]] = []
        for kind in shown:
            own = longest_side(self.patches.contexts) if kind == "contexts" else side
            draw = deconv_block if kind == "deconvs" else block_of
            blocks = [draw([patch], _TILE * _RATIO, own) for patch in getattr(self.patches, kind)]
            rows.append([Cell((one,), smooth=True) for one in blocks])
        for place, (value, *_) in enumerate(self.patches.exemplars):
            top, foot = rows[0][place], rows[-1][place]
            rows[0][place] = Cell(top.images, f"{place + 1}: {number_text(value)}", smooth=True)
            if len(rows) > 1:
                rows[-1][place] = Cell(foot.images, below=(self._name(place),), smooth=True)
        return body_of_cells(rows, row_headings=[_ROWS[kind] for kind in shown], tile_width=_TILE, pixel_ratio=_RATIO)

    @property
    def _rows(self) -> list[str]:
        contexts = ["contexts"] if contexts_say_more([self.patches]) else []
        return [*contexts, "crops", *(["deconvs"] if self.patches.has_deconvs else [])]

    def _name(self, place: int) -> str:
        """Of an exemplar: its class, else its file."""
        return self.labels[place] or PurePosixPath(self.patches.exemplars[place][1]).stem

    def _neighbours(self) -> Image.Image:
        side = longest_side(patch for one, _ in self.neighbours for patch in one.crops)
        cells = [
            Cell((block_of(one.crops, _TILE * _RATIO, side),), f"unit {one.unit.unit}", (f"r = {r:.2f}",), smooth=True)
            for one, r in self.neighbours
        ]
        words = (("Units that go with it", _HEADING), (r_words(self.images_compared), _CAPTION))
        heading = column_of(*(text_block(text, 400 * _RATIO, style, pixel_ratio=_RATIO) for text, style in words))
        return column_of(heading, body_of_cells([cells], tile_width=_TILE, pixel_ratio=_RATIO), gap_px=6 * _RATIO)

    @property
    def title(self) -> str:
        """``What features.10:7 looks for``."""
        return f"What {self.unit} looks for"

    @property
    def subtitle(self) -> str:
        """The figures in two lines."""
        return " · ".join([self.about_line, *self.figures.values()])

    @property
    def figures(self) -> dict[str, str]:
        """What it does over all images, in words."""
        said, words = self.statistics, dict[str, str]()
        if not np.isfinite(said["mean"]):
            return {"values": "no finite value"}
        words["values"] = f"{number_text(said['minimum'])} to {number_text(said['maximum'])}"
        words["mean"] = f"mean {number_text(said['mean'])} ± {number_text(float(np.sqrt(said['variance'])))}"
        words["positive"] = f"above 0 at {percent(said['share_positive'])} of positions"
        if said.get("class"):
            words["class"] = f"most for {said['class']} (selectivity {said['selectivity']:.2f})"
        return words | ({"dead": "never above 0: dead"} if said.get("dead") else {})

    def facts(self) -> Mapping[str, str]:
        """Figures, strongest images, neighbours."""
        facts = {"unit": self.unit, "shown": self.about_line, **self.figures}
        found = self.patches.exemplars
        facts["exemplars"] = ", ".join(f"{number_text(v)} in {image} at {y},{x}" for v, image, y, x in found)
        with_it = ", ".join(f"{one.unit} ({r:.2f})" for one, r in self.neighbours)
        return facts | ({"units that go with it": f"{with_it}; {r_words(self.images_compared)}"} if with_it else {})

    def as_json(self) -> dict[str, Any]:
        """What ``convscope unit --json`` prints of it."""
        plain = ("count", "mean", "variance", "share_positive", "maximum", "minimum", "selectivity", "class", "dead")
        by_class = dict(self.statistics.get("by_class") or {})
        said = {name: _finite(self.statistics[name]) for name in plain if name in self.statistics}
        said["quantiles"] = {str(q): _finite(v) for q, v in dict(self.statistics.get("quantiles") or {}).items()}
        rectified = {name: float(of["rectified"]) for name, of in by_class.items()}
        strongest = strongest_classes(rectified, self.statistics.get("class"))[:CLASSES]
        return {
            **self.patches.as_json(),
            "statistics": said,
            "classes": [
                {"class": name, "rectified": rectified[name], "mean": _finite(by_class[name]["mean"])}
                for name in strongest
            ],
            "neighbours": [{"unit": str(one.unit), "correlation": _finite(r)} for one, r in self.neighbours],
            "images_compared": self.images_compared,
            "ablation": dict(self.ablation),
        }

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Exemplars, the histogram's edges and counts."""
        arrays = exemplar_arrays([self.patches])
        edges, counts = self.statistics["histogram"]
        return arrays | {"histogram_edges": np.asarray(edges), "histogram_counts": np.asarray(counts)}


def dossier(atlas: "Atlas", unit: str | Unit, *, top: int | None = None) -> Dossier:
    """All that an atlas knows of a unit.

    Args:
        atlas: from ``survey`` or ``open_atlas``.
        unit: ``"features.10:7"``.
        top: exemplars that are shown; None is as many as the atlas has.

    Raises:
        ConvscopeError: no such layer or unit.
    """
    name = str(unit)
    said = atlas.statistics(name)  # refuses what the atlas has not
    wanted = unit if isinstance(unit, Unit) else parse_unit(name)
    assert wanted is not None
    (patches,) = patches_of(atlas, [wanted], top)
    near = [(parse_unit(other), r) for other, r in near_units(atlas, name, NEIGHBOURS)]
    others = patches_of(atlas, [other for other, _ in near if other is not None])
    neighbours = tuple(zip(others, [r for _, r in near], strict=True))
    labels = tuple(atlas.label(image) or "" for _, image, *_ in patches.exemplars)  # an image without one: ""
    synthetic = atlas.picture(name, 0, SYNTHETIC)
    return Dossier(
        patches, said, neighbours, images_compared(atlas), atlas.ablation(name), synthetic, labels,
        f"{field_words(atlas.layer(wanted.layer))} · {data_words(atlas)}", stamp_of(atlas),
    )  # fmt: skip


def dossiers(atlas: "Atlas", units: Sequence[str | Unit], *, top: int | None = None) -> list[Dossier]:
    """One a unit, in their order."""
    return [dossier(atlas, unit, top=top) for unit in units]


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not np.isfinite(value) else value
