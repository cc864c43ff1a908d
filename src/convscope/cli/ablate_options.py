"""The options of ``convscope ablate``, and what ``--help`` says of them."""

from pathlib import Path
from typing import Annotated

import typer

_DATA, _EACH, _RUN = "Over a data set", "Picture by picture", "Run"
Images = Annotated[
    Path | None,
    typer.Argument(
        metavar="DATA|IMAGE",
        help="A folder, an archive, hf:NAME or bundled:digits: accuracy lost over all of it. A picture: its answer "
        "before and after.",
    ),
]
Units = Annotated[
    list[str] | None,
    typer.Option(
        "--unit",
        "-u",
        metavar="LAYER:UNITS",
        help="layer4.1.conv2:447, several as layer4.1.conv2:3,7,11 or :0-15 or :all, one neuron as :447@Y,X. Repeat "
        "it for units of several layers. Over a data set each is off alone; of a picture all are off at once.",
    ),
]
Layer = Annotated[
    str | None,
    typer.Option(
        "--layer",
        "-l",
        help="Over a data set all units of this layer, or of several with commas. With --most-important where these "
        "are looked for; by default the last map.",
    ),
]
Mode = Annotated[
    str,
    typer.Option(
        "--mode",
        help="What units are replaced by: zero; mean, each unit's over the data set, or over the photos of --data; "
        "resample (picture by picture), what they say of another photo, one at random of --data.",
    ),
]
Together = Annotated[
    bool, typer.Option("--together", rich_help_panel=_DATA, help="All units off at once, not one after the other.")
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        rich_help_panel=_DATA,
        help="Where each image's class comes from: auto, folders, names, groups (folders, whatever the network calls "
        "its classes), none. Without classes of the network: which of its own answers are kept.",
        show_default="auto",
    ),
]
Top = Annotated[
    int | None,
    typer.Option("--top", min=1, rich_help_panel=_DATA, help="Units in the table on screen.", show_default="20"),
]
Into = Annotated[
    Path | None,
    typer.Option("--into", rich_help_panel=_DATA, metavar="NAME.atlas", help="Keep the effects in this atlas too."),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, rich_help_panel=_RUN, help="Batches at once, over a data set.", show_default="one a core"
    ),
]
Each = Annotated[
    bool, typer.Option("--each", rich_help_panel=_EACH, help="Of a folder one sheet a picture, as for one picture.")
]
MostImportant = Annotated[
    bool,
    typer.Option(
        "--most-important",
        rich_help_panel=_EACH,
        help="Instead of --unit, the unit whose loss costs the class most, of each picture.",
    ),
]
Count = Annotated[
    int | None,
    typer.Option(
        "--count", min=1, rich_help_panel=_EACH, help="How many of the most important ones.", show_default="1"
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        rich_help_panel=_EACH,
        help="The class that is followed, by name or number; by default the top.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="FOLDER", rich_help_panel=_EACH, help="Photos for --mode mean and resample."),
]
Most = Annotated[
    int | None,
    typer.Option(
        "--most", min=1, rich_help_panel=_EACH, help="Only the first so many photos of --data.", show_default="all"
    ),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, max=2**63 - 1, rich_help_panel=_RUN, help="Of --mode resample.", show_default="0"),
]
Batch = Annotated[
    int | None,
    typer.Option(
        "--batch",
        min=1,
        max=1024,
        rich_help_panel=_RUN,
        help="Images in one pass; bounds the memory. Over a data set: copies of images above the layer.",
        show_default="32; over a data set by the size of the layer",
    ),
]
