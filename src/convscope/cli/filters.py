"""``convscope filters``: the weights of a layer's convolutions as pictures."""

from pathlib import Path
from typing import Annotated, Any

import typer

from convscope.cli import explain_options as given
from convscope.cli import options as opt
from convscope.cli.outputs import endings_of, name_part, print_written, save_as, sheets_folder
from convscope.cli.running import command


@command("filters")
def filters(
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", "-l", help="One or more, with commas: a figure each. By default the first."),
    ] = None,
    units: Annotated[
        str | None, typer.Option("--units", help="Numbers of the filters to show, such as 2,7,17 or 0-15.")
    ] = None,
    channels: Annotated[
        str | None, typer.Option("--channels", help="Numbers of the input channels to show, such as 0-15.")
    ] = None,
    own_scale: Annotated[
        bool, typer.Option("--own-scale", help="Each filter on its own scale, not one for the whole layer.")
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
    as_json: opt.Json = False,
) -> None:
    """Draw the filters of a layer: in colour where they see three channels, else a tile a unit and input channel.

    Weights from the smallest (black) to the largest (white) of the layer, (w - min) / (max - min); the colour bar has
    the numbers. A 1x1 convolution is one matrix. Of a deeper layer the first 16 units and channels are drawn.

    [cyan]convscope filters[/]                                         the first layer

    [cyan]convscope filters --layer features.5 --units 0-31[/]
    """
    from convscope.network.filters import filters_of
    from convscope.views import filter_tiles
    from convscope.views.units_asked import numbers_in

    endings = endings_of(save)
    rows = None if units is None else numbers_in(units, "--units")
    columns = None if channels is None else numbers_in(channels, "--channels")
    sheets_folder(out)
    net = opt.network(model, weights, classes, size, mean, std, trust_pickle, device)
    wanted = opt.listed(layer, "--layer") or [filters_of(net.module).layer]
    found = [filter_tiles.filters(net, name, rows, columns, own_scale=own_scale) for name in wanted]
    asked = (("units", units), ("channels", channels))
    kind = ["filters", *(f"{what}-{name_part([text])}" for what, text in asked if text is not None)]
    kind += ["own-scale"] if own_scale else []
    done: list[dict[str, Any]] = []
    for one in found:
        files = save_as(one, out / ".".join([_short(net.name), name_part([one.layer]), *kind]), endings)
        done.append({"files": files, **one.as_json()})
    print_written(done, as_json=as_json)


def _short(name: str) -> str:
    """``torchvision:vgg16 (random weights)`` -> ``vgg16``; of a file's factory the factory."""
    return name_part([name.split(" (")[0].rsplit(":", 1)[-1]])
