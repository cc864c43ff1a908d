"""Which random generators somebody holds. Oracle: those that were put there, and their states."""

import random
import weakref
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from convscope.network.held_generators import held_generators, kept_generators

pytestmark = pytest.mark.global_rng  # the nets' first weights
AT_THE_TOP = np.random.default_rng(0)


def drawn_by_a_helper() -> float:
    return float(AT_THE_TOP.random())


class OfAScript:
    def __getitem__(self, number: int) -> float:
        return max(drawn_by_a_helper() + number for _ in range(1))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.own, self.layers = torch.Generator().manual_seed(1), nn.ModuleList([nn.Linear(2, 2), nn.ReLU()])


def closing_over(held: Any) -> Any:
    def transform(x: float) -> float:
        return x + held.random() if x else never

    if held is None:
        never = 0.0  # a cell of no value yet
    return transform


def test_they_are_found_where_data_sets_transforms_and_networks_have_them() -> None:
    own, net = random.Random(1), Net()
    held = {"a": [closing_over(own)], "b": (partial(max, np.random.RandomState(2)),), "c": {net}, "d": OfAScript()}
    found = held_generators(held, held)
    assert len(found) == 4
    assert own in found
    assert net.own in found
    assert AT_THE_TOP in found


def test_a_method_holds_what_its_object_does() -> None:
    net = Net()
    assert held_generators(net.forward) == [net.own]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_after_the_block_they_go_on_as_if_nothing_had_been_drawn(error: type[BaseException] | None) -> None:
    held: list[Any] = [
        torch.Generator().manual_seed(0), np.random.default_rng(0), np.random.RandomState(0), random.Random(0)
    ]  # fmt: skip
    draw: list[Any] = [lambda: torch.rand(3, generator=held[0]).tolist(), lambda: held[1].random(3).tolist()]
    draw += [lambda: held[2].randn(3).tolist(), lambda: [held[3].gauss(0, 1)]]

    def block() -> None:
        with kept_generators(held):
            within.extend(one() for one in draw)
            if error:
                raise error

    within: list[Any] = []
    if error:
        with pytest.raises(error):
            block()
    else:
        block()
    assert [one() for one in draw] == within


SHARED = np.random.default_rng(4)


class Shares:
    rng = random.Random(3)

    @torch.no_grad()
    def __getitem__(self, number: int) -> float:
        return float(SHARED.random()) + number

    @staticmethod
    def closes() -> None: ...


def test_they_are_found_at_the_class_behind_a_library_s_decorator_and_as_a_bound_method() -> None:
    assert held_generators(Shares()) == [Shares.rng, SHARED]
    drawn, own = np.random.default_rng(5), random.Random(5)
    assert held_generators({"a": drawn.normal, "b": own.random}) == [drawn, own]


def test_of_a_network_every_part_is_looked_at_however_many() -> None:
    last = Net()
    assert held_generators(nn.Sequential(*(nn.Identity() for _ in range(200)), last)) == [last.own]


class Proxy:
    """Stands for what cannot be had now, as a request's or a trainer's does."""

    __slots__ = ("__weakref__",)

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("loaded")

    @property
    def __class__(self) -> Any:
        raise RuntimeError("loaded")


class LazyDict(dict[str, Any]):
    def values(self) -> Any:
        raise AssertionError("loaded")


class LazyList(list[Any]):
    def __iter__(self) -> Any:
        raise AssertionError("loaded")


def test_nothing_of_a_user_s_runs_and_what_has_no_state_is_passed_over() -> None:
    own, gone = random.Random(1), Net()
    dead = weakref.proxy(gone)
    del gone
    held = [Proxy(), dead, LazyDict(a=own), LazyList([own]), random.SystemRandom()]
    with kept_generators(held):
        assert held_generators(held) == [own]
