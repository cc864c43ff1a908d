"""Files are whole or not there; a place that cannot be written to is refused before anything is made."""

import os
import stat
from pathlib import Path

import pytest

from convscope import writing
from convscope.errors import ConvscopeError
from convscope.writing import folder_aside, writable_file, writable_folder, write_file


def test_the_content_is_written_with_the_folders_above_it(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a" / "b" / "c.bin", b"content")
    assert path.read_bytes() == b"content"
    assert write_file(path, b"newer").read_bytes() == b"newer"
    assert list(path.parent.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    """Oracle: a file that open() makes; a temporary file alone would be for its owner only."""
    (tmp_path / "plain").write_bytes(b"")
    written = write_file(tmp_path / "written", b"")
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("synced", [False, True])
def test_a_synced_file_is_on_the_disk_before_it_takes_its_place(
    synced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = write_file(tmp_path / "it", b"old"), list[tuple[int, bytes]]()
    monkeypatch.setattr(writing.os, "fsync", lambda handle: seen.append((os.fstat(handle).st_size, path.read_bytes())))
    write_file(path, b"newer", synced=synced)
    assert seen == ([(5, b"old")] if synced else [])
    assert path.read_bytes() == b"newer"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_half_way_leaves_the_old_file_and_nothing_beside_it(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_file(tmp_path / "it.png", b"old")

    class Broken:
        def __init__(self, handle: int, mode: str) -> None:
            os.close(handle)

        def __enter__(self) -> "Broken":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, _: bytes) -> None:
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(writing.os, "fdopen", Broken)
        with pytest.raises((ConvscopeError, KeyboardInterrupt)):
            write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_or_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConvscopeError, match=r"cannot write .*folder: .*folder"):
        write_file(tmp_path / "folder", b"")
    with pytest.raises(ConvscopeError, match=r"cannot write .*below"):
        write_file(tmp_path / "file" / "below", b"")
    with pytest.raises(ConvscopeError, match="it is a folder"):
        writable_file(tmp_path / "folder")
    for refuse in (writable_folder, writable_file):
        with pytest.raises(ConvscopeError, match=r"file is a file, not a folder"):
            refuse(tmp_path / "file" / "a" / "b")
    with pytest.raises(ConvscopeError, match="it is a file, not a folder"):
        writable_folder(tmp_path / "file")


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer of os.access, since root may write everywhere."""
    monkeypatch.setattr(writing.os, "access", lambda *_: False)
    with pytest.raises(ConvscopeError, match=f"no permission to make files in {tmp_path}"):
        writable_folder(tmp_path / "a" / "b")


def test_asking_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert writable_folder(Path("a/b")) == Path("a/b")
    assert writable_file(Path("c/d.csv")) == Path("c/d.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_takes_its_place_whole_and_replaces_only_its_like(tmp_path: Path) -> None:
    for words in ("first", "second"):
        with folder_aside(tmp_path / "a" / "it", "mark") as aside:
            assert not (tmp_path / "a" / "it" / words).exists()
            (aside / "mark").write_text(words)
            (aside / words).write_text("")
    assert sorted(path.name for path in (tmp_path / "a" / "it").iterdir()) == ["mark", "second"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["it"]
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "a" / "it").stat().st_mode == (tmp_path / "plain").stat().st_mode
    for name in ("plain", "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises(ConvscopeError, match="something else is there"), folder_aside(tmp_path / name, "mark"):
            pytest.fail("it was let in")


def broken_off(folder: Path, error: BaseException) -> None:
    with folder_aside(folder, "mark") as aside:
        (aside / "mark").write_text("second")
        raise error


@pytest.mark.parametrize("error", [OSError(28, "disk full"), KeyboardInterrupt()])
def test_a_folder_that_fails_leaves_what_was_there(error: BaseException, tmp_path: Path) -> None:
    with folder_aside(tmp_path / "it", "mark") as aside:
        (aside / "mark").write_text("first")
    for name in ("it", "new"):
        with pytest.raises((ConvscopeError, KeyboardInterrupt)):
            broken_off(tmp_path / name, error)
    assert [path.name for path in tmp_path.iterdir()] == ["it"]
    assert (tmp_path / "it" / "mark").read_text() == "first"


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with folder_aside(tmp_path / "it", "mark") as aside:
        (aside / "mark").write_text("first")
    rename = Path.rename

    def failing(self: Path, to: Path) -> Path:
        if self.name.startswith(".it.") and not self.name.endswith(".old"):
            raise OSError(13, "denied")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(ConvscopeError, match="denied"), folder_aside(tmp_path / "it", "mark") as aside:
        (aside / "mark").write_text("second")
    assert [path.name for path in tmp_path.iterdir()] == ["it"]
    assert (tmp_path / "it" / "mark").read_text() == "first"
