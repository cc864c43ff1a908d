"""The folder of an atlas: who may write into it, and how a new one takes the place of an old one.

    NAME.atlas/   manifest.json  plan.json  images.jsonl  images.offsets   written first
                  parts/                                                   while it is unfinished
                  atlas.sqlite  features.safetensors  images/ab/...webp    the results
                  .lock                                                    held by whoever writes

The lock is the operating system's (``flock``): it is free the moment its holder dies, by ``kill -9`` too, so that a
lock file that was left behind stops nobody. A new atlas over an old one is built in a folder beside it, ``.NAME.new``,
and swapped by two renames when it is whole; where a kill falls between the two, ``recover`` puts the old one back.
"""

import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from convscope.errors import ConvscopeError
from convscope.writing import UnwritableError, writable_folder

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Within the block no other process writes into the atlas; the folder is made where it is not there.

    A folder that was made for the block and is empty at its end goes again: a refused run leaves nothing.

    Raises:
        ConvscopeError: another process holds it.
        UnwritableError: the folder cannot be made or written into.
    """
    writable_folder(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
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
            (folder / LOCK).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # something is in it
            for path in made:
                path.rmdir()


def beside(folder: Path) -> Path:
    """Where an atlas is built that will take the place of the one at ``folder``."""
    return folder.with_name(f".{folder.name}.new")


def _put_away(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def swap_in(built: Path, folder: Path) -> None:
    """Put the finished atlas ``built`` in the place of the one at ``folder``, which is deleted.

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
    """Put an old atlas back whose successor was killed between the two renames; True if that was so."""
    old = _put_away(folder)
    if not old.is_dir():
        return False
    if folder.exists():  # the new one is in its place: only the deletion was missing
        shutil.rmtree(old, ignore_errors=True)
        return False
    old.rename(folder)
    return True
