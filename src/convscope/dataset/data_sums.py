"""Sums over a data set: batches computed side by side, added in their order, put aside for a run that is broken off.

What is summed is an accumulator (``merge``, ``tensors``, ``from_tensors``), made anew of each batch by ``of_batch`` in
one of several threads and merged in the order of the images: the same bits for any number of threads, and when a run
goes on from what a keeper holds. A batch is so many images in a row; those of other sizes than its first are computed
in further passes. Images that cannot be read, or that the network does not take, are left out, with their reasons.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from convscope.dataset.image_sources import ImageSource
from convscope.dataset.photo_inputs import photo_input
from convscope.dataset.room import NoRoomError, is_out_of_memory
from convscope.dataset.threads import in_order, one_thread_each
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.loading import Network
from convscope.synthesis.keeping import NOTHING_KEPT, STATE, Keeper

_REFUSED, _DONE, _DIGEST = "refused", "done", "digest"  # beside the sums, in what is kept
_TRIED = 3  # batches that are refused whole, before any is computed, until it is not the images' fault
_NO_ROOM = "a smaller input (--size), or fewer threads (--threads), need less"
Labelled = tuple[str, int]  # an image's id, and its data class or -1


@runtime_checkable
class Sums(Protocol):
    """An accumulator."""

    def merge(self, other: Any) -> None:
        """Add another's sums, of the same kind."""
        ...

    def tensors(self) -> dict[str, np.ndarray]:
        """All of it."""
        ...

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> Any:
        """What ``tensors`` gave."""
        ...


S = TypeVar("S", bound=Sums)


@dataclass(frozen=True, eq=False)
class Batch:
    """Images of one size, as the network gets them, with their data classes (-1: none)."""

    x: Float[Tensor, "b c H W"]
    labels: Int[np.ndarray, " b"]


@dataclass(frozen=True, eq=False)
class Summed(Generic[S]):
    """Over the images that could be used; ``refused`` are the others, with the reasons.

    ``digest``: 32 bytes of SHA-256 over the digests of all images that could be read, in their order.
    """

    sums: S
    refused: Mapping[str, str]
    digest: bytes


def summed_over(
    net: Network,
    source: ImageSource,
    images: Iterable[Labelled],
    of_batch: Callable[[Batch], S],
    kind: type[S],
    *,
    batch: int,
    key: str = "sums",
    threads: int | None = None,
    on_step: Callable[[int], None] | None = None,
    keeper: Keeper = NOTHING_KEPT,
) -> Summed[S]:
    """The sum of ``of_batch`` over all images.

    Args:
        net: in evaluation mode inside, without gradients.
        source: of the images.
        images: in order.
        of_batch: safe to be called from several threads at once.
        kind: the accumulator.
        batch: images taken together.
        key: of what is kept.
        threads: None is one a core; on other devices than the CPU passes take turns.
        on_step: called with the number of images done.
        keeper: is given the sums when it is due, and what it holds is gone on from.

    Raises:
        ConvscopeError: no image that can be used.
    """
    state = _State[S].kept(keeper, key, kind)
    turn: AbstractContextManager[Any] = nullcontext() if net.device.type == "cpu" else Lock()

    def work(some: list[Labelled]) -> tuple[S | None, dict[str, str], int, bytes]:
        batches, refused, digests = _read(net, source, some)
        total: S | None = None
        with evaluation(net.module), torch.no_grad():
            for names, one in batches:
                with turn:
                    found, why = _one_by_one(names, one, of_batch)
                total, refused = _merged(total, found), refused | why
        return total, refused, len(some), digests

    remaining = itertools.islice(images, state.done, None)
    with one_thread_each(), closing(in_order(_parts(remaining, batch), work, threads)) as results:
        for found in results:
            state.add(*found)
            if on_step is not None:
                on_step(state.done)
            state.offer(keeper, key)
            state.refuse_if_hopeless(_TRIED * batch)
    state.refuse_if_hopeless(1)
    assert state.sums is not None
    return Summed(state.sums, state.refused, state.digest)


def _parts(images: Iterable[Labelled], size: int) -> Iterator[list[Labelled]]:
    remaining = iter(images)
    while some := list(itertools.islice(remaining, size)):
        yield some


def _read(
    net: Network, source: ImageSource, some: Sequence[Labelled]
) -> tuple[list[tuple[list[str], Batch]], dict[str, str], bytes]:
    """Batches of one input size each, in the order of their first images; what cannot be used; the digests of all."""
    by_size: dict[tuple[int, ...], list[tuple[str, Tensor, int]]] = {}
    refused: dict[str, str] = {}
    digests = b""
    for name, label in some:
        try:
            read = source.read(name)
            digests += read.digest
            x = photo_input(net, read.image).to(net.precision)
        except ConvscopeError as error:
            refused[name] = str(error)
        except NoRoomError as error:
            raise ConvscopeError(f"no memory to prepare {name}, one photo: {_NO_ROOM}") from error
        else:
            by_size.setdefault(tuple(x.shape), []).append((name, x, label))
    return (
        [
            ([name for name, *_ in group], Batch(torch.cat([x for _, x, _ in group]), np.array([n for *_, n in group])))
            for group in by_size.values()
        ],
        refused,
        digests,
    )


def _one_by_one(names: list[str], batch: Batch, of_batch: Callable[[Batch], S]) -> tuple[S | None, dict[str, str]]:
    """All at once; where that is refused image by image, so that only those at fault are left out."""
    try:
        return of_batch(batch), {}
    except ConvscopeError as error:
        if len(names) == 1 and is_out_of_memory(error):
            raise ConvscopeError(f"out of memory on {names[0]}, one photo alone: {_NO_ROOM}") from error
        if len(names) == 1:
            return None, {names[0]: str(error)}
    total: S | None = None
    refused: dict[str, str] = {}
    for place, name in enumerate(names):
        here = slice(place, place + 1)
        found, why = _one_by_one([name], Batch(batch.x[here], batch.labels[here]), of_batch)
        total, refused = _merged(total, found), refused | why
    return total, refused


def _merged(total: S | None, found: S | None) -> S | None:
    if total is None or found is None:
        return found if total is None else total
    total.merge(found)
    return total


@dataclass
class _State(Generic[S]):
    """How far the sum has come."""

    sums: S | None
    refused: dict[str, str]
    done: int
    digest: bytes = b""

    @classmethod
    def kept(cls, keeper: Keeper, key: str, kind: type[S]) -> "_State[S]":
        tensors = keeper.kept(key + STATE)
        if tensors is None:
            return cls(None, {}, 0)
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        refused, done = json.loads(bytes(arrays.pop(_REFUSED))), int(arrays.pop(_DONE)[0])
        digest = bytes(arrays.pop(_DIGEST))
        return cls(kind.from_tensors(arrays) if arrays else None, refused, done, digest)

    def add(self, found: S | None, refused: Mapping[str, str], count: int, digests: bytes) -> None:
        self.sums = _merged(self.sums, found)
        self.refused |= refused
        self.done += count
        self.digest = hashlib.sha256(self.digest + digests).digest()

    def offer(self, keeper: Keeper, key: str) -> None:
        """Put aside where the keeper finds it time; Ctrl-C may leave from here."""
        if not keeper.is_due():
            return
        arrays = {} if self.sums is None else dict(self.sums.tensors())
        arrays[_REFUSED] = np.frombuffer(json.dumps(self.refused).encode(), np.uint8).copy()
        arrays[_DONE], arrays[_DIGEST] = np.array([self.done]), np.frombuffer(self.digest, np.uint8).copy()
        keeper.keep(key + STATE, {name: torch.from_numpy(array) for name, array in arrays.items()})

    def refuse_if_hopeless(self, enough: int) -> None:
        if self.sums is None and self.done >= enough:
            name, why = next(iter(self.refused.items()))
            more = f", nor can the {len(self.refused) - 1} others before any could" if len(self.refused) > 1 else ""
            raise ConvscopeError(f"{name} cannot be used: {why}{more}")
