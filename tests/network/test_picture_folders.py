"""Photos below a folder. Oracles: Python's own order of the relative paths; the files that were put there."""

from pathlib import Path

import pytest

from convscope.errors import ConvscopeError
from convscope.network.picture_folders import RESULTS, find_images, image_names, made_note


def folder_of(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def test_sorts_by_code_points_of_the_relative_path(tmp_path: Path) -> None:
    names = ["b.png", "B.JPG", "a/z.jpeg", "a.webp", "a-b/1.tif", "ä.gif", "z.bmp", "a/é.tiff", "10.jpg", "9.jpg"]
    root = folder_of(tmp_path, *names, "notes.txt", "a/readme.md", ".hidden.jpg", ".cache/x.jpg", "jpg")
    assert [path.relative_to(root).as_posix() for path in find_images(root)] == sorted(names)


def test_does_not_follow_links_that_leave(tmp_path: Path) -> None:
    outside = folder_of(tmp_path / "outside", "secret.jpg")
    root = folder_of(tmp_path / "root", "a.jpg")
    (root / "away").symlink_to(outside)
    (root / "away.jpg").symlink_to(outside / "secret.jpg")
    (root / "broken.jpg").symlink_to(root / "nothing.jpg")
    (root / "circle").symlink_to(root)
    (root / "stays.jpg").symlink_to(root / "a.jpg")
    assert [path.name for path in find_images(root)] == ["a.jpg", "stays.jpg"]


def test_reaches_a_folder_through_a_link_to_it(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "root", "a.jpg")
    (tmp_path / "link").symlink_to(root)
    assert find_images(tmp_path / "link") == [tmp_path / "link" / "a.jpg"]


def test_refuses_nothing_missing_and_no_folder(tmp_path: Path) -> None:
    folder_of(tmp_path / "photos", "notes.txt")
    with pytest.raises(ConvscopeError, match=r"no picture in the folder .*photos: no file name ends in \.jpg"):
        find_images(tmp_path / "photos")
    with pytest.raises(ConvscopeError, match=r"there is no folder .*did you mean 'photos'"):
        find_images(tmp_path / "photo")
    with pytest.raises(ConvscopeError, match="is not a folder"):
        find_images(tmp_path / "photos" / "notes.txt")


def test_leaves_out_what_convscope_made_and_says_what(tmp_path: Path) -> None:
    results = [f"{RESULTS}/a.png", f"b/{RESULTS}-2/deep/c.jpg"]
    atlas = ["x.atlas/manifest.json", "x.atlas/plan.json", "x.atlas/images/ab/d.webp"]
    run = ["x.run/training.json", "x.run/epochs/00000.safetensors", "x.run/report/curves.png"]
    pages = ["y/audit.json", "y/audit.html", "y/pictures/0.png", "z/demo.json", "z/index.html", "z/dream/cat.png"]
    theirs = ["b/training.json", "b/index.html"]
    mine = ["a.png", "b/c.png", "out/d.png", f"b/my-{RESULTS}.png"]
    root = folder_of(tmp_path / "in", *mine, *theirs, *results, *atlas, *run, *pages)
    made: list[str] = []
    found = list(image_names(root, besides=tmp_path / "in" / "out", on_made=made.append))
    assert found == ["a.png", "b/c.png", f"b/my-{RESULTS}.png"]
    assert made == [f"b/{RESULTS}-2", RESULTS, "x.atlas", "x.run", "y", "z"]
    assert made_note(made) == "6 folders are left out, the first b/convscope-out-2: what is in them convscope made"
    assert made_note(made[1:2]) == "convscope-out is left out: what is in it convscope made"


def test_a_folder_of_results_that_is_named_is_looked_into(tmp_path: Path) -> None:
    root = folder_of(tmp_path / RESULTS, "a.png", f"{RESULTS}/b.png")
    assert [path.relative_to(root).as_posix() for path in find_images(root)] == ["a.png"]


@pytest.mark.parametrize("besides", [None, "out"])
def test_refuses_a_folder_with_nothing_but_results(tmp_path: Path, besides: str | None) -> None:
    name = besides or RESULTS
    folder_of(tmp_path, f"{name}/a.png")
    with pytest.raises(ConvscopeError, match=rf"no picture in the folder .* but those in {name}, which convscope made"):
        find_images(tmp_path, besides=None if besides is None else tmp_path / besides)
