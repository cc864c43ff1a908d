"""Keeping: what a loop offers and a keeper takes. Oracle: a keeper in memory that writes down what is asked of it."""

import torch
from torch import Tensor

from convscope.synthesis.keeping import NOTHING_KEPT, Keeper, keep_finished, keep_state, kept_state
from tests.kept_in_memory import Store


def test_a_state_is_made_only_when_it_is_due() -> None:
    keeper, made = Store(due=False), list[int]()

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
    keeper = Store()
    keep_state(keeper, "a", lambda: {"step": torch.tensor(1)})
    keep_finished(keeper, "a", {"values": torch.ones(3)})
    assert keeper.told == ["keep a/state", "keep a", "forget a/state"]
    assert kept_state(keeper, "a") is None


def test_nothing_kept_keeps_nothing_and_is_never_due() -> None:
    assert isinstance(NOTHING_KEPT, Keeper)
    keep_state(NOTHING_KEPT, "a", lambda: {}["never called"])
    keep_finished(NOTHING_KEPT, "a", {"values": torch.ones(3)})
    assert NOTHING_KEPT.kept("a") is None
    assert kept_state(NOTHING_KEPT, "a") is None
