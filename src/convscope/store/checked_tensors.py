"""One file of arrays with a checksum, whole or not there: parts of a survey, snapshots of a training.

    8 bytes length, a JSON header, the tensors' bytes              (the safetensors format: any of its readers will do)
    header["__metadata__"]  {"part": JSON of what the file says of itself, "sha256": of that and of all the rest}

It is written beside its place, forced to the disk and renamed into its place, so that a process that is killed, or a
power cut, leaves no half of one. The checksum covers what the file says of itself, and names, types, shapes and bytes.
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

_CHUNK = 1 << 22
_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error, safetensors.SafetensorError)


class DamagedError(Exception):
    """A file that is not what was once written there; its message says why."""


def write_checked(path: Path, kind: str, about: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Path:
    """Write tensors, and ``about`` (JSON values) under the name ``kind``, at once.

    Raises:
        UnwritableError: the disk is full, or the folder cannot be written into; nothing is left then.
    """
    whole = safetensors.numpy.save({name: np.asarray(values, order="C") for name, values in tensors.items()})
    (length,) = struct.unpack("<Q", whole[:8])
    entries, data = json.loads(whole[8 : 8 + length]), memoryview(whole)[8 + length :]
    said = json.dumps(about)  # in its own order: of splits the first comes first
    digest = _digest_of(said, entries)
    digest.update(data)
    header = json.dumps({"__metadata__": {kind: said, "sha256": digest.hexdigest()}, **entries}).encode()
    header += b" " * (-len(header) % 8)  # the tensors begin at a multiple of 8
    with file_aside(path, synced=True) as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.write(data)
    return path


def read_about(path: Path, kind: str, *, thorough: bool = True) -> dict[str, Any]:
    """What the file says of itself, once its length and, if ``thorough``, its checksum were compared.

    Raises:
        DamagedError: it cannot be read, is of another kind, was cut off, or any byte of it was changed.
    """
    try:
        with path.open("rb") as file:
            entries, said, digest = _header(file, kind)
            end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
            if path.stat().st_size != file.tell() + end:
                raise ValueError("it is longer or shorter than it says")
            if thorough and _digest(said, entries, file) != digest:
                raise ValueError("its checksum does not agree")
            return dict(json.loads(said))
    except _DAMAGED as error:  # anything may stand in a damaged header
        raise DamagedError(str(error)) from error


def read_tensors(path: Path, *, prefix: str = "") -> dict[str, np.ndarray]:
    """The tensors, or those whose names begin with ``prefix``, without comparing the checksum. Raises DamagedError."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:  # refuses a file that is shorter or longer
            return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118
    except _DAMAGED as error:
        raise DamagedError(str(error)) from error


def _header(file: BinaryIO, kind: str) -> tuple[dict[str, Any], str, str]:
    """The tensors' entries, what the file says of itself, and its checksum."""
    (length,) = struct.unpack("<Q", file.read(8))
    if length > 1 << 28:
        raise ValueError("no header is so long")
    entries: dict[str, Any] = json.loads(file.read(length))
    metadata: dict[str, str] = entries.pop("__metadata__", {})
    if not {kind, "sha256"} <= metadata.keys():
        raise ValueError(f"it has no {kind} with a checksum")
    return entries, metadata[kind], metadata["sha256"]


def _digest(said: str, entries: Mapping[str, Any], file: BinaryIO) -> str:
    digest = _digest_of(said, entries)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _digest_of(said: str, entries: Mapping[str, Any]) -> Any:
    return hashlib.sha256(json.dumps([said, entries], sort_keys=True).encode())
