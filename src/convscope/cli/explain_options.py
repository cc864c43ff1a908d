"""The options of ``convscope explain``, and what ``--help`` says of them."""

from pathlib import Path
from typing import Annotated

import typer

_MODEL, _SHEETS = "Model", "Other sheets"
Photos = Annotated[
    Path | None, typer.Argument(metavar="IMAGE|FOLDER", help="A picture, a folder of them, or bundled:digits:7.")
]
Demo = Annotated[bool, typer.Option("--demo", help="scikit-image's cat, coffee and rocket.")]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="One or more, with commas; 'convscope methods' lists them. 'all' takes what applies and names what does "
        "not; without it those that need hundreds of passes are left out.",
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "-t",
        help="A class by name or number, layer:unit or layer:unit@y,x; the top class by default. Repeat it to set "
        "several against each other.",
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        help="For methods that work at one ('convscope layers' names them); several, with commas, give a sheet over "
        "layers.",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the sheets.")]
Save = Annotated[
    str,
    typer.Option(
        "--save", help="What to write of each sheet: png, jpg, webp, html, npz (the raw values), with commas."
    ),
]
MethodOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-O",
        metavar="NAME=VALUE",
        help="An option of the method, such as steps=200 or samples=50; 'convscope methods NAME' lists them. Repeat it "
        "for several.",
    ),
]
Score = Annotated[
    str | None, typer.Option("--score", help="Explain the logit or the probability.", show_default="logit")
]
Fill = Annotated[
    str | None,
    typer.Option("--fill", help="What occlusion puts: mean, blur, noise, or a colour such as black or #808080."),
]
Partial = Annotated[
    bool,
    typer.Option(
        "--partial",
        help="Let guided backprop and deconvnet act on the ReLUs where there are other activations too; those stay "
        "plain.",
    ),
]

TopClasses = Annotated[
    int | None,
    typer.Option("--top-classes", min=1, rich_help_panel=_SHEETS, help="The k most probable classes side by side."),
]
Squares = Annotated[
    list[str] | None,
    typer.Option(
        "--square",
        rich_help_panel=_SHEETS,
        help="Occlusion by SIZE,STRIDE in pixels of the network's input, e.g. 50,10: the class's probability with the "
        "square there. Repeat it to compare sizes.",
    ),
]
Matrix = Annotated[
    bool,
    typer.Option(
        "--matrix", rich_help_panel=_SHEETS, help="One sheet for all photos: photos x methods, or photos x layers."
    ),
]
Prototypes = Annotated[
    Path | None,
    typer.Option(
        "--prototypes",
        metavar="NAME.atlas",
        rich_help_panel=_SHEETS,
        help="Instead of pictures, of each class of an atlas the photo that the network is surest of: classes x "
        "methods. --target names the classes.",
    ),
]
PrototypesData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="PLACE",
        rich_help_panel=_SHEETS,
        help="Where the photos of the atlas are, if they were moved.",
    ),
]
SharedScale = Annotated[
    bool | None,
    typer.Option(
        "--shared-scale/--own-scale",
        rich_help_panel=_SHEETS,
        help="One scale for the maps that are compared, or each its own.",
        show_default="shared for classes, models and squares",
    ),
]

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        rich_help_panel=_MODEL,
        show_default="bundled:tiny50",
        help="torchvision:NAME, timm:NAME, hf:ORG/NAME, package.module:factory, path/file.py:factory, "
        "NAME.run or bundled:tiny50. Repeat it to set models side by side.",
    ),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        rich_help_panel=_MODEL,
        help="A .safetensors or .pt file, or 'random'; one a model, in their order.",
    ),
]
