"""A chapter of a tour: what it shows, its pictures, and how it is kept in its folder once it is whole.

NAME/demo.json                what the folder is (``tour_folder.py``)
     index.html               the page, written anew after each chapter (``tour_page.py``)
     explain/chapter.json     first what it is made with; when it is whole, all that the page says of it
     explain/methods.png ...
"""

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from convscope.writing import write_file

if TYPE_CHECKING:
    from convscope.tours.workshop import Workshop

CHAPTER = "chapter.json"


@runtime_checkable
class Saves(Protocol):
    """A result, or a film."""

    def save(self, path: Path, /) -> Path:
        """Write it, in the form that the ending says."""
        ...


@dataclass(frozen=True)
class Sheet:
    """What a stage has made: a result and what the page says of it. ``file`` is its place in the chapter's folder;
    without a result it is there already. ``still`` is the picture for those who want no film, ``more`` a page
    beside it, called ``more_text``.

    ``text`` says in plain words what there is to see, ``alt`` what it looks like to those who do not see it, and
    ``commands``, without the program's name, make this picture once more, given in the tour's folder.
    """

    file: str
    result: Saves | None = None
    alt: str = field(kw_only=True)
    text: str = field(kw_only=True)
    commands: tuple[str, ...] = field(kw_only=True)
    still: str = ""
    more: str = ""
    more_text: str = ""


@dataclass(frozen=True)
class Picture:
    """A sheet that is written: ``width`` and ``height`` in points of a page, ``commands`` whole."""

    file: str
    width: int
    height: int
    alt: str
    text: str
    commands: tuple[str, ...]
    still: str
    more: str
    more_text: str


@dataclass(frozen=True)
class Chapter:
    """A chapter that is whole. ``seconds`` and ``processor_seconds`` are what it took."""

    name: str
    title: str
    text: str
    limits: str
    pictures: tuple[Picture, ...]
    seconds: float
    processor_seconds: float


@dataclass(frozen=True)
class Stage:
    """A chapter to be made: ``make`` gives its sheets one after the other.

    ``name`` is the chapter's folder, ``limits`` what its pictures cannot tell. ``budget`` is how many processor seconds
    it may take, so that the whole tour stays short.
    """

    name: str
    title: str
    text: str
    limits: str
    budget: int
    make: "Callable[[Workshop], Iterator[Sheet]]"


def options(**values: tuple[str, ...] | str | int | None) -> str:
    """The options of a command as they are typed, each after a space; what is None is left out, a list has commas."""
    said = {name: ",".join(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return "".join(
        f" --{name.strip('_')} {shlex.quote(str(value))}" for name, value in said.items() if value is not None
    )


def begin_chapter(folder: Path, made_with: str) -> None:
    """Say that the chapter is being made; what is left of one that was made otherwise goes. Raises UnwritableError."""
    try:
        begun = json.loads((folder / CHAPTER).read_text("utf-8")).get("made_with")
    except (OSError, ValueError, AttributeError):
        begun = None
    if begun != made_with:
        shutil.rmtree(folder, ignore_errors=True)
    write_file(folder / CHAPTER, json.dumps({"made_with": made_with}).encode())


def written(folder: Path, sheet: Sheet) -> Picture:
    """Write a sheet into the chapter's folder. Raises UnwritableError."""
    from PIL import Image

    path = folder / sheet.file
    if sheet.result is not None:
        sheet.result.save(path)
    with Image.open(path) as drawn:
        dense = 1 if getattr(drawn, "is_animated", False) else 2  # films are drawn pixel by pixel
        width, height = (side // dense for side in drawn.size)
    commands = tuple(f"convscope {command}" for command in sheet.commands)
    return Picture(
        sheet.file, width, height, sheet.alt, sheet.text, commands, sheet.still, sheet.more, sheet.more_text
    )  # fmt: skip


def write_chapter(folder: Path, chapter: Chapter, made_with: str) -> None:
    """Say that the chapter is whole. Raises UnwritableError."""
    write_file(folder / CHAPTER, json.dumps({"made_with": made_with, **asdict(chapter)}, indent=1).encode())


def read_chapter(folder: Path, made_with: str) -> Chapter | None:
    """The chapter in its folder; None where it is not whole, or was made otherwise or by another version."""
    try:
        said: dict[str, Any] = json.loads((folder / CHAPTER).read_text("utf-8"))
        if said.pop("made_with") != made_with:
            return None
        said["pictures"] = tuple(map(_picture, said["pictures"]))
        chapter = Chapter(**said)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # made again: it costs seconds
    return chapter if all((folder / one.file).is_file() for one in chapter.pictures) else None


def _picture(said: dict[str, Any]) -> Picture:
    said["commands"] = tuple(said["commands"])
    return Picture(**said)
