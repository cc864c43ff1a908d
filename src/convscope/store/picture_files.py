"""Pictures of an atlas as files named by their content: ``images/ab/abcdef....webp``.

The name is the first 32 hex digits of the SHA-256 of the bytes. A picture that is there and whole is not written again,
so that a run that was broken off goes on where it stopped, equal pictures are kept once, and several threads or runs
may write at the same time: whatever has the name has the content.
"""

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from convscope.errors import ConvscopeError
from convscope.writing import write_file

IMAGES = "images"


def keep_picture(folder: Path, content: bytes) -> str:
    """Put the bytes of a WebP file into the atlas at ``folder``; the name under ``images``: ``ab/abcdef....webp``.

    Raises:
        UnwritableError: the disk is full, or the folder cannot be written into.
    """
    digest = hashlib.sha256(content).hexdigest()[:32]
    name = f"{digest[:2]}/{digest}.webp"
    path = folder / IMAGES / name
    if not path.is_file() or path.read_bytes() != content:  # a power cut may have left an empty file of that name
        write_file(path, content)
    return name


def picture_bytes(folder: Path, name: str) -> bytes:
    """The content of a picture.

    Raises:
        ConvscopeError: it is not there, or not what its name says.
    """
    path = folder / IMAGES / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConvscopeError(f"the atlas lacks its picture {path}: {error.strerror or error}") from error
    if hashlib.sha256(content).hexdigest()[:32] != path.stem:
        raise ConvscopeError(f"the atlas's picture {path} is damaged: its content is not what its name says")
    return content


def read_picture(folder: Path, name: str) -> Image.Image:
    """The picture, RGB. Raises ConvscopeError as above."""
    with Image.open(io.BytesIO(picture_bytes(folder, name)), formats=("WEBP",)) as image:
        return image.convert("RGB")


def remove_unnamed(folder: Path, named: Iterable[str]) -> int:
    """Delete the pictures that no row names, and what killed processes left half written; how many."""
    wanted = set(named)
    unnamed = [p for p in (folder / IMAGES).glob("*/*") if f"{p.parent.name}/{p.name}" not in wanted]
    for path in unnamed:
        path.unlink(missing_ok=True)
    return len(unnamed)
