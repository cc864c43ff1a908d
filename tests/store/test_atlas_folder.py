"""Who may write into an atlas. Oracles: a second process, kill -9, a failing rename."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from convscope.errors import ConvscopeError
from convscope.store.atlas_folder import beside, lock_of, locked, recover, swap_in
from convscope.writing import UnwritableError

HOLD = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from convscope.store.atlas_folder import locked
    with locked(Path(sys.argv[1])):
        (Path(sys.argv[1]) / "manifest.json").write_text("{}")
        print("held", flush=True)
        time.sleep(60)
""")


def holder(folder: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    process.stdout.close()
    return process


def test_a_second_run_is_refused_and_a_killed_one_is_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / "a.atlas"
    first = holder(folder)
    try:
        with pytest.raises(ConvscopeError, match=r"another run is writing into .*a\.atlas"), locked(folder):
            pytest.fail("both hold it")
        assert (folder / "manifest.json").exists()
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    assert lock_of(folder).exists()  # left behind, and held by nobody
    with locked(folder):
        pass
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "a.atlas",
        "a.atlas/manifest.json",
    ]


def test_one_process_is_refused_as_well(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(ConvscopeError, match="another run is writing"), locked(tmp_path):
        pytest.fail("held twice")
    with locked(tmp_path):
        pass


def test_a_folder_made_for_nothing_goes_again_and_one_with_results_stays(tmp_path: Path) -> None:
    with pytest.raises(ConvscopeError, match="refused"), locked(tmp_path / "new"):
        raise ConvscopeError("refused")
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "new"):
        (tmp_path / "new" / "plan.json").write_text("{}")
    assert (tmp_path / "new" / "plan.json").exists()
    (tmp_path / "mine").mkdir()
    with locked(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").is_dir()  # it was there before


def test_places_that_cannot_be_written_into(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConvscopeError, match="is a file, not a folder"), locked(tmp_path / "file"):
        pytest.fail("held")
    with pytest.raises(ConvscopeError, match="is a file, not a folder"), locked(tmp_path / "file" / "below"):
        pytest.fail("held")


def built(folder: Path, what: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "it").write_text(what)
    return folder


def test_a_new_atlas_takes_the_place_of_the_old(tmp_path: Path) -> None:
    folder = built(tmp_path / "a.atlas", "old")
    swap_in(built(beside(folder), "new"), folder)
    assert (folder / "it").read_text() == "new"
    assert list(tmp_path.iterdir()) == [folder]
    other = tmp_path / "b.atlas"
    swap_in(built(beside(other), "first"), other)
    assert (other / "it").read_text() == "first"


def test_the_old_one_stays_where_the_new_one_cannot_be_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = built(tmp_path / "a.atlas", "old")
    new, real = built(beside(folder), "new"), Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self == new:
            raise OSError(28, "No space left on device")
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(UnwritableError, match="No space left"):
            swap_in(new, folder)
    assert (folder / "it").read_text() == "old"
    assert (new / "it").read_text() == "new"


def test_a_kill_between_the_two_renames_is_mended(tmp_path: Path) -> None:
    folder = tmp_path / "a.atlas"
    old = built(tmp_path / ".a.atlas.old", "old")
    assert recover(folder) is True
    assert (folder / "it").read_text() == "old"
    assert not old.exists()
    assert recover(folder) is False


def test_a_kill_after_them_leaves_the_new_one(tmp_path: Path) -> None:
    folder = built(tmp_path / "a.atlas", "new")
    built(tmp_path / ".a.atlas.old", "old")
    assert recover(folder) is False
    assert (folder / "it").read_text() == "new"
    assert list(tmp_path.iterdir()) == [folder]


def test_the_lock_outlives_the_renames_and_mends_what_a_kill_left(tmp_path: Path) -> None:
    folder = tmp_path / "a.atlas"
    built(tmp_path / ".a.atlas.old", "old")
    with locked(folder):
        assert (folder / "it").read_text() == "old"  # before the folder is made anew
        swap_in(built(beside(folder), "new"), folder)
        with pytest.raises(ConvscopeError, match="another run is writing"), locked(folder):
            pytest.fail("held twice")
    assert (folder / "it").read_text() == "new"
    assert list(tmp_path.iterdir()) == [folder]


def test_every_way_to_an_atlas_meets_the_same_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = built(tmp_path / "a.atlas", "it")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder)
    for way in (Path(), Path("../a.atlas"), tmp_path / "link"):
        with locked(folder), pytest.raises(ConvscopeError, match="another run is writing"), locked(way):
            pytest.fail("held twice")
    assert beside(Path()) == beside(folder)


def test_where_no_file_can_be_made_beside_the_folder_the_lock_lies_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = built(tmp_path / "a.atlas", "it")
    monkeypatch.setattr(os, "access", lambda path, _how: Path(path) != tmp_path)
    with locked(folder), pytest.raises(ConvscopeError, match="another run is writing"), locked(folder):
        pytest.fail("held twice")
    assert [path.name for path in folder.iterdir()] == ["it"]
