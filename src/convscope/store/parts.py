"""Parts: what one shard of a survey gave, one file each, whole or not there (``checked_tensors.py``).

    parts/00012.safetensors     says of itself {"number": 12, "plan": fingerprint}

A part that does not agree with its checksum (a damaged disk, a file cut off), or that another plan made, is as good as
missing and is computed again. ``present`` verifies each file once; ``read_part`` of a prefix then maps the file and
copies only those tensors, so that the reduction can go layer by layer.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from convscope.store.checked_tensors import DamagedError, read_about, read_tensors, write_checked
from convscope.writing import remove_asides

PARTS = "parts"
_KIND = "part"


def part_path(folder: Path, number: int) -> Path:
    """Where a shard's part lies in the atlas's folder."""
    return folder / PARTS / f"{number:05d}.safetensors"


def write_part(folder: Path, number: int, tensors: Mapping[str, np.ndarray], plan_fingerprint: str) -> Path:
    """Write a shard's tensors into ``folder/parts``, at once.

    Raises:
        UnwritableError: the disk is full, or the folder cannot be written into; no part is left then.
    """
    about = {"number": number, "plan": plan_fingerprint}
    return write_checked(part_path(folder, number), _KIND, about, tensors)


def read_part(folder: Path, number: int, plan_fingerprint: str, *, prefix: str = "") -> dict[str, np.ndarray] | None:
    """A shard's tensors, or those whose names begin with ``prefix``; None: missing, corrupt, or another plan's.

    The checksum is compared where all tensors are read; with a prefix only the header is looked at.
    """
    path = part_path(folder, number)
    if not _is_sound(path, number, plan_fingerprint, thorough=not prefix):
        return None
    try:
        return read_tensors(path, prefix=prefix)
    except DamagedError:
        return None


def present(folder: Path, plan_fingerprint: str, *, thorough: bool = True) -> set[int]:
    """The shards whose parts are there, whole, and of this plan; not ``thorough``: without comparing checksums."""
    found = {int(path.stem): path for path in (folder / PARTS).glob("[0-9]*.safetensors") if path.stem.isdecimal()}
    return {number for number, path in found.items() if _is_sound(path, number, plan_fingerprint, thorough=thorough)}


def remove_parts(folder: Path) -> None:
    """Delete all parts and their folder: the atlas is finished."""
    remove_asides(folder / PARTS)
    for path in (folder / PARTS).glob("*.safetensors"):
        path.unlink(missing_ok=True)
    if (folder / PARTS).is_dir() and not any((folder / PARTS).iterdir()):
        (folder / PARTS).rmdir()


def _is_sound(path: Path, number: int, plan_fingerprint: str, *, thorough: bool) -> bool:
    try:
        about = read_about(path, _KIND, thorough=thorough)
    except DamagedError:
        return False
    return about == {"number": number, "plan": plan_fingerprint}
