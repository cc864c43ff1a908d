"""Which images a probe looks at. Oracle: the loader itself, gone through by hand."""

import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)  # fmt: skip

from convscope.errors import ConvscopeError
from convscope.training.fixed_sample import samples_of
from convscope.training.run_data import RunData, Split

X, Y = torch.arange(20.0).reshape(20, 1, 1, 1), torch.arange(20) // 5


def numbers(data: Any, most: int | None = None) -> list[int]:
    (sample,) = samples_of(data, most).values()
    assert sample.labels.tolist() == [int(x) // 5 for x in sample.images.flatten()]
    return [int(x) for x in sample.images.flatten()]


def gone_through(loader: Any) -> list[int]:
    with torch.random.fork_rng(devices=[]):
        return sorted({int(x) for images, _ in loader for x in images.flatten()})


def own() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("most", [1, 3, 5, 19])
def test_a_sample_is_spread_over_the_data(most: int) -> None:
    """One of each n / samples in a row; of n samples all."""
    found = numbers((X, Y), most)
    edges = [i * 20 // most for i in range(most + 1)]
    assert [sum(low <= x < high for x in found) for low, high in pairwise(edges)] == [1] * most
    assert numbers(TensorDataset(X, Y), most) == numbers((X, Y), most) == found
    assert numbers((X, Y)) == numbers((X, Y), 50) == list(range(20))


def test_classes_that_take_turns_are_all_in_the_sample() -> None:
    """Oracle: every tenth image of ten classes in turn is of one class."""
    found = samples_of((torch.zeros(5000, 1, 1, 1), torch.arange(5000) % 10), 500)["data"].labels
    assert found.bincount(minlength=10).min() > 25


@pytest.mark.parametrize("kind", ["shuffled", "ordered", "part", "weighted", "batches", "custom"])
def test_a_loader_gives_the_images_that_it_gives_a_training(kind: str) -> None:
    dataset = TensorDataset(X, Y)
    part = SubsetRandomSampler([3, 17, 9, 4], generator=own())
    weighted = WeightedRandomSampler([1.0, 0.0] * 10, 400, generator=own())
    loader: Any = {
        "shuffled": lambda: DataLoader(dataset, 3, shuffle=True, generator=own()),
        "ordered": lambda: DataLoader(dataset, 3),
        "part": lambda: DataLoader(dataset, 3, sampler=part),
        "weighted": lambda: DataLoader(dataset, 3, sampler=weighted),
        "batches": lambda: DataLoader(dataset, batch_sampler=BatchSampler(part, 2, drop_last=False)),
        "custom": lambda: DataLoader(dataset, 2, sampler=[5, 2, 2, 19]),  # pyright: ignore[reportArgumentType]
    }[kind]()
    states = [g.get_state() for g in (loader.generator,) if g is not None]
    found = numbers(loader)
    assert [g.get_state().tolist() for g in (loader.generator,) if g is not None] == [s.tolist() for s in states]
    assert found == gone_through(loader)


def test_own_batches_of_a_part_stay_a_part() -> None:
    class Pairs(BatchSampler):
        def __iter__(self) -> Iterator[list[int]]:
            yield from ([8, 1], [6, 7])

    loader = DataLoader(TensorDataset(X, Y), batch_sampler=Pairs([0], 2, False))
    assert numbers(loader) == gone_through(loader) == [1, 6, 7, 8]


@pytest.mark.global_rng
def test_what_the_loader_makes_of_images_is_made_of_the_sample() -> None:
    """Oracle: the loader, gone through by hand; its ``collate_fn`` normalises."""

    def normalised(items: list[Any]) -> tuple[Tensor, Tensor]:
        return torch.stack([x for x, _ in items]) / 10 - 1, torch.tensor([y for _, y in items])

    for how in ({"batch_size": 3}, {"batch_sampler": BatchSampler(range(20), 3, False)}):
        loader: Any = DataLoader(TensorDataset(X, Y), collate_fn=normalised, **how)
        sample = samples_of(loader, None)["data"]
        assert sample.images.tolist() == torch.cat([x for x, _ in loader]).tolist()
        assert sample.labels.tolist() == Y.tolist()
    one_by_one: Any = DataLoader(TensorDataset(X, Y), batch_size=None, collate_fn=lambda item: (item[0] + 1, item[1]))
    assert samples_of(one_by_one, None)["data"].images.tolist() == (X + 1).tolist()
    soft: Any = DataLoader(TensorDataset(X, Y), 3, collate_fn=lambda items: (torch.zeros(3, 1), torch.zeros(3, 4)))
    with pytest.raises(ConvscopeError, match=r"\(3, 1\) images and \(3, 4\) classes"):
        samples_of(soft, None)
    named: Any = DataLoader(TensorDataset(X, Y), 3, collate_fn=lambda items: {"pixels": items})
    with pytest.raises(ConvscopeError, match="collate_fn gives a dict; a probe takes"):
        samples_of(named, None)


def test_a_sampler_that_counts_is_not_gone_through_itself() -> None:
    class Counting:
        def __init__(self) -> None:
            self.times = 0

        def __iter__(self) -> Iterator[int]:
            self.times += 1
            return iter([self.times, 7])

    sampler = Counting()
    loader: Any = DataLoader(TensorDataset(X, Y), 2, sampler=sampler)  # pyright: ignore[reportArgumentType]
    assert numbers(loader) == [1, 7]
    assert sampler.times == 0
    once: Any = DataLoader(TensorDataset(X, Y), 2, sampler=iter([1, 2]))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConvscopeError, match="gone through once only"):
        samples_of(once, None)


def test_a_sampler_that_reorders_its_own_lists_has_them_as_they_were() -> None:
    """A training's next epoch would shuffle what looking has shuffled, and see its images in another order."""

    class Reordering:
        def __init__(self) -> None:
            self.buckets, self.data = [[3, 1, 7], [2, 9]], dataset

        def __iter__(self) -> Iterator[int]:
            assert self.data is dataset  # of which there is no copy
            for bucket in self.buckets:
                bucket.reverse()
            return iter([number for bucket in self.buckets for number in bucket])

    dataset = TensorDataset(X, Y)
    sampler = Reordering()
    assert numbers(DataLoader(dataset, 2, sampler=sampler)) == [1, 2, 3, 7, 9]  # pyright: ignore[reportArgumentType]
    assert sampler.buckets == [[3, 1, 7], [2, 9]]

    class Locked(Reordering):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    locked: Any = DataLoader(dataset, 2, sampler=Locked())  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConvscopeError, match=r"Locked cannot be copied .*give a pair of tensors"):
        samples_of(locked, None)


def test_images_that_are_numpy_s_are_what_a_loader_makes_of_them() -> None:
    pairs: Any = [(x.numpy(), int(y)) for x, y in zip(X, Y, strict=True)]
    assert numbers(DataLoader(pairs, 4)) == list(range(20))


def test_the_sample_is_fixed_and_its_own_memory() -> None:
    x = X.clone()
    sample = samples_of((x, Y), None)["data"]
    x.fill_(-1)
    assert sample.images.flatten().tolist() == X.flatten().tolist()
    assert [len(labels) for _, labels in sample.batches(6)] == [6, 6, 6, 2]


def test_a_run_s_data_is_taken_by_its_sides() -> None:
    ids = tuple(map(str, range(20)))
    data = RunData(Split(X, Y, ids), Split(X[:5], Y[:5], ids[:5]), ("a", "b", "c", "d"))
    found = samples_of(data, 4)
    assert list(found) == list(data.sides())
    assert [(len(sample), sample.of) for sample in found.values()] == [(4, 20), (4, 5)]


class _Odd(Dataset[Any]):
    def __init__(self, item: Any) -> None:
        self.item = item

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> Any:
        return self.item(number)


class _Stream(IterableDataset[tuple[Tensor, int]]):
    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        raise AssertionError("it was read")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "no data"),
        (_Stream(), "is a stream"),
        (DataLoader(_Stream()), "is a stream"),
        (3, "is a int"),
        ((X, Y[:5]), r"\(20, 1, 1, 1\) images and \(5,\) classes"),
        ((X, Y.float()), "whole numbers"),
        ((X, Y - 1), "whole numbers from 0 on"),
        ((X[:0], Y[:0]), "is empty"),
        (TensorDataset(X[:0], Y[:0]), "is empty"),
        (_Odd(lambda _: ("a picture", 1)), r"gives str, int for an image; a probe takes \(tensor, class\)"),
        (_Odd(lambda _: (X[0], "cat")), "'cat' as class"),
        (_Odd(lambda _: (X[0], torch.tensor(0.7))), r"tensor\(0.7000\) as class"),
        (_Odd(lambda _: (X[0], torch.tensor(True))), r"tensor\(True\) as class"),
        (_Odd(lambda number: (torch.zeros(1, 2 + number, 2), 0)), "several sizes"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(data: Any, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        samples_of(data, None)
