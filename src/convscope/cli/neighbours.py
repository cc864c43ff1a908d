"""``convscope neighbours``: the units of a layer that go together."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli import atlas_options as given
from convscope.cli import explain_options as sheets
from convscope.cli import options as opt
from convscope.cli.outputs import endings_of, name_part, save_as, sheets_folder
from convscope.cli.running import command

if TYPE_CHECKING:
    from convscope.atlases.neighbours import Neighbours

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="LAYER:UNIT|LAYER...",
        help="Units, several as LAYER:3,7 or LAYER:0-15; of a layer those with the nearest neighbours, a pair once.",
        show_default=False,
    ),
]
Top = Annotated[int, typer.Option("--top", "-k", min=1, max=10, help="Neighbours of each.")]
Most = Annotated[int, typer.Option("--most", min=1, help="Units of a layer.")]


@command("neighbours")
def neighbours(
    atlas: given.AtlasPath,
    names: Names,
    top: Top = 6,
    most: Most = 12,
    out: given.Out = Path("convscope-out"),
    save: sheets.Save = "png",
    as_json: opt.Json = False,
) -> None:
    """Draw the units that rise and fall with a unit over the photos, by the correlation of their pooled activations.

    [cyan]convscope neighbours photos.atlas features.18:220[/]

    [cyan]convscope neighbours photos.atlas features.18[/]             its most alike units
    """
    from convscope.atlases.neighbours import neighbours as make

    endings = endings_of(save)
    sheets_folder(out)
    made = make(given.opened(atlas), names, top=top, most=most)
    stem = ".".join([name_part([atlas.stem]), "neighbours", name_part(names)])
    files = save_as(made, out / stem, endings)
    if as_json:
        print(
            json.dumps({"files": files, "images": made.images, "units": made.as_json()}, indent=1, ensure_ascii=False)
        )
        return
    _print(made)
    print(*files, sep="\n")


def _print(made: "Neighbours") -> None:
    from rich.text import Text

    from convscope.atlases.neighbours import r_words
    from convscope.cli.tables import new_table, print_table

    table = new_table()
    for head in ("unit", "class", "neighbour", "r", "class", ""):
        table.add_column(head, justify="right" if head == "r" else "left")
    for unit, near in made.near.items():
        for place, (name, r) in enumerate(near):
            first = [unit, made.classes.get(unit) or ""] if place == 0 else ["", ""]
            shared = made.shared.get(frozenset((unit, name)))
            cells = [name, f"{r:.3f}", made.classes.get(name) or "", f"shares {shared} patches" if shared else ""]
            table.add_row(*map(Text, [*first, *cells]))
    print_table(table, below=["", r_words(made.images)])
