"""Which images of a data set are held out: those of its own split, or of every class a part that their names fix.

A data set has a split of its own where its classes' folders lie in ``train/`` and in one of ``held-out/``, ``test/``,
``val/``, ``validation/``, ``valid/`` (the first of these that is there), as in ``train/cat/1.jpg``; folders around all
of it, as archives have one, do not count. Else, in each class of n images, ordered by the SHA-256 of their ids,

    held out: the first round(f n), at least 1 and at most n - 1

The ids alone decide: every seed is judged on the same images, what was once held out stays so when other classes are
added, and no file system's order matters. The share is the same in every class (a stratified sample; Kohavi 1995, A
study of cross-validation and bootstrap for accuracy estimation and model selection, IJCAI).
"""

import hashlib
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convscope.errors import ConvscopeError

TRAIN = "train"
HELD_OUT = ("held-out", "test", "val", "validation", "valid")
QUARTER = 0.25


@dataclass(frozen=True)
class SplitNames:
    """The ids of both sides; ``unused``: folders of the data set's split that are neither, and their images."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    unused: tuple[tuple[str, int], ...] = ()


def split_by_folders(ids: Sequence[str]) -> SplitNames | None:
    """The data set's own split; None where it has none (a class may well be called ``train``)."""
    around = posixpath.commonpath(ids)
    start = len(around) + 1 if around else 0
    below: dict[str, list[str]] = {}
    for name in ids:
        parts = name[start:].split("/")
        below.setdefault(parts[0] if len(parts) > 2 else "", []).append(name)  # SPLIT/CLASS/picture
    held = next((name for name in HELD_OUT if name in below), None)
    if TRAIN not in below or held is None or not below.keys() <= {TRAIN, *HELD_OUT}:
        return None
    unused = [(folder, len(names)) for folder, names in sorted(below.items()) if folder not in (TRAIN, held)]
    return SplitNames(tuple(below[TRAIN]), tuple(below[held]), tuple(unused))


def split_by_share(classes: Mapping[str, Sequence[str]], share: float = QUARTER) -> SplitNames:
    """Of every class the part ``share`` is held out; both sides in the order of the ids.

    Raises:
        ConvscopeError: a share that is none, or a class of which nothing can be held out.
    """
    if not 0 < share < 1:
        raise ConvscopeError(
            f"a held-out part of {share:g} leaves one side empty: it lies between 0 and 1, such as 0.25"
        )
    held: set[str] = set()
    for label, ids in classes.items():
        if len(ids) < 2:
            raise ConvscopeError(
                f"the class {label!r} has only one image ({ids[0]}): one to train on and one to hold out are needed"
            )
        count = min(max(1, round(share * len(ids))), len(ids) - 1)
        held.update(sorted(ids, key=_by_hash)[:count])
    every = sorted(name for ids in classes.values() for name in ids)
    return SplitNames(tuple(name for name in every if name not in held), tuple(name for name in every if name in held))


def _by_hash(name: str) -> tuple[bytes, str]:
    return hashlib.sha256(name.encode()).digest(), name
