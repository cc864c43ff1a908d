"""``train``: data, network, training, snapshots and report, in one folder that survives being killed at any moment.

    training.json (unfinished) -> an epoch: snapshot, checkpoint, weights -> ... -> report -> training.json (finished)

Each arrow is a rename (``store/run_folder.py``), so that after a kill ``resume`` goes on after the last whole epoch and
ends at the weights of a training that was never broken off, to the last bit. What is refused is refused before anything
is written.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import nn

from convscope.dataset.image_sources import source_of, without_archive_suffix
from convscope.network.digit_pictures import DIGITS, is_in_the_box
from convscope.network.loading import Network
from convscope.network.preprocessing import Preprocess
from convscope.store.run_folder import writing_run
from convscope.training.fitting import EpochScore
from convscope.training.run_data import RunData
from convscope.trainings.run_making import Asked, Begun, Making, OnStage, Told, saying_what_is_kept, unheard, untold
from convscope.trainings.training_run import TrainingRun, open_training


def train(
    net: "str | nn.Module | Network | None" = None,
    data: object = DIGITS,
    out: str | Path | None = None,
    *,
    base: Network | None = None,
    layer: str | None = None,
    head: str | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    optimiser: str | None = None,
    rate: str | None = None,
    weight_decay: float | None = None,
    augment: str | None = None,
    held_out: float | None = None,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    preprocess: Preprocess | None = None,
    device: str | None = None,
    units: Sequence[str] | None = None,
    threads: int | None = None,
    report: bool = True,
    resume: bool = False,
    overwrite: bool = False,
    on_step: OnStage | None = None,
    on_begin: Callable[[Begun], object] | None = None,
    on_epoch: Callable[[EpochScore], object] | None = None,
    on_note: Callable[[str], object] | None = None,
) -> TrainingRun:
    """Train a network from scratch, or a new head on a frozen one, and look at it after each epoch.

    An option that is None has the network's usual value.

    Args:
        net: ``digits``, ``small``, ``tiny``; ``path/file.py:factory`` or another name that ``load`` takes, with random
            weights; a live module or a ``Network``, trained in place. None: ``digits`` for the digits, else ``small``.
        data: ``bundled:digits``, class folders (with ``train/`` and ``held-out/`` in them, or without), a zip or tar of
            them, ``hf:NAME``, a Dataset, a list of (photo, label), {"train": ..., "held out": ...}, or a ``RunData``.
        out: the folder, ``NAME.run``; None: the data's name.
        base: in place of ``net``: the network that is kept, under a new head.
        layer: of the base, that the head stands on; None: its last map.
        head: ``mean`` (as None), ``flat`` or ``mlp``.
        epochs: passes over the training images.
        batch: images a step.
        learning_rate: of the first step.
        seed: of first weights, order and shifts: the same seed gives the same weights to the last bit.
        optimiser: ``adam`` or ``sgd``.
        rate: ``cosine`` or ``constant``.
        weight_decay: see ``training.recipe``.
        augment: ``none``, ``shifts`` or ``shifts-and-flips``.
        held_out: the part of every class that is held out, where the data have no split of their own; None: a quarter.
        size: pixels a side of the input.
        mean: of the inputs, one number a channel.
        std: likewise.
        preprocess: of a live module.
        device: where it is trained.
        units: whose maps are kept after each epoch, ``"conv3:5"``.
        threads: of torch, in one step; None: 1. Another number rounds otherwise.
        report: write the sheets, films and page at the end.
        resume: go on where it was stopped; starts where nothing is, and does nothing where it is finished.
        overwrite: take the place of a run; a finished one stays until the new one is whole.
        on_step: called with (what is done, done, all).
        on_begin: told what the training begins with.
        on_epoch: called after each epoch that was kept.
        on_note: told what the user should know.

    Raises:
        ConvscopeError: anything in this that does not exist or does not fit; a run that is there, and neither
            ``resume`` nor ``overwrite``; on ``resume``, other data or another recipe than before.
        DivergedError: the loss was not finite; the last good weights are kept.
        UnwritableError: a full disk; the last whole epoch is kept.
    """
    chosen = {
        "epochs": epochs, "batch": batch, "learning_rate": learning_rate, "optimiser": optimiser, "rate": rate,
        "weight_decay": weight_decay, "augment": augment, "threads": threads,
    }  # fmt: skip
    net = net or ("digits" if is_in_the_box(data) else "small")
    asked = Asked(
        net, data, base, layer, head, seed, held_out, units, report,
        {"size": size, "mean": mean, "std": std, "preprocess": preprocess, "device": device},
        {name: value for name, value in chosen.items() if value is not None},
    )  # fmt: skip
    told = Told(on_step or untold, on_begin or unheard, on_epoch or unheard, on_note or unheard)
    folder = Path(out) if out is not None else Path(f"{_called(data)}.run")
    with writing_run(folder, resume=resume, overwrite=overwrite) as building, saying_what_is_kept(building, told):
        Making(asked, told, building, folder).made(resume=resume)
    return open_training(folder)


def _called(data: object) -> str:
    """What a run of these data is called."""
    if isinstance(data, RunData):
        return without_archive_suffix(data.name)
    if isinstance(data, Mapping):
        return "training"
    return without_archive_suffix(source_of(data).name)
