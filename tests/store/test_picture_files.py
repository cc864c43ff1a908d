"""Pictures by their content. Oracle: SHA-256, and what lies on disk."""

import hashlib
import threading
from pathlib import Path

import pytest

from convscope.errors import ConvscopeError
from convscope.store.picture_files import keep_picture, picture_bytes, read_picture, remove_unnamed
from tests.store.small_atlas import webp


def test_the_name_is_the_content_and_nothing_is_written_twice(tmp_path: Path) -> None:
    content = webp((1, 2, 3))
    name = keep_picture(tmp_path, content)
    digest = hashlib.sha256(content).hexdigest()[:32]
    assert name == f"{digest[:2]}/{digest}.webp"
    path = tmp_path / "images" / name
    assert path.read_bytes() == content
    before = path.stat().st_mtime_ns
    assert keep_picture(tmp_path, content) == name
    assert path.stat().st_mtime_ns == before
    assert read_picture(tmp_path, name).getpixel((2, 2)) == (1, 2, 3)


@pytest.mark.parametrize("left", [b"", b"half", bytes(38)])
def test_a_picture_that_a_power_cut_left_empty_or_half_is_written_again(tmp_path: Path, left: bytes) -> None:
    content = webp((1, 2, 3))
    name = keep_picture(tmp_path, content)
    (tmp_path / "images" / name).write_bytes(left)
    assert keep_picture(tmp_path, content) == name
    assert picture_bytes(tmp_path, name) == content


def test_many_threads_may_keep_the_same_picture(tmp_path: Path) -> None:
    content = webp((9, 9, 9))
    threads = [threading.Thread(target=keep_picture, args=(tmp_path, content)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([path for path in (tmp_path / "images").rglob("*") if path.is_file()]) == 1


def test_what_is_not_there_or_damaged_is_refused(tmp_path: Path) -> None:
    name = keep_picture(tmp_path, webp((1, 2, 3)))
    (tmp_path / "images" / name).write_bytes(webp((1, 2, 4)))
    with pytest.raises(ConvscopeError, match="damaged"):
        picture_bytes(tmp_path, name)
    with pytest.raises(ConvscopeError, match="lacks its picture"):
        picture_bytes(tmp_path, "ab/abcd.webp")


def test_pictures_that_no_row_names_go(tmp_path: Path) -> None:
    names = [keep_picture(tmp_path, webp((grey, grey, grey))) for grey in range(3)]
    half = tmp_path / "images" / names[0][:2] / ".abc.webp.x1y2"
    half.write_bytes(b"half")
    assert remove_unnamed(tmp_path, names[:2]) == 2
    assert sorted(p.name for p in (tmp_path / "images").rglob("*") if p.is_file()) == sorted(n[3:] for n in names[:2])
