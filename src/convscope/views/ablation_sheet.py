"""The sheet of an ablation: photo and feature map on the left, beside them the answer before and after.

    photo         probabilities before     probabilities after
    feature map   logits before            logits after
    (maps of further units, the first few)

Both charts of a row have the same classes in the same places and one axis: the five most probable before, and after
them those that are among the first five only afterwards.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from convscope.render.chart import probability_bars, value_axis, value_bars
from convscope.render.colour_bar import ColourBar
from convscope.render.overlay import OPACITY, overlay
from convscope.render.scale import scale_of
from convscope.render.sheet import matrix
from convscope.render.tile import Tile
from convscope.render.typography import number_text
from convscope.results import Prediction, fitted
from convscope.wording import percent

_SIDE_PX = 512  # a neuron's frame is drawn on at least so many
MOST_MAPS = 4  # drawn; the result holds them all
_MARK = "#ff2d95"  # of a neuron's place: no colour of the heat


def ablation_sheet(
    before: Prediction,
    after: Prediction,
    target: tuple[str, int],
    maps: Mapping[str, Float[np.ndarray, "h w"]],
    *,
    title: str,
    subtitle: str,
    footer: str,
    importance: Sequence[float] = (),
) -> Image.Image:
    """``target``: name and number of the class that is followed; ``maps`` by the unit's name, in their order."""
    classes = charted_classes(before, after, target)
    photo = fitted(before.photo)
    drawn = [
        _map_tile(photo, name, values, importance[place] if importance else None)
        for place, (name, values) in enumerate(list(maps.items())[:MOST_MAPS])
    ]
    if len(maps) > MOST_MAPS:
        drawn[-1] = _with_note(drawn[-1], f"{MOST_MAPS} of {len(maps)} units shown")
    bars = {what: _charts(what, before, after, classes, target[1]) for what in ("probabilities", "logits")}
    answer = Tile(photo, "photo", f"{before[0][0]} {percent(before[0][1])}")
    rows = [[answer, *bars["probabilities"]], [drawn[0], *bars["logits"]], drawn[1:]]
    return matrix([row for row in rows if row], title=title, subtitle=subtitle, footer=footer)


def charted_classes(before: Prediction, after: Prediction, target: tuple[str, int]) -> dict[int, str]:
    """Number -> name of the classes in the charts, in their order; of two with one name the numbers too."""
    names = dict(zip(before.indices, (name for name, _ in before), strict=True))
    names |= dict(zip(after.indices, (name for name, _ in after), strict=True))
    names |= {target[1]: target[0]}
    every = list(names.values())
    return {i: name if every.count(name) == 1 else f"{name} ({i})" for i, name in names.items()}


def _charts(what: str, before: Prediction, after: Prediction, classes: Mapping[int, str], target: int) -> list[Tile]:
    marked = [classes[target]]
    found: list[list[tuple[str, float]]] = []
    for seen in (before, after):
        values = seen.logits.softmax(0) if what == "probabilities" else seen.logits
        found.append([(name, float(values[i])) for i, name in classes.items()])
    axis = value_axis(value for rows in found for _, value in rows)
    draw = probability_bars if what == "probabilities" else partial(value_bars, axis=axis)
    return [
        Tile(draw(rows, marked=marked), f"{what} {when}") for when, rows in zip(("before", "after"), found, strict=True)
    ]


def _map_tile(photo: Image.Image, name: str, values: Float[np.ndarray, "h w"], importance: float | None) -> Tile:
    if values.size == 1:
        said = f"activation {number_text(float(values.flat[0]))}"
        return Tile(None, name, _noted("", importance), warning=f"{said}: one number, no map")
    scale = scale_of(values)
    heat = overlay(photo, values, scale)
    place = name.rsplit("@", 1)[1].split(",") if "@" in name else None
    if place is not None:
        heat = _marked(heat, (int(place[0]), int(place[1])), values.shape)
    silent = "" if values.any() else "zero everywhere: the unit does not fire on this photo"
    size = f"feature map before, {values.shape[0]} x {values.shape[1]}"
    return Tile(heat, name, _noted(size, importance), ColourBar(scale, opacity=OPACITY, unit="activation"), silent)


def _noted(text: str, importance: float | None) -> str:
    parts = [text, "" if importance is None else f"importance {number_text(importance)}"]
    return " · ".join(part for part in parts if part)


def _with_note(tile: Tile, more: str) -> Tile:
    return Tile(tile.image, tile.caption, f"{tile.note} · {more}", tile.bar, tile.warning)


def _marked(heat: Image.Image, place: tuple[int, int], cells: tuple[int, ...]) -> Image.Image:
    """A frame round one cell of the map."""
    share = max(1.0, _SIDE_PX / max(heat.size))  # of a small photo not one of its own wide pixels
    heat = heat.resize((round(share * heat.width), round(share * heat.height)), Image.Resampling.LANCZOS)
    high, wide = heat.height / cells[0], heat.width / cells[1]
    box = [place[1] * wide, place[0] * high, (place[1] + 1) * wide - 1, (place[0] + 1) * high - 1]
    ImageDraw.Draw(heat).rectangle([round(side) for side in box], outline=_MARK, width=max(1, heat.width // 100))
    return heat
