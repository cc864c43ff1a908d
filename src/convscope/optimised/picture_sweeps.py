"""A recipe swept through: the same targets with several values of one of its fields, so that its part in them is seen.

Rows are targets, columns values. The best picture of a row is that of the highest class probability after a shift and
after a turn, the smaller of the two; of units it is the highest score after these. What is good only where it stands is
good by its pixels, not by what it shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.optimised.interrupted import Interrupted, UnfinishedError
from convscope.optimised.made_pictures import OnStep, make, run_of
from convscope.optimised.one_picture import Picture
from convscope.optimised.picture_cells import BEST, cell_of, recipe_words, written
from convscope.optimised.picture_targets import Asked
from convscope.optimised.unit_pictures import CLAIM, LIMITS, Pictures, pictures_of
from convscope.render.grid import About, Cell, rows_of_cells
from convscope.results import Shown
from convscope.stamps import Stamp

NOT_MADE = Cell(("not made",))
WIDTH = 1120  # points for the tiles of a row


@dataclass(frozen=True, eq=False)
class Sweep(Shown):
    """Rows are ``targets``, columns ``settings`` of one field; ``columns`` has the pictures of each, ``best`` a number.

    ``best[row]`` is the column whose picture of that target is best; None where each is dead, or there is only one.
    """

    field_name: str
    settings: tuple[Any, ...]
    targets: tuple[str, ...]
    columns: tuple[Pictures, ...] = field(repr=False)
    stamp: Stamp = field(repr=False)

    def made(self, row: int, column: int) -> Picture | None:
        """One picture; None where an interrupted run did not come to it."""
        if column >= len(self.columns):
            return None
        return next((one for one in self.columns[column].pictures if one.name == self.targets[row]), None)

    @property
    def best(self) -> tuple[int | None, ...]:
        """The best column of each row."""
        return tuple(self._best(row) for row in range(len(self.targets)))

    def _best(self, row: int) -> int | None:
        found = [(one.steadiness, -i) for i in range(len(self.settings)) if (one := self.made(row, i)) and not one.dead]
        return -max(found)[1] if len(found) > 1 else None

    @property
    def title(self) -> str:
        """``tv 0.125, 0.25, 0.5: what it does to 3 pictures``."""
        values = ", ".join(map(written, self.settings))
        many = f"from {written(self.settings[0])} to {written(self.settings[-1])}"
        count = len(self.targets)
        what = self.targets[0] if count == 1 else f"{count} pictures"
        return f"{self.field_name} {values if len(values) <= 48 else many}: what it does to {what}"

    @property
    def subtitle(self) -> str:
        """The rest of the recipe, and what best means."""
        first = self.columns[0].pictures[0]
        classes = {one.kind == "class" for column in self.columns for one in column.pictures}
        by = " or ".join(
            word for is_class, word in ((True, "class probability"), (False, "score")) if is_class in classes
        )
        h, w = first.values.shape[1:]
        size = "" if self.field_name == "size" else f", {h} x {w} px"
        rest = recipe_words(self.columns[0].recipe, but=[self.field_name])
        marked = f"{BEST}: the highest {by} after a small shift and a small turn, the smaller of the two"
        return f"Made by optimisation{size}, {rest} · {marked}"

    def picture(self) -> Image.Image:
        """The sheet, with the best of each row marked."""
        best, known = self.best, self.columns[0].strongest
        width = max(72, min(208, WIDTH // len(self.settings)))
        rows = [
            [
                NOT_MADE if one is None else cell_of(one, known, width, label="", badge=BEST if i == best[row] else "")
                for i in range(len(self.settings))
                for one in [self.made(row, i)]
            ]
            for row in range(len(self.targets))
        ]
        about: About = {"title": self.title, "subtitle": self.subtitle, "footer": self.stamp.line()}
        headings = [f"{self.field_name} {written(value)}" for value in self.settings]
        return rows_of_cells(rows, row_headings=self.targets, column_headings=headings, tile_width=width, **about)

    def facts(self) -> Mapping[str, str]:
        """What is swept, what is best, and what such pictures do not show."""
        facts = {"sweep": self.title, "made": self.subtitle}
        for name, best in zip(self.targets, self.best, strict=True):
            facts[name] = "; ".join(
                f"{written(value)}: {one.reached}{f' ({BEST})' if i == best else ''}"
                for i, value in enumerate(self.settings)
                if (one := self.made(self.targets.index(name), i)) is not None
            )
        return facts | {"what it shows": CLAIM, "what it does not": LIMITS}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The arrays of each column, after its value; the number of the best column of each row, -1 for none."""
        arrays = {"best": np.array([-1 if best is None else best for best in self.best])}
        for value, column in zip(self.settings, self.columns, strict=False):
            arrays |= {f"{self.field_name} {written(value)} {k}": array for k, array in column.arrays().items()}
        return arrays

    def as_json(self) -> dict[str, Any]:
        """What ``convscope visualize --json`` prints of it."""
        columns = [
            {"value": value, "pictures": column.as_json()}
            for value, column in zip(self.settings, self.columns, strict=False)
        ]
        return {"field": self.field_name, "columns": columns, "best": dict(zip(self.targets, self.best, strict=True))}


def sweep(
    net: Network, targets: Asked | Sequence[Asked], field_name: str, values: Sequence[Any], **options: Any
) -> Sweep:
    """The same targets with several values of one field of the recipe (or of ``seed`` or ``size``), as one sheet.

    Args:
        net: from ``load``.
        targets: as ``visualize`` takes them: the rows.
        field_name: any field of ``Recipe``, such as ``tv`` or ``image``; ``seed`` or ``size`` too.
        values: its values: the columns.
        options: all that ``visualize`` takes.

    Raises:
        ConvscopeError: as ``visualize``; a field that there is not, no values, one that is refused or given twice.
    """
    settings = tuple(values)
    if not settings or any(value in settings[:i] for i, value in enumerate(settings)):
        raise ConvscopeError(f"{field_name} of {list(settings)}: give one value or several different ones")
    if field_name in options:
        raise ConvscopeError(f"{field_name} is swept through {list(settings)}, so it cannot be {options[field_name]}")
    options = dict(options)
    strongest, tell = options.pop("strongest", None), options.pop("on_step", None)
    runs = [
        replace(run_of(net, **options, **{field_name: value}), prefix=f"{field_name} {written(value)}/")
        for value in settings
    ]
    found = [run.targets(targets) for run in runs]  # all of them, before the first step
    every = [run.steps(ones) for run, ones in zip(runs, found, strict=True)]
    names, columns = tuple(one.name for one in found[0]), list[Pictures]()

    def sheet(more: Pictures | None) -> Sweep | None:
        made = (*columns, *([] if more is None else [more]))
        return Sweep(field_name, settings, names, made, made[0].stamp) if made else None

    for i, (run, ones) in enumerate(zip(runs, found, strict=True)):
        counted = run if tell is None else replace(run, on_step=_counted(tell, sum(every[:i]), sum(every)))
        later = [f"{name} at {written(value)}" for value in settings[i + 1 :] for name in names]
        try:
            columns.append(make(counted, ones, partial(pictures_of, run, strongest)))
        except Interrupted as stopped:
            raise Interrupted(sheet(stopped.ready), _at(settings[i], stopped.missing, later)) from stopped
        except UnfinishedError as stopped:
            where = f"{field_name} {written(settings[i])}: {stopped}"
            missing = _at(settings[i], stopped.missing, later)
            raise UnfinishedError(where, sheet(stopped.ready), missing, stopped.last) from stopped
    made = sheet(None)
    assert made is not None
    return made


def _at(value: Any, missing: Sequence[str], later: Sequence[str]) -> tuple[str, ...]:
    """What was not made: of the column that was broken off, then of the later ones."""
    return (*(f"{name} at {written(value)}" for name in missing), *later)


def _counted(tell: OnStep, before: int, every: int) -> OnStep:
    """Steps of one run as steps of all."""
    return lambda done, _: tell(before + done, every)
