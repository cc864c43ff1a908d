"""What ``convscope unit`` prints: a table of exemplars, or of units, and the files."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convscope.atlases.dossiers import Dossier
    from convscope.atlases.unit_patches import UnitPatches


def print_sheets(done: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """One JSON document, or for every sheet its table and its files."""
    from convscope.atlases.dossiers import Dossier

    if as_json:
        found = [{"files": entry["files"], **entry["sheet"].as_json()} for entry in done]
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for entry in done:
        sheet = entry["sheet"]
        if isinstance(sheet, Dossier):
            _print_unit(sheet)
        else:
            _print_units(sheet.title, sheet.units)
        print(*entry["files"], sep="\n", end="\n\n")


def _print_unit(sheet: "Dossier") -> None:
    """Its exemplars, under its figures and over its neighbours."""
    from rich.text import Text

    from convscope.atlases.neighbours import r_words
    from convscope.cli.tables import new_table, print_table

    table = new_table()
    for heading, justify in (("rank", "right"), ("value", "right"), ("image", "left"), ("y,x", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for rank, (value, image, y, x) in enumerate(sheet.patches.exemplars, 1):
        table.add_row(str(rank), f"{value:.4g}", Text(image), f"{y},{x}")
    near = ", ".join(f"{one.unit.unit} ({r:.2f})" for one, r in sheet.neighbours)
    above = [sheet.unit, " · ".join(sheet.figures.values())]
    below = [f"units that go with it: {near}", r_words(sheet.images_compared)] if near else []
    print_table(table, above=above, below=below)


def _print_units(title: str, units: "Sequence[UnitPatches]") -> None:
    """A line a unit."""
    from rich.text import Text

    from convscope.cli.tables import new_table, print_table

    table = new_table()
    for heading, justify in (("unit", "left"), ("strongest", "right"), ("weakest", "right"), ("in", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for one in units:
        found = one.exemplars
        first, last = (f"{found[place][0]:.4g}" for place in (0, -1)) if found else ("", "")
        table.add_row(Text(str(one.unit)), first, last, Text(found[0][1] if found else "no finite value"))
    print_table(table, above=[title])
