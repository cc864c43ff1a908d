"""The images as points, snapshot after snapshot. Oracles: features in closed form, ``embed_after`` called here."""

import numpy as np
import pytest
import torch
from torch import nn

from convscope.training.aligned_embedding import embed_after
from convscope.training.probe import Probe
from convscope.training.snapshot import restored, stored
from tests.training.known_net import at_once, known, photos
from tests.untouched import watch


def test_the_embedding_is_of_what_the_head_is_given_and_lies_on_the_one_before() -> None:
    net, (x, y) = known(), photos()
    probe = Probe(net, ["conv"], (x, y), embedding="pca")
    one = at_once(probe).embedding
    assert one is not None
    assert (one.layer, one.method, one.learns) == ("pool", "pca", True)
    means = x.mean((1, 2, 3)).numpy()
    wanted = np.stack([3 * means, 0 * means, 0 * means, 4 * means], 1)
    np.testing.assert_allclose(one.features, wanted, rtol=1e-5)
    assert one.shares == pytest.approx((1, 0), abs=1e-6)
    np.testing.assert_array_equal(one.labels, y)
    with torch.no_grad():
        net[0].weight.neg_()  # 3x and 4x die, -x becomes x - 0.5
        net[0].bias.copy_(torch.tensor([3.0, 0, 0, 4]))  # 3 - 3x, 4 - 4x: the points turn round
    watch(net)
    two = at_once(probe, 1).embedding
    assert two is not None
    assert np.corrcoef(one.points[:, 0], two.points[:, 0])[0, 1] > 0  # turned back onto the first


def test_by_default_it_is_the_t_sne_that_begins_at_the_one_before() -> None:
    """Oracle: ``embed_after`` of the same features, called here."""
    net, (x, y) = known(), photos(40)
    probe = Probe(net, ["conv"], (x, y))
    before = None
    for epoch in range(3):
        with torch.no_grad():
            net[0].weight.mul_(1 + 0.1 * epoch)
        watch(net)
        seen = at_once(probe, epoch).embedding
        assert seen is not None
        made = embed_after(seen.features, before, "t-sne")
        np.testing.assert_array_equal(seen.points, made.points)
        assert (seen.method, seen.facts) == ("t-sne", made.facts)
        assert np.isnan(seen.shares).all()
        before = seen.points


def test_features_that_blew_up_have_no_map_and_the_next_one_begins_at_the_last() -> None:
    """Oracle: ``embed_after`` onto the map before. Of values of 1e30 openTSNE gives NaN without an error."""
    net, (x, y) = known(), photos(40)
    probe = Probe(net, ["conv"], (x, y))
    first = at_once(probe).embedding
    assert first is not None
    scaled(net, 1e30)
    lost = at_once(probe, 1)
    assert lost.embedding is None
    assert "no finite points" in lost.left_out["embedding"]
    scaled(net, 2e-30)
    again = at_once(probe, 2).embedding
    assert again is not None
    np.testing.assert_array_equal(again.points, embed_after(again.features, first.points, "t-sne").points)


def test_images_whose_features_stay_do_not_move() -> None:
    """What learns may lie above the layer; 250 more steps of t-SNE would move them all the same."""
    net, (x, y) = known(), photos(40)
    probe = Probe(net, ["conv"], (x, y), embed="pool")
    first = at_once(probe).embedding
    with torch.no_grad():
        net[4].weight.mul_(2)
    watch(net)
    second = at_once(probe, 1).embedding
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.points, second.points)
    assert not np.allclose(first.points, embed_after(second.features, first.points, "t-sne").points)


def scaled(net: nn.Sequential, factor: float) -> None:
    with torch.no_grad():
        net[0].weight.mul_(factor)
    watch(net)


def test_on_a_frozen_network_the_answers_of_the_head_that_learns_are_laid_out() -> None:
    net, (x, y) = known(), photos()
    net[0].requires_grad_(False)
    watch(net)
    seen = at_once(Probe(net, ["conv"], (x, y))).embedding
    assert seen is not None
    assert (seen.layer, seen.learns) == ("dense", True)
    with torch.no_grad():
        np.testing.assert_allclose(seen.features, net(x).numpy(), rtol=1e-6)
    still = at_once(Probe(net, ["conv"], (x, y), embed="pool")).embedding
    assert still is not None
    assert (still.layer, still.learns) == ("pool", False)
    net[4].requires_grad_(False)  # nothing learns at all
    watch(net)
    frozen = at_once(Probe(net, ["conv"], (x, y))).embedding
    assert frozen is not None
    assert (frozen.layer, frozen.learns) == ("pool", False)


def test_a_snapshot_of_an_older_probe_has_a_pca_and_no_histogram_of_weights() -> None:
    tensors, facts = stored(at_once(Probe(known(), ["conv"], photos(), embedding="pca")))
    for new in ("method", "facts", "learns"):
        del facts["embedding"][new]
    back = restored({name: v for name, v in tensors.items() if not name.startswith("weights/")}, facts)
    assert back.embedding is not None
    assert (back.embedding.method, back.embedding.learns) == ("pca", True)
    assert len(back.layers[0].weight_counts) == 0
