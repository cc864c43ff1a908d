"""``convscope train``: a small network from scratch, one's own, or a new head on a frozen network, in view."""

import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import options as opt
from convscope.cli import train_head as on_base
from convscope.cli.running import DONE, SKIPPED, command, say, say_skipped
from convscope.errors import ConvscopeError
from convscope.wording import percent

if TYPE_CHECKING:
    from convscope.training.fitting import EpochScore
    from convscope.training.learners import Learner
    from convscope.trainings.making import Begun
    from convscope.trainings.training_run import TrainingRun

_RECIPE, _RUN = "Recipe", "Run"
DIGITS = "bundled:digits"
MOST_NAMED = 10
MOST_CONFUSIONS = 5

Data = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA", show_default=DIGITS,
        help="bundled:digits; class folders, with train/ and held-out/ around them or without; a zip or tar of them; "
        "hf:NAME.",
    ),
]  # fmt: skip
DataByName = Annotated[str | None, typer.Option("--data", metavar="DATA", help="The same as DATA.")]
Net = Annotated[
    str | None,
    typer.Option(
        "--net", "-n", show_default="digits for the digits, else small",
        help="digits, small or tiny; or path/file.py:factory, torchvision:NAME, ..., with random weights.",
    ),
]  # fmt: skip
Out = Annotated[Path | None, typer.Option("--out", "-o", help="The folder to make; DATA's name with .run by default.")]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs", min=1, rich_help_panel=_RECIPE, show_default="16 for digits, else 20",
        help="Passes over the training images.",
    ),
]  # fmt: skip
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch", min=1, rich_help_panel=_RECIPE, show_default="16 for digits, else 32", help="Images a step."
    ),
]  # fmt: skip
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--learning-rate", rich_help_panel=_RECIPE, show_default="0.003 for digits, else 0.001",
        help="Of the first step.",
    ),
]  # fmt: skip
Rate = Annotated[
    str | None,
    typer.Option("--rate", rich_help_panel=_RECIPE, show_default="cosine", help="How it goes on: cosine or constant."),
]
Optimiser = Annotated[
    str | None, typer.Option("--optimiser", rich_help_panel=_RECIPE, show_default="adam", help="adam or sgd.")
]
WeightDecay = Annotated[
    float | None, typer.Option("--weight-decay", rich_help_panel=_RECIPE, show_default="0", help="0 or more.")
]
Augment = Annotated[
    str | None,
    typer.Option(
        "--augment", rich_help_panel=_RECIPE, show_default="shifts for digits, shifts-and-flips else",
        help="How images differ from epoch to epoch: none, shifts, or shifts-and-flips.",
    ),
]  # fmt: skip
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, max=2**63 - 1, rich_help_panel=_RECIPE, help="Of first weights, order and shifts."),
]
HeldOut = Annotated[
    float | None,
    typer.Option(
        "--held-out", rich_help_panel=_RECIPE, show_default="0.25",
        help="The part of every class that is held out; not where the data have a split of their own.",
    ),
]  # fmt: skip
Size = Annotated[int | None, typer.Option("--size", rich_help_panel=_RECIPE, help="Pixels a side of the input.")]
Mean = Annotated[str | None, typer.Option("--mean", rich_help_panel=_RECIPE, help="Mean a channel, e.g. 0.5,0.5,0.5.")]
Std = Annotated[
    str | None, typer.Option("--std", rich_help_panel=_RECIPE, help="Deviation a channel, e.g. 0.5,0.5,0.5.")
]
Units = Annotated[
    list[str] | None,
    typer.Option(
        "--units", rich_help_panel=_RUN, show_default="four of a named network",
        help="Units whose maps are kept after each epoch, such as conv3:5; several with commas.",
    ),
]  # fmt: skip
Threads = Annotated[
    int,
    typer.Option(
        "--threads", min=1, rich_help_panel=_RECIPE,
        help="Of one step. More may be faster for large networks; another number rounds otherwise.",
    ),
]  # fmt: skip
Resume = Annotated[
    bool,
    typer.Option("--resume", rich_help_panel=_RUN, help="Go on after the last whole epoch; starts where nothing is."),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", rich_help_panel=_RUN, help="Replace a run; a finished one stays until the new is whole."
    ),
]
Report = Annotated[
    bool, typer.Option("--report/--no-report", rich_help_panel=_RUN, help="Write the page with sheets and films.")
]


@command("train")
def train(
    data: Data = None,
    data_by_name: DataByName = None,
    net: Net = None,
    out: Out = None,
    base: on_base.Base = None,
    layer: on_base.Layer = None,
    head: on_base.Head = None,
    base_weights: on_base.BaseWeights = None,
    base_classes: on_base.BaseClasses = None,
    trust_pickle: opt.TrustPickle = False,
    epochs: Epochs = None,
    batch: BatchSize = None,
    learning_rate: LearningRate = None,
    rate: Rate = None,
    optimiser: Optimiser = None,
    weight_decay: WeightDecay = None,
    augment: Augment = None,
    seed: Seed = 0,
    held_out: HeldOut = None,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    units: Units = None,
    device: opt.Device = None,
    threads: Threads = 1,
    report: Report = True,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: opt.Json = False,
) -> int:
    """Train a network and see how it learns: loss, confusions, filters and the images' plane, epoch by epoch.

    [cyan]convscope train[/]   the digits in the box, with a small network, in under a minute

    [cyan]convscope train photos --net path/file.py:factory --epochs 30 --out photos.run[/]

    [cyan]convscope train photos --base torchvision:alexnet --layer features.10[/]   a new head only

    The folder is a model: [cyan]convscope explain photo.png --model photos.run[/]
    """
    from convscope.trainings.making import train as trained

    if data is not None and data_by_name is not None:
        raise ConvscopeError(f"the data are given twice, {data} and --data {data_by_name}: give one of them")
    chosen = next(each for each in (data, data_by_name, DIGITS) if each is not None)  # none is chosen by an empty one
    on_base.refuse_loose(base, layer=layer, head=head, base_weights=base_weights, base_classes=base_classes)
    if base is not None and net is not None:
        raise ConvscopeError("--net is trained whole and --base is kept under a new head: give one of them")
    shape: dict[str, Any] = {"size": size, "mean": opt.numbers(mean, "--mean"), "std": opt.numbers(std, "--std")}
    below = None
    if base is not None:
        below = on_base.base_network(base, base_weights, base_classes, size, mean, std, trust_pickle, device)
        shape = {}
    begun: list[Begun] = []

    def begins(what: "Begun") -> None:
        begun.append(what)
        _print_begin(what, quiet=as_json)

    with _bars() as bars:
        run = trained(
            net, chosen, out, base=below, layer=layer, head=head, epochs=epochs, batch=batch,
            learning_rate=learning_rate, seed=seed, optimiser=optimiser, rate=rate, weight_decay=weight_decay,
            augment=augment, held_out=held_out, **shape, device=None if base else device,
            units=None if units is None else opt.listed(units, "--units"), threads=threads, report=report,
            resume=resume, overwrite=overwrite, on_step=bars, on_begin=begins, on_epoch=_say_epoch,
            on_note=lambda text: say(f"note: {text}"),
        )  # fmt: skip
    _print_end(run, as_json=as_json)
    return SKIPPED if begun and begun[0].data.skipped else DONE


@contextmanager
def _bars() -> Generator[Callable[[str, int, int], None]]:
    """A bar for each part of the work; where stderr is no terminal the epochs' lines say enough."""
    from convscope.cli.progress import staged

    if not sys.stderr.isatty():
        yield lambda _what, _done, _every: None
        return
    with staged() as show:
        yield show


def _print_begin(begun: "Begun", *, quiet: bool) -> None:
    """The network's layers, and what it learns from."""
    from convscope.cli.layers import print_layers
    from convscope.network.listing import describe_layers, example_input

    data, recipe, net = begun.data, begun.recipe, begun.learner.net
    for name, why in data.skipped[:MOST_NAMED]:
        say_skipped(name, why)
    if len(data.skipped) > MOST_NAMED:
        say(f"skipped {len(data.skipped) - MOST_NAMED:,} more: training.json lists them")
    if quiet:
        return
    print_layers(net.name, describe_layers(net.module, example_input(net)))
    print(
        f"\n{data.name}: {len(data.train):,} images to train on, {len(data.held_out):,} held out, "
        f"{len(data.classes)} classes"
    )
    more = "" if recipe.augment == "none" else f", {recipe.augment.replace('-', ' ')}"
    print(
        f"{_learning(begun.learner)}\n"
        f"{recipe.epochs} epochs, batches of {recipe.batch}, {recipe.optimiser}, learning rate "
        f"{recipe.learning_rate:g} ({recipe.rate}){more}, seed {recipe.seed}",
        flush=True,
    )


def _learning(learner: "Learner") -> str:
    """How many of the network's numbers the training changes."""
    every = sum(each.numel() for each in learner.net.module.parameters())
    learns = sum(each.numel() for each in learner.module.parameters() if each.requires_grad)
    return (
        "all parameters learn" if learns == every else f"{learns:,} of {every:,} parameters learn, the rest is frozen"
    )


def _say_epoch(score: "EpochScore") -> None:
    say(
        f"epoch {score.epoch:3}   train: loss {_loss(score.train_loss)}, {percent(score.train_accuracy)} right   "
        f"held out: loss {_loss(score.loss)}, {percent(score.accuracy)} right"
    )


def _loss(value: float) -> str:
    return f"{value:.4f}" if value < 1000 else f"{value:.3g}"


def _print_end(run: "TrainingRun", *, as_json: bool) -> None:
    from convscope.training.checkpoints import finished_facts

    facts = finished_facts(run.path)
    confusion: list[list[int]] = facts["confusion"]
    images, right = sum(map(sum, confusion)), sum(row[k] for k, row in enumerate(confusion))
    page = run.path / "report" / "index.html"
    if as_json:
        said = {
            "run": str(run.path), "images": {"train": _images(run, "train"), "held out": images},
            "accuracy": right / images, "loss": facts["history"][-1]["loss"], "epochs": facts["epoch"],
            "classes": list(run.training.classes), "confusion": confusion, "history": facts["history"],
            "skipped": run.training.data["skipped"], "report": str(page) if page.is_file() else None,
        }  # fmt: skip
        print(json.dumps(said, indent=1, ensure_ascii=False))
        return
    print(f"\nafter epoch {facts['epoch']}, the last:")
    print(f"{percent(right / images)} of the {images:,} held-out images answered rightly, {images - right:,} wrongly")
    wrong = [
        (count, run.training.classes[k], run.training.classes[a])
        for k, row in enumerate(confusion) for a, count in enumerate(row) if a != k and count
    ]  # fmt: skip
    for count, label, answer in sorted(wrong, key=lambda each: -each[0])[:MOST_CONFUSIONS]:
        print(f"  {label} answered {answer}: {count:,}")
    print(run.path)
    if page.is_file():
        print(page)


def _images(run: "TrainingRun", side: str) -> int:
    return run.training.data["splits"][side]["images"]
