"""Parts: what one shard of a survey gave, one file each, whole or not there.

    parts/00012.safetensors     8 bytes length, a JSON header, the tensors' bytes (the safetensors format)
    header["__metadata__"]      {"part": '{"number": 12, "plan": fingerprint, "sha256": of all the rest}'}

A part is written beside its place, forced to the disk and renamed into its place, so that a process that is killed, or
a power cut, leaves no half of one. The
checksum covers names, types, shapes and bytes; a part that does not agree with it (a damaged disk, a file cut off), or
that another plan made, is as good as missing and is computed again. ``present`` verifies each file once; ``read_part``
of a prefix then maps the file and copies only those tensors, so that the reduction can go layer by layer.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors
import safetensors.numpy

from convscope.writing import file_aside

PARTS = "parts"
_CHUNK = 1 << 22


def part_path(folder: Path, number: int) -> Path:
    """Where a shard's part lies in the atlas's folder."""
    return folder / PARTS / f"{number:05d}.safetensors"


def write_part(folder: Path, number: int, tensors: Mapping[str, np.ndarray], plan_fingerprint: str) -> Path:
    """Write a shard's tensors into ``folder/parts``, at once.

    Raises:
        UnwritableError: the disk is full, or the folder cannot be written into; no part is left then.
    """
    whole = safetensors.numpy.save({name: np.ascontiguousarray(values) for name, values in tensors.items()})
    (length,) = struct.unpack("<Q", whole[:8])
    entries, data = json.loads(whole[8 : 8 + length]), memoryview(whole)[8 + length :]
    digest = hashlib.sha256(_canonical(entries))
    digest.update(data)
    about = {"number": number, "plan": plan_fingerprint, "sha256": digest.hexdigest()}
    header = json.dumps({"__metadata__": {"part": json.dumps(about)}, **entries}).encode()
    header += b" " * (-len(header) % 8)  # the tensors begin at a multiple of 8
    path = part_path(folder, number)
    with file_aside(path, synced=True) as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.write(data)
    return path


def read_part(folder: Path, number: int, plan_fingerprint: str, *, prefix: str = "") -> dict[str, np.ndarray] | None:
    """A shard's tensors, or those whose names begin with ``prefix``; None: missing, corrupt, or another plan's.

    The checksum is compared where all tensors are read; with a prefix only the header is looked at.
    """
    path = part_path(folder, number)
    if not prefix and not _is_sound(path, number, plan_fingerprint, thorough=True):
        return None
    try:
        with safetensors.safe_open(path, framework="numpy") as part:  # refuses a file that is shorter or longer
            if not _is_of(json.loads(part.metadata()["part"]), number, plan_fingerprint):
                return None
            return {name: part.get_tensor(name) for name in part.keys() if name.startswith(prefix)}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError):
        return None


def present(folder: Path, plan_fingerprint: str, *, thorough: bool = True) -> set[int]:
    """The shards whose parts are there, whole, and of this plan; not ``thorough``: without comparing checksums."""
    found = {int(path.stem): path for path in (folder / PARTS).glob("[0-9]*.safetensors") if path.stem.isdecimal()}
    return {number for number, path in found.items() if _is_sound(path, number, plan_fingerprint, thorough=thorough)}


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left half written. Only while no other process writes parts there."""
    for path in (folder / PARTS).glob(".[0-9]*.safetensors.*"):
        path.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Delete all parts and their folder: the atlas is finished."""
    remove_leftovers(folder)
    for path in (folder / PARTS).glob("*.safetensors"):
        path.unlink(missing_ok=True)
    if (folder / PARTS).is_dir() and not any((folder / PARTS).iterdir()):
        (folder / PARTS).rmdir()


def _is_sound(path: Path, number: int, plan_fingerprint: str, *, thorough: bool) -> bool:
    try:
        with path.open("rb") as file:
            entries, about = _header(file)
            if not _is_of(about, number, plan_fingerprint):
                return False
            end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
            if path.stat().st_size != file.tell() + end:
                return False
            return not thorough or _digest(entries, file) == about["sha256"]
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        struct.error,
    ):  # anything may stand in a damaged header
        return False


def _is_of(about: Mapping[str, Any], number: int, plan_fingerprint: str) -> bool:
    return about["number"] == number and about["plan"] == plan_fingerprint


def _header(file: BinaryIO) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors' entries, and what the part says of itself."""
    (length,) = struct.unpack("<Q", file.read(8))
    if length > 1 << 28:
        raise ValueError("no header is so long")
    entries: dict[str, Any] = json.loads(file.read(length))
    about: dict[str, Any] = json.loads(entries.pop("__metadata__")["part"])
    return entries, about


def _digest(entries: Mapping[str, Any], file: BinaryIO) -> str:
    digest = hashlib.sha256(_canonical(entries))
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _canonical(entries: Mapping[str, Any]) -> bytes:
    return json.dumps(entries, sort_keys=True).encode()
