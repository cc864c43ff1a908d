"""Which class each photo should be: from its folder, from its file name, or from a table.

A label is a set of class numbers: two classes may share a name (ImageNet has two cranes), and a table may count
several names as right (``cow|ox``). WordNet numbers before names and counters after them are ignored:
``n02123045_tabby.jpg``, ``tabby_012.png`` and ``tabby.jpg`` all say tabby.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from convscope.errors import ConvscopeError, nearest

Source = Literal["auto", "folders", "names", "none"]


@dataclass(frozen=True)
class Label:
    """What a photo should be called: the words as given, and the classes that count as right."""

    text: str
    classes: frozenset[int]


def labels_of(
    photos: Sequence[Path], folder: Path, classes: Sequence[str], source: Source = "auto"
) -> tuple[dict[Path, Label], str]:
    """A label for each photo, and where they come from: ``"folders"``, ``"names"`` or ``"none"``.

    ``"auto"`` takes the folders if every photo's folder is a class, else the file names if every one is, else none.

    Raises:
        ConvscopeError: folders or names were asked for, and some are no class.
    """
    readings = {
        "folders": {p: p.parent.name if p.parent != folder else folder.name for p in photos},
        "names": {p: p.stem for p in photos},
    }
    if source != "auto":
        return (_all_known(readings[source], classes, source), source) if source != "none" else ({}, "none")
    for name, texts in readings.items():
        found = {p: _match(text, classes) for p, text in texts.items()}
        if all(found.values()):
            return {p: Label(_word(texts[p], name), frozenset(c)) for p, c in found.items()}, name
    return {}, "none"


def read_expected(table: Path, photos: Sequence[Path], folder: Path, classes: Sequence[str]) -> dict[Path, Label]:
    """Labels from a CSV with the columns ``image`` and ``expected``; several right names are parted by ``|``.

    Raises:
        ConvscopeError: an unreadable table, a name that is no class, or a photo that the table lacks.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConvscopeError(f"cannot read {table}: {error}") from error
    if not rows or not {"image", "expected"} <= set(rows[0]):
        raise ConvscopeError(f"{table} needs the columns 'image' and 'expected' and at least one row")
    by_name = {row["image"]: row["expected"] for row in rows}
    found: dict[Path, Label] = {}
    for photo in photos:
        name = photo.relative_to(folder).as_posix()
        text = by_name.get(name, by_name.get(photo.name))
        if text is None:
            raise ConvscopeError(f"{table} has no row for {name}{nearest(name, by_name)}")
        found[photo] = Label(text, _named(text, classes, table))
    return found


def _named(text: str, classes: Sequence[str], table: Path) -> frozenset[int]:
    found: set[int] = set()
    for name in text.split("|"):
        matches = _match(name, classes)
        if not matches:
            raise ConvscopeError(f"{table} expects {name.strip()!r}, which is no class{nearest(name.strip(), classes)}")
        found |= matches
    return frozenset(found)


def _all_known(texts: Mapping[Path, str], classes: Sequence[str], source: str) -> dict[Path, Label]:
    found = {p: _match(text, classes) for p, text in texts.items()}
    unknown = sorted({texts[p] for p, matches in found.items() if not matches})
    if unknown:
        raise ConvscopeError(
            f"{len(unknown)} of the labels from {source} are no classes of the network, the first is "
            f"{unknown[0]!r}{nearest(unknown[0], classes)}"
        )
    return {p: Label(_word(texts[p], source), frozenset(matches)) for p, matches in found.items()}


def _word(text: str, source: str) -> str:
    return _forms(text)[-1 if source == "names" else 0]


def _match(text: str, classes: Sequence[str]) -> set[int]:
    """Every class whose name is the text, with or without a WordNet number before and a counter after it."""
    for form in _forms(text):
        found = {i for i, name in enumerate(classes) if _fold(name) == _fold(form)}
        if found:
            return found
    return set()


def _forms(text: str) -> list[str]:
    bare = re.sub(r"^n\d{8}[_ -]", "", text.strip())
    return [bare, re.sub(r"[ _-]*\(?\d+\)?$", "", bare)]


def _fold(name: str) -> str:
    return " ".join(re.sub(r"[_]", " ", name).casefold().split())
