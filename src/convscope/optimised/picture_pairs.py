"""Two outputs at once: one picture that raises both, by the sum of their scores, between each of them alone.

Two shapes that are alike merge into one that is read as both; two that are not stand beside each other, or one of them
wins: the sum does not ask for both in equal parts. What each of the two reaches stands below the picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.optimised.made_pictures import Run, make, run_of
from convscope.optimised.one_picture import Picture, picture_of_batch
from convscope.optimised.picture_cells import below_of, cell_of
from convscope.optimised.picture_targets import Asked, Target
from convscope.optimised.reached import reached
from convscope.optimised.transparency import over_grey
from convscope.optimised.unit_pictures import CLAIM, LIMITS, Pictures, pictures_of
from convscope.render.grid import About, Cell, grid, rows_of_cells
from convscope.results import Shown
from convscope.stamps import Stamp

SIDE = 208  # points of a tile
NOT_MADE = Cell(("not made",))


@dataclass(frozen=True, eq=False)
class Both(Shown):
    """A row a pair. ``made`` has all pictures; ``readings[i]`` the one of both, read as the first and as the second."""

    pairs: tuple[tuple[str, str], ...]
    readings: tuple[tuple[Picture, Picture] | None, ...] = field(repr=False)
    made: Pictures = field(repr=False)
    stamp: Stamp = field(repr=False)

    def alone(self, name: str) -> Picture | None:
        """The picture of one of the two; None where it was not asked for, or not made."""
        return next((one for one in self.made.pictures if one.name == name), None)

    @property
    def title(self) -> str:
        """``4 & 9, 1 & 7 at once``."""
        named = ", ".join(f"{a} & {b}" for a, b in self.pairs)
        return f"{named if len(named) <= 60 else f'{len(self.pairs)} pairs'} at once"

    def picture(self) -> Image.Image:
        """The pairs; where each alone was made too, in rows of three."""
        about: About = {"title": self.title, "subtitle": self.made.how, "footer": self.stamp.line()}
        middle = [self._middle(i) for i in range(len(self.pairs))]
        if not any(self.alone(name) for pair in self.pairs for name in pair):
            return grid(middle, columns=min(5, len(middle)), tile_width=SIDE, **about)
        rows = [[self._side(a), cell, self._side(b)] for (a, b), cell in zip(self.pairs, middle, strict=True)]
        return rows_of_cells(rows, tile_width=SIDE, **about)

    def _side(self, name: str) -> Cell:
        one = self.alone(name)
        return NOT_MADE if one is None else cell_of(one, self.made.strongest, SIDE)

    def _middle(self, i: int) -> Cell:
        readings, label = self.readings[i], " & ".join(self.pairs[i])
        if readings is None:
            return replace(NOT_MADE, label=label)
        below = tuple(f"{one.name}: {below_of(one, self.made.strongest)[0]}" for one in readings)
        return replace(cell_of(readings[0], {}, SIDE), label=label, below=below)

    def facts(self) -> Mapping[str, str]:
        """What each of the two reached, and what such pictures do not show."""
        facts = {"two outputs at once": self.title, "made": self.made.how}
        for (a, b), readings in zip(self.pairs, self.readings, strict=True):
            said = "not made" if readings is None else "; ".join(f"{one.name} {one.reached}" for one in readings)
            facts[f"{a} & {b}"] = said
        return facts | {"what it shows": CLAIM, "what it does not": LIMITS}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """As of ``Pictures``; the scores and probabilities of both, in the order of the pairs."""
        blank = (torch.nan, torch.nan)
        scores = [blank if r is None else (r[0].score, r[1].score) for r in self.readings]
        p = [blank if r is None else tuple((one.probabilities or blank)[0] for one in r) for r in self.readings]
        pairs = {"pair_scores": np.array(scores, dtype=np.float32), "pairs": np.array(self.pairs)}
        return {**self.made.arrays(), **pairs, "pair_probabilities": np.array(p, dtype=np.float32)}

    def as_json(self) -> dict[str, Any]:
        """What ``convscope visualize --json`` prints of it."""
        known = self.made.strongest
        pairs = [
            {"pair": list(pair), "reached": None if r is None else [one.as_json(known) for one in r]}
            for pair, r in zip(self.pairs, self.readings, strict=True)
        ]
        return {"pairs": pairs, "pictures": self.made.as_json()}


def both(
    net: Network, pairs: Sequence[tuple[Asked, Asked]] | tuple[Asked, Asked], *, alone: bool = True, **options: Any
) -> Both:
    """Pictures that raise two outputs at once, by the sum of their scores; one pair or several.

    Args:
        net: from ``load``.
        pairs: (a, b), or a list of such, each as ``visualize`` takes it.
        alone: with each of the two alone beside it.
        options: all that ``visualize`` takes.

    Raises:
        ConvscopeError: as ``visualize``; what is no pair of two different ones.
    """
    strongest = options.get("strongest")
    run = run_of(net, **{name: value for name, value in options.items() if name != "strongest"})
    two = [_two(run, pair) for pair in _listed(pairs)]
    sums = [Target(_name(a, b), "objective", (a.objective + b.objective).named(_name(a, b))) for a, b in two]
    targets = {one.name: one for one in sums}
    for one in [side for pair in two for side in pair if alone]:
        targets.setdefault(one.name, one)

    def sheet(made: Sequence[Picture], missing: Sequence[str]) -> Both:
        by_name = {one.name: one for one in made}
        readings = tuple(_readings(run, pair, by_name.get(_name(*pair))) for pair in two)
        done = pictures_of(run, strongest, made, missing)
        return Both(tuple((a.name, b.name) for a, b in two), readings, done, done.stamp)

    return make(run, list(targets.values()), sheet)


def _listed(pairs: Any) -> list[Any]:
    """One pair or several, as a list of them."""
    is_one = len(pairs) == 2 and not any(isinstance(one, tuple | list) for one in pairs)
    return [pairs] if is_one else list(pairs)


def _two(run: Run, pair: Any) -> tuple[Target, Target]:
    found = run.targets(list(cast("Sequence[Asked]", pair))) if isinstance(pair, tuple | list) else ()
    if len(found) != 2:
        said = " and ".join(map(repr, cast("Sequence[Asked]", pair))) if isinstance(pair, tuple | list) else repr(pair)
        raise ConvscopeError(f"{said} is no pair: give two different units, classes or layers")
    return found[0], found[1]


def _name(a: Target, b: Target) -> str:
    return f"{a.name} & {b.name}"


def _readings(run: Run, pair: tuple[Target, Target], made: Picture | None) -> tuple[Picture, Picture] | None:
    """The picture of both, read as each of the two."""
    if made is None:
        return None
    alpha = None if made.alpha is None else made.alpha[None]
    images = over_grey(made.values[None], alpha).to(run.pixels.device, run.pixels.dtype)
    first, second = (
        picture_of_batch(one, made.values, reached(run.net.module, [one], images, run.pixels), 0, True, made.alpha)
        for one in pair
    )
    return first, second
