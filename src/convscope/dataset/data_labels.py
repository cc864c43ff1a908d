"""What each image of a data set is, and which classes of the network that makes right; streaming.

    auto      the source's own labels where it has them (a Dataset), as groups where the network knows none of them;
              else folders if every one is a class of the network, else file names if every one is; else, where all
              images lie in folders of several images each, these as groups, which a note says; else none
    folders   the folder that an image lies in, which must be a class of the network
    names     the file's name, likewise (``n02123045_tabby_12.jpg`` is tabby, see ``labels``)
    groups    the folder, whatever the network knows of it: statistics are kept by it; it has an accuracy where it
              happens to be a class
    none      no labels

A data class is a text; its number is its place among the sorted texts. ``right`` holds, for each, the numbers of the
network's classes that count as it: two for "crane" of ImageNet, none for a group that the network does not know. Where
the text is a class of the network it is written as the network writes it.

Labels of which a part fits are refused, for a statistic over half the images would look like one over all. Under
``auto`` that holds from one half on; where fewer fit they were hardly meant as labels, and a note says so. Memory grows
with the number of classes or groups, not with that of images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Literal

from convscope.dataset.image_sources import ImageSource, without_archive_suffix
from convscope.errors import ConvscopeError, nearest
from convscope.labels import ClassNames, Label

LabelSource = Literal["auto", "folders", "names", "groups", "none"]
LABEL_SOURCES: tuple[LabelSource, ...] = ("auto", "folders", "names", "groups", "none")
WAYS_OUT = "--labels groups takes the folders as they are, --labels none goes without"
NO_CLASSES = "no class of the network: statistics are kept by it, without accuracy (--labels none goes without)"
_WHAT = {"own": "labels", "folders": "folders' names", "names": "file names", "groups": "folders' names"}

Reading = Callable[[str], Label | None]  # image id -> label, None: no class


@dataclass(frozen=True)
class DataLabels:
    """The labels of one source: ``kind`` says where they come from (``own``: the source's word), ``right`` which of the
    network's classes count as each data class, ``note`` what was nearly found.
    """

    kind: str
    classes: tuple[str, ...] = ()
    right: tuple[tuple[int, ...], ...] = ()
    note: str = ""
    _reading: Reading = field(default=lambda _: None, compare=False, repr=False)
    _numbers: dict[str, int] = field(default_factory=dict[str, int], init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._numbers.update((text, number) for number, text in enumerate(self.classes))

    def number(self, name: str) -> int:
        """The data class of an image; -1 where it has none."""
        label = self._reading(name)
        return -1 if label is None else self._numbers.get(label.text, -1)


def data_labels(source: ImageSource, classes: Sequence[str], labels: str = "auto") -> DataLabels:
    """Where the labels of all images of ``source`` come from, and which classes they are.

    Args:
        source: walked through once; a file whose label is no class is read, for what is no picture needs none.
        classes: the network's.
        labels: see the module's docstring.

    Raises:
        ConvscopeError: an unknown kind, or labels of which some are no class of the network.
    """
    if labels not in LABEL_SOURCES:
        choices = ", ".join(LABEL_SOURCES)
        raise ConvscopeError(f"no labels {labels!r}{nearest(labels, LABEL_SOURCES)}; there are {choices}")
    if labels == "none":
        return DataLabels("none")
    has_own = source.label(next(iter(source.names()))) is not None
    if has_own and labels in ("folders", "names"):
        raise ConvscopeError(f"{source.name} has labels of its own, and no {_WHAT[labels]}; --labels auto takes them")
    tallies = [_Tally(kind, _reading(kind, source, classes)) for kind in _kinds(labels, has_own)]
    for name in source.names():
        for tally in tallies:
            tally.take(name, source)
    return _chosen(tallies, labels, classes)


def _kinds(labels: str, has_own: bool) -> tuple[str, ...]:
    if labels == "groups":
        return ("own groups",) if has_own else ("groups",)
    if labels == "auto":
        return ("own", "own groups") if has_own else ("folders", "names", "groups")
    return (labels,)


@dataclass
class _Tally:
    """How many images one way of reading labels has a class for, while they stream by."""

    kind: str
    reading: Reading
    images: int = 0
    missed: int = 0
    loose: int = 0  # images in no folder
    unknown: str | None = None  # the first label that is no class, of an image that is one
    found: dict[str, frozenset[int]] = field(default_factory=dict[str, frozenset[int]])

    def take(self, name: str, source: ImageSource) -> None:
        self.images += 1
        self.loose += "/" not in name
        label = self.reading(name)
        if label is not None:
            self.found[label.text] = label.classes
            return
        self.missed += 1
        if self.unknown is None and _is_picture(name, source):
            self.unknown = _text(self.kind, name, source)

    @property
    def is_whole(self) -> bool:
        return self.unknown is None and bool(self.found)

    @property
    def are_collections(self) -> bool:
        """Folders of several images each; not a single one, nor a tree with a folder for each image."""
        return not self.missed and not self.loose and len(self.found) > 1 and self.images >= 2 * len(self.found)

    def why_not(self, classes: Sequence[str]) -> str:
        what, first = _WHAT[self.kind.split()[0]], self.unknown or ""
        verb = f"{self.missed:,} of {self.images:,} {what} are no class of the network"
        return f"{verb}, the first is {first!r}{nearest(first, classes)}"

    def labels(self, note: str = "") -> DataLabels:
        texts = sorted(self.found)
        right = tuple(tuple(sorted(self.found[text])) for text in texts)
        return DataLabels(self.kind.split()[0], tuple(texts), right, note, self.reading)


def _chosen(tallies: Sequence[_Tally], labels: str, classes: Sequence[str]) -> DataLabels:
    *tallies, groups = tallies if labels == "auto" and tallies[-1].kind == "groups" else (*tallies, None)
    whole = next((tally for tally in tallies if tally.is_whole), None)
    partly = next((t for t in tallies if not t.is_whole and (labels != "auto" or 2 * t.missed <= t.images)), None)
    if partly is not None and (whole is None or whole.kind == "own groups"):
        raise ConvscopeError(f"{partly.why_not(classes)}. {WAYS_OUT}")
    if whole is None and groups is not None and groups.are_collections:
        return groups.labels(f"the folder of an image is {NO_CLASSES}")
    if whole is None:
        fits = next((tally for tally in tallies if tally.found), None)
        return DataLabels("none", note=f"no labels: {fits.why_not(classes)}" if fits else "")
    return whole.labels("its labels are no classes of the network: no accuracy" if whole.kind == "own groups" else "")


def _is_picture(name: str, source: ImageSource) -> bool:
    try:
        source.read(name)
    except ConvscopeError:
        return False
    return True


def _text(kind: str, name: str, source: ImageSource) -> str:
    """The words that are read as a label."""
    if kind.startswith("own"):
        return source.label(name) or ""
    path = PurePosixPath(name)
    if kind == "names":
        return path.stem
    return path.parent.name or without_archive_suffix(source.name)


def _reading(kind: str, source: ImageSource, classes: Sequence[str]) -> Reading:
    known = ClassNames(classes)

    @lru_cache(maxsize=4096)  # of the texts: folders come again and again
    def label_of(text: str) -> Label | None:
        label = known.label(text) or (_numbered(text, classes) if kind.startswith("own") else None)
        if kind.endswith("groups"):  # the words as they are
            return Label(text, label.classes if label else frozenset()) if text else None
        return Label(classes[min(label.classes)] if classes else label.text, label.classes) if label else None

    return lambda name: label_of(_text(kind, name, source))


def _numbered(text: str, classes: Sequence[str]) -> Label | None:
    """A Dataset's label that is a number is the network's class of that number."""
    is_number = text.isascii() and text.isdecimal()
    return Label(text, frozenset([int(text)])) if is_number and (not classes or int(text) < len(classes)) else None
