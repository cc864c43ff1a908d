"""Where a probe leaves its snapshots: in memory, in a run's folder that somebody else holds, or in one of its own.

A training that is resumed at epoch k looks again at epoch k + 1: what lies there from that epoch on, of the training
that was killed, is taken away first. Its own folder is locked only while a file is written, so that a notebook's cell
can be run again while the probe of the last time is still in memory.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from convscope.errors import ConvscopeError
from convscope.stamps import command_line, versions
from convscope.store.atlas_folder import folder_for, locked, swap_in
from convscope.store.run_folder import (
    Training,
    begin_training,
    building_of,
    finish_training,
    read_training,
    write_training,
)
from convscope.store.snapshots import drop_snapshots, epochs, read_snapshot, write_snapshot
from convscope.training.snapshot import Snapshot, restored, stored


@runtime_checkable
class Keeper(Protocol):
    """Keeps snapshots."""

    def keep(self, snapshot: Snapshot) -> None:
        """Add one, in the place of its epoch's and all later ones."""
        ...

    def before(self, epoch: int) -> Snapshot | None:
        """The last one before an epoch."""
        ...

    def every(self) -> tuple[Snapshot, ...]:
        """All of them, in order."""
        ...

    def finish(self) -> Path | None:
        """No more will come; the folder that they are in."""
        ...


@dataclass(eq=False)
class InMemory:
    """As long as the probe lives."""

    kept: list[Snapshot] = field(default_factory=list[Snapshot])

    def keep(self, snapshot: Snapshot) -> None:
        """Add one."""
        self.kept = [*(other for other in self.kept if other.epoch < snapshot.epoch), snapshot]

    def before(self, epoch: int) -> Snapshot | None:
        """The last one before an epoch."""
        return next((other for other in reversed(self.kept) if other.epoch < epoch), None)

    def every(self) -> tuple[Snapshot, ...]:
        """All of them, in order."""
        return tuple(self.kept)

    def finish(self) -> None:
        """Nothing is left to do."""


@dataclass(eq=False)
class InRun:
    """In a run's folder, which the training itself holds and finishes."""

    building: Path

    def keep(self, snapshot: Snapshot) -> None:
        """Write one. Raises UnwritableError."""
        drop_snapshots(self.building, after=snapshot.epoch - 1)
        write_snapshot(self.building, snapshot.epoch, *stored(snapshot))

    def before(self, epoch: int) -> Snapshot | None:
        """The last one before an epoch. Raises ConvscopeError where it is damaged."""
        earlier = [other for other in epochs(self.building) if other < epoch]
        return restored(*read_snapshot(self.building, earlier[-1])) if earlier else None

    def every(self) -> tuple[Snapshot, ...]:
        """All of them, in order."""
        return tuple(restored(*read_snapshot(self.building, epoch)) for epoch in epochs(self.building))

    def finish(self) -> Path:
        """The folder; whoever holds it says that it is finished."""
        return self.building


@dataclass(eq=False)
class OwnRun(InRun):
    """In a folder of the probe's own; built beside ``folder`` where it takes a finished run's place."""

    folder: Path

    def keep(self, snapshot: Snapshot) -> None:
        """Write one. Raises UnwritableError."""
        with self._held():
            super().keep(snapshot)

    def finish(self) -> Path:
        """Say that it is finished, and put it in its place."""
        if self.building == self.folder or self.building.exists():
            with self._held():
                finish_training(self.building)
                if self.building != self.folder:
                    swap_in(self.building, self.folder)
                    self.building = self.folder
        return self.folder

    @contextmanager
    def _held(self) -> Generator[None]:
        with locked(self.folder), folder_for(self.building):
            yield


def own_run(
    folder: Path, settings: Mapping[str, Any], data: Mapping[str, Any], classes: tuple[str, ...], *,
    resume: bool, overwrite: bool,
) -> OwnRun:  # fmt: skip
    """A run's folder for a training that has none, begun or gone on with; ``resume`` goes before ``overwrite``.

    Raises:
        ConvscopeError: a run is there, and neither ``resume`` nor ``overwrite``; on ``resume``, another probe's.
        UnwritableError: it cannot be written into.
    """
    overwrite = overwrite and not resume  # what is gone on with, finished or not, keeps its earlier epochs
    building_of(folder, resume=resume, overwrite=overwrite)  # before anything is made
    with locked(folder):
        building = building_of(folder, resume=resume, overwrite=overwrite)
        there = read_training(building)
        with folder_for(building):
            if resume and there is not None:
                _refuse_another(building, there, {"settings": settings, "data": data})
                write_training(building, replace(there, state="unfinished"))
            else:
                stamp = {"versions": versions(), "command": command_line()}
                begin_training(building, Training(data=data, classes=classes, settings=settings, stamp=stamp))
    return OwnRun(building, folder)


def _refuse_another(folder: Path, there: Training, asked: Mapping[str, Mapping[str, Any]]) -> None:
    for what, now in asked.items():
        before: Mapping[str, Any] = getattr(there, what)
        for name in dict.fromkeys([*before, *now]):
            if before.get(name) != now.get(name):
                raise ConvscopeError(
                    f"{folder} was begun with {what} {name} = {before.get(name)!r}, and is to go on with "
                    f"{now.get(name)!r}; overwrite=True begins anew"
                )
