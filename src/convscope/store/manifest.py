"""``manifest.json``: what the folder is, and whether it is finished.

    {"format": "convscope atlas", "schema": 1, "state": "unfinished", "plan": fingerprint, "about": {...}}

It is written with the plan, and again, whole, when the tables are in their place: a folder says ``finished`` only then,
and only when everything else in it is on the disk.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from convscope.errors import ConvscopeError, nearest
from convscope.store.schema import SCHEMA
from convscope.writing import write_file

MANIFEST = "manifest.json"
_FORMAT = "convscope atlas"
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
    whole = {
        "format": _FORMAT,
        "schema": manifest.schema,
        "state": manifest.state,
        "plan": manifest.plan,
        "about": dict(manifest.about),
    }
    return write_file(folder / MANIFEST, json.dumps(whole, indent=1).encode(), synced=True)


def read_manifest(folder: Path) -> Manifest | None:
    """What a folder says that it is; None where it has no manifest, and so is no atlas.

    Raises:
        ConvscopeError: it cannot be read, is of something else, or of a newer convscope.
    """
    path = folder / MANIFEST
    try:
        said: Any = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ConvscopeError(f"{path} cannot be read: {error}") from error
    if not isinstance(said, dict) or said.get("format") != _FORMAT:
        raise ConvscopeError(f"{folder} is no atlas: its {MANIFEST} is of something else")
    schema = said.get("schema")
    if not isinstance(schema, int) or schema > SCHEMA:
        raise ConvscopeError(
            f"{folder} was made by a newer convscope (layout {schema}; this one reads up to {SCHEMA}): update convscope"
        )
    try:
        return Manifest(said["state"], said["plan"], said["about"], schema)
    except KeyError as error:
        raise ConvscopeError(f"{path} is damaged: it has no {error}") from error


def finished_manifest(folder: Path) -> Manifest:
    """The manifest of an atlas that can be read.

    Raises:
        ConvscopeError: no folder (with the nearest names), no atlas, or an unfinished one.
    """
    if not folder.exists():
        raise ConvscopeError(f"there is no atlas {folder}{_beside(folder)}")
    if not folder.is_dir():
        raise ConvscopeError(f"{folder} is no atlas: it is a file, and an atlas is a folder")
    manifest = read_manifest(folder)
    if manifest is None:
        raise ConvscopeError(f"{folder} is no atlas: it has no {MANIFEST}{_beside(folder)}")
    if not manifest.is_finished:
        raise ConvscopeError(f"{folder} is not finished: the same `convscope survey` with --resume goes on with it")
    return manifest


def _beside(folder: Path) -> str:
    """The atlases that lie where this one was looked for."""
    if not folder.parent.is_dir():
        return f": there is no folder {folder.parent}"
    atlases = sorted(path.parent.name for path in folder.parent.glob(f"*/{MANIFEST}"))
    listed = f"; atlases there: {', '.join(atlases[:8])}" if atlases else ""
    return nearest(folder.name, atlases) or listed
