"""A training that is read again: its folder, its epochs, and the numbers of each.

Only facts are kept in memory; the tensors of a snapshot are read when they are asked for. A snapshot that is damaged is
left out and named (``broken``), an epoch whose file is not there likewise (``missing``): what is left can still be
looked at, and every sheet says what it lacks.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from convscope.errors import ConvscopeError, nearest
from convscope.stamps import Stamp
from convscope.store.run_folder import Training, training_of
from convscope.store.snapshots import epochs as epochs_in
from convscope.store.snapshots import read_snapshot
from convscope.training.snapshot import Snapshot, restored

_TRAINED_ON = ("train", "training", "fit")  # names of the split that weights are fitted to
_SCORES = ("loss", "accuracy")


@dataclass(frozen=True)
class Scores:
    """After an epoch: split -> mean cross-entropy, and split -> share of right answers."""

    epoch: int
    losses: Mapping[str, float]
    accuracies: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A run's folder. ``broken``: epoch -> why its snapshot cannot be read; ``missing``: epochs without a file."""

    path: Path
    training: Training = field(repr=False)
    facts: Mapping[int, Mapping[str, Any]] = field(repr=False)
    broken: Mapping[int, str]

    @property
    def epochs(self) -> tuple[int, ...]:
        """Those whose snapshots can be read, in order; 0 is before training."""
        return tuple(self.facts)

    @cached_property
    def missing(self) -> tuple[int, ...]:
        """Epochs that have no snapshot although those before and after are as far apart as the others."""
        there = sorted([*self.facts, *self.broken])
        step = min((b - a for a, b in itertools.pairwise(there)), default=1)
        gaps = [e for a, b in itertools.pairwise(there) for e in range(a + step, b, step)]
        return tuple(gaps)

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """What was measured on, that of the weights first: ``("train", "held out")``."""
        named = dict.fromkeys(name for facts in self.facts.values() for name in facts["splits"])
        watched = self.training.data.get("watched")  # of a probe's own run: what the maps and the embedding are of
        return tuple(sorted(named, key=lambda name: (name == watched, name.lower() not in _TRAINED_ON, name)))

    @property
    def judged_by(self) -> str:
        """The split that says how good the network is: the held-out one where there is one."""
        if not self.splits:
            raise ConvscopeError(f"{self.path.name} has no losses and no scores: its snapshots hold none")
        return self.splits[-1]

    @cached_property
    def history(self) -> tuple[Scores, ...]:
        """Loss and accuracy of each split, an epoch each.

        A probe measures on a sample; where the loop itself judged all held-out images, its numbers stand.
        """
        judged = {said.get("epoch"): said for said in self.training.history}
        scores: list[Scores] = []
        for epoch, facts in self.facts.items():
            of = facts["splits"]
            found = {what: {n: float(of[n][what]) if n in of else math.nan for n in self.splits} for what in _SCORES}
            if self.splits and self.judged_by.lower() not in _TRAINED_ON:
                for what in _SCORES:
                    whole = judged.get(epoch, {}).get(what)
                    found[what] |= {} if whole is None else {self.judged_by: float(whole)}
            scores.append(Scores(epoch, found["loss"], found["accuracy"]))
        return tuple(scores)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Their names, ``class 0``, ... where nobody named them; () where nothing says how many there are."""
        if named := self.training.classes or self.last.classes:
            return named
        count = max((len(split.confusion) for split in self.last.splits.values()), default=0)
        return tuple(f"class {number}" for number in range(count))

    @property
    def stamp(self) -> Stamp:
        """Of the run, as it was when it began."""
        said = {"model": self.path.stem, "model_hash": "", "data_hash": "", "versions": "", "seed": None, "command": ""}
        given = self.training.stamp
        return Stamp(**{each.name: given.get(each.name, said[each.name]) for each in fields(Stamp)})

    @property
    def name(self) -> str:
        """The folder's, as it will be called when it is whole."""
        name = self.path.name
        return name[1:].removesuffix(".new") if name.startswith(".") else name

    def snapshot(self, epoch: int) -> Snapshot:
        """What was kept after an epoch.

        Raises:
            ConvscopeError: there is none of that epoch, or it is damaged.
        """
        return restored(*read_snapshot(self.path, epoch))

    def snapshots(self) -> Iterator[Snapshot]:
        """One after the other."""
        return map(self.snapshot, self.epochs)

    @cached_property
    def last(self) -> Snapshot:
        """That of the last epoch."""
        return self.snapshot(self.epochs[-1])

    def lacking(self) -> str:
        """What is not there, in a line for a sheet; empty where all is."""
        parts: list[str] = []
        if self.broken:
            parts.append(f"damaged and left out: {listed(tuple(self.broken))}")
        if self.missing:
            parts.append(f"without a snapshot: {listed(self.missing)}")
        if self.epochs[-1] < self.training.epochs:
            parts.append(f"ended after {listed(self.epochs[-1:])} of {self.training.epochs}")
        return "; ".join(parts)


def open_training(path: str | Path) -> TrainingRun:
    """A training by its folder, finished or not.

    Raises:
        ConvscopeError: no such folder (with the nearest), no training, or one without a snapshot that can be read.
    """
    folder = Path(path)
    training = training_of(folder)
    facts: dict[int, Mapping[str, Any]] = {}
    broken: dict[int, str] = {}
    for epoch in epochs_in(folder):
        try:
            facts[epoch] = read_snapshot(folder, epoch)[1]
        except ConvscopeError as error:
            broken[epoch] = str(error)
    if not facts:
        why = f"; {next(iter(broken.values()))}" if broken else ": nothing was trained yet"
        raise ConvscopeError(f"{folder.name} has no snapshot that can be read{why}")
    return TrainingRun(folder, training, facts, broken)


def chosen_epochs(epochs: Sequence[int], most: int) -> tuple[int, ...]:
    """At most ``most`` of the epochs, the first and the last among them, dense at first: early epochs change most.

    >>> chosen_epochs(range(21), 6)
    (0, 1, 3, 7, 13, 20)
    """
    if len(epochs) <= most:
        return tuple(epochs)
    if most == 1:
        return (epochs[-1],)
    last, places = len(epochs) - 1, [0]
    for i in range(1, most):
        place = round(last * (i / (most - 1)) ** 2)
        places.append(min(max(place, places[-1] + 1), last - (most - 1 - i)))
    return tuple(epochs[place] for place in places)


def split_asked(run: TrainingRun, split: str | None) -> str:
    """The split by its name; None: the one that judges. Raises ConvscopeError for another."""
    if split is None:
        return run.judged_by
    if split not in run.splits:
        raise ConvscopeError(
            f"no split {split!r} in {run.path.name}{nearest(split, run.splits)} (it has {', '.join(run.splits)})"
        )
    return split


def called(layer: str) -> str:
    """A layer's name in a sentence: ``conv1``, but ``layer 0`` of a Sequential."""
    return f"layer {layer}" if layer[:1].isdigit() else layer


def listed(epochs: Sequence[int]) -> str:
    """``epoch 3``, ``epochs 3, 4, 7``; of many the first eight."""
    word = "epoch" if len(epochs) == 1 else "epochs"
    shown = ", ".join(map(str, epochs[:8]))
    return f"{word} {shown}" + (f" and {len(epochs) - 8} more" if len(epochs) > 8 else "")
