"""``convscope unit``: what the units of an atlas look for."""

from pathlib import Path
from typing import Annotated, Any

import typer

from convscope.cli import atlas_options as given
from convscope.cli import explain_options as sheets
from convscope.cli import options as opt
from convscope.cli.outputs import endings_of, name_part, save_as, sheets_folder
from convscope.cli.running import command
from convscope.cli.unit_asked import Asked
from convscope.cli.unit_pictures import Again, make_missing
from convscope.cli.unit_tables import print_sheets

_MORE = "More pictures"

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[LAYER:UNIT|LAYER]...",
        help="A unit, several as LAYER:3,7 or LAYER:0-15, or a layer for its contact sheet; without any, some units of "
        "five layers.",
    ),
]
Units = Annotated[str | None, typer.Option("--units", help="Of a layer's contact sheet, the units: 2,7,17 or 0-15.")]
Together = Annotated[
    bool, typer.Option("--together", help="All that are named on one sheet, a row a layer; of a layer some units.")
]
Top = Annotated[
    int | None, typer.Option("--top", min=1, show_default="all", help="Exemplars a unit, the strongest first.")
]
Deconv = Annotated[
    bool,
    typer.Option(
        "--deconv", rich_help_panel=_MORE, help="Beside each crop its deconvnet picture, made where it is missing."
    ),
]
Synthetic = Annotated[
    bool,
    typer.Option(
        "--synthetic", rich_help_panel=_MORE, help="The picture that optimisation makes of a unit, made where missing."
    ),
]
Steps = Annotated[
    int | None, typer.Option("--steps", min=1, rich_help_panel=_MORE, help="Of --synthetic: steps of optimisation.")
]


@command("unit")
def unit(
    atlas: given.AtlasPath,
    names: Names = None,
    units: Units = None,
    together: Together = False,
    top: Top = None,
    deconv: Deconv = False,
    synthetic: Synthetic = False,
    steps: Steps = None,
    partial: sheets.Partial = False,
    out: given.Out = Path("convscope-out"),
    save: sheets.Save = "png",
    model: given.Model = None,
    weights: given.Weights = None,
    data: given.Data = None,
    trust_pickle: opt.TrustPickle = False,
    device: opt.Device = None,
    batch: opt.Batch = 8,
    as_json: opt.Json = False,
) -> None:
    """Show what units look for: their exemplars in context, what is known of them, what drove them in the photo.

    A unit gets a dossier: its strongest crops in their images, its statistics and classes, its neighbours, and what
    ablation and optimisation say of it where that was asked. A layer gets a contact sheet, a first layer with its
    filters. Without a name: some units of five layers, from edges to objects.

    [cyan]convscope unit photos.atlas features.10:7[/]

    [cyan]convscope unit photos.atlas features.0[/]

    [cyan]convscope unit photos.atlas --deconv[/]   the crops beside their deconvnet pictures, layer by layer
    """
    asked = Asked(tuple(names or ()), units, together, top, deconv, synthetic, steps, partial)
    asked.refuse_contradictions()
    endings = endings_of(save)
    sheets_folder(out)
    opened = given.opened(atlas)
    parts = asked.parts(opened)
    again = Again(opened, model, weights, trust_pickle, device, data)
    make_missing(opened, asked, parts, again, batch)
    done: list[dict[str, Any]] = []
    for part in parts:
        net = again.network_if_there() if part.shows_filters else None
        sheet = part.draw(net)
        stem = out / ".".join([name_part([atlas.stem]), *part.name])
        done.append({"files": save_as(sheet, stem, endings), "sheet": sheet})
    print_sheets(done, as_json=as_json)
