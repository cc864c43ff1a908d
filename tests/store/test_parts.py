"""Parts on disk. Oracles: the arrays that were written; safetensors' own reader; flipped and missing bytes."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.store import parts
from convscope.store.parts import PARTS, part_path, present, read_part, remove_parts, write_part
from convscope.writing import UnwritableError, remove_asides

PLAN = "0123456789abcdef"


def tensors() -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(0)
    return {
        "conv1/exemplars/values": numbers.normal(size=(4, 3)).astype(np.float32),
        "conv1/statistics/mean": numbers.normal(size=4),
        "conv10/features": numbers.normal(size=(2, 5)).astype(np.float32)[:, ::-1],  # not contiguous
        "images/number": np.arange(7),
        "images/refused": np.frombuffer(b'{"3": "broken"}', np.uint8),
        "images/none": np.zeros((0, 3), np.float32),
        "images/one": np.array(3.5),
    }


def assert_equal(found: dict[str, np.ndarray] | None, wanted: dict[str, np.ndarray]) -> None:
    assert found is not None
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


def test_a_part_gives_back_what_was_written(tmp_path: Path) -> None:
    path = write_part(tmp_path, 12, tensors(), PLAN)
    assert path == tmp_path / "parts" / "00012.safetensors"
    assert_equal(read_part(tmp_path, 12, PLAN), tensors())
    assert_equal(safetensors.numpy.load_file(path), tensors())
    assert list((tmp_path / "parts").iterdir()) == [path]


def test_a_prefix_gives_only_its_tensors_by_their_whole_names(tmp_path: Path) -> None:
    write_part(tmp_path, 0, tensors(), PLAN)
    wanted = {name: values for name, values in tensors().items() if name.startswith("conv1/")}
    assert_equal(read_part(tmp_path, 0, PLAN, prefix="conv1/"), wanted)


def test_equal_tensors_make_equal_bytes(tmp_path: Path) -> None:
    first = write_part(tmp_path, 1, tensors(), PLAN).read_bytes()
    assert write_part(tmp_path, 1, dict(reversed(tensors().items())), PLAN).read_bytes() == first


def test_what_is_missing_or_of_another_plan_or_shard_is_not_there(tmp_path: Path) -> None:
    path = write_part(tmp_path, 3, tensors(), PLAN)
    part_path(tmp_path, 4).write_bytes(path.read_bytes())  # renamed by somebody
    (tmp_path / "parts" / "notes.txt").write_text("x")
    assert read_part(tmp_path, 5, PLAN) is None
    assert read_part(tmp_path, 3, "another plan") is None
    assert read_part(tmp_path, 4, PLAN) is None
    assert present(tmp_path, PLAN) == {3}
    assert present(tmp_path, "another plan") == set()
    assert present(tmp_path / "nowhere", PLAN) == set()


def test_a_part_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def synced(handle: int) -> None:
        assert not part_path(tmp_path, 0).exists()
        sizes.append(os.fstat(handle).st_size)

    monkeypatch.setattr(os, "fsync", synced)
    assert sizes == [write_part(tmp_path, 0, tensors(), PLAN).stat().st_size]


@given(at=st.integers(0, 1 << 30), change=st.integers(1, 255))
@settings(max_examples=60)
def test_a_part_with_any_byte_changed_is_as_good_as_missing(
    at: int, change: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("atlas")
    path = write_part(folder, 0, tensors(), PLAN)
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= change
    path.write_bytes(content)
    found = read_part(folder, 0, PLAN)
    if found is not None:  # a blank in the header's padding, or an upper-case digit: nothing that is read
        assert_equal(found, tensors())
    assert present(folder, PLAN) == (set() if found is None else {0})


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, -1])
@pytest.mark.parametrize("lost", ["gone", "zeros"])  # what a power cut leaves of blocks that never reached the disk
def test_a_part_that_was_cut_off_is_as_good_as_missing(kept: int, lost: str, tmp_path: Path) -> None:
    path = write_part(tmp_path, 0, tensors(), PLAN)
    whole = path.read_bytes()
    path.write_bytes(whole[:kept] + bytes(len(whole[kept:]) if lost == "zeros" else 0))
    if lost == "zeros":
        assert present(tmp_path, PLAN) == set()
        return
    assert read_part(tmp_path, 0, PLAN) is None
    assert read_part(tmp_path, 0, PLAN, prefix="conv1/") is None
    assert present(tmp_path, PLAN) == present(tmp_path, PLAN, thorough=False) == set()


@pytest.mark.parametrize("header", ["null", "[]", "{}", '{"__metadata__": 3}', '{"__metadata__": {"part": "[]"}}', "x"])
def test_a_file_of_something_else_is_as_good_as_missing(header: str, tmp_path: Path) -> None:
    path = part_path(tmp_path, 0)
    path.parent.mkdir()
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    assert read_part(tmp_path, 0, PLAN) is None
    assert present(tmp_path, PLAN) == set()


def test_a_full_disk_leaves_neither_a_part_nor_half_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_part(tmp_path, 0, tensors(), PLAN)
    real, written = os.fdopen, []

    def full(handle: int, mode: str):
        file = real(handle, mode)

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def write(self, content: bytes) -> None:
                if written:
                    raise OSError(28, "No space left on device")
                written.append(file.write(content))

        return Full()

    with monkeypatch.context() as patch:
        patch.setattr("convscope.writing.os.fdopen", full)
        with pytest.raises(UnwritableError, match="No space left"):
            write_part(tmp_path, 1, tensors(), PLAN)
    assert written  # it failed half way
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["00000.safetensors"]
    assert present(tmp_path, PLAN) == {0}


def test_a_process_killed_while_it_writes_leaves_whole_parts_only(tmp_path: Path) -> None:
    """Oracle: after kill -9 at five moments, every part that counts as present is what was to be written."""
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        import numpy as np
        from convscope.store.parts import write_part
        print("ready", flush=True)
        for number in range(10**6):
            write_part(Path(sys.argv[1]), number % 20, {"values": np.full(200_000, number % 20)}, "plan")
    """)
    for moment in range(5):
        writer = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.023 * moment)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        there = {int(path.stem) for path in (tmp_path / "parts").glob("[0-9]*.safetensors")}
        assert present(tmp_path, "plan") == there
    for number in there:
        found = read_part(tmp_path, number, "plan")
        assert found is not None
        assert (found["values"] == number).all()
    remove_asides(tmp_path / PARTS)
    assert all(path.name[0] != "." for path in (tmp_path / "parts").iterdir())


def test_parts_are_removed_with_what_killed_processes_left(tmp_path: Path) -> None:
    path = write_part(tmp_path, 0, tensors(), PLAN)
    (path.parent / ".00001.safetensors.abc").write_bytes(b"half")
    remove_parts(tmp_path)
    assert list(tmp_path.iterdir()) == []
    remove_parts(tmp_path)


def test_the_checksum_is_of_names_and_shapes_too(tmp_path: Path) -> None:
    path = write_part(tmp_path, 0, {"a": np.zeros((2, 3))}, PLAN)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["a"]["shape"] = [3, 2]
    changed = json.dumps(header).encode().ljust(length)
    path.write_bytes(content[:8] + changed + content[8 + length :])
    assert safetensors.numpy.load_file(path)["a"].shape == (3, 2)  # a valid file all the same
    assert read_part(tmp_path, 0, PLAN) is None
    assert parts.present(tmp_path, PLAN) == set()
