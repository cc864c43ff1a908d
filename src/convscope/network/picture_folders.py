r"""Which files below a folder are photos, one folder's names in memory at a time.

A photo is told by the suffix of its name. Left out are names that begin with a dot (thumbnails, resource forks), linked
folders and links to files outside (what they show is either found under its own name or is no part of the folder), and
what convscope itself made, whose pictures the next run would take for photos: atlases, trainings, audits and demos,
known by their files, and folders of sheets, known by their name, which begins with ``RESULTS``.

Sorted with ``/`` after the names of folders, depth first, names come in the order of the code points of whole paths:
"a.jpg" < "a/b.jpg", for "." < "/". Bytes of a name that are no UTF-8 are written as ``\xe9``.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from convscope.errors import ConvscopeError
from convscope.network.pictures import SUFFIXES, missing

RESULTS = "convscope-out"  # where commands write unless told otherwise
_ATLAS = {"manifest.json", "plan.json"}
_MADE = (_ATLAS, {"training.json", "epochs/"}, {"audit.json", "audit.html"}, {"demo.json", "index.html"})

OnMade = Callable[[str], object]


def find_images(folder: Path, *, besides: Path | None = None, on_made: OnMade | None = None) -> list[Path]:
    """The photos below ``folder``, sorted by the code points of their relative path; arguments as ``image_names``.

    Raises:
        ConvscopeError: there is no such folder, or no photo in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConvscopeError(f"{folder} is not a folder" if folder.exists() else missing(folder, "folder"))
    return [folder / path for path in _paths(folder, besides, on_made)]


def image_names(folder: Path, *, besides: Path | None = None, on_made: OnMade | None = None) -> Iterator[str]:
    """The same photos by their relative POSIX path, streaming.

    Args:
        folder: to walk through.
        besides: a folder in it that is left out: where the results go.
        on_made: called with the relative path of every other folder that is left out because convscope made it.

    Raises:
        ConvscopeError: a folder cannot be looked into, or there is no photo.
    """
    for path in _paths(folder, besides, on_made):
        yield printable(path)


def made_note(folders: Sequence[str]) -> str:
    """What to say of the folders that ``on_made`` was called with."""
    if len(folders) == 1:
        return f"{folders[0]} is left out: what is in it convscope made"
    return f"{len(folders)} folders are left out, the first {folders[0]}: what is in them convscope made"


def printable(name: str) -> str:
    r"""A file's name with its bytes that are no UTF-8 written as ``\xe9``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_atlas(folder: Path) -> bool:
    """Whether it is an atlas, finished or not: what it has cut out of photos are no photos."""
    return all(os.access(folder / name, os.F_OK) for name in _ATLAS)


def _paths(folder: Path, besides: Path | None, on_made: OnMade | None) -> Iterator[str]:
    walk = _Walk(folder.resolve(), None if besides is None else besides.resolve(), on_made)
    found = False
    for path in walk.paths(str(folder)):
        found = True
        yield path
    if not found:
        suffixes = f": no file name ends in {', '.join(SUFFIXES)}"
        why = f" but those in {walk.left[0]}, which convscope made" if walk.left else suffixes
        raise ConvscopeError(f"no picture in the folder {folder}{why}")


@dataclass(frozen=True)
class _Walk:
    """Through the folder ``inside``; ``left``: the folders that were left out."""

    inside: Path
    besides: Path | None
    on_made: OnMade | None
    left: list[str] = field(default_factory=list[str])

    def paths(self, folder: str, above: str = "") -> Iterator[str]:
        """The photos below a folder whose own path is ``above``."""
        entries = _visible_entries(folder)
        names = {name for name, _ in entries}
        if any(made <= names for made in _MADE):
            self._leave(above)
            return
        for name, entry in entries:
            if not name.endswith("/"):
                if name.lower().endswith(SUFFIXES) and entry.is_file() and _stays(entry, self.inside):
                    yield above + name
            elif self.besides is not None and Path(entry.path).resolve() == self.besides:
                self.left.append(printable(above + name.removesuffix("/")))
            elif name.startswith(RESULTS):
                self._leave(above + name)
            else:
                yield from self.paths(entry.path, above + name)

    def _leave(self, folder: str) -> None:
        name = printable(folder.removesuffix("/") or ".")
        self.left.append(name)
        if self.on_made is not None:
            self.on_made(name)


def _visible_entries(folder: str) -> list[tuple[str, "os.DirEntry[str]"]]:
    """What lies in one folder, with ``/`` after the names of folders: whole paths then come in order, depth first."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise ConvscopeError(f"cannot look into the folder {error.filename}: {error.strerror}") from error
    named = [(f"{e.name}/" if e.is_dir(follow_symlinks=False) else e.name, e) for e in visible]
    return sorted(named, key=lambda item: printable(item[0]))


def _stays(entry: "os.DirEntry[str]", inside: Path) -> bool:
    """No link, or one to a file of the folder: resolving every path would cost a second for 20,000 of them."""
    return not entry.is_symlink() or Path(entry.path).resolve().is_relative_to(inside)
