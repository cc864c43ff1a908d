"""A run in the making: what was asked for, and the steps from there to a folder that is finished."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.preprocessing import Preprocess
from convscope.network.trained import preprocess_of
from convscope.stamps import command_line, versions
from convscope.store.run_folder import Training, begin_training, finish_training, read_training, write_training
from convscope.training.checkpoints import checkpoint_facts
from convscope.training.fitting import DivergedError, EpochScore, FitResult, fit
from convscope.training.frozen_features import frozen_features, remove_features
from convscope.training.judging import refuse_unfit
from convscope.training.learners import Learner, head_learner, learner_of
from convscope.training.probe import Probe
from convscope.training.recipe import Recipe
from convscope.training.run_data import RunData, read_run
from convscope.training.run_listing import ListedRun, list_run
from convscope.writing import UnwritableError

OnStage = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Begun:
    """What a training begins with."""

    learner: Learner
    data: RunData
    recipe: Recipe
    folder: Path


def untold(_what: str, _done: int, _every: int) -> None:
    """Nobody is told of steps."""


def unheard(_told: object) -> None:
    """Nobody is told."""


@dataclass(frozen=True, eq=False)
class Told:
    """Who is told what."""

    step: OnStage
    begin: Callable[[Begun], object]
    epoch: Callable[[EpochScore], object]
    note: Callable[[str], object]

    def of(self, what: str) -> Callable[[int, int], None]:
        """The steps of one part of the work."""
        return lambda done, every: self.step(what, done, every)


@dataclass(frozen=True, eq=False)
class Asked:
    """What a user asked for."""

    net: "str | nn.Module | Network"
    data: Any
    base: Network | None
    layer: str | None
    head: str | None
    seed: int
    held_out: float | None
    units: Sequence[str] | None
    report: bool
    input: dict[str, Any]
    recipe: dict[str, Any]

    def listed(self, besides: Path | None) -> "ListedRun | RunData":
        """The data, not yet decoded where they are not already."""
        return self.data if isinstance(self.data, RunData) else list_run(self.data, self.held_out, besides=besides)

    def learner(self, classes: Sequence[str]) -> Learner:
        """What learns these classes."""
        if self.base is None:
            return learner_of(self.net, classes, seed=self.seed, **self.input)
        if self.recipe.get("augment", "none") != "none":
            raise ConvscopeError(
                "a head on a frozen network sees each image once: its images are not shifted (augment)"
            )
        return head_learner(self.base, self.layer, self.head or "mean", classes, seed=self.seed)


@dataclass(frozen=True, eq=False)
class Making:
    """A run in the making; ``folder`` is where it is written, ``place`` where it will lie."""

    asked: Asked
    told: Told
    folder: Path
    place: Path

    def made(self, *, resume: bool) -> None:
        """Everything, until the folder says that it is finished; see ``train`` for what may be raised."""
        listed = self.asked.listed(self.place)
        learner = self.asked.learner(listed.classes)
        recipe = replace(learner.recipe, seed=self.asked.seed, **self.asked.recipe)
        there = read_training(self.folder)
        if there is not None and resume and there.is_finished:
            self._refuse_another(there, listed, learner, recipe)
            self.told.note(f"{self.place} is finished: nothing is left to do")
            return
        data = listed if isinstance(listed, RunData) else self._read(listed, learner)
        refuse_unfit(learner.net.module, data.held_out, data.classes)
        if learner.headed is None:  # a head is watched on features, which are not there yet
            self._probe(learner, data, None)  # refuses units that are not there
        for note in (*data.notes, *(learner.net.notes if self.asked.base is None else ())):
            self.told.note(note)
        if not (resume and checkpoint_facts(self.folder) is not None):
            begin_training(self.folder, self._training(learner, data, recipe))
        self.told.begin(Begun(learner, data, recipe, self.place))
        result = self._fitted(learner, data, recipe, resume)
        self._finished(learner, result)

    def _read(self, listed: ListedRun, learner: Learner) -> RunData:
        return read_run(listed, learner.net.preprocess, on_step=self.told.of("read"))

    def _training(self, learner: Learner, data: RunData, recipe: Recipe) -> Training:
        prepared = learner.net.preprocess
        stamp = {
            "model": learner.net.name, "model_hash": learner.net.fingerprint, "data_hash": data.fingerprint,
            "versions": versions(), "seed": recipe.seed, "command": command_line(),
        }  # fmt: skip
        sides = {name: {"images": len(split)} for name, split in data.sides().items()}
        said = {
            "name": data.name,
            "place": data.place,
            "splits": sides,
            "skipped": [list(each) for each in data.skipped],
            "notes": list(data.notes),
            "listing": data.listing,
        }
        return Training(
            network=learner.entry, data=said, classes=data.classes, settings=recipe.settings(), epochs=recipe.epochs,
            preprocess=asdict(prepared) if isinstance(prepared, Preprocess) else None, stamp=stamp,
        )  # fmt: skip

    def _fitted(self, learner: Learner, data: RunData, recipe: Recipe, resume: bool) -> FitResult:
        headed = learner.headed
        if headed is not None:
            data = frozen_features(headed, data, self.folder, on_step=self.told.of("features"))

        def probe() -> Probe:
            return self._probe(learner, data, self.folder)

        return fit(
            learner.module, data, self.folder, recipe, resume=resume, probe=probe,
            on_step=self.told.of("train"), on_epoch=self.told.epoch,
        )  # fmt: skip

    def _probe(self, learner: Learner, data: RunData, folder: Path | None) -> Probe:
        units = learner.units if self.asked.units is None else self.asked.units
        return Probe(learner.module, None, data, run=folder, units=units)

    def _finished(self, learner: Learner, result: FitResult) -> None:
        there = read_training(self.folder)
        assert there is not None
        write_training(self.folder, replace(there, history=tuple(asdict(each) for each in result.history)))
        if self.asked.report:
            from convscope.trainings.report import write_report  # draws: not needed before

            self.told.step("report", 0, 1)
            write_report(self.folder, learner.net)
            self.told.step("report", 1, 1)
        remove_features(self.folder)  # not before: a kill in the report would have them all computed again
        finish_training(self.folder)

    def _refuse_another(self, there: Training, listed: "ListedRun | RunData", learner: Learner, recipe: Recipe) -> None:
        """What a finished run was asked for again must be what it is."""
        other = "--overwrite takes its place, --out names another folder"
        for name, value in recipe.settings().items():
            if (before := there.settings.get(name)) != value:
                option = name.replace("_", "-")
                raise ConvscopeError(f"{self.place} was trained with {option} {before}, not with {value}; {other}")
        if there.data.get("listing") != listed.listing:
            raise ConvscopeError(f"{self.place} was trained on other data ({there.data.get('name')}); {other}")
        if self._is_built and there.stamp.get("model_hash") != learner.net.fingerprint:
            raise ConvscopeError(f"{self.place} was begun with another network, or other first weights; {other}")
        prepared = learner.net.preprocess
        if there.preprocess and isinstance(prepared, Preprocess) and preprocess_of(there.preprocess) != prepared:
            raise ConvscopeError(f"{self.place} was trained on inputs of another size, mean or deviation; {other}")

    @property
    def _is_built(self) -> bool:
        """Whether the network was made for this run: one that a program gave has learned since."""
        return self.asked.base is not None or isinstance(self.asked.net, str)


@contextmanager
def saying_what_is_kept(folder: Path, told: Told) -> Generator[None]:
    """Where the block is broken off, the user is told which epoch is kept."""
    try:
        yield
    except DivergedError:  # the same recipe would end there again
        raise
    except (KeyboardInterrupt, UnwritableError):
        facts, there = checkpoint_facts(folder), read_training(folder)
        if facts is not None:
            done, every = facts["epoch"], facts["recipe"]["epochs"]
            told.note(f"epoch {done} of {every} is kept in {folder}; the same with --resume goes on from there")
        elif there is not None:
            told.note(f"no epoch is done; what is in {folder} is kept, and the same with --resume goes on from there")
        raise
