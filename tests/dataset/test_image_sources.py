"""Folders of images. Oracles: Python's own order of the relative paths, SHA-256 of the files, ``network.pictures``."""

import hashlib
import os
import pickle
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from convscope.dataset.image_sources import ImageFolder, ImageSource, source_of
from convscope.errors import ConvscopeError
from convscope.network.picture_folders import find_images
from convscope.network.pictures import read_image


def photo(path: Path, grey: int = 7) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (5, 4), (grey, 0, 255)).save(path, "PNG")
    return path


def test_ids_are_relative_posix_paths_by_code_points(tmp_path: Path) -> None:
    """The order of whole paths, not that of folder after folder: "a.png" < "a/b.png" < "a0.png"."""
    names = [
        "a.png",
        "a/b.png",
        "a/b/c.png",
        "a0.png",
        "B/z.JPG",
        "b/é.png",
        "b/e.png",
        "z.jpeg",
        "日本.webp",
        "😀.gif",
    ]
    for name in names:
        photo(tmp_path / name)
    source = source_of(tmp_path)
    assert list(source.names()) == sorted(names)
    assert [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)] == sorted(names)


@given(
    st.sets(
        st.lists(st.text("ab.-0/é", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=40)
def test_the_streaming_walk_is_a_sort_of_all_paths(names: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = set()
        for name in names:
            parts = [part for part in name.split("/") if part.strip(".") and not part.startswith(".")]
            path = Path(folder, *(f"{part}_" for part in parts)).with_suffix(".png") if parts else Path(folder, "x.png")
            photo(path)
            made.add(path.relative_to(folder).as_posix())
        assert list(source_of(Path(folder)).names()) == sorted(made)


def test_what_is_read(tmp_path: Path) -> None:
    path = photo(tmp_path / "cat" / "a.png", 9)
    source = source_of(str(tmp_path))
    seen = source.read("cat/a.png")
    assert np.array_equal(np.asarray(seen.image), np.asarray(read_image(path)))
    assert seen.digest == source.digest("cat/a.png") == hashlib.sha256(path.read_bytes()).digest()[:16]
    assert source.facts("cat/a.png") == (path.stat().st_size, path.stat().st_mtime_ns)
    assert source.facts("gone.png") == (0, 0)
    assert source.label("cat/a.png") is None
    assert source.line() == f"1 photo in {tmp_path.name}"
    assert source.place == str(tmp_path)


def test_hidden_files_and_other_files_are_no_images(tmp_path: Path) -> None:
    for name in ("a.png", ".b.png", ".cache/c.png", "._d.jpg"):
        photo(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder.png").mkdir()
    assert list(source_of(tmp_path).names()) == ["a.png"]


def test_links_that_leave_the_folder_are_not_followed(tmp_path: Path) -> None:
    photo(tmp_path / "outside" / "secret.png")
    inside = tmp_path / "data"
    photo(inside / "a.png")
    (inside / "b.png").symlink_to("a.png")
    (inside / "out.png").symlink_to(tmp_path / "outside" / "secret.png")
    (inside / "folder").symlink_to(tmp_path / "outside")
    (inside / "loop").symlink_to(inside)
    (inside / "nowhere.png").symlink_to("gone.png")
    assert list(source_of(inside).names()) == ["a.png", "b.png"]
    (tmp_path / "link").symlink_to(inside)  # the folder itself may be given by a link
    assert list(source_of(tmp_path / "link").names()) == ["a.png", "b.png"]


def test_names_that_are_no_utf_8_have_ids_that_can_be_printed_and_given_back(tmp_path: Path) -> None:
    odd = photo(tmp_path / os.fsdecode(b"caf\xe9.png"), 1)
    photo(tmp_path / "caf\\x41.png", 2)  # a name with a backslash of its own
    source = source_of(tmp_path)
    assert list(source.names()) == ["caf\\x41.png", "caf\\xe9.png"]
    for name in source.names():
        name.encode()
    assert source.read("caf\\xe9.png").digest == hashlib.sha256(odd.read_bytes()).digest()[:16]
    assert source.read("caf\\x41.png").image.getpixel((0, 0)) == (2, 0, 255)
    assert source.facts("caf\\xe9.png")[0] == odd.stat().st_size


def test_the_folder_of_the_results_is_no_part_of_the_data(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    photo(tmp_path / "out.atlas" / "images" / "ab" / "x.webp")
    photo(tmp_path / "out.atlas2" / "y.png")
    source = source_of(tmp_path, besides=tmp_path / "x" / ".." / "out.atlas")
    assert list(source.names()) == ["a.png", "out.atlas2/y.png"]


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", r"bad.png is empty \(0 bytes\)"), (b"text", "bad.png is not a picture"), (b"\x89PNG\r\n\x1a\n", "bad.png")],
)
def test_a_corrupt_file_is_an_error_that_names_it_and_nothing_else_is(content: bytes, why: str, tmp_path: Path) -> None:
    photo(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(content)
    source = source_of(tmp_path)
    assert list(source.names()) == ["bad.png", "good.png"]
    with pytest.raises(ConvscopeError, match=why):
        source.read("bad.png")
    assert source.read("good.png").image.size == (5, 4)


def test_a_file_that_goes_or_is_a_pipe_is_an_error_that_names_it(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    source = source_of(tmp_path)
    assert list(source.names()) == ["a.png"]
    with pytest.raises(ConvscopeError, match=r"pipe.png is not a regular file"):
        source.read("pipe.png")
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    with pytest.raises(ConvscopeError, match=r"there is no file .*a\.png; did you mean 'b\.png'"):
        source.digest("a.png")


def test_it_travels_to_other_processes(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    again = pickle.loads(pickle.dumps(source_of(tmp_path)))
    assert list(again.names()) == ["a.png"]
    assert isinstance(again, ImageSource)
    assert source_of(again) is again


class TestRefused:
    def test_nothing_there_with_the_nearest(self, tmp_path: Path) -> None:
        (tmp_path / "photos").mkdir()
        with pytest.raises(ConvscopeError, match=r"there is no folder or archive .*fotos; did you mean 'photos'"):
            source_of(tmp_path / "fotos")
        with pytest.raises(ConvscopeError, match=r"there is no folder .*nowhere"):
            source_of(tmp_path / "nowhere" / "below")

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("x")
        with pytest.raises(ConvscopeError, match=r"no picture in the folder .*no file name ends in \.jpg"):
            list(source_of(tmp_path).names())

    def test_a_folder_that_cannot_be_looked_into(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        photo(tmp_path / "a.png")
        photo(tmp_path / "locked" / "b.png")
        real = os.scandir

        def scandir(folder: str):
            if folder.endswith("locked"):
                raise PermissionError(13, "Permission denied", folder)
            return real(folder)

        monkeypatch.setattr("convscope.network.picture_folders.os.scandir", scandir)
        with pytest.raises(ConvscopeError, match=r"cannot look into the folder .*locked: Permission denied"):
            list(source_of(tmp_path).names())

    def test_what_holds_no_images(self, tmp_path: Path) -> None:
        with pytest.raises(ConvscopeError, match=r"is one picture; data is a folder of pictures"):
            source_of(photo(tmp_path / "a.png"))
        (tmp_path / "a.csv").write_text("x")
        with pytest.raises(ConvscopeError, match=r"a.csv holds no images; data is"):
            source_of(tmp_path / "a.csv")
        for data in (3, None, {"a": 1}, b"bytes", iter([])):
            with pytest.raises(ConvscopeError, match=f"no images in a {type(data).__name__}"):
                source_of(data)


def test_walking_holds_one_folders_names(tmp_path: Path) -> None:
    """What a flat folder costs is its own names, and of class folders one's; here 8 folders of 400."""
    file = photo(tmp_path / "0" / "0.png")
    for folder in range(8):
        (tmp_path / str(folder)).mkdir(exist_ok=True)
        for number in range(400):
            target = tmp_path / str(folder) / f"{number}.png"
            if not target.exists():
                os.link(file, target)
    source = ImageFolder(tmp_path)
    tracemalloc.start()
    assert sum(1 for _ in source.names()) == 3_200
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 400_000  # 400 entries, not 3,200


def test_an_atlas_among_the_photos_is_none_of_them_and_is_refused_as_data(tmp_path: Path) -> None:
    for place in ("a.png", "old.atlas/images/ab/ab12.png", "b.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(tmp_path / place)
    assert list(source_of(tmp_path).names()) == ["a.png", "b.png", "old.atlas/images/ab/ab12.png"]
    for name in ("manifest.json", "plan.json"):
        (tmp_path / "old.atlas" / name).write_text("{}")
    assert list(source_of(tmp_path).names()) == ["a.png", "b.png"]
    with pytest.raises(ConvscopeError, match=r"old\.atlas is an atlas: it holds what a survey found, not the photos"):
        source_of(tmp_path / "old.atlas")
