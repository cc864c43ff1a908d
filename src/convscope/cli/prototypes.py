"""``convscope prototypes``: the photos that the network takes for each class, and the labels that it doubts."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import atlas_options as given
from convscope.cli import explain_options as sheets
from convscope.cli import options as opt
from convscope.cli.outputs import endings_of, name_part, save_as, sheets_folder
from convscope.cli.running import command
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.atlases.prototypes import Prototypes, Suspects

Of = Annotated[
    list[str] | None, typer.Option("--class", "-c", help="A class of the photos; repeat it. All by default.")
]
SuspectsCount = Annotated[
    int | None,
    typer.Option("--suspects", min=1, max=100, help="Instead, so many photos whose label the network doubts."),
]


@command("prototypes")
def prototypes(
    atlas: given.AtlasPath,
    of: Of = None,
    suspects: SuspectsCount = None,
    data: given.Data = None,
    out: given.Out = Path("convscope-out"),
    save: sheets.Save = "png",
    as_json: opt.Json = False,
) -> None:
    """Draw the photo of each class that the network is surest of, and the one that excites the class most.

    With --suspects the photos of largest loss among those answered wrongly, or with the right class below one half.

    [cyan]convscope prototypes photos.atlas[/]

    [cyan]convscope prototypes photos.atlas --class lion --class tabby[/]

    [cyan]convscope prototypes photos.atlas --suspects 20[/]

    [cyan]convscope explain --prototypes photos.atlas[/]               why they are: classes x methods
    """
    from convscope.atlases import prototypes as views

    endings = endings_of(save)
    if suspects is not None and of:
        raise ConvscopeError("--suspects are those of all classes; leave out --class, or --suspects")
    sheets_folder(out)
    opened = given.opened(atlas)
    made: Prototypes | Suspects
    if suspects is not None:
        made, kind = views.suspects(opened, suspects, data=data), ["suspects"]
    else:
        made = views.prototypes(opened, of or None, data=data)
        kind = ["prototypes", *([name_part(of)] if of else [])]
    files = save_as(made, out / ".".join([name_part([atlas.stem]), *kind]), endings)
    if as_json:
        key = "suspects" if suspects is not None else "classes"
        more = {"in_doubt": made.of} if isinstance(made, views.Suspects) else {}
        print(json.dumps({"files": files, **more, key: made.as_json()}, indent=1, ensure_ascii=False))
        return
    _print(made)
    print(*files, sep="\n")


def _print(made: "Prototypes | Suspects") -> None:
    from rich.text import Text

    from convscope.atlases.prototypes import KINDS, Prototypes
    from convscope.cli.tables import new_table, print_table

    table = new_table()
    if isinstance(made, Prototypes):
        for head in ("class", "least loss", "photo", "largest logit", "photo"):
            table.add_column(head, justify="right" if head in KINDS else "left")
        for name, kinds in made.rows.items():
            best, excited = (kinds[kind][0] if kinds[kind] else {} for kind in KINDS)
            cells = [_number(best.get("loss")), best.get("image", ""), _number(excited.get("logit"))]
            table.add_row(*map(Text, [name, *cells, excited.get("image", "")]))
    else:
        for head in ("photo", "label", "called", "probability", "loss"):
            table.add_column(head, justify="right" if head in ("probability", "loss") else "left")
        for row in made.rows:
            cells = [row["image"], row["label"], row["predicted_name"]]
            table.add_row(*map(Text, [*cells, _number(row["probability"]), _number(row["loss"])]))
    print_table(table, above=[made.title if isinstance(made, Prototypes) else f"{made.title} {made.line}."])


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"
