"""``convscope features``: what the units of a layer, or all layers, answer to a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import explain_options as given
from convscope.cli import options as opt
from convscope.cli.features_asked import Asked
from convscope.cli.outputs import endings_of, name_part, print_written, save_as, sheets_folder, stems_of
from convscope.cli.running import command

if TYPE_CHECKING:
    from PIL import Image

    from convscope.cli.progress import Parts
    from convscope.cli.sources import Photos
    from convscope.network.loading import Network
    from convscope.results import Shown

_OTHER, _DRAWING = "Other views", "Drawing"


@command("features")
def features(
    path: given.Photos = None,
    demo: given.Demo = False,
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", "-l", help="One or more, with commas: a figure each. The last map by default."),
    ] = None,
    units: Annotated[
        str | None, typer.Option("--units", help="Numbers of the units to show, such as 2,7,17 or 0-15.")
    ] = None,
    every_layer: Annotated[
        bool, typer.Option("--every-layer", rich_help_panel=_OTHER, help="One figure with one map of every layer.")
    ] = False,
    unit: Annotated[
        int | None,
        typer.Option("--unit", min=0, rich_help_panel=_OTHER, help="With --every-layer: this unit, not the mean."),
    ] = None,
    strongest: Annotated[
        bool,
        typer.Option("--strongest", rich_help_panel=_OTHER, help="With --every-layer: the unit of the largest value."),
    ] = False,
    overlay: Annotated[
        bool,
        typer.Option(
            "--overlay", rich_help_panel=_OTHER, help="Units over the photo, with the classes each speaks for."
        ),
    ] = False,
    deconv: Annotated[
        bool,
        typer.Option(
            "--deconv",
            rich_help_panel=_OTHER,
            help="Units beside their deconvnet pictures; with --every-layer a figure a layer, from the first on.",
        ),
    ] = False,
    most: Annotated[
        int | None,
        typer.Option(
            "--most",
            min=1,
            rich_help_panel=_OTHER,
            show_default="12 with --overlay, 8 with --deconv",
            help="How many of the strongest units, where none are named.",
        ),
    ] = None,
    partial: given.Partial = False,
    sort: Annotated[
        str | None,
        typer.Option("--sort", rich_help_panel=_DRAWING, help="The units of the largest 'max' or 'mean' value first."),
    ] = None,
    own_scale: Annotated[
        bool, typer.Option("--own-scale", rich_help_panel=_DRAWING, help="Each map on its own scale.")
    ] = False,
    out: given.Out = Path("convscope-out"),
    save: given.Save = "png",
    model: opt.Model = None,
    weights: opt.Weights = None,
    classes: opt.Classes = None,
    size: opt.Size = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    trust_pickle: opt.TrustPickle = False,
    device: opt.Device = None,
    batch: opt.Batch = 32,
    as_json: opt.Json = False,
) -> int:
    """Draw the feature maps of a layer: what each unit answers to a picture.

    All maps share one scale and show their own pixels; one that is zero everywhere is an empty field.

    [cyan]convscope features cat.jpg --layer features.3[/]              all maps

    [cyan]convscope features cat.jpg --every-layer --unit 0[/]          one map a layer

    [cyan]convscope features cat.jpg --layer features.18 --overlay[/]   units and their classes
    """
    from convscope.cli.progress import Parts
    from convscope.cli.sources import photos_at
    from convscope.network.layers import find_calls

    asked = Asked(
        opt.listed(layer, "--layer"),
        units,
        every_layer,
        unit,
        strongest,
        overlay,
        deconv,
        most,
        partial,
        sort,
        own_scale,
    )
    asked.refuse_contradictions()
    endings = endings_of(save)
    sheets_folder(out)
    photos = photos_at(path, demo=demo, besides=out)
    net = opt.network(model, weights, classes, size, mean, std, trust_pickle, device)
    find_calls(net.module, asked.layers)
    done = _run(photos, net, asked, out, endings, batch, Parts())
    photos.refuse_if_none()
    print_written(done, as_json=as_json)
    return photos.finish()


def _run(
    photos: "Photos", net: "Network", asked: Asked, out: Path, endings: list[str], batch: int, parts: "Parts"
) -> list[dict[str, Any]]:
    """The figures, photo after photo; what is written stays if the rest is interrupted."""
    from convscope.answers import seen_by
    from convscope.cli.progress import bar, prefixed

    stems = stems_of(list(photos.names))
    with bar(len(photos.names) * max(1, len(asked.layers)), "features", parts) as step:

        def one(name: str, photo: "Image.Image") -> list[dict[str, Any]]:
            figures = asked.figures(seen_by(net, photo), batch, parts, prefixed(step, name))
            return [_write(figure, out / stems[name], asked.kind, endings, name) for figure in figures]

        return [entry for _, entries in photos.each(one) for entry in entries]


def _write(figure: "Shown", stem: Path, kind: str, endings: list[str], image: str) -> dict[str, Any]:
    from convscope.views.every_layer_map import EveryLayer

    about: Any = figure
    layer = "every-layer" if isinstance(figure, EveryLayer) else name_part([about.layer])
    files = save_as(figure, stem.with_name(f"{stem.name}.{layer}.{kind}"), endings)
    return {"image": image, "files": files, **about.as_json()}
