"""Photos that a program hands over: a Dataset, or a list of pictures. Ids are their places, ``000012``.

An item is a picture, (picture, label, ...), or a mapping with ``image`` and perhaps ``label``. A picture is a path, a
PIL image, a uint8 array (H, W, 3), a uint8 tensor (c, H, W), or a float tensor (c, H, W) in [0, 1], as torchvision's
``ToTensor`` makes it; what was normalised cannot be undone here, and is refused: the survey preprocesses itself, as the
network wants it. A label is a text, or a number that the Dataset's ``classes`` names; without those it is the network's
class of that number.

Labels are read where they lie: in the list, or in ``targets`` where the Dataset has that (torchvision's do). Otherwise
every item has to be made once to know its label, and what is remembered of it is a number of four bytes. A Dataset is
asked by one thread at a time, since few are safe to share; a list by all.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from convscope.dataset.image_sources import SourceImage, counted, short_digest
from convscope.errors import ConvscopeError
from convscope.network.pictures import decode_image, read_image

_UNASKED = -1


@runtime_checkable
class Items(Protocol):
    """A list or a map-style Dataset."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Any: ...


class GivenPhotos:
    """The pictures of a list or a map-style Dataset."""

    def __init__(self, items: Items, *, name: str = "", place: str | None = None) -> None:
        self.items = items
        self.place = place
        self.name = name or ("the given photos" if isinstance(items, list | tuple) else type(items).__name__)
        self._digits = max(6, len(str(max(0, len(items) - 1))))
        self._texts: list[str] = []  # every label once, and its number
        self._numbers: dict[str, int] = {}
        self._labels = np.empty(0, np.int32)  # the number of each item's label; made when one is asked for
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"items": self.items, "name": self.name, "place": self.place}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["items"], name=state["name"], place=state["place"])

    def line(self) -> str:
        """``1,000 photos in CIFAR10``."""
        return counted(len(self.items), self.name)

    def names(self) -> Iterator[str]:
        """``000000``, ``000001``, ...; as many digits as the last needs, so that they sort as numbers."""
        if not len(self.items):
            raise ConvscopeError(f"no photo in {self.name}: its length is 0")
        for number in range(len(self.items)):
            yield f"{number:0{self._digits}d}"

    def read(self, name: str) -> SourceImage:
        """The picture; its digest is that of a file's bytes, or of the pixels where there is no file."""
        picture, _ = self._item(name)
        if isinstance(picture, str | os.PathLike):
            path = Path(picture)
            try:
                content = path.read_bytes()
            except OSError as error:
                raise ConvscopeError(f"{name} ({path}) cannot be read: {error.strerror or error}") from error
            return SourceImage(decode_image(content, f"{name} ({path})"), short_digest(content))
        try:
            image = read_image(_pixels(picture))
        except ConvscopeError as error:
            raise ConvscopeError(f"photo {name}: {error}") from error
        return SourceImage(image, short_digest(repr(image.size).encode() + image.tobytes()))

    def digest(self, name: str) -> bytes:
        """Of the file, or of the pixels: these have to be made."""
        return self.read(name).digest

    def facts(self, name: str) -> tuple[int, int]:
        """Of a file; (-1, -1) where there is none."""
        given = self.items[int(name)] if isinstance(self.items, list | tuple) else None
        if isinstance(given, str | os.PathLike) and Path(given).exists():
            found = Path(given).stat()
            return found.st_size, found.st_mtime_ns
        return -1, -1

    def label(self, name: str) -> str | None:
        """The item's own label."""
        number, targets = int(name), getattr(self.items, "targets", None)
        if targets is not None and len(targets) == len(self.items):
            return self._text(targets[number]) or None
        if isinstance(self.items, list | tuple):
            return self._text(self._label_of(name)) or None
        return self._remembered(number, name) or None

    def _remembered(self, number: int, name: str) -> str:
        if not len(self._labels):
            self._labels = np.full(len(self.items), _UNASKED, np.int32)
        if self._labels[number] == _UNASKED:
            text = self._text(self._label_of(name))
            if text not in self._numbers:
                self._numbers[text] = len(self._texts)
                self._texts.append(text)
            self._labels[number] = self._numbers[text]
        return self._texts[self._labels[number]]

    def _label_of(self, name: str) -> Any:
        """The label that comes with the picture, as it is given."""
        try:
            return self._item(name)[1]
        except ConvscopeError:  # a picture that cannot be made has no label either
            return None

    def _item(self, name: str) -> tuple[Any, Any]:
        """(picture, label or None)."""
        number = int(name)
        if isinstance(self.items, list | tuple):
            return _parts(self.items[number])
        with self._lock:
            try:
                return _parts(self.items[number])
            except Exception as error:  # a Dataset's own code may raise anything on one damaged item
                raise ConvscopeError(
                    f"{self.name} cannot give photo {name}: {error or type(error).__name__}"
                ) from error

    def _text(self, label: Any) -> str:
        """In words; empty where there is none."""
        if label is None:
            return ""
        if isinstance(label, str):
            return label
        try:
            number = int(label)
        except (TypeError, ValueError) as error:
            raise ConvscopeError(
                f"{self.name} has a {type(label).__name__} for a label; give a text or a number"
            ) from error
        names = getattr(self.items, "classes", None)
        return str(names[number]) if names is not None and 0 <= number < len(names) else str(number)


def _parts(item: Any) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        if "image" not in item:
            raise ConvscopeError(f"an item of {', '.join(map(str, item))} has no 'image'")
        return item["image"], item.get("label")
    if isinstance(item, tuple | list):
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def _pixels(picture: Any) -> Any:
    """What ``read_image`` takes."""
    if not isinstance(picture, Tensor):
        return picture
    if picture.ndim != 3 or picture.shape[0] not in (1, 3, 4):
        raise ConvscopeError(f"a tensor of shape {tuple(picture.shape)} is no picture; give (c, H, W)")
    values = picture.detach().cpu()
    if values.is_floating_point():
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):
            raise ConvscopeError(
                f"a tensor of {low:.3g} to {high:.3g} is no picture in [0, 1]; give it before it is normalised"
            )
        values = (values.float() * 255).round().to(torch.uint8)
    if values.dtype != torch.uint8:
        raise ConvscopeError(f"a tensor of {values.dtype} is no picture; give uint8, or floats in [0, 1]")
    return values.permute(1, 2, 0).contiguous().numpy()
