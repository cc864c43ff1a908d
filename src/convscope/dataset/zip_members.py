"""The members of a zip file, one after the other, from its central directory (APPNOTE.TXT 6.3, PKWARE).

    ... [local header, name, extra, data] ...  [central directory]  [zip64 end]  [end: where the directory lies]

Python's zipfile keeps an object of every member, half a gigabyte for a million; here each is read and let go. Sizes
and places beyond 4 GiB stand in the "zip64" extra field (number 1), in this order and only where the plain field is all
ones. Pitfall: the local header's extra field may be of another length than the directory's, so the data's place is told
by the local header itself. Data before the archive (a self-extracting one) shifts all places by its length.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

_END, _END64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_CENTRAL = struct.Struct("<4s6H3I5H2I")  # 4.3.12
_LOCAL = struct.Struct("<4s5H3I2H")  # 4.3.7
_ALL_ONES = 0xFFFFFFFF
STORED, DEFLATED = 0, 8


class ZipError(ValueError):
    """What is wrong with an archive or a member."""


class Member(NamedTuple):
    """Where one file or folder lies in an archive: ``start`` of its bytes, in a zip of its local header."""

    name: str
    start: int
    stored: int
    size: int
    method: int
    crc: int
    mtime_ns: int


def zip_members(file: IO[bytes]) -> Iterator[Member]:
    """Every member that is not encrypted, in the directory's order; names of folders end in ``/``.

    Raises:
        ZipError: no zip file, or a damaged one.
    """
    place, size, shift = _directory(file)
    file.seek(place)
    directory = io.BufferedReader(_Window(file, place, size), 1 << 16)
    while header := directory.read(_CENTRAL.size):
        if len(header) < _CENTRAL.size or not header.startswith(b"PK\x01\x02"):
            raise ZipError("its directory is damaged")
        fields = _CENTRAL.unpack(header)
        flags, method, time, date, crc, stored, size_, name_length, extra_length, comment_length = fields[3:13]
        name = directory.read(name_length)
        extra, _ = directory.read(extra_length), directory.read(comment_length)
        size_, stored, start = _large(extra, size_, stored, fields[16])
        if not flags & 1:
            text = name.decode("utf-8", "surrogateescape") if flags & 0x800 else name.decode("cp437")
            yield Member(text, start + shift, stored, size_, method, crc, (date << 16) + time)


class _Window(io.RawIOBase):
    """A run of a file's bytes."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._at, self._end = file, start, start + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # pyright: ignore
        self._file.seek(self._at)
        piece = self._file.read(min(len(buffer), self._end - self._at))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def start_of_data(file: IO[bytes], member: Member) -> int:
    """Where a member's data begin: behind its local header. Raises ZipError where there is none."""
    file.seek(member.start)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size or not header.startswith(b"PK\x03\x04"):
        raise ZipError("the archive is damaged: no member where its directory says")
    name_length, extra_length = _LOCAL.unpack(header)[-2:]
    return member.start + _LOCAL.size + name_length + extra_length


def inflated(content: bytes, member: Member) -> bytes:
    """The member's bytes, checked by length and CRC.

    Raises:
        ZipError: another compression than deflate, or damaged data.
    """
    if member.method == DEFLATED:
        try:
            content = zlib.decompressobj(-15).decompress(content, member.size + 1)  # no bomb: no more than was said
        except zlib.error as error:
            raise ZipError(f"its compressed data are damaged ({error})") from error
    elif member.method != STORED:
        raise ZipError(f"it is compressed by method {member.method}; only stored (0) and deflate (8) can be read")
    if len(content) != member.size or zlib.crc32(content) != member.crc:
        raise ZipError("its data are damaged: length or checksum differ from the archive's")
    return content


def _directory(file: IO[bytes]) -> tuple[int, int, int]:
    """Where the central directory lies, its size, and by how much all places are shifted."""
    length = file.seek(0, io.SEEK_END)
    tail_start = max(0, length - 65557)  # the end's 22 bytes and the longest comment
    file.seek(tail_start)
    tail = file.read()
    found = tail.rfind(_END)
    while found >= 0 and found + 22 + int.from_bytes(tail[found + 20 : found + 22], "little") != len(tail):
        found = tail.rfind(_END, 0, found)  # these four bytes may stand in the comment as well
    if found < 0:
        raise ZipError("it has no end of a zip file")
    at = tail_start + found
    size, place = struct.unpack("<II", tail[found + 12 : found + 20])
    if found >= 20 and tail[found - 20 : found - 16] == _LOCATOR:
        at, size, place = _end64(file, at, struct.unpack("<Q", tail[found - 12 : found - 4])[0])
    shift = at - size - place
    if shift < 0:
        raise ZipError("its directory lies outside the file")
    return place + shift, size, shift


def _end64(file: IO[bytes], end: int, said: int) -> tuple[int, int, int]:
    """Where the zip64 end lies, the directory's size and place. With data before the archive it is further on."""
    for at in (said, end - 20 - 56):
        file.seek(max(0, at))
        record = file.read(56)
        if record.startswith(_END64) and len(record) == 56:
            size, place = struct.unpack("<QQ", record[40:56])
            return at, size, place
    raise ZipError("its zip64 end is damaged")


def _large(extra: bytes, size: int, stored: int, start: int) -> tuple[int, int, int]:
    """(size, stored, start) with those that are all ones taken from the zip64 field."""
    if _ALL_ONES not in (size, stored, start):
        return size, stored, start
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack("<HH", extra[at : at + 4])
        if kind == 1:
            large = iter(struct.unpack(f"<{length // 8}Q", extra[at + 4 : at + 4 + length // 8 * 8]))
            size, stored, start = (next(large, v) if v == _ALL_ONES else v for v in (size, stored, start))
            break
        at += 4 + length
    return size, stored, start
