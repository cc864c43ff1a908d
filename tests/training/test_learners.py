"""What learns. Oracles: the zoo's own builders; the seed."""

import pytest
import torch
from torch import nn

import convscope as cs
from convscope.errors import ConvscopeError
from convscope.network.small_nets import SMALL_NETS
from convscope.network.trained import network_of
from convscope.training.checkpoints import arrays_of, load_arrays
from convscope.training.learners import learner_of
from tests import nets
from tests.nets.building import images


@pytest.mark.parametrize("name", SMALL_NETS)
def test_a_named_network_is_built_again_by_its_entry(name: str) -> None:
    learner = learner_of(name, ("a", "b", "c"), size=40, device="cpu")
    with torch.random.fork_rng(devices=[]):
        again = network_of(learner.entry)
    load_arrays(again, arrays_of(learner.module), "here")
    x = images(2, learner.net.preprocess.channels, 40, 40, dtype=torch.float32)
    assert torch.equal(again.eval()(x), learner.module.eval()(x))
    assert learner.net.classes == ("a", "b", "c")
    assert learner.net.preprocess.size == 40


def test_the_seed_decides_the_first_weights() -> None:
    one, same, other = (learner_of("tiny", ("a", "b"), seed=seed, device="cpu").module for seed in (0, 0, 1))
    assert torch.equal(one.conv1.weight, same.conv1.weight)
    assert not torch.equal(one.conv1.weight, other.conv1.weight)


def test_a_live_module_is_trained_in_place_and_says_how_it_sees() -> None:
    module = nets.gap_linear()
    with pytest.raises(ConvscopeError, match="give preprocess="):
        learner_of(module, ("a", "b"))
    prepared = cs.Preprocess(12, 12)
    learner = learner_of(module, ("a", "b"), preprocess=prepared)
    assert (learner.module, learner.entry, learner.net.preprocess) == (module, None, prepared)
    with pytest.raises(ConvscopeError, match="has its own input"):
        learner_of(module, ("a", "b"), preprocess=prepared, size=20)
    given = learner_of(cs.load(nn.Flatten(), preprocess=prepared), ("a", "b"))
    assert given.entry is None


def test_a_misspelt_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConvscopeError, match="no network 'digit'; did you mean 'digits'"):
        learner_of("digit", ("a", "b"))
