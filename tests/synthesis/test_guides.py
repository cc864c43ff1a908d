"""Guided dreaming against loops over positions; the dreams themselves are in ``test_dreaming``."""

import pytest
import torch

from convscope.errors import ConvscopeError
from convscope.synthesis.guides import best_matches, guide
from convscope.synthesis.objectives import layer
from tests import nets
from tests.synthesis.dreams import photos, run, to_input


def test_the_score_of_a_guided_dream_is_the_mean_of_the_largest_dot_products() -> None:
    """Oracle: a loop over positions."""
    net, photo = nets.plain(), photos(2)
    features = net[:4](to_input(photos(1, 12, 10, seed=3))).detach()
    first = run(net, guide("conv2", features), photo, steps=0, octaves=1)[0]
    for scores, maps in zip(first.scores, net[:4](to_input(photo)).detach(), strict=True):
        here, there = maps.flatten(1).T, features[0].flatten(1).T
        products = [max(float(x @ y) for y in there) for x in here]
        assert float(scores) == pytest.approx(sum(products) / len(products), rel=1e-12)


def test_blocks_of_positions_change_no_match() -> None:
    here, there = nets.images(2, 6, 5, 7).flatten(2), nets.images(1, 6, 4, 9, seed=1).flatten(2)[0]
    expected = torch.einsum("bcp,cq->bpq", here, there).argmax(2)
    for block in (1, 4, 1024):
        assert torch.equal(best_matches(here, there, block=block), expected)


def test_guides_that_lead_nowhere_or_elsewhere_are_refused() -> None:
    with pytest.raises(ConvscopeError, match="all zero or not finite: they lead nowhere"):
        guide("conv2", torch.zeros(1, 8, 3, 3))
    with pytest.raises(ConvscopeError, match=r"\(2, 8, 3, 3\) for the guide: one picture"):
        guide("conv2", torch.ones(2, 8, 3, 3))
    with pytest.raises(ConvscopeError, match=r"the guide has 5 features, but layer 'conv2' gives \(1, 8,"):
        run(nets.plain(), guide("conv2", torch.ones(1, 5, 3, 3).double()), photos())


def test_a_fully_connected_layer_is_one_position() -> None:
    ones, summed = guide("linear1", torch.ones(1, 16).double()), 16 * layer("linear1")
    got, expected = (run(nets.plain(), one, photos())[-1] for one in (ones, summed))
    assert torch.allclose(got.image, expected.image, rtol=0, atol=1e-9)
    assert torch.allclose(got.scores, expected.scores, rtol=1e-9)
