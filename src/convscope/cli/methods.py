"""``convscope methods``: what each attribution method shows, what it cannot tell, and its options."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import options as opt
from convscope.cli.running import command

if TYPE_CHECKING:
    from convscope.attribution.method import Method


@command("methods")
def methods(
    name: Annotated[str | None, typer.Argument(metavar="[METHOD]", help="One of them, with its options.")] = None,
    as_json: opt.Json = False,
) -> None:
    """List the methods of [cyan]convscope explain[/], or tell all about one.

    [cyan]convscope methods integrated-gradients[/]
    """
    from convscope.attribution.registry import METHODS, find_method

    found = list(METHODS.values()) if name is None else [find_method(name)]
    if as_json:
        print(json.dumps([_as_json(method) for method in found], indent=1, ensure_ascii=False))
    elif name is None:
        _print_table(found)
    else:
        _print_one(found[0])


def _as_json(method: "Method") -> dict[str, Any]:
    about = {key: getattr(method, key) for key in ("name", "claim", "limits", "source", "output", "needs_layer")}
    return about | {"hundreds_of_passes": method.slow, "options": _options(method)}


def _options(method: "Method") -> dict[str, Any]:
    """Option -> default, of those that ``--option`` takes."""
    from convscope.cli.method_options import method_options

    return {option: default for option, default in method.defaults.items() if option in method_options()}


def _print_table(found: "list[Method]") -> None:
    from rich.text import Text

    from convscope.cli.tables import new_table, print_table

    table = new_table()
    for heading in ("method", "works at a layer", "passes", "what it shows"):
        table.add_column(heading)
    for method in found:
        passes = "hundreds" if method.slow else ""
        table.add_row(*map(Text, (method.name, "yes" if method.needs_layer else "", passes, method.claim)))
    print_table(table, below=["", "'convscope methods NAME' says what it cannot tell, and its options."])


def _print_one(method: "Method") -> None:
    print(f"{method.name}: {method.source}")
    print(f"\nWhat it shows: {method.claim}")
    print(f"What it does not: {method.limits}")
    print(f"A map is zero everywhere where {method.zero}.")
    works = "at a layer (--layer; the last map by default)" if method.needs_layer else "on the whole network"
    print(f"\nIt works {works}" + (", and takes hundreds of passes." if method.slow else "."))
    for option, default in _options(method).items():
        print(f"  --option {option}={'...' if default is None else default}")
