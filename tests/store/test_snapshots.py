"""Snapshots on disk. Oracles: what was written; any changed byte; files that are missing or misnamed."""

import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ConvscopeError
from convscope.store.snapshots import drop_snapshots, epochs, read_snapshot, snapshot_path, write_snapshot

FACTS = {"epoch": 3, "splits": {"held out": {"loss": math.nan, "images": 4}}, "left": None, "wörd": ["a", 1.5]}


def tensors() -> dict[str, np.ndarray]:
    return {
        "filters": np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1],
        "confusion/held out": np.eye(3, dtype=int),
    }


def test_a_snapshot_comes_back(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, 3, tensors(), FACTS)
    assert path == tmp_path / "epochs" / "00003.safetensors"
    found, facts = read_snapshot(tmp_path, 3)
    assert repr(facts) == repr(FACTS)  # NaN is not equal to itself
    assert found.keys() == tensors().keys()
    for name, values in tensors().items():
        np.testing.assert_array_equal(found[name], values)


def test_epochs_are_listed_in_order_and_later_ones_dropped(tmp_path: Path) -> None:
    for epoch in (10, 0, 2, 100000):
        write_snapshot(tmp_path, epoch, {}, {})
    (tmp_path / "epochs" / "notes.txt").write_text("x")
    (tmp_path / "epochs" / ".00004.safetensors.half").write_bytes(b"half")
    assert epochs(tmp_path) == [0, 2, 10, 100000]
    assert epochs(tmp_path / "nowhere") == []
    assert drop_snapshots(tmp_path, after=2) == [10, 100000]
    assert epochs(tmp_path) == [0, 2]
    assert sorted(path.name for path in (tmp_path / "epochs").iterdir()) == [
        "00000.safetensors", "00002.safetensors", "notes.txt",
    ]  # fmt: skip


def test_what_is_missing_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConvscopeError, match=r"no snapshot of epoch 0 in .*: it has none"):
        read_snapshot(tmp_path, 0)
    for epoch in range(0, 28, 2):
        write_snapshot(tmp_path, epoch, {}, {})
    with pytest.raises(ConvscopeError, match=r"epoch 1 in .*: it has 14, from 0 to 26"):
        read_snapshot(tmp_path, 1)
    drop_snapshots(tmp_path, after=2)
    with pytest.raises(ConvscopeError, match="it has 0, 2"):
        read_snapshot(tmp_path, 1)


@given(at=st.integers(0, 1 << 30), change=st.integers(1, 255))
@settings(max_examples=60)
def test_any_byte_changed_is_refused_by_name(at: int, change: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("run")
    path = write_snapshot(folder, 3, tensors(), FACTS)
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= change
    path.write_bytes(content)
    with suppress(ConvscopeError):
        found, facts = read_snapshot(folder, 3)
        assert repr(facts) == repr(FACTS)  # a blank in the header's padding: nothing that is read
        assert all((found[name] == values).all() for name, values in tensors().items())
        return
    with pytest.raises(ConvscopeError, match=r"00003\.safetensors is damaged"):
        read_snapshot(folder, 3)


def test_the_facts_are_under_the_checksum_too(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, 0, tensors(), {"accuracy": 0.25})
    content = path.read_bytes()
    assert content.count(b"0.25") == 1
    path.write_bytes(content.replace(b"0.25", b"0.95"))
    with pytest.raises(ConvscopeError, match="checksum"):
        read_snapshot(tmp_path, 0)


def test_a_snapshot_under_another_epoch_s_name_is_refused(tmp_path: Path) -> None:
    write_snapshot(tmp_path, 3, tensors(), FACTS).rename(snapshot_path(tmp_path, 4))
    with pytest.raises(ConvscopeError, match="damaged: it is of epoch 3"):
        read_snapshot(tmp_path, 4)
