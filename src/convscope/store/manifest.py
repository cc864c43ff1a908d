"""``manifest.json``: what the folder is, and whether it is finished.

    {"format": "convscope atlas", "schema": 1, "state": "unfinished", "plan": fingerprint, "about": {...}}

It is written with the plan, and again, whole, when the tables are in their place: a folder says ``finished`` only then,
and only when everything else in it is on the disk.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from convscope.errors import ConvscopeError
from convscope.store.described_folder import Kind
from convscope.store.schema import SCHEMA

MANIFEST = "manifest.json"
ATLAS = Kind("atlas", "an atlas", MANIFEST, "convscope atlas", "schema", SCHEMA)
State = Literal["unfinished", "finished"]


@dataclass(frozen=True)
class Manifest:
    """``plan`` is the plan's fingerprint; ``about`` what a reader needs before the tables are there (JSON values)."""

    state: State
    plan: str
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])
    schema: int = SCHEMA

    @property
    def is_finished(self) -> bool:
        """True once the tables are whole."""
        return self.state == "finished"


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write it into the atlas's folder, at once. Raises UnwritableError."""
    if manifest.is_finished and hasattr(os, "sync"):
        os.sync()  # thousands of pictures: one by one it would take as long as drawing them
    said = {"state": manifest.state, "plan": manifest.plan, "about": dict(manifest.about)}
    return ATLAS.write(folder, said, manifest.schema)


def read_manifest(folder: Path) -> Manifest | None:
    """What a folder says that it is; None where it has no manifest, and so is no atlas.

    Raises:
        ConvscopeError: it cannot be read, is of something else, or of a newer convscope.
    """
    said = ATLAS.read(folder)
    if said is None:
        return None
    try:
        return Manifest(said["state"], said["plan"], said["about"], said["schema"])
    except KeyError as error:
        raise ConvscopeError(f"{folder / MANIFEST} is damaged: it has no {error}") from error


def finished_manifest(folder: Path) -> Manifest:
    """The manifest of an atlas that can be read.

    Raises:
        ConvscopeError: no folder (with the nearest names), no atlas, or an unfinished one.
    """
    ATLAS.refuse_missing(folder)
    manifest = read_manifest(folder)
    assert manifest is not None
    if not manifest.is_finished:
        raise ConvscopeError(f"{folder} is not finished: the same `convscope survey` with --resume goes on with it")
    return manifest
