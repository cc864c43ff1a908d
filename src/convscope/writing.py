"""Files that are whole or not there: written beside their place, then renamed into it."""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from convscope.errors import ConvscopeError


class UnwritableError(ConvscopeError):
    """A file that the system would not take, such as on a full disk: what was to be in it is as good as before."""


def write_file(path: Path, content: bytes, *, synced: bool = False) -> Path:
    """Write ``content`` to ``path`` at once; folders above it are made; ``synced`` as ``file_aside``.

    Raises:
        UnwritableError: it cannot be written there; what was there before stays.
    """
    with file_aside(path, synced=synced) as file:
        file.write(content)
    return path


@contextmanager
def file_aside(path: Path, *, synced: bool = False) -> Generator[BinaryIO]:
    """A file to write into piece by piece that takes its place when the block ends, and not if the block fails.

    With ``synced`` it is on the disk before it takes its place: a power cut leaves the whole of it, or what was before.

    Raises:
        UnwritableError: as above.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                if synced:
                    file.flush()
                    os.fsync(file.fileno())
            Path(aside).chmod(0o666 & ~_umask())
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UnwritableError(f"cannot write {path}: {error.strerror or error}") from error


def remove_asides(folder: Path) -> None:
    """Delete the files that killed processes left half written in a folder; only while no other writes there."""
    for path in folder.glob(".*.*"):
        if path.is_file():
            path.unlink(missing_ok=True)


def replaceable_folder(path: Path, mark: str) -> Path:
    """``path``, if ``folder_aside`` may put a folder there: nothing has the name, or a folder with the file ``mark``.

    Raises:
        UnwritableError: another folder or a file has the name.
    """
    if path.exists() and not (path / mark).is_file():
        raise UnwritableError(f"cannot write {path}: something else is there, a folder without {mark}, or a file")
    return path


@contextmanager
def folder_aside(path: Path, mark: str) -> Generator[Path]:
    """A folder to fill that takes its place when the block ends, and not if the block fails.

    ``mark`` is a file that every such folder has: one that is there already is replaced where it has it.

    Raises:
        UnwritableError: another folder or a file has the name, or it cannot be written there; what was there stays.
    """
    try:
        replaceable_folder(path, mark)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield aside
            aside.chmod(0o777 & ~_umask())
            _put_in_place(aside, path)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise UnwritableError(f"cannot write {path}: {error.strerror or error}") from error


def _put_in_place(new: Path, path: Path) -> None:
    """A folder that has files cannot be renamed over: the old one steps aside first, and back if that fails."""
    if not path.exists():
        new.rename(path)
        return
    old = new.with_name(f"{new.name}.old")
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        if not path.exists():
            old.rename(path)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def writable_folder(path: Path) -> Path:
    """``path``, if files could be made in it; nothing is made yet, so that a refused run leaves no trace.

    Raises:
        ConvscopeError: a file has that name, or the folder cannot be written into.
    """
    if path.exists() and not path.is_dir():
        raise ConvscopeError(f"cannot write into {path}: it is a file, not a folder")
    existing = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    if not existing.is_dir():
        raise ConvscopeError(f"cannot write into {path}: {existing} is a file, not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConvscopeError(f"cannot write into {path}: no permission to make files in {existing}")
    return path


def writable_file(path: Path) -> Path:
    """``path``, if a file could be written there; nothing is made yet.

    Raises:
        ConvscopeError: it is a folder, or the folder it lies in cannot be written into.
    """
    if path.is_dir():
        raise ConvscopeError(f"cannot write {path}: it is a folder")
    writable_folder(path.parent)
    return path
