"""Images in a zip or tar, read where they lie: nothing is unpacked, so no member can be written anywhere.

An index of the members (id, where its bytes begin, how many) is made on first use, in SQLite's temporary storage,
which moves to disk when it grows: memory does not grow with the number of members, ids come out sorted whatever the
archive's order, and each image is found without walking through the others. A ``.tar.gz`` cannot be read from the
middle, so it is unpacked once a process, as a whole, into a temporary file that has no name and goes with the process.

Members that are no images by their suffix, hidden, folders, links, devices, encrypted, or named ``../x`` or ``/x``
(which lie nowhere inside) are left out; ``./a/b.jpg`` is ``a/b.jpg``; of two of one name the later counts, as for
``tar`` and ``unzip``. What cannot be decompressed is an image that cannot be read, for the survey to list.
"""

import gzip
import posixpath
import sqlite3
import tarfile
import tempfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from convscope.dataset.image_sources import SourceImage, counted, short_digest
from convscope.dataset.zip_members import Member, ZipError, inflated, start_of_data, zip_members
from convscope.errors import ConvscopeError
from convscope.network.picture_folders import printable
from convscope.network.pictures import SUFFIXES, decode_image
from convscope.writing import UnwritableError

MAX_BYTES = 1 << 30  # of one member: a picture of 179 megapixels has less


class ImageArchive:
    """The pictures in an archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._index: sqlite3.Connection | None = None
        self._file: IO[bytes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # an open file does not travel: whoever gets this opens it again

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])

    def __del__(self) -> None:
        if (file := getattr(self, "_file", None)) is not None:
            file.close()

    @property
    def name(self) -> str:
        """The archive's file name."""
        return self.path.name

    @property
    def place(self) -> str | None:
        """Its absolute path."""
        return str(self.path)

    def line(self) -> str:
        """``27,500 photos in tiny_imagenet_50.zip``."""
        return counted(self._rows("SELECT count(*) FROM members")[0][0], self.name)

    def names(self) -> Iterator[str]:
        """Ids by code points: SQLite compares the bytes of UTF-8, whose order is the same."""
        last = ""
        while batch := self._rows("SELECT name FROM members WHERE name > ? ORDER BY name LIMIT 1000", last):
            yield from (name for (name,) in batch)
            last = batch[-1][0]
        if not last:
            raise ConvscopeError(f"no picture in {self.path}: no member's name ends in {', '.join(SUFFIXES)}")

    def folders(self) -> list[str]:
        """Every visible folder that is named or that something lies in, with pictures or without, by code points."""
        return [name for (name,) in self._rows("SELECT name FROM folders ORDER BY name")]

    def read(self, name: str) -> SourceImage:
        """The picture in a member."""
        content = self._content(name)
        return SourceImage(decode_image(content, name), short_digest(content))

    def digest(self, name: str) -> bytes:
        """Of a member's bytes."""
        return short_digest(self._content(name))

    def facts(self, name: str) -> tuple[int, int]:
        """Size and noted time of change; (0, 0) where there is no such member."""
        found = self._rows("SELECT size, mtime_ns FROM members WHERE name = ?", name)
        return tuple(found[0]) if found else (0, 0)

    def label(self, name: str) -> str | None:  # noqa: ARG002
        """None: what a folder's name means is for ``data_labels`` to say."""
        return None

    def _content(self, name: str) -> bytes:
        found = self._rows("SELECT * FROM members WHERE name = ?", name)
        if not found:
            raise ConvscopeError(f"there is no member {name} in {self.path}")
        member = Member(*found[0])
        if max(member.size, member.stored) > MAX_BYTES:
            raise ConvscopeError(f"{name} is said to have {member.size:,} bytes: no picture has so many")
        try:
            return self._stored(member)
        except (OSError, ZipError) as error:
            raise ConvscopeError(f"{name} cannot be read: {error}") from error

    @property
    def _is_zip(self) -> bool:
        return self.path.suffix.lower() == ".zip"

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        with self._lock:
            if self._index is None:
                self._file, self._index = self._opened()
            return self._index.execute(statement, values).fetchall()

    def _opened(self) -> tuple[IO[bytes], sqlite3.Connection]:
        file: IO[bytes] | None = None
        try:
            file = self.path.open("rb")
            if not self._is_zip and file.read(2) == b"\x1f\x8b":  # gzip, whatever the name says
                file = _unpacked(file)
            return file, _indexed(zip_members(file) if self._is_zip else _tar_members(file))
        except UnwritableError:
            raise
        except (OSError, EOFError, zlib.error, tarfile.TarError, ZipError) as error:
            if file is not None:
                file.close()
            why = (isinstance(error, OSError) and error.strerror) or error
            raise ConvscopeError(f"{self.path} cannot be read as an archive (damaged or cut off?): {why}") from error

    def _stored(self, member: Member) -> bytes:
        """The bytes of a member's picture."""
        assert self._file is not None  # the index, which has the member, was made from it
        with self._lock:
            if self._is_zip:
                start, size = start_of_data(self._file, member), member.stored
            else:
                start, size = member.start, member.size
            self._file.seek(start)
            content = self._file.read(size)
        return inflated(content, member) if self._is_zip else content


def _indexed(members: Iterator[Member]) -> sqlite3.Connection:
    index = sqlite3.connect("", check_same_thread=False)  # "": temporary, on disk once it grows
    index.execute(
        "CREATE TABLE members (name TEXT PRIMARY KEY, start INT, stored INT, size INT, method INT, crc INT, "
        "mtime_ns INT) WITHOUT ROWID"
    )
    index.execute("CREATE TABLE folders (name TEXT PRIMARY KEY) WITHOUT ROWID")
    last = ""
    for member in members:
        name = _visible(member.name)
        if name is None:
            continue
        folder = name if member.name.endswith("/") else posixpath.dirname(name)
        if folder not in ("", last):  # most members lie in the folder of the one before
            index.executemany(
                "INSERT OR IGNORE INTO folders VALUES (?)", [(each,) for each in _with_those_above(folder)]
            )
            last = folder
        if name.lower().endswith(SUFFIXES) and not member.name.endswith("/"):
            index.execute("INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?, ?, ?)", member._replace(name=name))
    return index


def _visible(name: str) -> str | None:
    """A member's id; None where it is hidden, or lies nowhere inside the archive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    is_inside = not name.startswith("/") and not any(part.startswith(".") for part in parts)  # ".." too
    return printable("/".join(parts)) if is_inside else None


def _with_those_above(folder: str) -> list[str]:
    parts = folder.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _tar_members(file: IO[bytes]) -> Iterator[Member]:
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # pyright: ignore  # else it keeps all of them
            if (member.isreg() and not member.issparse()) or member.isdir():
                mtime_ns = int(member.mtime * 1e9)
                name = f"{member.name}/" if member.isdir() else member.name
                yield Member(name, member.offset_data, member.size, member.size, 0, 0, mtime_ns)
        file.seek(archive.offset)
        if any(file.read(512)):  # tarfile takes a damaged header for the end
            raise tarfile.ReadError(f"no member at byte {archive.offset}")


def _unpacked(file: IO[bytes]) -> IO[bytes]:
    """A gzip file's content in a temporary file without a name."""
    file.seek(0)
    whole = tempfile.TemporaryFile()  # noqa: SIM115  # it stays open as long as the source
    try:
        with file, gzip.open(file) as content:
            while chunk := content.read(1 << 20):
                _write(chunk, whole, file.name)
    except BaseException:
        whole.close()
        raise
    return whole


def _write(chunk: bytes, whole: Any, name: str) -> None:
    try:
        whole.write(chunk)
    except OSError as error:
        where = f"{name} needs room for its content in {tempfile.gettempdir()} (TMPDIR)"
        raise UnwritableError(f"{where}: {error.strerror}") from error
