"""Oracle: the generators' own states before and after."""

import random

import numpy as np
import pytest
import torch

from convscope.training.random_states import kept_random_states, randomness_of, state_of


def states() -> tuple[object, ...]:
    return torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()


def drawn() -> tuple[object, ...]:
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), [random.random() for _ in range(3)]


@pytest.mark.global_rng
def test_the_callers_numbers_go_on_as_if_nothing_had_been_drawn() -> None:
    before = states()
    with pytest.raises(KeyError), kept_random_states():
        raise KeyError(drawn())
    assert states() == before
    with randomness_of(3, 4):
        drawn()
    assert states() == before


@pytest.mark.global_rng
def test_an_epochs_numbers_follow_from_seed_and_epoch_alone() -> None:
    found = {}
    for before in (0, 7):
        drawn() if before else None
        for seed, epoch in ((0, 1), (0, 2), (1, 1), (11, 1), (1, 11)):
            with randomness_of(seed, epoch) as generator:
                now = (*drawn(), torch.rand(3, generator=generator).tolist())
            assert found.setdefault((seed, epoch), now) == now
    assert len({str(each) for each in found.values()}) == 5


def test_a_state_is_a_seed() -> None:
    assert all(0 <= state_of(2**63 - 1, epoch) < 2**63 for epoch in range(100))
