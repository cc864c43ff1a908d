"""A safetensors file written one tensor after the other, and read without being loaded.

``safetensors.save`` wants all tensors at once; the features of all layers are larger than what is held of any one. The
format is simple: eight bytes with the header's length, the header (JSON: name -> type, shape, place), the numbers.
"""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from convscope.errors import ConvscopeError
from convscope.writing import file_aside

FEATURES, PATTERNS = "features.safetensors", "mean_patterns.safetensors"  # of an atlas
_TYPES = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8")}
_NAMES = {np.float32: "F32", np.int64: "I64"}

Shapes = Mapping[str, tuple[type[np.float32] | type[np.int64], tuple[int, ...]]]


@runtime_checkable
class Put(Protocol):
    """Takes the next rows of the tensor that is being written."""

    def __call__(self, name: str, rows: NDArray[np.generic]) -> None:
        """``rows`` of the tensor ``name``."""
        ...


@contextmanager
def writing_tensors(path: Path, shapes: Shapes) -> Generator[Put]:
    """Within the block, ``put(name, rows)`` writes the tensors in the order of ``shapes``, in as many pieces as wanted.

    Raises:
        UnwritableError: the system does not take it, such as on a full disk; what was there before stays.
        AssertionError: rows out of order, or too few or many of them.
    """
    places = _places(shapes)
    with file_aside(path) as file:
        start = _write_header(file, shapes, places)

        def put(name: str, rows: NDArray[np.generic]) -> None:
            first, end = places[name]
            assert start + first <= file.tell()  # in the order of the header
            file.write(np.ascontiguousarray(rows, np.dtype(shapes[name][0]).newbyteorder("<")).data)
            assert file.tell() <= start + end

        yield put
        assert file.tell() == start + max((end for _, end in places.values()), default=0)


def _places(shapes: Shapes) -> dict[str, tuple[int, int]]:
    """Name -> (first, last + 1) byte after the header."""
    found: dict[str, tuple[int, int]] = {}
    end = 0
    for name, (dtype, shape) in shapes.items():
        found[name] = end, end + np.dtype(dtype).itemsize * int(np.prod(shape))
        end = found[name][1]
    return found


def _write_header(file: BinaryIO, shapes: Shapes, places: Mapping[str, tuple[int, int]]) -> int:
    """Where the numbers begin."""
    header = {
        name: {
            "dtype": _NAMES[dtype],
            "shape": list(shape),
            "data_offsets": list(places[name]),
        }
        for name, (dtype, shape) in shapes.items()
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format's alignment
    file.write(len(text).to_bytes(8, "little") + text)
    return file.tell()


def mapped_tensor(path: Path, name: str) -> NDArray[np.generic]:
    """One tensor of the file, read from disk where it is looked at.

    Raises:
        ConvscopeError: no such file or tensor.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except (OSError, ValueError) as error:
        raise ConvscopeError(f"cannot read {path}: {error}") from error
    if name not in header:
        raise ConvscopeError(f"no tensor {name!r} in {path}; it has {', '.join(map(repr, header))}")
    entry = header[name]
    shape, dtype = tuple(entry["shape"]), _TYPES[entry["dtype"]]
    if not all(shape):
        return np.zeros(shape, dtype)  # an empty file cannot be mapped
    return np.memmap(path, dtype, "r", 8 + length + entry["data_offsets"][0], shape)
