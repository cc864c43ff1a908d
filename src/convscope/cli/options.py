"""Options that several commands share, and the network that they describe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli.running import say
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.network.loading import Network

_MODEL = "Model"
Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", rich_help_panel=_MODEL, show_default="bundled:tiny50",
        help="torchvision:NAME, timm:NAME, hf:ORG/NAME, package.module:factory, path/file.py:factory, "
        "NAME.run (trained here) or bundled:tiny50.",
    ),
]  # fmt: skip
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights", rich_help_panel=_MODEL, help="A .safetensors or .pt file, or 'random' for an untrained network."
    ),
]
Classes = Annotated[
    Path | None,
    typer.Option("--classes", rich_help_panel=_MODEL, help="Class names, one a line; sets the head's size."),
]
Size = Annotated[
    int | None, typer.Option("--size", rich_help_panel=_MODEL, help="Shorter side and crop of the input in pixels.")
]
Mean = Annotated[str | None, typer.Option("--mean", rich_help_panel=_MODEL, help="Mean a channel, e.g. 0.5,0.5,0.5.")]
Std = Annotated[
    str | None, typer.Option("--std", rich_help_panel=_MODEL, help="Deviation a channel, e.g. 0.5,0.5,0.5.")
]
TrustPickle = Annotated[
    bool,
    typer.Option("--trust-pickle", rich_help_panel=_MODEL, help="Open pickled checkpoints; they can run any code."),
]
Device = Annotated[
    str | None, typer.Option("--device", rich_help_panel="Run", help="cpu, cuda, cuda:1, mps; CUDA where there is one.")
]
Batch = Annotated[
    int, typer.Option("--batch", min=1, max=1024, rich_help_panel="Run", help="Images in one pass; bounds the memory.")
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        max=2**63 - 1,
        rich_help_panel="Run",
        help="Seed where random numbers are drawn (SmoothGrad, VarGrad, RISE, --fill noise); 0 unless given.",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", rich_help_panel="Run", help="Go on where the same command was stopped.")
]
Json = Annotated[bool, typer.Option("--json", rich_help_panel="Run", help="One JSON document on stdout.")]


def network(
    model: str | None,
    weights: str | None,
    classes: Path | None,
    size: int | None,
    mean: str | None,
    std: str | None,
    trust_pickle: bool,
    device: str | None,
) -> "Network":
    """The network that the options describe; says on stderr what had to be assumed."""
    from convscope.network.loading import load

    net = load(
        model, weights, classes, None, device,
        size=size, mean=numbers(mean, "--mean"), std=numbers(std, "--std"), trust_pickle=trust_pickle,
    )  # fmt: skip
    for note in net.notes:
        say(f"note: {note}")
    return net


def or_random(model: str | None, weights: str | None) -> str | None:
    """No weights given, where they do not matter: those of a zoo are then not downloaded."""
    is_zoo = model is not None and model.startswith(("torchvision:", "timm:", "hf:"))
    return "random" if weights is None and is_zoo else weights


def numbers(text: str | None, option: str) -> list[float] | None:
    """``"0.5,0.25"`` -> [0.5, 0.25]."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConvscopeError(f"{option} {text!r}: give numbers with commas between them, such as 0.1,0.5,1") from None


def listed(values: list[str] | None, option: str = "") -> list[str]:
    """``["a,b", "c", "a"]`` -> ["a", "b", "c"]: an option may be repeated, or hold a list.

    Raises:
        ConvscopeError: ``option`` (its name) was given with nothing in it, which is not to mean its default.
    """
    found = list(dict.fromkeys(part.strip() for value in values or [] for part in value.split(",") if part.strip()))
    if option and values and not found:
        raise ConvscopeError(f"{option} {values[0]!r} names nothing; leave it out for the default")
    return found
