"""A fixed sample of the images that a training learns from, taken without the training noticing.

Going through a DataLoader draws from its generator or from torch's global one, and the training would then see its
images in another order. So the loader is never gone through: which images it gives is read off its sampler, and they
are fetched from its data set by number. What the data set draws meanwhile (random crops, flips) is undone: the global
generators, and every generator that data set or sampler hold, are put back. A sample is taken once, so that every epoch
is judged by the same inputs.

Of n images those are taken whose place is a multiple of n / samples: spread over a data set that is ordered by class.

Pitfalls: a stream (``IterableDataset``) can be read only once, and by whoever trains on it: give (x, y) instead. An
augmented training set is sampled with its augmentation, once.
"""

import random
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SubsetRandomSampler, WeightedRandomSampler

from convscope.errors import ConvscopeError
from convscope.training.random_states import kept_random_states
from convscope.training.run_data import RunData

_MOST_HELD = 4096  # objects that are looked through for generators


@dataclass(frozen=True, eq=False)
class Sample:
    """Inputs ``(n, ...)`` and their classes, on the CPU; ``of`` how many images they are taken."""

    images: Tensor
    labels: Int[Tensor, " n"]
    of: int

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Int[Tensor, " b"]]]:
        """Inputs and classes, ``size`` at a time."""
        return zip(self.images.split(size), self.labels.split(size), strict=True)


def samples_of(data: Any, most: int | None) -> dict[str, Sample]:
    """Split -> its sample, of ``most`` images (None: all).

    Args:
        data: ``{"train": ..., "held out": ...}``, a ``RunData``, or one thing, which is then called ``"data"``; each
            an (x, y) pair of tensors, a Dataset of (tensor, class), or a DataLoader of one.
        most: how many images of each split.

    Raises:
        ConvscopeError: what is none of these, empty, a stream, or of images of several sizes.
    """
    if most is not None and most < 1:
        raise ConvscopeError(f"samples={most}: take at least one image of each split, or None for all")
    if isinstance(data, RunData):
        data = data.sides()
    splits: Mapping[Any, Any] = data if isinstance(data, Mapping) else {"data": data}
    if not splits:
        raise ConvscopeError("no data to look at: give {'train': ..., 'held out': ...}")
    return {str(name): _sample(str(name), part, most) for name, part in splits.items()}


def _sample(name: str, part: Any, most: int | None) -> Sample:
    with kept_random_states(), _kept_generators(part):
        if isinstance(part, tuple | list) and len(part) == 2 and all(isinstance(p, Tensor) for p in part):
            x, y = part
            taken = torch.tensor(_spread(range(len(y)), most), dtype=torch.int64)
            _refuse_unlike(name, x, y)
            return _checked(name, x.detach().cpu()[taken], y.detach().cpu()[taken], len(y))
        dataset, indices = _readable(name, part)
        taken = _spread(indices, most)
        if not taken:
            raise ConvscopeError(f"the {name!r} data is empty")
        pairs = [_pair(name, dataset[i]) for i in taken]
    sizes = dict.fromkeys(tuple(x.shape) for x, _ in pairs)
    if len(sizes) > 1:
        raise ConvscopeError(f"images of the {name!r} data have several sizes, such as {' and '.join(map(str, sizes))}")
    return _checked(name, torch.stack([x for x, _ in pairs]), torch.tensor([y for _, y in pairs]), len(indices))


def _spread(indices: Sequence[int], most: int | None) -> list[int]:
    n = len(indices)
    count = n if most is None else min(n, most)
    return [indices[i * n // count] for i in range(count)]


def _readable(name: str, part: Any) -> tuple[Any, Sequence[int]]:
    """What gives an image by its number, and the numbers of this split."""
    dataset = part.dataset if isinstance(part, DataLoader) else part
    if isinstance(dataset, IterableDataset):
        raise ConvscopeError(
            f"the {name!r} data is a stream: looking at it would take images away from the training; give a pair of "
            "tensors (x, y) instead"
        )
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise ConvscopeError(
            f"the {name!r} data is a {type(part).__name__}; a probe takes a pair of tensors (x, y), a Dataset of "
            "(tensor, class), or a DataLoader of one"
        )
    n = len(cast(Sized, dataset))
    return dataset, _numbers(part, n) if isinstance(part, DataLoader) else range(n)


def _numbers(loader: "DataLoader[Any]", n: int) -> Sequence[int]:
    """Which images a loader gives: those of its sampler, which may be a part of the data set."""
    batches: Any = loader.batch_sampler
    if batches is not None and type(batches) is not BatchSampler:
        return sorted({int(i) for batch in islice(batches, n) for i in batch})
    sampler: Any = loader.sampler if batches is None else batches.sampler
    if isinstance(sampler, SubsetRandomSampler):
        return sorted(map(int, sampler.indices))
    if isinstance(sampler, WeightedRandomSampler):
        return sampler.weights.nonzero().flatten().tolist()
    if type(sampler).__module__.startswith("torch.utils.data"):
        return range(n)  # all of them, in whatever order and however often
    return sorted({int(i) for i in islice(sampler, 2 * n)})


def _pair(name: str, item: Any) -> tuple[Tensor, int]:
    if not (isinstance(item, tuple | list) and len(item) >= 2 and isinstance(item[0], Tensor)):
        parts = item if isinstance(item, tuple | list) else [item]
        raise ConvscopeError(
            f"the {name!r} data gives {', '.join(type(part).__name__ for part in parts)} for an image; a probe takes "
            "(tensor, class), as ToTensor makes it"
        )
    x, y = item[0], item[1]
    if isinstance(y, bool) or not (hasattr(y, "__index__") and (not isinstance(y, Tensor) or y.ndim == 0)):
        raise ConvscopeError(f"the {name!r} data gives {y!r} as class of an image; it is a whole number")
    return x.detach().cpu(), int(y)


def _refuse_unlike(name: str, x: Tensor, y: Tensor) -> None:
    if len(x) != len(y) or y.ndim != 1:
        raise ConvscopeError(
            f"the {name!r} data has {tuple(x.shape)} images and {tuple(y.shape)} classes; they are "
            "(n, c, h, w) and (n,)"
        )


def _checked(name: str, x: Tensor, y: Tensor, of: int) -> Sample:
    if not len(x):
        raise ConvscopeError(f"the {name!r} data is empty")
    if y.is_floating_point() or y.dtype == torch.bool or int(y.min()) < 0:
        raise ConvscopeError(f"classes of the {name!r} data are whole numbers from 0 on, not {y.dtype} from {y.min()}")
    return Sample(x.clone(), y.to(torch.int64), of)


@contextmanager
def _kept_generators(holder: Any) -> Generator[None]:
    """After the block every generator that the data holds is as it was."""
    before = [(g, _state(g)) for g in _held_generators(holder)]
    try:
        yield
    finally:
        for held, state in before:
            _put_back(held, state)


_Generators = torch.Generator | np.random.Generator | np.random.RandomState | random.Random


_NO_HOLDERS = (Tensor, np.ndarray, str, bytes, int, float, type, ModuleType)


def _held_generators(holder: Any) -> list[_Generators]:
    todo, seen, found = deque([holder]), set[int](), list[_Generators]()
    while todo and len(seen) < _MOST_HELD:
        thing = todo.popleft()
        if id(thing) in seen or isinstance(thing, _NO_HOLDERS):
            continue
        seen.add(id(thing))
        if isinstance(thing, _Generators):
            found.append(thing)
        elif isinstance(thing, Mapping):
            todo.extend(islice(cast(Mapping[Any, Any], thing).values(), 64))
        elif isinstance(thing, tuple | list):
            todo.extend(cast(Sequence[Any], thing)[:64])  # of a long list, such as of all its images, only a few
        elif hasattr(thing, "__dict__"):
            todo.extend(vars(thing).values())
    return found


def _state(held: _Generators) -> Any:
    if isinstance(held, torch.Generator):
        return held.get_state()
    if isinstance(held, np.random.Generator):
        return held.bit_generator.state
    return held.get_state() if isinstance(held, np.random.RandomState) else held.getstate()


def _put_back(held: _Generators, state: Any) -> None:
    if isinstance(held, np.random.Generator):
        held.bit_generator.state = state
    elif isinstance(held, random.Random):
        held.setstate(state)
    else:
        held.set_state(state)
