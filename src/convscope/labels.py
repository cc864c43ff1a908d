"""Which class each photo should be: from its folder, from its file name, or from a table.

A label is a set of class numbers: two classes may share a name (ImageNet has two cranes), and a table may count
several names as right (``cow|ox``). WordNet numbers before names and counters after them are ignored:
``n02123045_tabby.jpg``, ``tabby_012.png`` and ``tabby.jpg`` all say tabby.
"""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from convscope.errors import ConvscopeError, nearest

Source = Literal["auto", "folders", "names", "none"]
SOURCES: tuple[Source, ...] = ("auto", "folders", "names", "none")


@dataclass(frozen=True)
class Label:
    """What a photo should be called: the words as given, and the classes that count as right."""

    text: str
    classes: frozenset[int]


class ClassNames:
    """Class numbers by name, upper or lower case, ``_`` or blank alike."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.names = tuple(classes)
        self._numbers: dict[str, set[int]] = {}
        for number, name in enumerate(classes):
            self._numbers.setdefault(_fold(name), set()).add(number)

    def label(self, text: str) -> Label | None:
        """The text as a label, with or without a WordNet number before and a counter after it; None for no class."""
        for form in _forms(text):
            if found := self._numbers.get(_fold(form)):
                return Label(form, frozenset(found))
        return None


def labels_of(
    photos: Sequence[Path],
    folder: Path,
    classes: Sequence[str],
    source: Source = "auto",
    *,
    is_picture: Callable[[Path], bool] = lambda _: True,
) -> tuple[dict[Path, Label], str]:
    """A label for each photo, and a remark where they were nearly found.

    ``"auto"`` takes the folders if every photo's folder is a class, else the file names if every one is, else none. A
    file without a label that ``is_picture`` does not hold for needs none.

    Raises:
        ConvscopeError: folders or names were asked for, and some are no class.
    """
    known = ClassNames(classes)
    folders = {p: (p.parent if p.parent != folder else folder.resolve()).name for p in photos}
    readings = (("folders", "folders' names", folders), ("names", "file names", {p: p.stem for p in photos}))
    remark = ""
    for kind, what, texts in readings:
        if source not in ("auto", kind):
            continue
        found = {p: label for p, text in texts.items() if (label := known.label(text))}
        unknown = next((text for p, text in texts.items() if p not in found and is_picture(p)), None)
        if unknown is None:
            return found, ""
        missed = f"{len(photos) - len(found)} of {len(photos)} {what} are no class of the network"
        why = f"{missed}, the first is {unknown!r}{nearest(unknown, classes)}"
        if source == kind:
            raise ConvscopeError(why)
        if 2 * len(found) >= len(photos):  # surely meant as labels: say why there is no accuracy
            remark = f"no accuracy: {why}"
    return {}, remark


def read_expected(
    table: Path,
    photos: Sequence[Path],
    folder: Path,
    classes: Sequence[str],
    *,
    is_picture: Callable[[Path], bool] = lambda _: True,
) -> dict[Path, Label]:
    """Labels from a CSV with the columns ``image`` and ``expected``; several right names are parted by ``|``.

    A file without a row that ``is_picture`` does not hold for needs none.

    Raises:
        ConvscopeError: an unreadable table, a name that is no class, or a photo that the table lacks or has twice.
    """
    expected = _rows(table)
    known = ClassNames(classes)
    found: dict[Path, Label] = {}
    for photo in photos:
        name = photo.relative_to(folder).as_posix()
        text = expected.get(name, expected.get(photo.name))
        if text is not None:
            found[photo] = _label_of(text, known, table)
        elif is_picture(photo):
            raise ConvscopeError(f"{table} has no row for {name}{nearest(name, expected)}")
    return found


def _rows(table: Path) -> dict[str, str]:
    """What the table says: image -> expected."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, restval=""))
    except OSError as error:
        raise ConvscopeError(f"cannot read {table}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConvscopeError(f"{table} is no CSV in UTF-8: {error}") from error
    if not rows or not {"image", "expected"} <= set(rows[0]):
        has = f"; it has {', '.join(map(str, rows[0]))}" if rows else ""
        raise ConvscopeError(f"{table} needs the columns 'image' and 'expected' and at least one row{has}")
    found: dict[str, str] = {}
    for row in rows:
        if found.setdefault(row["image"], row["expected"]) != row["expected"]:
            raise ConvscopeError(f"{table} has two answers for {row['image']}; part several right names by |: cow|ox")
    return found


def _label_of(text: str, known: ClassNames, table: Path) -> Label:
    right: set[int] = set()
    for name in text.split("|"):
        label = known.label(name)
        if label is None:
            raise ConvscopeError(
                f"{table} expects {name.strip()!r}, no class of the network{nearest(name.strip(), known.names)}"
            )
        right |= label.classes
    return Label(text.strip(), frozenset(right))


def without_wordnet_number(text: str) -> str:
    """``n02123045_tabby`` -> ``tabby``; a number with no name after it stays."""
    bare = text.strip()
    return re.sub(r"^n\d{8}[_ -]", "", bare) or bare


def _forms(text: str) -> list[str]:
    """The text, as it is and without what may not belong to the name; whole first: a class may be called so."""
    texts = (text.strip(), without_wordnet_number(text))
    return [form for each in texts for form in (each, re.sub(r"[ _-]*\(?\d+\)?$", "", each))]


def _fold(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())
