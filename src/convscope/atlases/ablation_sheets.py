"""The sheet of an ablation over data: units ranked by the accuracy that they cost, and the cost class by class.

Red is lost, blue won, on one scale with 0 in its middle. Where classes have few images, so that their accuracy is all
or nothing, a cell is the drop of the right class's probability instead, and the sheet says so. Of many units the most
costly and the last are drawn, of many classes those that are changed most: the numbers of all are in the result.
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from PIL import Image

from convscope.render.colour_bar import ColourBar
from convscope.render.effect_chart import Effect, effect_chart
from convscope.render.frame import page
from convscope.render.scale import scale_of

if TYPE_CHECKING:
    from convscope.atlases.data_ablations import DataAblation

MOST_UNITS, LAST_UNITS, MOST_CLASSES = 36, 4, 50
_CELLS = {"accuracy": "of the class's accuracy", "probability": "of the right class's probability, mean"}


def ablations_sheet(made: "DataAblation") -> Image.Image:
    """Bars, cells and names; on a white page with its title."""
    rows = drawn_units(made.ranking)
    columns = drawn_classes(made.points_by_class[rows], made.effects.images)
    drawn = made.points_by_class[np.ix_(rows, columns)]
    effects: list[Effect | None] = [
        Effect(made.names[row], float(made.effects.lost[row]), cells.tolist(), _counts(made, row), _hurt(made, row))
        for row, cells in zip(rows, drawn, strict=True)
    ]
    if len(rows) < len(made.sets):
        effects.insert(len(rows) - LAST_UNITS, None)
    finite = drawn[np.isfinite(drawn)]
    scale = scale_of(finite if finite.size else np.zeros(1), signed=True)
    body = effect_chart(
        effects, [_heading(made, column) for column in columns], scale, heading="points of accuracy lost, images",
        said=f"hurt most, points {_CELLS[made.cells]}",
    )  # fmt: skip
    return page(
        body, title=made.title, subtitle=_subtitle(made, len(rows), len(columns)), footer=made.stamp.line(),
        bar=ColourBar(scale, unit="red: lost without the unit · blue: won"),
        said=f"Percentage points {_CELLS[made.cells]}",
    )  # fmt: skip


def drawn_units(ranking: tuple[int, ...]) -> list[int]:
    """The most costly and, of many, the last few."""
    if len(ranking) <= MOST_UNITS:
        return list(ranking)
    return [*ranking[: MOST_UNITS - LAST_UNITS], *ranking[-LAST_UNITS:]]


def drawn_classes(values: Float[np.ndarray, "k c"], images: np.ndarray) -> list[int]:
    """Those with images; of many the ones that these units change most, in their order."""
    present = np.flatnonzero(images)
    if len(present) <= MOST_CLASSES:
        return present.tolist()
    changed = np.abs(np.nan_to_num(values)).sum(0)[present]
    return sorted(present[np.argsort(-changed, kind="stable")[:MOST_CLASSES]].tolist())


def _heading(made: "DataAblation", column: int) -> str:
    if made.cells == "probability":
        return made.classes[column]
    return f"{made.classes[column]} ({100 * made.effects.accuracy_by_class[column]:.0f} %)"


def _counts(made: "DataAblation", row: int) -> str:
    effects = made.effects
    lost = f"{effects.lost[row]:.2g}".replace("-", "−")
    return f"{lost}  ({int(effects.wrong_now[row].sum())} lost, {int(effects.won[row].sum())} won)"


def _hurt(made: "DataAblation", row: int) -> str:
    return ", ".join(hurt_text(made, row, column) for column in made.most_hurt(row))


def hurt_text(made: "DataAblation", row: int, column: int) -> str:
    """``cat −5``, in percentage points."""
    lost = made.points_by_class[row, column]
    return f"{made.classes[column]} −{lost:.0f}" if lost >= 9.5 else f"{made.classes[column]} −{lost:.2g}"


def _subtitle(made: "DataAblation", rows: int, columns: int) -> str:
    parts = [made.summary]
    if rows < len(made.sets):
        parts.append(f"Drawn: {rows} of {len(made.sets)} units, the most costly and the last {LAST_UNITS}.")
    if columns < int((made.effects.images > 0).sum()):
        parts.append(f"Classes: the {columns} changed most.")
    if made.cells == "accuracy":
        parts.append("In brackets the intact network's accuracy on the class.")
    if made.judged_by == "answers":
        parts.append("Without labels: right is what the intact network answers.")
    if made.refused:
        parts.append(f"{len(made.refused)} images left out.")
    return " ".join([*parts, *made.notes])
