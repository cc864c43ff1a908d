"""The folder of an atlas: who may write into it, and how a new one takes the place of an old one.

    NAME.atlas/   manifest.json  plan.json  images.jsonl  images.offsets   written first
                  parts/                                                   while it is unfinished
                  atlas.sqlite  features.safetensors  images/ab/...webp    the results
    .NAME.atlas.lock                                                       held by whoever writes

The lock is the operating system's (``flock``): it is free the moment its holder dies, by ``kill -9`` too, so that a
lock file that was left behind stops nobody. A new atlas over an old one is built in a folder beside it, ``.NAME.new``,
and swapped by two renames when it is whole; where a kill falls between the two, ``recover`` puts the old one back. All
of that is done under the one lock, which therefore lies beside the folder: inside it would be renamed with it. Only
where no file can be made beside a folder, and so no swap either, it lies inside.
"""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from convscope.errors import ConvscopeError
from convscope.writing import UnwritableError, writable_folder

LOCK = ".lock"  # inside the folder, where there is no room beside it


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Within the block no other process writes into the atlas; the folder is made where it is not there.

    What a kill left between two renames is mended first. A folder that was made for the block and is empty at its end
    goes again: a refused run leaves nothing.

    Raises:
        ConvscopeError: another process holds it.
        UnwritableError: the folder cannot be made or written into.
    """
    writable_folder(folder)
    with folder_for(folder.parent), _held(folder):
        recover(folder)
        with folder_for(folder):
            yield


@contextmanager
def _held(folder: Path) -> Generator[None]:
    path = lock_of(folder)
    try:
        lock = FileLock(path, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise ConvscopeError(
            f"another run is writing into {folder}; wait for it to end, or choose another folder"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise UnwritableError(f"cannot write into {folder}: {error}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # while it is still held: whoever opened it meanwhile is refused, as is right
            path.unlink(missing_ok=True)
        lock.release()


@contextmanager
def folder_for(folder: Path) -> Generator[None]:
    """Makes the folder, and at the block's end removes what was made and is empty. Raises UnwritableError."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableError(f"cannot write into {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # something is in it
            for path in made:
                path.rmdir()


def lock_of(folder: Path) -> Path:
    """The file by which the atlas is locked, whatever name or link leads to it."""
    place = folder.resolve()
    has_room = place.name and os.access(place.parent, os.W_OK | os.X_OK)
    return place.with_name(f".{place.name}.lock") if has_room else place / LOCK


def beside(folder: Path) -> Path:
    """Where an atlas is built that will take the place of the one at ``folder``."""
    return _sibling(folder, "new")


def _put_away(folder: Path) -> Path:
    return _sibling(folder, "old")


def _sibling(folder: Path, ending: str) -> Path:
    named = folder if folder.name not in ("", "..") else folder.resolve()  # "." has no name
    return named.with_name(f".{named.name}.{ending}") if named.name else named / f".{ending}"


def swap_in(built: Path, folder: Path) -> None:
    """Put the finished atlas ``built`` in the place of the one at ``folder``, which is deleted. Only while locked.

    Raises:
        UnwritableError: the system does not allow it; the old atlas stays.
    """
    old = _put_away(folder)
    try:
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        try:
            built.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    except OSError as error:
        raise UnwritableError(f"cannot put {built} in the place of {folder}: {error.strerror or error}") from error
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> bool:
    """Put an old atlas back whose successor was killed between the two renames; True if that was so.

    Only while locked: between its two renames a run that is alive looks like one that was killed there.
    """
    old = _put_away(folder)
    if not old.is_dir():
        return False
    if folder.exists():  # the new one is in its place: only the deletion was missing
        shutil.rmtree(old, ignore_errors=True)
        return False
    old.rename(folder)
    return True
