"""A fixed sample of the images that a training learns from, taken without the training noticing.

Going through a DataLoader draws from its generator or from torch's global one, and the training would then see its
images in another order. So the loader is never gone through: which images it gives is read off its sampler, and they
are fetched from its data set by number. What the data set draws meanwhile (random crops, flips) is undone: the global
generators, and every generator that data set or sampler hold, are put back (``network/held_generators.py``). What the
loader itself makes of images (``collate_fn``) is made of the sample too. A sample is taken once, so that every epoch is
judged by the same inputs.

Of n images in a row, one of each n / samples is taken: spread over a data set that is ordered by class. Which one of
them is drawn, the same ones always: every tenth image of a data set whose ten classes take turns would be one class.

Pitfalls: a stream (``IterableDataset``) can be read only once, and by whoever trains on it: give (x, y) instead. An
augmented training set is sampled with its augmentation, once.
"""

import copy
import random
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    default_collate,
)

from convscope.errors import ConvscopeError
from convscope.network.held_generators import held_generators, kept_generators
from convscope.training.random_states import kept_random_states
from convscope.training.run_data import RunData


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
    with kept_random_states(), kept_generators(part):
        if isinstance(part, tuple | list) and len(part) == 2 and all(isinstance(p, Tensor) for p in part):
            x, y = part
            taken = torch.tensor(_spread(range(len(y)), most), dtype=torch.int64)
            _refuse_unlike(name, x, y)
            return _checked(name, x.detach().cpu()[taken], y.detach().cpu()[taken], len(y))
        dataset, indices = _readable(name, part)
        taken = _spread(indices, most)
        if not taken:
            raise ConvscopeError(f"the {name!r} data is empty")
        pairs = _collated(name, part, [dataset[i] for i in taken])
    sizes = dict.fromkeys(tuple(x.shape) for x, _ in pairs)
    if len(sizes) > 1:
        raise ConvscopeError(f"images of the {name!r} data have several sizes, such as {' and '.join(map(str, sizes))}")
    return _checked(name, torch.stack([x for x, _ in pairs]), torch.tensor([y for _, y in pairs]), len(indices))


def _spread(indices: Sequence[int], most: int | None) -> list[int]:
    n = len(indices)
    count, drawn = n if most is None else min(n, most), random.Random(0)
    edges = [i * n // max(count, 1) for i in range(count + 1)]
    return [indices[drawn.randrange(low, high)] for low, high in pairwise(edges)]


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
    return dataset, _numbers(name, part, n) if isinstance(part, DataLoader) else range(n)


def _numbers(name: str, loader: "DataLoader[Any]", n: int) -> Sequence[int]:
    """Which images a loader gives: those of its sampler, which may be a part of the data set."""
    batches: Any = loader.batch_sampler
    if batches is not None and type(batches) is not BatchSampler:
        return sorted({int(i) for batch in islice(_apart(name, loader, batches), n) for i in batch})
    sampler: Any = loader.sampler if batches is None else batches.sampler
    if isinstance(sampler, SubsetRandomSampler):
        return sorted(map(int, sampler.indices))
    if isinstance(sampler, WeightedRandomSampler):
        return sampler.weights.nonzero().flatten().tolist()
    if type(sampler).__module__.startswith("torch.utils.data"):
        return range(n)  # all of them, in whatever order and however often
    return sorted({int(i) for i in islice(_apart(name, loader, sampler), 2 * n)})


def _apart(name: str, loader: "DataLoader[Any]", sampler: Any) -> Any:
    """A copy to go through, of all but the data: a sampler may count how often it was, or shuffle its own list."""
    if isinstance(sampler, Iterator):
        raise ConvscopeError(
            f"the {name!r} loader's {type(sampler).__name__} can be gone through once only: looking would take images "
            "away from the training; give a pair of tensors (x, y) instead"
        )
    data = [loader.dataset, *(held for held in getattr(sampler, "__dict__", {}).values() if isinstance(held, Dataset))]
    try:
        return copy.deepcopy(sampler, {id(kept): kept for kept in (*data, *held_generators(sampler))})
    except Exception as error:  # of whatever it holds
        raise ConvscopeError(
            f"the {name!r} loader's {type(sampler).__name__} cannot be copied ({error}), and going through it itself "
            "may change the training; give a pair of tensors (x, y) instead"
        ) from error


def _collated(name: str, part: Any, items: list[Any]) -> list[tuple[Tensor, int]]:
    """(image, class) of each item, through the loader's own ``collate_fn`` where it has one, in batches of its size."""
    if not isinstance(part, DataLoader) or part.collate_fn is default_collate:
        return [_pair(name, item) for item in items]
    loader = cast("DataLoader[Any]", part)
    if loader.batch_sampler is None:
        return [_pair(name, loader.collate_fn(item)) for item in items]  # one by one, as the loader does
    size = loader.batch_size or len(items)
    made = [_batch(name, loader.collate_fn(items[i : i + size])) for i in range(0, len(items), size)]
    return [_pair(name, pair) for x, y in made for pair in zip(x, y, strict=True)]


def _batch(name: str, made: Any) -> tuple[Tensor, Tensor]:
    if not (isinstance(made, tuple | list) and len(made) >= 2 and all(isinstance(p, Tensor) for p in made[:2])):
        raise ConvscopeError(
            f"the {name!r} loader's collate_fn gives a {type(made).__name__}; a probe takes (images, classes), two "
            "tensors: give it such a pair instead"
        )
    _refuse_unlike(name, made[0], made[1])
    return made[0], made[1]


def _pair(name: str, item: Any) -> tuple[Tensor, int]:
    if not (isinstance(item, tuple | list) and len(item) >= 2 and isinstance(item[0], Tensor | np.ndarray)):
        parts = item if isinstance(item, tuple | list) else [item]
        raise ConvscopeError(
            f"the {name!r} data gives {', '.join(type(part).__name__ for part in parts)} for an image; a probe takes "
            "(tensor, class), as ToTensor makes it"
        )
    x, y = torch.as_tensor(item[0]), item[1]
    if isinstance(y, bool) or not (_is_whole(y) if isinstance(y, Tensor) else hasattr(y, "__index__")):
        raise ConvscopeError(f"the {name!r} data gives {y!r} as class of an image; it is a whole number")
    return x.detach().cpu(), int(y)


def _is_whole(y: Tensor) -> bool:
    return y.ndim == 0 and y.dtype != torch.bool and not (y.is_floating_point() or y.is_complex())


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
