"""The folder of a training: what it is, who may write into it, and how a new one takes the place of an old one.

    NAME.run/   training.json             what it is and how far it is; says "finished" only at the end
                epochs/00000.safetensors  one snapshot an epoch (``snapshots.py``)
                weights.safetensors       the last good weights
                checkpoint.safetensors    what going on needs
                report/                   sheets, films and index.html
    .NAME.run.lock                        held by whoever writes (``atlas_folder.py``, as the swap below)

A run in the place of a finished one is built beside it, in ``.NAME.run.new``, and swapped in when it is finished; in
the place of an unfinished one it begins where that lay.

    with writing_run(Path("digits.run"), resume=resume, overwrite=overwrite) as folder:
        there = read_training(folder)         None: nothing to go on with
        begin_training(folder, Training(...))
        ...                                    snapshots, weights, report
        finish_training(folder)
"""

import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from convscope.errors import ConvscopeError
from convscope.store.atlas_folder import beside, folder_for, locked, swap_in
from convscope.store.described_folder import Kind
from convscope.store.snapshots import EPOCHS

TRAINING = "training.json"
WEIGHTS, CHECKPOINT = "weights.safetensors", "checkpoint.safetensors"
REPORT = "report"
VERSION = 1
RUN = Kind("training", "a training", TRAINING, "convscope training", "version", VERSION)


def _nothing() -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Training:
    """What ``training.json`` says, in JSON values.

    ``network``: how to build it again (None: somebody's own, which only they can build). ``data``: name, splits and
    counts. ``classes``: names, () where unknown. ``settings``: what fixes the numbers. ``epochs``: how many were asked
    for, 0 where nobody said. ``preprocess``: of photos. ``stamp``: versions, seed, command. ``history``: a mapping an
    epoch, over all images of a split, where the loop itself says so (a snapshot may be of a sample).
    """

    network: Mapping[str, Any] | None = None
    data: Mapping[str, Any] = field(default_factory=_nothing)
    classes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=_nothing)
    epochs: int = 0
    preprocess: Mapping[str, Any] | None = None
    stamp: Mapping[str, Any] = field(default_factory=_nothing)
    history: tuple[Mapping[str, Any], ...] = ()
    state: Literal["unfinished", "finished"] = "unfinished"

    @property
    def is_finished(self) -> bool:
        """True once everything that was asked for is in the folder."""
        return self.state == "finished"


@contextmanager
def writing_run(folder: Path, *, resume: bool = False, overwrite: bool = False) -> Generator[Path]:
    """Within the block no other process writes there; gives the folder to write into, which may lie beside.

    At the block's end a finished run that was built beside takes its place. A folder that stays empty goes again.

    Raises:
        ConvscopeError: another process writes there; something else lies there; a run is there, and neither
            ``resume`` nor ``overwrite``.
        UnwritableError: the folder cannot be made or written into.
    """
    building_of(folder, resume=resume, overwrite=overwrite)  # before anything is made
    with locked(folder):
        building = building_of(folder, resume=resume, overwrite=overwrite)  # now that nobody else changes it
        with folder_for(building):
            yield building
        if building != folder and is_finished(building):
            swap_in(building, folder)


def building_of(folder: Path, *, resume: bool = False, overwrite: bool = False) -> Path:
    """Where a run for ``folder`` is written: there, or beside it where it will take a finished one's place.

    Raises:
        ConvscopeError: something else lies there, or a run, and neither ``resume`` nor ``overwrite``.
    """
    there = read_training(folder)
    if there is None:
        RUN.refuse_other(folder)
    elif not (resume or overwrite):
        RUN.refuse_taken(folder, is_finished=there.is_finished)
    return beside(folder) if there is not None and there.is_finished and overwrite else folder


def begin_training(folder: Path, training: Training) -> Path:
    """Say what the folder will be, and take away what a run before left in it. Raises UnwritableError."""
    path = write_training(folder, replace(training, state="unfinished"))
    for name in (CHECKPOINT, WEIGHTS):  # what going on begins with is the first to go
        (folder / name).unlink(missing_ok=True)
    for name in (EPOCHS, REPORT):
        shutil.rmtree(folder / name, ignore_errors=True)
    return path


def write_training(folder: Path, training: Training) -> Path:
    """Write ``training.json``, at once. Raises UnwritableError."""
    return RUN.write(folder, asdict(training))


def finish_training(folder: Path) -> Path:
    """The last step: all the rest is in the folder. Raises ConvscopeError where no training was begun there."""
    return write_training(folder, replace(training_of(folder), state="finished"))


def is_finished(folder: Path) -> bool:
    """Whether a finished run lies there."""
    there = read_training(folder)
    return there is not None and there.is_finished


def read_training(folder: Path) -> Training | None:
    """What a folder says that it is; None where it has no ``training.json``, and so is no training.

    Raises:
        ConvscopeError: it cannot be read, is of something else, or of a newer convscope.
    """
    said = RUN.read(folder)
    if said is None:
        return None
    try:
        facts: dict[str, Any] = {name: said[name] for name in Training.__dataclass_fields__}
        facts |= {name: tuple(facts[name]) for name in ("classes", "history")}
        return Training(**facts)
    except (KeyError, TypeError) as error:
        raise ConvscopeError(f"{folder / TRAINING} is damaged: {error}") from error


def training_of(folder: Path) -> Training:
    """What a run is, finished or not.

    Raises:
        ConvscopeError: no folder (with the nearest names), or no training.
    """
    RUN.refuse_missing(folder)
    there = read_training(folder)
    assert there is not None
    return there
