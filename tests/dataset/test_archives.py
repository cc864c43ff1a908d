"""Archives. Oracles: zipfile and tarfile, the bytes that were put in, archives damaged by hand."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import threading
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from convscope.dataset.image_sources import ImageSource, source_of
from convscope.errors import ConvscopeError
from convscope.writing import UnwritableError


def png(grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (5, 4), (grey, 0, 255)).save(file, "PNG")
    return file.getvalue()


# unsorted, with all that does not belong there
MEMBERS = {
    "z.png": png(1),
    "./b/a.png": png(2),
    "b.png": png(3),
    "../evil.png": png(4),
    "/etc/evil.png": png(5),
    "b/../../evil.png": png(6),
    "notes.txt": b"x",
    "__MACOSX/._z.png": b"fork",
    ".hidden/c.png": png(7),
    "b/.c.png": png(8),
    "a/é 日.JPG": png(9),
    "bad.png": b"no picture",
    "empty.png": b"",
}
IDS = ["a/é 日.JPG", "b.png", "b/a.png", "bad.png", "empty.png", "z.png"]
KINDS = ["a.zip", "a.tar", "a.tar.gz", "a.tgz"]


def made(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.mkdir("b")
            for number, (name, content) in enumerate(members.items()):
                how = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
                archive.writestr(zipfile.ZipInfo(name), content, how)
    else:
        with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mtime = len(content), 12
                archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture(params=KINDS)
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return made(tmp_path / request.param, MEMBERS)


def test_images_come_sorted_and_odd_members_not_at_all(archive: Path) -> None:
    source = source_of(archive)
    assert list(source.names()) == sorted(IDS)
    assert source.line() == f"6 photos in {archive.name}"
    assert (source.name, source.place) == (archive.name, str(archive))
    assert isinstance(source, ImageSource)
    assert list(archive.parent.iterdir()) == [archive]  # nothing was unpacked beside it


def test_what_is_read_is_what_was_put_in(archive: Path) -> None:
    source = source_of(str(archive))
    for name, grey in (("z.png", 1), ("b/a.png", 2), ("b.png", 3), ("a/é 日.JPG", 9)):
        seen = source.read(name)
        assert seen.image.getpixel((4, 3)) == (grey, 0, 255)
        assert seen.digest == source.digest(name) == hashlib.sha256(png(grey)).digest()[:16]
        assert source.facts(name)[0] == len(png(grey))
        assert source.label(name) is None
    assert source.facts("gone.png") == (0, 0)


def test_what_cannot_be_decoded_is_an_error_that_names_it(archive: Path) -> None:
    source = source_of(archive)
    with pytest.raises(ConvscopeError, match=r"bad.png is not a picture"):
        source.read("bad.png")
    with pytest.raises(ConvscopeError, match=r"empty.png is empty \(0 bytes\)"):
        source.read("empty.png")
    with pytest.raises(ConvscopeError, match=r"there is no member gone.png in"):
        source.read("gone.png")


def test_many_threads_read_at_once_and_it_travels(archive: Path) -> None:
    source = source_of(archive)
    list(source.names())
    again = pickle.loads(pickle.dumps(source))
    found: list[bytes] = []
    names = ["z.png", "b/a.png", "b.png", "a/é 日.JPG"] * 8
    threads = [threading.Thread(target=lambda n=name: found.append(again.read(n).digest)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(source.digest(name) for name in names)


def test_of_two_members_of_one_name_the_later_counts(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", png(1))
        with pytest.warns(UserWarning, match=r"Duplicate name"):
            archive.writestr("a.png", png(2))
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for grey in (1, 2):
            entry = tarfile.TarInfo("a.png")
            entry.size = len(png(grey))
            tar.addfile(entry, io.BytesIO(png(grey)))
    for path in (tmp_path / "a.zip", tmp_path / "a.tar"):
        assert source_of(path).read("a.png").image.getpixel((0, 0)) == (2, 0, 255)


def test_links_and_devices_in_a_tar_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
        entry = tarfile.TarInfo("a" * 150 + "/long name.png")  # a header of its own
        entry.size = len(png(1))
        archive.addfile(entry, io.BytesIO(png(1)))
        entry = tarfile.TarInfo("caf\udce9.png")
        entry.size = len(png(2))
        archive.addfile(entry, io.BytesIO(png(2)))
    source = source_of(tmp_path / "a.tar")
    assert list(source.names()) == ["a" * 150 + "/long name.png", "caf\\xe9.png"]
    assert source.read("caf\\xe9.png").image.getpixel((0, 0)) == (2, 0, 255)


class TestZip:
    def test_a_zip_behind_other_data_with_a_comment_and_extra_fields(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "plain.zip", "w") as archive:
            entry = zipfile.ZipInfo("a.png")
            entry.extra = struct.pack("<HH4s", 0x9999, 4, b"data")
            archive.writestr(entry, png(1))
            archive.comment = b"PK\x05\x06 is how the end begins"
        path = tmp_path / "a.zip"
        path.write_bytes(b"#!/bin/sh\nexit\n" * 10 + (tmp_path / "plain.zip").read_bytes())
        assert source_of(path).read("a.png").image.getpixel((0, 0)) == (1, 0, 255)

    @pytest.mark.parametrize("shift", [0, 100])
    def test_zip64(self, shift: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Oracle: zipfile writes its 64-bit fields once its limit is passed; here at 100 bytes."""
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
        with zipfile.ZipFile(tmp_path / "plain.zip", "w") as archive:
            for number in range(5):
                archive.writestr(f"{number}.png", png(number))
        content = (tmp_path / "plain.zip").read_bytes()
        assert b"PK\x06\x06" in content
        (tmp_path / "a.zip").write_bytes(b"x" * shift + content)
        source = source_of(tmp_path / "a.zip")
        assert list(source.names()) == [f"{number}.png" for number in range(5)]
        for number in range(5):
            assert source.read(f"{number}.png").image.getpixel((0, 0)) == (number, 0, 255)

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_another_compression_is_said(self, method: int, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
            archive.writestr("a.png", png(1))
        with pytest.raises(ConvscopeError, match=rf"a.png cannot be read: it is compressed by method {method}"):
            source_of(tmp_path / "a.zip").read("a.png")

    def test_encrypted_members_are_left_out(self, tmp_path: Path) -> None:
        path = made(tmp_path / "a.zip", {"a.png": png(1), "b.png": png(2)})
        content = bytearray(path.read_bytes())
        at = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)  # behind the folder's entry
        content[at + 8] |= 1
        path.write_bytes(content)
        assert list(source_of(path).names()) == ["b.png"]

    @pytest.mark.parametrize("name", ["a.png", "b.png"])  # stored, deflated
    def test_damaged_data_are_one_image_that_cannot_be_read(self, name: str, tmp_path: Path) -> None:
        path = made(tmp_path / "a.zip", {"a.png": png(1), "b.png": png(2), "c.png": png(3)})
        content = bytearray(path.read_bytes())
        content[content.index(name.encode()) + 40] ^= 0xFF
        path.write_bytes(content)
        source = source_of(path)
        with pytest.raises(ConvscopeError, match=rf"{name} cannot be read: its (compressed )?data are damaged"):
            source.read(name)
        assert source.read("c.png").image.getpixel((0, 0)) == (3, 0, 255)

    def test_a_bomb_is_not_blown_up(self, tmp_path: Path) -> None:
        path = made(tmp_path / "a.zip", {"x.png": png(1), "a.png": bytes(10_000_000)})
        content = bytearray(path.read_bytes())
        for start, field in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # it says that it has 100 bytes
            at = content.rindex(start)
            content[at + field : at + field + 4] = struct.pack("<I", 100)
        path.write_bytes(content)
        source = source_of(path)
        list(source.names())
        tracemalloc.start()
        with pytest.raises(ConvscopeError, match=r"damaged"):
            source.read("a.png")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 200_000

    def test_an_absurd_size_is_refused_before_it_is_read(self, tmp_path: Path) -> None:
        path = made(tmp_path / "a.zip", {"x.png": png(1), "a.png": png(2)})
        content = bytearray(path.read_bytes())
        at = content.rindex(b"PK\x01\x02")
        content[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFFF0)
        path.write_bytes(content)
        with pytest.raises(ConvscopeError, match=r"a.png is said to have 4,294,967,280 bytes"):
            source_of(path).read("a.png")


class TestDamaged:
    @pytest.mark.parametrize("name", KINDS)
    @pytest.mark.parametrize("kept", [0.0, 0.3, 0.6])
    def test_an_archive_that_was_cut_off_is_refused(self, kept: float, name: str, tmp_path: Path) -> None:
        path = made(tmp_path / name, MEMBERS)
        content = path.read_bytes()
        path.write_bytes(content[: int(kept * len(content.rstrip(b"\0")))])
        with pytest.raises(ConvscopeError, match=rf"{name} cannot be read as an archive \(damaged or cut off\?\)"):
            list(source_of(path).names())

    def test_a_tar_damaged_in_its_middle_is_refused_not_taken_for_shorter(self, tmp_path: Path) -> None:
        path = made(tmp_path / "a.tar", MEMBERS)
        content = bytearray(path.read_bytes())
        at = content.index(b"notes.txt")
        content[at : at + 300] = b"\xff" * 300
        path.write_bytes(content)
        with pytest.raises(ConvscopeError, match=r"cannot be read as an archive"):
            list(source_of(path).names())

    @pytest.mark.parametrize("name", KINDS)
    def test_something_else_by_that_name_is_refused(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(b"text" * 1000)
        with pytest.raises(ConvscopeError, match=r"cannot be read as an archive"):
            list(source_of(tmp_path / name).names())

    @pytest.mark.parametrize("name", KINDS)
    def test_an_archive_without_images(self, name: str, tmp_path: Path) -> None:
        path = made(tmp_path / name, {"notes.txt": b"x", "../a.png": png(1)})
        with pytest.raises(ConvscopeError, match=rf"no picture in .*{name}: no member's name ends in"):
            list(source_of(path).names())

    def test_no_room_to_unpack_a_tar_gz(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Full(io.BytesIO):
            def write(self, _: object) -> int:
                raise OSError(28, "No space left on device")

        path = made(tmp_path / "a.tar.gz", MEMBERS)
        monkeypatch.setattr("convscope.dataset.archives.tempfile.TemporaryFile", Full)
        with pytest.raises(UnwritableError, match=r"a.tar.gz needs room for its content in .*No space left"):
            list(source_of(path).names())


def test_a_gzipped_tar_by_the_name_of_a_tar(tmp_path: Path) -> None:
    path = made(tmp_path / "plain.tar", {"a.png": png(1)})
    (tmp_path / "a.tar").write_bytes(gzip.compress(path.read_bytes()))
    assert list(source_of(tmp_path / "a.tar").names()) == ["a.png"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_memory_does_not_grow_with_the_members(name: str, tmp_path: Path) -> None:
    def peak(count: int) -> int:
        source = source_of(made(tmp_path / f"{count}{name}", {f"{i:06d}.png": b"" for i in range(count)}))
        tracemalloc.start()
        assert sum(1 for _ in source.names()) == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)
    assert peak(3000) < 500_000  # two batches of ids; zipfile takes 1.6 MB, tarfile more


def test_tiny_imagenet_by_the_zip_files_own_list(shared: Path) -> None:
    path = shared / "data" / "tiny_imagenet_50.zip"
    source = source_of(path)
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".JPEG"))
        assert list(source.names()) == names
        assert len(names) == 27_500
        for name in names[::5000]:
            assert source.digest(name) == hashlib.sha256(archive.read(name)).digest()[:16]
