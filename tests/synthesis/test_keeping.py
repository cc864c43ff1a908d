"""Keeping: what a loop offers and a keeper takes. Oracle: a keeper in memory that writes down what is asked of it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from convscope.synthesis.keeping import NOTHING_KEPT, Keeper, keep_finished, keep_state, kept_state


class InMemory:
    def __init__(self, due: bool = True) -> None:
        self.tensors: dict[str, dict[str, Tensor]] = {}
        self.due, self.said = due, list[str]()

    def kept(self, key: str) -> dict[str, Tensor] | None:
        return self.tensors.get(key)

    def keep(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        self.said.append(f"keep {key}")
        self.tensors[key] = dict(tensors)

    def forget(self, key: str) -> None:
        self.said.append(f"forget {key}")
        self.tensors.pop(key, None)

    def is_due(self) -> bool:
        return self.due


def test_a_state_is_made_only_when_it_is_due() -> None:
    keeper, made = InMemory(due=False), list[int]()

    def state() -> dict[str, Tensor]:
        made.append(1)
        return {"step": torch.tensor(7)}

    keep_state(keeper, "a", state)
    assert made == []
    assert kept_state(keeper, "a") is None
    keeper.due = True
    keep_state(keeper, "a", state)
    assert made == [1]
    kept = kept_state(keeper, "a")
    assert kept is not None
    assert kept["step"] == 7
    assert keeper.kept("a") is None  # a state is no finished picture


def test_the_finished_picture_is_kept_before_its_state_is_forgotten() -> None:
    keeper = InMemory()
    keep_state(keeper, "a", lambda: {"step": torch.tensor(1)})
    keep_finished(keeper, "a", {"values": torch.ones(3)})
    assert keeper.said == ["keep a/state", "keep a", "forget a/state"]
    assert kept_state(keeper, "a") is None


def test_nothing_kept_keeps_nothing_and_is_never_due() -> None:
    assert isinstance(NOTHING_KEPT, Keeper)
    keep_state(NOTHING_KEPT, "a", lambda: {}["never called"])
    keep_finished(NOTHING_KEPT, "a", {"values": torch.ones(3)})
    assert NOTHING_KEPT.kept("a") is None
    assert kept_state(NOTHING_KEPT, "a") is None
