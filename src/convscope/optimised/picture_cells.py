"""How pictures by optimisation lie on a sheet: their tiles, how large they are, and the words around them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, cast

from convscope.drawing import picture_of
from convscope.optimised.one_picture import Picture
from convscope.render.grid import Cell
from convscope.render.typography import number_text
from convscope.synthesis.recipes import PLAIN, Recipe
from convscope.views.unit_names import in_words
from convscope.wording import percent

SMOOTH_FROM = 48  # px a side; smaller pictures show their pixels
_MOST_COLUMNS = ((12, 5), (30, 6), (64, 8), (256, 12))  # up to so many pictures
_SHEET_WIDTH, _LEAST, _LARGEST = 1120, 88, {1: 320, 2: 288, 3: 256}  # points
_WIDE = 184  # points, which a class's three probabilities need
_PLURAL = {
    "unit": "units", "neuron": "neurons", "layer": "layers", "class": "classes", "objective": "objectives"
}  # fmt: skip
BEST = "best"


def layout_of(count: int) -> tuple[int, int]:
    """Columns, the rows as even as can be, and the width of a tile in points, by how many pictures there are."""
    most = next((columns for up_to, columns in _MOST_COLUMNS if count <= up_to), 16)
    columns = -(-count // -(-count // most))
    return columns, min(_LARGEST.get(columns, 216), max(_LEAST, _SHEET_WIDTH // columns))


def cell_of(
    picture: Picture, strongest: Mapping[str, float], width: int, *, label: str | None = None, badge: str = ""
) -> Cell:
    """The picture with what it reached below it; a grey field where it never fired. ``width`` in points."""
    smooth = min(picture.values.shape[1:]) >= SMOOTH_FROM
    return Cell(
        ("never fires" if picture.dead else picture_of(picture.shown),),
        picture.name if label is None else label,
        below=() if picture.dead else below_of(picture, strongest, is_narrow=width < _WIDE),
        badge=badge,
        smooth=smooth,
    )


def below_of(picture: Picture, strongest: Mapping[str, float], *, is_narrow: bool = False) -> tuple[str, ...]:
    """``activation 12.3, peak 48``; the share of the strongest; a class's probabilities."""
    if picture.probabilities is not None:
        as_it_is, shifted, turned = map(percent, picture.probabilities)
        moved = (
            f"moved {percent(min(picture.probabilities[1:]))}" if is_narrow else f"shifted {shifted}, turned {turned}"
        )
        return f"{as_it_is}, logit {number_text(picture.score)}", moved
    has_map = picture.kind == "unit" and picture.peak != picture.score
    word = "mean" if has_map or picture.kind == "layer" else "score" if picture.unit is None else "activation"
    lines = [f"{word} {number_text(picture.score)}"]
    if has_map and picture.peak is not None:
        lines[0] += f", peak {number_text(picture.peak)}"
    share = picture.share_of(strongest)
    of = "of strongest" if is_narrow else "of the strongest in photos"
    return (*lines, f"peak {share:.0%} {of}") if share is not None else tuple(lines)


def said_of(pictures: Sequence[Picture], what: str = "What drives") -> str:
    """``What drives features.10:37 most``, ``What drives 16 units of features.10 most``."""
    units = [one for one in pictures if one.unit is not None]
    if len(units) == len(pictures):
        return f"{what} {in_words([one.unit for one in units if one.unit is not None])} most"
    if len(pictures) <= 3:
        return f"{what} {_listed([one.name for one in pictures])} most"
    counts = Counter(one.kind for one in pictures)
    said = [f"{count} {kind if count == 1 else _PLURAL[kind]}" for kind, count in counts.items()]
    return f"{what} {_listed(said)} most"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def recipe_words(recipe: Recipe, *, but: Sequence[str] = ()) -> str:
    """``fourier image, 256 steps``, and the fields that are not as by default, less those named by ``but``.

    Where that is shorter, the fields that are not as in ``PLAIN``: ``pixels image, 160 steps, plain, tv 0.5``.
    """
    usual, plain = (_unlike(recipe, other, but) for other in (Recipe(), PLAIN))
    is_plain = len(plain) < len(usual)
    changed = [f"{name.replace('_', ' ')} {written(getattr(recipe, name))}" for name in (plain if is_plain else usual)]
    first = [f"{recipe.image} image"] * ("image" not in but) + [f"{recipe.steps} steps"] * ("steps" not in but)
    return ", ".join([*first, *["plain"] * is_plain, *changed])


def _unlike(recipe: Recipe, other: Recipe, but: Sequence[str]) -> list[str]:
    """The fields in which they differ, image and steps aside."""
    names = [one.name for one in fields(recipe) if one.name not in ("image", "steps", *but)]
    return [name for name in names if getattr(recipe, name) != getattr(other, name)]


def written(value: Any) -> str:
    """``0.125``, ``0.9 to 1.1``, ``fourier``: a value of a recipe's field."""
    if isinstance(value, tuple):
        return " to ".join(map(written, cast("tuple[Any, ...]", value)))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
