"""``convscope layers``: every layer with its output, cost and receptive field."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli import options as opt
from convscope.cli.running import command

if TYPE_CHECKING:
    from convscope.network.listing import LayerFacts


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
    from convscope.network.layers import find_call
    from convscope.network.listing import describe_layers, example_input

    net = opt.network(model, weights or ("random" if model else None), classes, size, mean, std, trust_pickle, device)
    rows = describe_layers(net.module, example_input(net))
    if inside is not None:
        path = find_call(net.module, inside).path
        rows = [row for row in rows if row.name == path or row.name.startswith((f"{path}.", f"{path}#"))]
    if as_json:
        print(json.dumps([row.as_json() for row in rows], indent=1))
        return
    _print_table(net.name, rows)


def _print_table(name: str, rows: "list[LayerFacts]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=name, title_justify="left", box=None, header_style="bold", pad_edge=False)
    table.add_column("layer", no_wrap=True)
    table.add_column("type")
    for heading in ("output", "parameters", "multiply-adds", "receptive field", "stride"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        shape = " x ".join(map(str, row.shape))
        field = "whole input" if row.field_size is None else _sides(row.field_size)
        stride = "" if row.field_stride is None else _sides(row.field_stride)
        parameters, macs = (f"{row.parameters:,}" if row.parameters else "", f"{row.macs:,}" if row.macs else "")
        table.add_row(row.name, row.type, shape, parameters, macs, field, stride)
    console = Console()
    if not console.is_terminal:  # a pipe has no width: nothing is cut
        console = Console(width=240)
    console.print(table)
    own = [row for row in rows if row.is_leaf]
    parameters = len({id(p): p for row in own for p in row.module.parameters()})
    total = sum(p.numel() for p in {id(p): p for row in rows for p in row.module.parameters()}.values())
    console.print(
        f"\n{len(rows)} layers, {total:,} parameters in {parameters} tensors, "
        f"{sum(r.macs for r in own):,} multiply-adds an image"
    )


def _sides(sides: tuple[int, int]) -> str:
    return str(sides[0]) if sides[0] == sides[1] else f"{sides[0]} x {sides[1]}"
