"""Photos named on the command line."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from convscope.cli.sources import photos_at
from convscope.errors import ConvscopeError
from convscope.writing import UnwritableError


def test_a_folder_is_read_photo_by_photo_with_its_subfolders(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "in" / "sub")
    shutil.copy(photos / "cat.jpg", tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    found = photos_at(tmp_path / "in")
    assert found.names == ["a.jpg", "sub/cat.jpg", "sub/coffee.png", "sub/rocket.jpg"]
    assert found.is_folder
    assert found.read("sub/cat.jpg").size == found.read("a.jpg").size
    assert found.finish() == 0


def test_one_picture_is_named_by_its_file(photos: Path) -> None:
    found = photos_at(photos / "cat.jpg")
    assert (found.names, found.folder, found.is_folder) == (["cat.jpg"], photos, False)


def test_the_demo_is_scikit_images_own_photos() -> None:
    found = photos_at(None, demo=True)
    assert found.names == ["cat", "coffee", "rocket"]
    np.testing.assert_array_equal(np.asarray(found.read("cat")), data.chelsea())


def test_what_cannot_be_used_is_listed_at_the_end(photos: Path, tmp_path: Path, capsys) -> None:
    folder = shutil.copytree(photos, tmp_path / "in")
    (folder / "bad.jpg").write_bytes(b"")
    found = photos_at(folder)
    assert found.read("bad.jpg") is None
    found.skip("cat.jpg", ConvscopeError("too elongated"))
    found.refuse_if_none()
    assert capsys.readouterr().err == ""
    assert found.finish() == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "skipped bad.jpg: it is empty (0 bytes)"
    assert second == "skipped cat.jpg: too elongated"


def test_a_folder_of_which_nothing_can_be_used_is_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_bytes(b"no picture")
    found = photos_at(tmp_path)
    for name in found.names:
        assert found.read(name) is None
    with pytest.raises(ConvscopeError, match=r"none of the 2 pictures in .* can be used; the first: .*a\.jpg"):
        found.refuse_if_none()


def test_a_single_photo_is_refused_not_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(ConvscopeError, match="is empty"):
        photos_at(tmp_path / "a.jpg")
    with pytest.raises(ConvscopeError, match="the reason"):
        photos_at(None, demo=True).skip("cat", ConvscopeError("the reason"))


def test_sheets_of_an_earlier_run_inside_the_folder_are_no_photos(photos: Path, tmp_path: Path) -> None:
    """``convscope explain .`` writes into ./convscope-out, which the next run would otherwise explain too."""
    folder = shutil.copytree(photos, tmp_path / "in")
    shutil.copytree(photos, folder / "out" / "deep")
    assert photos_at(folder, besides=folder / "out").names == photos_at(photos).names
    # results beside or above the photos leave out nothing
    for besides in (tmp_path, folder, tmp_path / "elsewhere"):
        assert len(photos_at(folder, besides=besides).names) == 6
    shutil.move(folder / "out", tmp_path / "only" / "out")
    with pytest.raises(ConvscopeError, match="but those in out, which convscope made"):
        photos_at(tmp_path / "only", besides=tmp_path / "only" / "out")


def test_results_of_other_runs_are_left_out_with_a_note(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(photos, tmp_path / "in")
    shutil.copytree(photos, folder / "convscope-out")
    assert photos_at(folder, besides=folder / "out").names == photos_at(photos).names
    note = "note: convscope-out is left out: what is in it convscope made\n"
    assert capsys.readouterr().err == note
    photos_at(folder, besides=folder / "convscope-out")  # where this run's own go
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("path", "demo", "message"),
    [(None, False, "give a picture or a folder"), (Path("x.jpg"), True, r"leave out x\.jpg")],
)
def test_exactly_one_source_is_given(path: Path | None, demo: bool, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        photos_at(path, demo=demo)


def test_a_misspelt_file_is_refused_with_the_nearest(photos: Path) -> None:
    with pytest.raises(ConvscopeError, match=r"no file .*cta\.jpg; did you mean 'cat\.jpg'"):
        photos_at(photos / "cta.jpg")


def test_a_full_disk_is_no_fault_of_a_folder_s_photo(photos: Path) -> None:
    def make(name: str, _photo: object) -> None:
        raise UnwritableError(f"cannot write {name}: No space left on device")

    with pytest.raises(UnwritableError, match=r"cat\.jpg: No space"):
        list(photos_at(photos).each(make))
