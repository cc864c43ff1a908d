"""What a run's data are before an image is decoded: their classes, and which images are on which side.

A class is the folder that an image lies in, or what the source says of it. The outputs of the network are the classes
in the order of their names; where all are numbers, of these. ``splits`` says which images are held out; the digits in
the box have a split of their own.
"""

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

from convscope.dataset.archives import ImageArchive
from convscope.dataset.data_labels import data_labels
from convscope.dataset.image_sources import ImageFolder, ImageSource, notes_of, source_of
from convscope.errors import ConvscopeError
from convscope.network.digit_pictures import DIGITS
from convscope.network.picture_folders import RESULTS
from convscope.training.splits import QUARTER, TRAIN, SplitNames, split_by_folders, split_by_share

SIDES = ("train", "held out")
_MADE = (".run", ".atlas")


@dataclass(frozen=True, eq=False)
class Side:
    """The images of one side: where from, which, and the number of each one's class."""

    source: ImageSource
    ids: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ListedRun:
    """Both sides. ``place``: what they are read from again, None for what lives in memory."""

    train: Side
    held_out: Side
    classes: tuple[str, ...]
    name: str
    place: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def listing(self) -> str:
        """The first 16 hex digits of the SHA-256 over classes, ids and labels of both sides: no file is opened."""
        said = [self.classes, *((side.ids, side.labels) for side in (self.train, self.held_out))]
        return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def list_run(data: object, held_out: float | None = None, *, besides: Path | None = None) -> ListedRun:
    """Classes and sides of what a user gives.

    Args:
        data: ``bundled:digits``, class folders, a zip or tar of them, ``hf:NAME``, a Dataset, a list of (photo, label);
            or {"train": ..., "held out": ...} of these.
        held_out: the part of every class that is held out, where the data have no split of their own; None: a quarter.
        besides: a folder that is no part of the data: where the run goes.

    Raises:
        ConvscopeError: no labels, a single class, an empty class, or a class of which nothing can be held out.
    """
    given = _given_sides(data)
    if given is not None:
        train, other = (source_of(each, besides=besides) for each in given)
        _refuse_share(held_out, "bundled:digits" if data == DIGITS else "the data")
        name, place = ("digits", DIGITS) if data == DIGITS else (train.name, None)
        return _listed((train, labelled(train)), (other, labelled(other)), name, place, ())
    source = source_of(data, besides=besides)
    labels = labelled(source)
    has_folders = source.label(next(iter(labels))) is None
    names = split_by_folders(list(labels)) if has_folders else None
    if names is not None:
        _refuse_share(held_out, source.name)
    names = names or _by_share(labels, QUARTER if held_out is None else held_out, source.name)
    train, other = ({name: labels[name] for name in side} for side in (names.train, names.held_out))
    return _listed((source, train), (source, other), source.name, source.place, _notes(source, names))


def _given_sides(data: object) -> tuple[object, object] | None:
    """The two sides where data have them as things of their own."""
    if data == DIGITS:
        return f"{DIGITS}/train", f"{DIGITS}/held-out"
    if isinstance(data, Mapping):
        sides = cast("Mapping[Any, Any]", data)
        if set(sides) != set(SIDES):
            raise ConvscopeError(f"data by sides are {{'train': ..., 'held out': ...}}, not {sorted(map(str, sides))}")
        return sides["train"], sides["held out"]
    return None


def _refuse_share(held_out: float | None, name: str) -> None:
    if held_out is not None:
        raise ConvscopeError(f"{name} has a held-out side of its own: leave out --held-out {held_out:g}")


def labelled(source: ImageSource) -> dict[str, str]:
    """Image id -> its class in words.

    Raises:
        ConvscopeError: images in no folder, or a folder beside the classes' in which there is no picture.
    """
    found = data_labels(source, (), "groups")
    ids = list(source.names())
    if found.kind == "groups":
        loose = [name for name in ids if "/" not in name]
        if loose:
            raise ConvscopeError(
                f"{len(loose):,} of {len(ids):,} images of {source.name} lie in no class folder, the first is "
                f"{loose[0]}: to train, each lies in a folder named by its class"
            )
        if isinstance(source, ImageFolder | ImageArchive):
            _refuse_empty_folders(source, ids)
    unknown = [name for name in ids if found.number(name) < 0]
    if unknown:
        raise ConvscopeError(f"{len(unknown):,} of {len(ids):,} images have no class, the first is {unknown[0]}")
    return {name: found.classes[found.number(name)] for name in ids}


def _refuse_empty_folders(source: ImageFolder | ImageArchive, ids: Sequence[str]) -> None:
    """A folder beside those of the classes is meant as a class."""
    full = {parent for name in ids for parent in PurePosixPath(name).parents}
    places = {PurePosixPath(name).parent.parent for name in ids}
    for path in _folders_in(source, places):
        is_other = path.name.startswith((".", "_", RESULTS)) or path.suffix in _MADE
        if not is_other and path not in full:
            raise ConvscopeError(
                f"the class {path.name!r} is empty: {path} in {source.place} holds no picture; put some in, or take it "
                "away"
            )


def _folders_in(source: ImageFolder | ImageArchive, places: Set[PurePosixPath]) -> list[PurePosixPath]:
    """The folders that lie directly in one of the places."""
    if isinstance(source, ImageArchive):
        return [path for path in map(PurePosixPath, source.folders()) if path.parent in places]
    return [place / name for place in sorted(places) for name in source.folders_in(str(place))]


def _by_share(labels: Mapping[str, str], share: float, name: str) -> SplitNames:
    by_class: dict[str, list[str]] = {}
    for image, label in labels.items():
        by_class.setdefault(label, []).append(image)
    _refuse_one(tuple(by_class), name)
    return split_by_share(by_class, share)


def _refuse_one(classes: Sequence[str], name: str) -> None:
    if len(classes) < 2:
        raise ConvscopeError(
            f"{name} has one class only, {classes[0]!r}: a network learns to tell two or more apart, each a folder"
        )


def _notes(source: ImageSource, names: SplitNames) -> tuple[str, ...]:
    return (*notes_of(source), *(f"{folder} is not used: {count:,} images" for folder, count in names.unused))


def _listed(
    train: tuple[ImageSource, Mapping[str, str]],
    held_out: tuple[ImageSource, Mapping[str, str]],
    name: str,
    place: str | None,
    notes: tuple[str, ...],
) -> ListedRun:
    classes = _in_their_order({*train[1].values(), *held_out[1].values()})
    _refuse_one(classes, name)
    unseen = [label for label in classes if label not in set(train[1].values())]
    if unseen:
        raise ConvscopeError(f"the class {unseen[0]!r} is held out only: it has no image in {TRAIN}/ to learn from")
    number = {label: index for index, label in enumerate(classes)}

    def side(given: tuple[ImageSource, Mapping[str, str]]) -> Side:
        return Side(given[0], tuple(given[1]), tuple(number[label] for label in given[1].values()))

    return ListedRun(side(train), side(held_out), classes, name, place, notes)


def _in_their_order(classes: set[str]) -> tuple[str, ...]:
    """Numbers as numbers, so that of 0 to 10 output 10 is class 10."""
    if all(label.isascii() and label.isdecimal() for label in classes):
        return tuple(sorted(classes, key=lambda label: (int(label), label)))
    return tuple(sorted(classes))
