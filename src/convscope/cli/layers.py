"""``convscope layers``: every layer with its output, cost and receptive field."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli import options as opt
from convscope.cli.running import command

if TYPE_CHECKING:
    from convscope.network.listing import LayerFacts, Listing


@command("layers")
def layers(
    model: opt.Model = None,
    inside: Annotated[str | None, typer.Option("--inside", help="Only the layers below this one.")] = None,
    weights: opt.Weights = None,
    classes: opt.Classes = None,
    size: opt.Size = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    trust_pickle: opt.TrustPickle = False,
    device: opt.Device = None,
    as_json: opt.Json = False,
) -> None:
    """List the layers of a network: name, type, output shape, parameters, multiply-adds, receptive field, stride.

    The names are those that --layer takes; [cyan]relu#2[/] is the second call of a layer that runs several times.
    """
    from convscope.answers import refusing_input
    from convscope.network.layers import find_call
    from convscope.network.listing import describe_layers, example_input

    net = opt.network(model, opt.or_random(model, weights), classes, size, mean, std, trust_pickle, device)
    path = None if inside is None else find_call(net.module, inside).path
    x = example_input(net)
    with refusing_input(net, x):
        found = describe_layers(net.module, x)
    found = found if path is None else found.inside(path)
    if as_json:
        print(json.dumps([layer.as_json() for layer in found.layers], indent=1))
    else:
        print_layers(net.name, found)


def print_layers(name: str, found: "Listing") -> None:
    """The table of a network's layers, and its totals."""
    from rich.text import Text

    from convscope.cli.tables import new_table, print_table

    table = new_table()
    for heading in ("layer", "type"):
        table.add_column(heading)
    for heading in ("output", "parameters", "multiply-adds", "receptive field", "stride"):
        table.add_column(heading, justify="right")
    for layer in found.layers:
        table.add_row(*(Text(cell) for cell in _cells(layer)))
    totals = f"{found.parameters:,} parameters, {found.macs:,} multiply-adds an image"
    print_table(table, above=[name], below=["", f"{len(found.layers)} layers, {totals}"])


def _cells(layer: "LayerFacts") -> list[str]:
    field = "whole input" if layer.field_size is None else _sides(layer.field_size)
    stride = "" if layer.field_stride is None else _sides(layer.field_stride)
    numbers = [f"{number:,}" if number else "" for number in (layer.parameters, layer.macs)]
    return [layer.name, layer.type, " x ".join(map(str, layer.shape)), *numbers, field, stride]


def _sides(sides: tuple[int | float, int | float]) -> str:
    return f"{sides[0]:g}" if sides[0] == sides[1] else f"{sides[0]:g} x {sides[1]:g}"  # an adaptive pooling's: 10.6667
