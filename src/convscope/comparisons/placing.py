"""How explanations come to stand side by side: tiles, one scale for those that are compared, names of their own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from convscope.attribution.registry import METHODS
from convscope.drawing import scale_for
from convscope.render.colour_bar import ColourBar
from convscope.render.overlay import OPACITY
from convscope.render.scale import Scale
from convscope.render.tile import Tile
from convscope.results import Comparison, Explanation, Prediction, fitted
from convscope.stamps import Stamp, combined
from convscope.wording import percent


def photo_tile(seen: Prediction, *, caption: str = "photo") -> Tile:
    """The part of the photo that the network saw, and its answer."""
    return Tile(fitted(seen.photo), caption, f"{seen[0][0]} {percent(seen[0][1])}")


def answer_line(seen: Prediction, most: int = 3) -> str:
    """``tabby 91.0%, lion 3.1%, ...``."""
    return ", ".join(f"{name} {percent(probability)}" for name, probability in seen[:most])


def in_a_row(
    title: str,
    subtitle: str,
    seen: Prediction,
    found: Sequence[Explanation],
    names: Sequence[str],
    notes: Sequence[str],
    *,
    shared: bool,
    unit: str = "",
) -> Comparison:
    """The photo and the maps of one method beside it; heat on one scale has one colour bar, in ``unit``."""
    by_name = dict(zip(distinct(names), found, strict=True))
    scale = shared_scale(found) if shared else None
    tiles = [e.tile(scale, caption=name, note=note) for (name, e), note in zip(by_name.items(), notes, strict=True)]
    bar = None
    if scale is not None and METHODS[found[0].method].look == "heat":
        bar = ColourBar(scale, opacity=OPACITY, unit=unit)
        tiles = [replace(tile, bar=None) for tile in tiles]
    row = (photo_tile(seen), *tiles)
    return Comparison(title, subtitle, (row,), by_name, {}, stamp_of(found), bar=bar)


def shared_scale(found: Sequence[Explanation]) -> Scale:
    """The scale that all these maps share."""
    return scale_for(found[0].method, [e.values for e in found])


def scales_by_look(found: Iterable[Explanation]) -> dict[str, Scale]:
    """One scale for all maps that are drawn alike."""
    by_look: dict[str, list[Explanation]] = {}
    for explanation in found:
        by_look.setdefault(METHODS[explanation.method].look, []).append(explanation)
    return {look: shared_scale(alike) for look, alike in by_look.items()}


def stamp_of(found: Iterable[Explanation]) -> Stamp:
    """The stamp of the sheet: of every model and photo on it."""
    return combined([e.stamp for e in found])


def distinct(names: Sequence[str]) -> list[str]:
    """``["crane", "crane"]`` -> ``["crane", "crane (2)"]``: ImageNet has two classes of that name."""
    counts: dict[str, int] = {}
    found: list[str] = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        found.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return found


def one_of(targets: Mapping[str, Explanation] | Sequence[Explanation]) -> str:
    """The targets that were explained, each once: ``lion``, or ``lion and tabby``."""
    every = targets.values() if isinstance(targets, Mapping) else targets
    return " and ".join(dict.fromkeys(e.target for e in every))
