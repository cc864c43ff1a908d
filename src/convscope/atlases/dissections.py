"""Network dissection as results: which units of a layer detect which concepts, and what that looks like.

A sheet has a row a detector, the best unit of each concept first, with the annotated photos that excite it most: its
region outlined as it was counted, the concept's boxes or mask dashed beside it, and over each row the IoU over all
photos. What a row shows is the unit's best side; how often it is wrong is in its precision, which stands there too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convscope.atlases.detector_pictures import DetectorPhoto, detector_photos
from convscope.dataset.chosen_layers import RunLayer, choose_layers, run_layers
from convscope.dataset.concept_boxes import read_boxes
from convscope.dataset.concept_masks import read_masks
from convscope.dataset.concepts import Concepts
from convscope.dataset.dissecting import dissect_layers
from convscope.dataset.dissection import LEAST_IOU, LEVEL, LayerDissection
from convscope.dataset.image_sources import ImageSource, source_of, without_archive_suffix
from convscope.errors import ConvscopeError
from convscope.network.head import default_layer
from convscope.network.listing import example_input
from convscope.network.loading import Network
from convscope.render.grid import About, Cell, rows_of_cells
from convscope.results import Shown
from convscope.stamps import Stamp, stamp
from convscope.views.units_asked import checked_units

ROWS, PHOTOS = 8, 6  # of a sheet
_TILE = 128  # points
_NAMED = 5  # concepts in a line


@dataclass(frozen=True, eq=False)
class Dissection(Shown):
    """One layer, dissected. ``table`` has the numbers, ``shown`` the units that the sheet draws, each with its photos.

    ``least`` is the IoU that a detector is above; ``photos`` what was looked at, ``annotations`` what it was held to;
    ``skipped`` photo -> why it was left out.
    """

    table: LayerDissection = field(repr=False)
    least: float
    level: float
    photos: str
    annotations: str
    skipped: Mapping[str, str] = field(repr=False)
    shown: Mapping[int, tuple[DetectorPhoto, ...]] = field(repr=False)
    stamp: Stamp = field(repr=False)

    @property
    def layer(self) -> str:
        """The layer's name."""
        return self.table.layer

    @property
    def units(self) -> int:
        """How many units it has."""
        return len(self.table.thresholds)

    @property
    def detectors(self) -> list[tuple[int, str, float]]:
        """(unit, concept, IoU), the largest IoU first."""
        return [(unit, self.table.concepts[c], iou) for unit, c, iou in self.table.detectors(self.least)]

    @property
    def unique(self) -> tuple[str, ...]:
        """The concepts that some unit detects, the best detected first."""
        return tuple(dict.fromkeys(concept for _, concept, _ in self.detectors))

    @property
    def title(self) -> str:
        """``245 of 256 units of features.18 detect 49 concepts``."""
        count, unique = len(self.detectors), len(self.unique)
        does = "detects" if count == 1 else "detect"
        return f"{count} of {self.units} units of {self.layer} {does} {unique} concept{'s' * (unique != 1)}"

    @property
    def out_of_reach(self) -> Mapping[str, float]:
        """The concepts that no unit can detect, however well it fits, and the IoU that they could reach at most."""
        return {self.table.concepts[c]: most for c, most in self.table.out_of_reach(self.least).items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the list of detectors does not say by itself: that there is none, and what could not be one."""
        notes: list[str] = []
        if not self.detectors:
            best = self._row(self.table.detectors(-1.0)[0][0])
            notes.append(
                f"no detector: the largest IoU is {best['IoU']:.3f}, of unit {best['unit']} with {best['concept']}; "
                f"a detector's is above {self.least:g}"
            )
        if beyond := list(self.out_of_reach.items()):
            named = ", ".join(f"{name} (IoU {most:.3f} at most)" for name, most in beyond[:_NAMED])
            more = f" and {len(beyond) - _NAMED} more" * (len(beyond) > _NAMED)
            notes.append(f"too large or too small to be detected: {named}{more}")
        return tuple(notes)

    @property
    def subtitle(self) -> str:
        """What was counted as what."""
        what = f"{self.photos}, {self.table.annotated:,} of them annotated: {self.annotations}"
        how = (
            f"Detector: IoU above {self.least:g} over all of these. Outlined: where the unit is above the level that "
            f"it exceeds at {100 * self.level:g} % of all places; dashed: the concept. Each row the photos that excite "
            "the unit most"
        )
        return ". ".join([what, *(note[0].upper() + note[1:] for note in self.notes), how])

    def picture(self) -> Image.Image:
        """The best detectors, one a concept first, with the photos that excite them most."""
        about: About = {"title": self.title, "subtitle": self.subtitle, "footer": self.stamp.line()}
        width = max(len(photos) for photos in self.shown.values())
        blank = Cell(("",), smooth=True)
        rows: list[list[Cell]] = []
        for photos in self.shown.values():
            cells = [Cell((photo.picture,), photo.caption, smooth=True) for photo in photos]
            rows.append(cells + [blank] * (width - len(cells)))
        return rows_of_cells(rows, row_headings=[self._heading(u) for u in self.shown], tile_width=_TILE, **about)

    def _heading(self, unit: int) -> str:
        row = self._row(unit)
        known = row["IoU"] > self.least
        name = row["concept"] if known else f"({row['concept']})"
        return f"{name}\nunit {unit}\nIoU {row['IoU']:.3f}\nprecision {row['precision']:.2f}"

    def _row(self, unit: int) -> dict[str, Any]:
        table = self.table
        concept = int(table.best[unit])
        return {
            "unit": unit,
            "concept": table.concepts[concept],
            "IoU": float(table.iou[unit, concept]),
            "precision": float(table.precision[unit, concept]),
            "threshold": float(table.thresholds[unit]),
            "share_above": float(table.above[unit]),
        }

    def facts(self) -> Mapping[str, str]:
        """What was found, and how."""
        found = {"dissection": self.title, "how": self.subtitle, "layer": self.layer}
        if self.notes:
            found["note"] = "; ".join(self.notes)
        found |= {f"unit {u}": f"{concept}, IoU {iou:.3f}" for u, concept, iou in self.detectors[:40]}
        if bad := int(self.table.nonfinite.sum()):
            found["not counted"] = f"{bad} activations that are NaN or infinite"
        return found | {f"left out: {name}": why for name, why in self.skipped.items()}

    def as_json(self) -> dict[str, Any]:
        """What ``convscope dissect --json`` prints of it."""
        detectors = [self._row(unit) for unit, _, _ in self.detectors]
        about = {"layer": self.layer, "units": self.units, "level": self.level, "least_iou": self.least}
        about |= {"concepts": len(self.table.concepts), "unique_detectors": list(self.unique)}
        about |= {"out_of_reach": dict(self.out_of_reach)}
        return about | {"detectors": detectors, "skipped": dict(self.skipped)}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """All counts, the thresholds and the concepts' names."""
        table = self.table
        return {
            "iou": table.iou,
            "intersections": table.intersections,
            "unit_areas": table.unit_areas,
            "concept_areas": table.concept_areas,
            "thresholds": table.thresholds,
            "above": table.above,
            "concepts": np.array(table.concepts),
        }


def dissect(
    net: Network,
    data: Any,
    boxes: str | Path | None = None,
    masks: str | Path | None = None,
    names: str | Path | None = None,
    layers: Sequence[str] | str | None = None,
    *,
    level: float = LEVEL,
    least: float = LEAST_IOU,
    units: Sequence[int] | None = None,
    rows: int = ROWS,
    photos: int = PHOTOS,
    batch: int = 16,
    on_step: Callable[[int, int], None] | None = None,
) -> dict[str, Dissection]:
    """Which units of some layers detect which of the concepts that photos are annotated with (Bau et al. 2017).

    Args:
        net: from ``load``.
        data: a folder of photos, an archive, a Dataset: whatever ``survey`` takes.
        boxes: a CSV with the columns path,x0,y0,x1,y1 (the first and last pixel) and perhaps class or label.
        masks: or a folder of PNG files with one number a pixel.
        names: of the masks' numbers, a CSV with number,name or a JSON object.
        layers: their names, or patterns with ``*``; None is the last map before the head.
        level: the share of all positions at which a unit is above its threshold.
        least: the IoU that a detector is above, from 0 to below 1.
        units: which the sheet draws; None the best of each concept.
        rows: units on a sheet, where none are named.
        photos: photos a unit.
        batch: photos in one pass.
        on_step: called with (done, all) photos of both passes.

    Raises:
        ConvscopeError: no annotations, none that fit the photos, no such layer or unit, a layer without maps, a level
            or least IoU that is none; all before the first photo is run. No photo that can be used.
    """
    if not 0 <= least < 1:
        raise ConvscopeError(f"least={least:g}: the IoU that a detector is above (--iou) is from 0 to below 1")
    source = source_of(data)
    concepts = _concepts(source, boxes, masks, names)
    wanted = _layers(net, layers)
    drawn = {layer.name: None if units is None else checked_units(units, layer.units, layer.name) for layer in wanted}
    skipped: dict[str, str] = {}
    asked: dict[str, Any] = {"level": level, "top": photos, "batch": batch, "on_image": _counter(source, on_step)}
    found = dissect_layers(net, source, concepts, list(drawn), skipped=skipped.__setitem__, **asked)
    made: dict[str, Dissection] = {}
    for layer, table in found.items():
        shown = detector_photos(net, source, concepts, table, drawn[layer] or _chosen(table, least, rows))
        made[layer] = Dissection(table, least, level, source.line(), concepts.line, skipped, shown, stamp(net))
    return made


def _concepts(source: ImageSource, boxes: Any, masks: Any, names: Any) -> Concepts:
    if (boxes is None) == (masks is None):
        raise ConvscopeError("dissection needs boxes (a CSV) or masks (a folder), one of the two")
    if masks is not None:
        return read_masks(Path(masks), None if names is None else Path(names))
    if names is not None:
        raise ConvscopeError("names are of masks' numbers; boxes have the column 'class' or the photos' folders")
    return read_boxes(Path(boxes), source.names, _folders(source.place))


def _folders(place: str | None) -> tuple[str, ...]:
    """The names of the folders above the data's photos; an archive's own is one of them."""
    if place is None or place.startswith("hf:"):
        return ()
    return Path(without_archive_suffix(place)).parts[1:]


def _layers(net: Network, layers: Sequence[str] | str | None) -> list[RunLayer]:
    x = example_input(net)
    ran = run_layers(net.module, x)
    found = choose_layers(net.module, ran, layers or default_layer(net.module, x))
    if flat := next((layer.name for layer in found if layer.shape == (1, 1)), None):
        last = next((f"; the last map is {each.name!r}" for each in ran[::-1] if each.shape != (1, 1)), "")
        why = "gives one number an image, no map: a unit's region would be all of a photo or nothing"
        raise ConvscopeError(f"layer {flat!r} {why}{last} (convscope layers lists them)")
    return found


def _counter(source: ImageSource, on_step: Callable[[int, int], None] | None) -> Callable[[], None]:
    """Counts the photos of both passes."""
    if on_step is None:
        return lambda: None
    every, done = 2 * sum(1 for _ in source.names()), 0

    def one() -> None:
        nonlocal done
        done += 1
        on_step(done, every)

    return one


def _chosen(table: LayerDissection, least: float, rows: int) -> list[int]:
    """The best unit of each concept, the best first, then the second best of each; without any, the nearest to one."""
    detectors = table.detectors(least) or table.detectors(-1.0)[:1]
    ranks: dict[int, int] = {}
    ordered: list[tuple[int, float, int]] = []
    for unit, concept, iou in detectors:
        rank = ranks[concept] = ranks.get(concept, -1) + 1
        ordered.append((rank, -iou, unit))
    return [unit for _, _, unit in sorted(ordered)[:rows]]
