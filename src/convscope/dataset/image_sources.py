r"""Where a survey's images come from: one small interface over folders, archives, data sets and lists of photos.

    names()      every image's id, in the order in which they are numbered, streaming
    read(id)     upright 8-bit RGB by the one policy (``network.pictures``), and the digest of the file's bytes
    facts(id)    what is known without reading: (size in bytes, time of change in ns)
    label(id)    what the source itself says that an image is; None where only the id can tell

An id is the image's POSIX path relative to the folder or archive, ``train/tabby/12.jpg``, and ``000012`` in a data set
or a list. Ids come by their code points, so that an image's number does not depend on the file system, the archive's
order or who asks. A folder is walked with one folder's names in memory at a time (``network.picture_folders``, which
also says what in it is no photo). Names that are no UTF-8 have the stray bytes written as ``\xe9``, so that every id
can be printed, stored and given back. What cannot be decoded is for the survey to leave out and list.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from PIL import Image

from convscope.errors import ConvscopeError
from convscope.network.digit_pictures import is_in_the_box, part_named
from convscope.network.picture_folders import image_names, is_atlas, made_note, printable
from convscope.network.pictures import SUFFIXES, decode_image, missing

DIGEST_BYTES = 16
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
FORMS = (
    f"a folder of pictures, an archive ({', '.join(ARCHIVES)}), bundled:digits, hf:NAME, a Dataset, or a list of photos"
)


@dataclass(frozen=True, eq=False)
class SourceImage:
    """One image as a person sees it, and the first 16 bytes of the SHA-256 of its file's content."""

    image: Image.Image
    digest: bytes


@runtime_checkable
class ImageSource(Protocol):
    """Images by id; picklable, and safe to read from several threads at once."""

    @property
    def name(self) -> str:
        """What to call it: the folder's or archive's name."""
        ...

    @property
    def place(self) -> str | None:
        """What ``source_of`` makes it from again: an absolute path, ``hf:`` or ``bundled:NAME``; None for memory."""
        ...

    def line(self) -> str:
        """``200 photos in imagenet_photos``; counts them, so the first call walks through all names."""
        ...

    def names(self) -> Iterator[str]:
        """Every id, once, by code points. Raises ConvscopeError where there is none."""
        ...

    def read(self, name: str) -> SourceImage:
        """The image. Raises ConvscopeError, naming it and the reason, where it cannot be read."""
        ...

    def digest(self, name: str) -> bytes:
        """The same digest without decoding. Raises ConvscopeError where the file cannot be read."""
        ...

    def facts(self, name: str) -> tuple[int, int]:
        """(size in bytes, time of change in ns); (-1, -1) where neither is known, as in memory."""
        ...

    def label(self, name: str) -> str | None:
        """The source's own label; None where it has none (a folder's or a file's name is not its own word)."""
        ...


def source_of(data: object, *, besides: Path | None = None) -> ImageSource:
    """The images of whatever a user gives.

    Args:
        data: a folder (flat or of class folders), a zip, tar or tar.gz, ``bundled:digits``, ``hf:NAME``, a Dataset of
            pictures or of (picture, label), a list of photos (paths, PIL images, uint8 arrays), or an ImageSource.
        besides: a folder that is no part of the data though it lie inside: where the results go.

    Raises:
        ConvscopeError: nothing there (with the nearest names), nothing in it, or nothing that could hold images.
    """
    if isinstance(data, str) and data.startswith("hf:"):
        from convscope.dataset.hub_photos import hub_photos

        return hub_photos(data)
    if is_in_the_box(data):
        from convscope.dataset.digits import Digits

        return Digits(part_named(str(data)))
    if isinstance(data, str | Path):
        return _source_at(Path(data), besides)
    if isinstance(data, ImageSource):
        return data
    from convscope.dataset.given_photos import GivenPhotos, Items

    if isinstance(data, Items) and not isinstance(data, Mapping | bytes):
        return GivenPhotos(data)
    raise ConvscopeError(f"no images in a {type(data).__name__}; give {FORMS}")


def _source_at(path: Path, besides: Path | None) -> ImageSource:
    if is_atlas(path):
        raise ConvscopeError(f"{path} is an atlas: it holds what a survey found, not the photos; give {FORMS}")
    if path.is_dir():
        return ImageFolder(path.absolute(), besides=besides)
    if not path.exists():
        raise ConvscopeError(missing(path, "folder or archive"))
    if path.name.lower().endswith(ARCHIVES):
        from convscope.dataset.archives import ImageArchive

        return ImageArchive(path.absolute())
    if path.suffix.lower() in SUFFIXES:
        raise ConvscopeError(f"{path} is one picture; data is {FORMS}")
    raise ConvscopeError(f"{path} holds no images; data is {FORMS}")


def notes_of(source: ImageSource) -> tuple[str, ...]:
    """What a user should know of a folder that was walked through: what in it is not taken for photos."""
    made = source.made if isinstance(source, ImageFolder) else ()
    return (made_note(made),) if made else ()


def short_digest(content: bytes) -> bytes:
    """The first 16 bytes of the SHA-256."""
    return hashlib.sha256(content).digest()[:DIGEST_BYTES]


@dataclass(eq=False)
class ImageFolder:
    """The pictures below a folder."""

    folder: Path
    besides: Path | None = None
    _count: int | None = field(default=None, init=False, repr=False)
    _made: dict[str, None] = field(default_factory=dict[str, None], init=False, repr=False)

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name or str(self.folder)

    @property
    def place(self) -> str | None:
        """The folder's absolute path."""
        return str(self.folder)

    @property
    def made(self) -> tuple[str, ...]:
        """The folders of convscope's results that the last walk left out."""
        return tuple(self._made)

    def line(self) -> str:
        """``200 photos in imagenet_photos``."""
        if self._count is None:
            self._count = sum(1 for _ in self.names())
        return counted(self._count, self.name)

    def names(self) -> Iterator[str]:
        """Relative POSIX paths by code points."""
        count = 0
        for name in image_names(self.folder, besides=self.besides, on_made=self._made.setdefault):
            count += 1
            yield name
        self._count = count

    def folders_in(self, place: str) -> list[str]:
        """The names of the folders that lie directly in ``place``, ``"."`` or one of its own; no links."""
        there = self._path(place).iterdir()
        return sorted(printable(path.name) for path in there if path.is_dir() and not path.is_symlink())

    def read(self, name: str) -> SourceImage:
        """The picture in a file."""
        content = self._content(name)
        return SourceImage(decode_image(content, name), short_digest(content))

    def digest(self, name: str) -> bytes:
        """Of a file's bytes."""
        return short_digest(self._content(name))

    def facts(self, name: str) -> tuple[int, int]:
        """Size and time of change; (0, 0) where the file has gone since."""
        try:
            found = self._path(name).stat()
        except OSError:
            return 0, 0
        return found.st_size, found.st_mtime_ns

    def label(self, name: str) -> str | None:  # noqa: ARG002
        """None: what a folder's name means is for ``data_labels`` to say."""
        return None

    def _content(self, name: str) -> bytes:
        path = self._path(name)
        try:
            if not path.is_file():  # a pipe would never end
                raise ConvscopeError(missing(path, "file") if not path.exists() else f"{name} is not a regular file")
            return path.read_bytes()
        except OSError as error:
            raise ConvscopeError(f"{name} cannot be read: {error.strerror or error}") from error

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if "\\x" in name and not path.exists():
            return self.folder / os.fsdecode(stray_bytes(name))
        return path


def without_archive_suffix(name: str) -> str:
    """``photos.tar.gz`` -> ``photos``; any other name as it is."""
    suffix = max((each for each in ARCHIVES if name.lower().endswith(each)), key=len, default="")
    return name[: len(name) - len(suffix)]


def counted(count: int, where: str) -> str:
    """``1 photo in cats``, ``27,500 photos in tiny_imagenet_50.zip``."""
    return f"{count:,} photo{'' if count == 1 else 's'} in {where}"


def stray_bytes(name: str) -> bytes:
    r"""The bytes of a name whose parts that are no UTF-8 were written as ``\xe9``."""
    return re.sub(rb"\\x([89a-f][0-9a-f])", lambda found: bytes.fromhex(found[1].decode()), name.encode())
