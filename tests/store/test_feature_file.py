"""Tensors written piece by piece are what safetensors reads, and a failure leaves the old file."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from convscope.errors import ConvscopeError
from convscope.store.feature_file import mapped_tensor, writing_tensors
from convscope.writing import UnwritableError

SHAPES = {"features/images": (np.int64, (5,)), "a b/features": (np.float32, (5, 3)), "none": (np.float32, (0, 3))}


def write(path: Path) -> dict[str, np.ndarray]:
    values = {"features/images": np.arange(5), "a b/features": np.arange(15, dtype=np.float32).reshape(5, 3)}
    values["none"] = np.zeros((0, 3), np.float32)
    with writing_tensors(path, SHAPES) as put:
        put("features/images", values["features/images"])
        put("a b/features", values["a b/features"][:2])
        put("a b/features", values["a b/features"][2:])
    return values


def test_safetensors_reads_what_was_written_in_pieces(tmp_path: Path) -> None:
    values = write(tmp_path / "f.safetensors")
    read = load_file(tmp_path / "f.safetensors")
    assert read.keys() == values.keys()
    for name, expected in values.items():
        assert np.array_equal(read[name], expected)
        mapped = mapped_tensor(tmp_path / "f.safetensors", name)
        assert mapped.dtype == expected.dtype
        assert np.array_equal(mapped, expected)
    assert [path.name for path in tmp_path.iterdir()] == ["f.safetensors"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    write(path)
    before = path.read_bytes()
    with pytest.raises(AssertionError), writing_tensors(path, SHAPES) as put:
        put("features/images", np.arange(4))  # too few
    with pytest.raises(AssertionError), writing_tensors(path, SHAPES) as put:
        put("a b/features", np.zeros((5, 3), np.float32))  # out of order
    with pytest.raises(UnwritableError, match="No space"), writing_tensors(path, SHAPES):
        raise OSError(28, "No space left on device")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["f.safetensors"]


def test_a_tensor_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "f.safetensors")
    with pytest.raises(ConvscopeError, match=r"no tensor 'b'.*'a b/features'"):
        mapped_tensor(tmp_path / "f.safetensors", "b")
    with pytest.raises(ConvscopeError, match="cannot read"):
        mapped_tensor(tmp_path / "g.safetensors", "b")
