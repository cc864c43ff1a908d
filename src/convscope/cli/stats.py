"""``convscope stats``: the numbers of an atlas, of a layer, of a unit, and class by class."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import atlas_options as given
from convscope.cli import explain_options as sheets
from convscope.cli import options as opt
from convscope.cli.outputs import endings_of, name_part, save_as, sheets_folder
from convscope.cli.running import command, say
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.results import Shown
    from convscope.store.atlas import Atlas

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[LAYER|LAYER:UNIT]...",
        help="Layers and units, several as LAYER:3,7 or LAYER:0-15; without any the whole network.",
    ),
]
Of = Annotated[
    list[str] | None,
    typer.Option("--class", "-c", help="A class of the photos; repeat it. By default those that say the most."),
]
Top = Annotated[int, typer.Option("--top", min=1, help="Units a class, of a layer.")]
Rank = Annotated[
    str,
    typer.Option(
        "--rank", help="What orders a class's units: their mean above 0, or its difference from that of all photos."
    ),
]
Units = Annotated[
    str | None, typer.Option("--units", help="Of a layer's mean maps, the units by number: 2,7,17 or 0-15.")
]


@command("stats")
def stats(
    atlas: given.AtlasPath,
    names: Names = None,
    of: Of = None,
    top: Top = 12,
    rank: Rank = "mean",
    units: Units = None,
    out: given.Out = Path("convscope-out"),
    save: sheets.Save = "png",
    as_json: opt.Json = False,
) -> None:
    """Print and draw the statistics of an atlas: of the network and its answers, of layers, of units.

    Of the network: every layer, the accuracy of each class and the confusion matrix. Of a layer: its units, for every
    class the units that it makes active (a colour a unit), and their mean maps where they were kept. Of a unit: its
    histogram and its classes.

    [cyan]convscope stats photos.atlas[/]

    [cyan]convscope stats photos.atlas features.18 --class lion --class tabby --rank difference[/]

    [cyan]convscope stats photos.atlas features.18:220[/]
    """
    from convscope.atlases.class_activations import check_rank

    endings = endings_of(save)
    check_rank(rank)
    sheets_folder(out)
    opened = given.opened(atlas)
    wanted = _Wanted(opened, list(of or []), top, rank, None if units is None else _numbers(units))
    made = [one for name in names or [""] for one in wanted.sheets(name)]
    done: list[dict[str, Any]] = []
    for kind, sheet in made:
        stem = out / ".".join([name_part([atlas.stem]), *kind])
        done.append({"files": save_as(sheet, stem, endings), "about": sheet})
    if as_json:
        print(json.dumps([{"files": d["files"], **_json(d["about"])} for d in done], indent=1, ensure_ascii=False))
        return
    for entry in done:
        _print(entry["about"], top)
        print(*entry["files"], sep="\n", end="\n\n")


def _numbers(text: str) -> list[int]:
    from convscope.views.units_asked import numbers_in

    return numbers_in(text, "--units")


class _Wanted:
    """What was asked of an atlas, and the sheets that answer it."""

    def __init__(self, atlas: "Atlas", classes: Sequence[str], top: int, rank: str, units: list[int] | None) -> None:
        self.atlas, self.classes, self.top, self.rank, self.units = atlas, list(classes), top, rank, units

    def sheets(self, name: str) -> "list[tuple[list[str], Shown]]":
        """(parts of the file's name, sheet) for one name; ``""`` is the whole network."""
        from convscope.atlases.units_named import is_layer, units_of

        if not name:
            return self.of_network()
        if is_layer(self.atlas, name):
            return self.of_layer(self.atlas.layer(name).name)
        return [sheet for unit in units_of(self.atlas, [name]) for sheet in self.of_unit(str(unit))]

    def of_network(self) -> "list[tuple[list[str], Shown]]":
        from convscope.atlases.confusions import confusions
        from convscope.atlases.statistics_sheets import network_statistics

        if self.units is not None:
            raise ConvscopeError("--units belongs to a layer: name one")
        made: list[tuple[list[str], Shown]] = [(["stats"], network_statistics(self.atlas))]
        if self.atlas.classes and (self.classes or self.atlas.confusion()):  # features have no answers
            made.append((["confusion", *self.part()], confusions(self.atlas, self.classes or None)))
        elif self.classes:
            confusions(self.atlas, self.classes)  # says why there are no classes
        return made

    def of_unit(self, name: str) -> "list[tuple[list[str], Shown]]":
        from convscope.atlases.one_unit_statistics import unit_statistics

        if self.classes or self.units is not None:
            raise ConvscopeError("--class and --units belong to a layer; a unit's statistics have all classes")
        return [([name_part([name]), "stats"], unit_statistics(self.atlas, name))]

    def of_layer(self, name: str) -> "list[tuple[list[str], Shown]]":
        from convscope.atlases.class_activations import class_activations
        from convscope.atlases.class_patterns import mean_patterns
        from convscope.atlases.statistics_sheets import layer_statistics

        part, classes = name_part([name]), self.classes or None
        made: list[tuple[list[str], Shown]] = [([part, "stats"], layer_statistics(self.atlas, name))]
        if not self.atlas.classes and not self.classes and self.units is None:
            say(f"note: no classes: the photos of {self.atlas.path.name} had no labels")
            return made
        bars = class_activations(self.atlas, name, classes, top=self.top, rank=self.rank)
        kind = ["classes", *(["difference"] if self.rank == "difference" else []), *self.part()]
        made.append(([part, *kind], bars))
        if name in self.atlas.about.get("pattern_layers", ()):
            made.append(([part, "patterns", *self.part()], mean_patterns(self.atlas, name, classes, units=self.units)))
        elif self.units is not None:
            mean_patterns(self.atlas, name, classes, units=self.units)  # says why there are no mean maps
        return made

    def part(self) -> list[str]:
        return [name_part(self.classes)] if self.classes else []


def _json(sheet: Any) -> dict[str, Any]:
    about = sheet.as_json()
    return about if isinstance(about, dict) else {"layers": about}


def _print(sheet: Any, top: int) -> None:
    from convscope.atlases.class_activations import ClassActivations
    from convscope.atlases.class_patterns import MeanPatterns
    from convscope.cli.tables import new_table, print_table

    if isinstance(sheet, MeanPatterns):  # its ranks are those of the bars
        return
    table, (heads, rows, above, below) = new_table(), _table(sheet, top)
    if not rows:  # a unit without classes
        print(*above, sep="\n")
        return
    for number, head in enumerate(heads):
        is_text = number == 0 or isinstance(sheet, ClassActivations)
        table.add_column(head, justify="left" if is_text else "right")
    for row in rows:
        table.add_row(*_texts(row))
    print_table(table, above=above, below=below)


def _texts(row: Iterable[Any]) -> list[Any]:
    from rich.text import Text

    return [Text(_cell(value)) for value in row]


def _cell(value: Any) -> str:
    if value is None or value != value:  # NaN
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


Table = tuple[list[str], list[list[Any]], list[str], list[str]]  # heads, rows, lines above and below


def _table(sheet: Any, top: int) -> Table:
    """What is printed of a sheet."""
    from convscope.atlases.class_activations import ClassActivations
    from convscope.atlases.confusions import Confusions
    from convscope.atlases.statistics_sheets import LayerStatistics, NetworkStatistics

    if isinstance(sheet, NetworkStatistics):
        heads = ["layer", "units", "dead", "alike", "above zero", "selectivity", "strongest"]
        rows = [
            [x["layer"], x["units"], x["dead"], x["duplicates"], x["median_share_positive"], x["median_selectivity"],
             x["median_maximum"]]
            for x in sheet.as_json()
        ]  # fmt: skip
        return heads, rows, [sheet.line], ["", "above zero, selectivity, strongest: medians over a layer's units"]
    if isinstance(sheet, LayerStatistics):
        heads = ["unit", "mean", "deviation", "above zero", "strongest", "weakest", "selectivity", "class"]
        columns = ("mean", "deviation", "share_positive", "maximum", "minimum", "selectivity", "class")
        rows = [[x["unit"], *(x[name] for name in columns)] for x in sheet.as_json()["units"]]
        return heads, rows, [sheet.line], []
    if isinstance(sheet, ClassActivations):
        rows = [[name, " ".join(map(str, sheet.order(name)[:top]))] for name in sheet.shown]
        return ["class", f"units of {sheet.layer}, the strongest first"], rows, [], []
    if isinstance(sheet, Confusions):
        judged = sorted(sheet.as_json()["classes"], key=lambda x: (x["accuracy"] is None, x["accuracy"]))
        rows = [[x["class"], x["right"], x["judged"], x["accuracy"]] for x in judged]
        worst = [f"{m.name} → {m.answer}: {m.images}" for m in sheet.mistakes[:5]]
        worst = ["", "most frequent mistakes", *worst] if worst else []
        return ["class", "right", "of", "accuracy"], rows, [sheet.title], worst
    rows = [[name, sheet.rectified[name], sheet.class_means[name]] for name in sheet.ranked]
    below = ["", "mean above 0: of max(A, 0), by which the class and the selectivity go"]
    return ["class", "mean above 0", "mean"], rows, [f"{sheet.unit}: {sheet.line}"], below
