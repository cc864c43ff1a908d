"""The charts of a dossier, side by side: how often the unit says what, for which classes it says most, what the network
loses without it, and the picture that optimisation makes of it. What is not known takes no place.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from convscope.render.chart import Axis, value_axis, value_bars
from convscope.render.histogram import histogram
from convscope.render.tile import column_of, fit, row_of
from convscope.render.typography import GREY, Type, number_text, text_block

CLASSES = 8  # that are drawn
ALL = ""  # the "class" of all images in what an ablation did
_WIDTH, _HEIGHT, _RATIO, _GAP = 300, 250, 2, 36  # points
_EVERY = "all images"
_HEADING, _NOTE = Type(12.5, bold=True), Type(9.5, GREY, lines=2)


def charts(
    statistics: Mapping[str, Any], ablation: Mapping[str, Any], synthetic: Image.Image | None
) -> Image.Image | None:
    """Those that there is something for, in a row; None where there is nothing."""
    drawn = [
        _how_often(statistics),
        _classes(statistics.get("by_class") or {}, str(statistics.get("class") or "")),
        _losses(ablation),
        _made(synthetic),
    ]
    shown = [one for one in drawn if one is not None]
    return row_of(*shown, gap_px=_GAP * _RATIO) if shown else None


def _headed(heading: str, note: str, body: Image.Image) -> Image.Image:
    width = max(body.width, 160 * _RATIO)
    head = text_block(heading, width, _HEADING, pixel_ratio=_RATIO)
    below = text_block(note, width, _NOTE, pixel_ratio=_RATIO)
    return column_of(head, *([below] if note else []), body, gap_px=3 * _RATIO)


def _how_often(statistics: Mapping[str, Any]) -> Image.Image | None:
    edges, counts = statistics["histogram"]
    if not np.asarray(counts).sum():
        return None
    mean = float(statistics["mean"])
    marks = [(mean, f"mean {number_text(mean)}")] if np.isfinite(mean) else []
    body = histogram(np.asarray(edges), np.asarray(counts), marks=marks, width=_WIDTH, height=_HEIGHT - 20)
    return _headed("How often it says what", "share of sampled positions, on a logarithmic axis", body)


def _classes(by_class: Mapping[str, Mapping[str, Any]], selective: str) -> Image.Image | None:
    means = {name: float(of_class["rectified"]) for name, of_class in by_class.items()}
    strongest = strongest_classes(means, selective)[:CLASSES]
    if len(strongest) < 2 or means[strongest[0]] <= 0:
        return None
    values = [(name, means[name]) for name in strongest]
    axis = value_axis(value for _, value in values)
    body = value_bars(values, axis, marked=[selective], width=_WIDTH, height=_HEIGHT)
    note = f"mean of what is above 0 (the rest as 0); {len(values)} of {len(means)} classes"
    return _headed("Classes it says most for", note, body)


def strongest_classes(rectified: Mapping[str, float], selective: str | None) -> list[str]:
    """The classes by their mean of max(A, 0), the largest first; where float32 knows no first, the selective one."""
    known = [name for name, value in rectified.items() if np.isfinite(value)]
    return sorted(known, key=lambda name: (-rectified[name], name != selective))


def _losses(ablation: Mapping[str, Mapping[str, Any]]) -> Image.Image | None:
    """Of all images, and of the classes that lose most (or gain), in percentage points of accuracy."""
    whole = ablation.get(ALL)
    if whole is None:
        return None
    lost = {name: lost_points(of_class) for name, of_class in ablation.items() if name != ALL}
    most = sorted((name for name, points in lost.items() if points), key=lambda name: -lost[name])[:CLASSES]
    values = [(_EVERY, lost_points(whole)), *((name, lost[name]) for name in most)]
    body = value_bars(values, _points(values), marked=[_EVERY], width=_WIDTH, height=_HEIGHT)
    return _headed("What is lost without it", "percentage points of accuracy, the unit set to zero", body)


def _points(values: Sequence[tuple[str, float]]) -> Axis:
    """At least a point wide: a loss of nothing is no bar."""
    return value_axis([*(value for _, value in values), 1.0])


def lost_points(figures: Mapping[str, Any]) -> float:
    """Accuracy before less that after, in percentage points."""
    return 100 * (figures["correct_before"] - figures["correct_after"]) / figures["images"]


def _made(synthetic: Image.Image | None) -> Image.Image | None:
    if synthetic is None:
        return None
    side = (_HEIGHT - 30) * _RATIO
    return _headed("Made by optimisation", "what drives it most, not a photo", fit(synthetic, side))
