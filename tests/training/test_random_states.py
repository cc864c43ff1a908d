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


def test_generators_that_a_network_holds_follow_from_the_epoch_and_go_on_after_it() -> None:
    """Oracle: the same epoch drawn twice, whatever was drawn between; the states before, word by word."""
    held = [torch.Generator().manual_seed(1), np.random.default_rng(2), np.random.RandomState(3), random.Random(4)]

    def drawn() -> list[float]:
        return [float(torch.rand((), generator=held[0])), held[1].random(), held[2].rand(), held[3].random()]

    before = [
        held[0].get_state().tolist(),
        held[1].bit_generator.state,
        held[2].get_state()[1].tolist(),
        held[3].getstate(),
    ]
    with randomness_of(5, 1, held):
        first = drawn()
    after = [
        held[0].get_state().tolist(),
        held[1].bit_generator.state,
        held[2].get_state()[1].tolist(),
        held[3].getstate(),
    ]
    assert after == before
    drawn()
    with randomness_of(5, 1, held):
        assert drawn() == first
    with randomness_of(5, 2, held):
        assert all(a != b for a, b in zip(drawn(), first, strict=True))
