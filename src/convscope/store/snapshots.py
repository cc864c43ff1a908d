"""Snapshots: what a training looked like after an epoch, one file each, whole or not there (``checked_tensors.py``).

    NAME.run/epochs/00000.safetensors     before training; says of itself {"epoch": 0, "facts": {...}}
    NAME.run/epochs/00001.safetensors     after the first epoch, ...

``facts`` are JSON values (numbers, texts, lists, mappings with texts as keys; NaN is kept), tensors are arrays by name.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from convscope.errors import ConvscopeError
from convscope.store.checked_tensors import DamagedError, read_about, read_tensors, write_checked
from convscope.writing import remove_asides

EPOCHS = "epochs"
_KIND = "snapshot"


def snapshot_path(folder: Path, epoch: int) -> Path:
    """Where an epoch's snapshot lies in the run's folder."""
    return folder / EPOCHS / f"{epoch:05d}.safetensors"


def write_snapshot(folder: Path, epoch: int, tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> Path:
    """Write an epoch's snapshot, at once, in the place of one that is there.

    Raises:
        UnwritableError: the disk is full, or the folder cannot be written into; what was there before stays.
    """
    return write_checked(snapshot_path(folder, epoch), _KIND, {"epoch": epoch, "facts": dict(facts)}, tensors)


def epochs(folder: Path) -> list[int]:
    """The epochs of which there is a snapshot, in order."""
    found = (folder / EPOCHS).glob("[0-9]*.safetensors")
    return sorted(int(path.stem) for path in found if path.stem.isdecimal())


def read_snapshot(folder: Path, epoch: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(tensors, facts) of an epoch.

    Raises:
        ConvscopeError: there is none of that epoch (with those that there are), or it is damaged.
    """
    path = snapshot_path(folder, epoch)
    if not path.is_file():
        there = epochs(folder)
        listed = f"it has {_listed(there)}" if there else "it has none"
        raise ConvscopeError(f"no snapshot of epoch {epoch} in {folder}: {listed}")
    try:
        about = read_about(path, _KIND)
        if about["epoch"] != epoch:
            raise DamagedError(f"it is of epoch {about['epoch']}")
        return read_tensors(path), about["facts"]
    except (DamagedError, KeyError) as error:
        raise ConvscopeError(f"{path} is damaged: {error}") from error


def drop_snapshots(folder: Path, *, after: int) -> list[int]:
    """Delete the snapshots of later epochs, and what killed processes left half written; the epochs that went.

    A training that is resumed at an epoch makes them again. Only while no other process writes there.
    """
    remove_asides(folder / EPOCHS)
    gone = [epoch for epoch in epochs(folder) if epoch > after]
    for epoch in reversed(gone):  # a kill half way leaves no gap
        snapshot_path(folder, epoch).unlink(missing_ok=True)
    return gone


def _listed(there: list[int]) -> str:
    if len(there) <= 12:
        return ", ".join(map(str, there))
    return f"{len(there)}, from {there[0]} to {there[-1]}"
