"""The data of a training: inputs of the network, their classes, and which of them are held out.

    listed = list_run("photos")                  classes and sides, without decoding anything
    data = read_run(listed, net.preprocess)      every image once: what cannot be read is left out and listed

Inputs stay in memory up to ``MOST_BYTES``; beyond that they are read again whenever they are wanted, by all cores.
Either way the numbers are the same.
"""

import hashlib
import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from convscope.dataset.threads import in_order
from convscope.errors import ConvscopeError
from convscope.network.loading import one_input
from convscope.training.run_listing import SIDES, ListedRun, Side, list_run

MOST_BYTES = 2 << 30

Preparing = Callable[[Image.Image], Tensor]
OnStep = Callable[[int, int], None]


@runtime_checkable
class Inputs(Protocol):
    """Inputs by number: a tensor ``(n, ...)``, or what reads them when they are wanted."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Tensor, /) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Split:
    """One side: ``images`` are inputs of the network ``(n, c, h, w)``, float32; a Dataset of (input, class) as well."""

    images: Inputs
    labels: Int[Tensor, " n"]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        if not 0 <= number < len(self.ids):
            raise IndexError(number)
        return self.images[torch.tensor([number])][0], int(self.labels[number])

    def batch(self, indices: Int[Tensor, " b"]) -> tuple[Tensor, Int[Tensor, " b"]]:
        """Inputs and classes of the images with these numbers."""
        return self.images[indices], self.labels[indices]


@dataclass(frozen=True, eq=False)
class RunData:
    """Both sides. ``place``: what they are read from again, None for what lives in memory; ``skipped``: (id, why).

    ``fingerprint``: the first 16 hex digits of the SHA-256 over classes, ids, files' contents and the preprocessing;
    ``listing`` over classes and ids alone.
    """

    train: Split
    held_out: Split
    classes: tuple[str, ...]
    preprocess: Any = None
    name: str = "data"
    place: str | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    fingerprint: str = ""
    listing: str = ""

    def sides(self) -> dict[str, Split]:
        """By name, as a probe takes them."""
        return dict(zip(SIDES, (self.train, self.held_out), strict=True))


def run_data(data: object, preprocess: Preparing, held_out: float | None = None) -> RunData:
    """The data of a run at once; see ``list_run`` and ``read_run``."""
    return read_run(list_run(data, held_out), preprocess)


def read_run(
    listed: ListedRun, preprocess: Preparing, *, on_step: OnStep | None = None, most_bytes: int = MOST_BYTES
) -> RunData:
    """Every image through the preprocessing.

    Raises:
        ConvscopeError: a class of which no image can be read, or inputs of several sizes.
    """
    total = len(listed.train.ids) + len(listed.held_out.ids)
    reading = _Reading(preprocess, most_bytes, total, on_step)
    train, held_out = reading.split(listed.train), reading.split(listed.held_out)
    _refuse_untaught(listed, train, reading.skipped)
    if not len(held_out):
        raise ConvscopeError(f"nothing of {listed.name} is left to hold out: {_why(reading.skipped)}")
    prepared = re.sub(r" at 0x[0-9a-f]+", "", repr(preprocess))  # an address says nothing
    reading.digest.update(repr((listed.classes, prepared)).encode())
    notes = (*listed.notes, *_unjudged(listed.classes, held_out), *reading.on_both_sides())
    return RunData(
        train, held_out, listed.classes, preprocess, listed.name, listed.place, tuple(reading.skipped), notes,
        reading.digest.hexdigest()[:16], listed.listing,
    )  # fmt: skip


class _Reading:
    """Images into inputs, one side after the other."""

    def __init__(self, preprocess: Preparing, most_bytes: int, total: int, on_step: OnStep | None) -> None:
        self.preprocess, self.total, self.most_bytes = preprocess, total, most_bytes
        self.on_step = on_step or _untold
        self.skipped: list[tuple[str, str]] = []
        self.digest = hashlib.sha256()
        self.shape: tuple[str, tuple[int, ...]] | None = None
        self._done = 0
        self._files: list[dict[bytes, str]] = []  # of each side: a file's digest -> its id

    def on_both_sides(self) -> tuple[str, ...]:
        """Says where an image is held out that is trained on under another name."""
        trained, held_out = self._files
        found = [(trained[digest], name) for digest, name in held_out.items() if digest in trained]
        if not found:
            return ()
        same = f"the same as {found[0][0]}, which is trained on"
        others = f", and {len(found) - 1:,} more like it" if len(found) > 1 else ""
        return (f"{found[0][1]} is held out but {same}{others}: the score is too good by what it knows by heart",)

    def split(self, side: Side) -> Split:
        ids: list[str] = []
        labels: list[int] = []
        inputs: list[Tensor] = []
        self._files.append({})
        for name, label, x in self._read(side):
            ids.append(name)
            labels.append(label)
            if self._fits(x):
                inputs.append(x)
        is_whole = bool(inputs) and len(inputs) == len(ids)
        images = torch.stack(inputs) if is_whole else InputsOnDisk(side.source, tuple(ids), self.preprocess)
        return Split(images, torch.tensor(labels, dtype=torch.int64), tuple(ids))

    def _fits(self, x: Tensor) -> bool:
        return self.total * x.numel() * x.element_size() <= self.most_bytes

    def _read(self, side: Side) -> Generator[tuple[str, int, Tensor]]:
        read = _reader(side.source, self.preprocess)
        for name, label, found in zip(side.ids, side.labels, in_order(side.ids, read), strict=True):
            self._done += 1
            self.on_step(self._done, self.total)
            if isinstance(found, ConvscopeError):
                self.skipped.append((name, str(found)))
                continue
            x, digest = found
            self._refuse_other_shape(name, tuple(x.shape))
            self.digest.update(f"{name} {label} ".encode() + digest)
            self._files[-1][digest] = name
            yield name, label, x

    def _refuse_other_shape(self, name: str, shape: tuple[int, ...]) -> None:
        first, expected = self.shape = self.shape or (name, shape)
        if shape != expected:
            raise ConvscopeError(
                f"images of one batch have one size, but {first} became {_sides(expected)} and {name} {_sides(shape)} "
                "pixels: --size brings all to one"
            )


@dataclass(frozen=True, eq=False)
class InputsOnDisk:
    """Inputs that are read when they are wanted."""

    source: Any
    ids: tuple[str, ...]
    preprocess: Preparing

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, indices: Tensor, /) -> Tensor:
        read = _reader(self.source, self.preprocess)
        found = list(in_order([self.ids[number] for number in indices.tolist()], read))
        for each in found:
            if isinstance(each, ConvscopeError):  # it could be read before
                raise each
        return torch.stack([each[0] for each in found if not isinstance(each, ConvscopeError)])


def _reader(source: Any, preprocess: Preparing) -> Callable[[str], tuple[Tensor, bytes] | ConvscopeError]:
    """Id -> (input, digest of the file), or why it cannot be read."""

    def read(name: str) -> tuple[Tensor, bytes] | ConvscopeError:
        try:
            image = source.read(name)
            return one_input(preprocess(image.image))[0].to(torch.float32), image.digest
        except ConvscopeError as error:
            return error

    return read


def _untold(_done: int, _every: int) -> None:
    pass


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape[1:]))


def _refuse_untaught(listed: ListedRun, train: Split, skipped: Sequence[tuple[str, str]]) -> None:
    there = set(train.labels.tolist())
    for number, label in enumerate(listed.classes):
        if number not in there:
            raise ConvscopeError(f"the class {label!r} has no image to learn from: {_why(skipped)}")


def _why(skipped: Sequence[tuple[str, str]]) -> str:
    count = f"{len(skipped)} image{'' if len(skipped) == 1 else 's'} cannot be read"
    return f"{count}, the first is {skipped[0][0]}: {skipped[0][1]}"


def _unjudged(classes: Sequence[str], held_out: Split) -> tuple[str, ...]:
    there = set(held_out.labels.tolist())
    missing = [label for number, label in enumerate(classes) if number not in there]
    return (f"nothing of {', '.join(missing)} is held out: how well it is told is not known",) if missing else ()
