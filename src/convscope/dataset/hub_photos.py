"""Photos of a data set on the Hugging Face hub, ``hf:ORG/NAME`` or ``hf:ORG/NAME:SPLIT``, by the ``datasets`` package.

The split is the one named, else test, validation or train, whichever is there first. The image column is the first
whose type is an image, the label column the first of class labels. Rows are read from the package's own files on disk,
so that memory does not grow with their number; which rows there are is fixed by the package's cache.
"""

from typing import Any

from convscope.dataset.given_photos import GivenPhotos
from convscope.errors import ConvscopeError, nearest

_SPLITS = ("test", "validation", "train")


def hub_photos(spec: str) -> GivenPhotos:
    """The photos of ``hf:NAME``.

    Raises:
        ConvscopeError: the package is not installed, there is no such data set or split, or no image in it.
    """
    try:
        import datasets  # pyright: ignore
    except ImportError as error:
        raise ConvscopeError(f"{spec} needs the package datasets: pip install datasets") from error
    name, _, split = spec.removeprefix("hf:").partition(":")
    try:
        found: Any = datasets.load_dataset(name)
    except Exception as error:  # no network, no such name, a broken cache: each of them its own exception
        raise ConvscopeError(
            f"cannot load {spec}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    split = split or next((each for each in _SPLITS if each in found), next(iter(found), ""))
    if split not in found:
        raise ConvscopeError(f"{name} has no split {split!r}{nearest(split, found)}; it has {', '.join(found)}")
    return GivenPhotos(HubRows(found[split], name), name=f"{name} ({split})", place=f"hf:{name}:{split}")


class HubRows:
    """Rows as (picture, label), with the labels' names as ``classes``."""

    def __init__(self, rows: Any, name: str) -> None:
        kinds = {column: type(feature).__name__ for column, feature in rows.features.items()}
        images = [column for column, kind in kinds.items() if kind == "Image"]
        if not images:
            raise ConvscopeError(f"{name} has no column of images; it has {', '.join(kinds)}")
        labels = [column for column, kind in kinds.items() if kind == "ClassLabel"]
        self.rows, self.image, self.label = rows, images[0], labels[0] if labels else None
        if self.label is not None:
            self.classes: list[str] = list(rows.features[self.label].names)
            self.targets = rows[self.label]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> tuple[Any, int | None]:
        row = self.rows[number]
        return row[self.image], None if self.label is None else row[self.label]
