"""The options of ``convscope train`` for a new head on a frozen network, and what they describe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.network.loading import Network

_PANEL = "A new head on a frozen network"
DEFAULT = "mean"
Base = Annotated[
    str | None,
    typer.Option(
        "--base",
        rich_help_panel=_PANEL,
        help="The network that is kept: any model, such as torchvision:alexnet, bundled:tiny50 or NAME.run. What it "
        "says of every image is computed once; only the head learns.",
    ),
]
BaseWeights = Annotated[
    str | None,
    typer.Option(
        "--base-weights", rich_help_panel=_PANEL, help="Its weights: a .safetensors or .pt file, or 'random'."
    ),
]
BaseClasses = Annotated[
    Path | None,
    typer.Option(
        "--base-classes",
        rich_help_panel=_PANEL,
        help="Names of the classes that it was trained on, one a line, where its weights have another number of them.",
    ),
]
Layer = Annotated[
    str | None,
    typer.Option(
        "--layer",
        "-l",
        rich_help_panel=_PANEL,
        help="The layer that the head stands on, as convscope layers names it.",
        show_default="the last map",
    ),
]
Head = Annotated[
    str | None,
    typer.Option(
        "--head",
        rich_help_panel=_PANEL,
        help="mean: the mean of each map and one linear layer, so that CAM is exact. flat: 6 x 6 cells of each map and "
        "one linear layer. mlp: one hidden layer more.",
        show_default=DEFAULT,
    ),
]


def refuse_loose(base: str | None, **others: object) -> None:
    """``others`` are options, by name, that mean nothing without ``--base``.

    Raises:
        ConvscopeError: one of them was given alone.
    """
    given = [name.replace("_", "-") for name, value in others.items() if value is not None]
    if base is None and given:
        raise ConvscopeError(f"--{given[0]} is of a head on a frozen network: say which with --base MODEL")


def base_network(
    base: str,
    weights: str | None,
    classes: Path | None,
    size: int | None,
    mean: str | None = None,
    std: str | None = None,
    trust_pickle: bool = False,
    device: str | None = None,
) -> "Network":
    """The network below the head; says on stderr what had to be assumed.

    One with random weights is the same every time: a training that goes on finds its features again.
    """
    from convscope.cli.options import network
    from convscope.training.random_states import randomness_of

    with randomness_of(0, 0):
        return network(base, weights, classes, size, mean, std, trust_pickle, device)
