"""Eigen-CAM against numpy's SVD, a power iteration, and what a first singular vector must be."""

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope.attribution import eigen_cam
from convscope.attribution.eigen_map import eigen_cam_map
from convscope.errors import ConvscopeError
from tests import nets, oracles
from tests.nets.heads import backbone

EXACT = {"rtol": 0, "atol": 1e-12}


def by_svd(acts: Tensor) -> Tensor:
    """Muhammad & Yeasin 2020: the projection on the first column of V, sign such that the mean is positive."""
    maps: list[Tensor] = []
    for one in acts.double().numpy():
        matrix = one.reshape(len(one), -1).T
        values = matrix @ np.linalg.svd(matrix, full_matrices=False)[2][0]
        maps.append(torch.from_numpy(values * np.sign(values.mean())).reshape(acts.shape[2:]))
    return torch.stack(maps)


def by_power_iteration(acts: Tensor) -> Tensor:
    maps: list[Tensor] = []
    for one in acts.double():
        matrix = one.flatten(1).T
        v = torch.linspace(1, 2, matrix.shape[1], dtype=torch.float64)
        for _ in range(4000):
            v = matrix.T @ (matrix @ v)
            v = v / v.norm()
        values = (matrix @ v).reshape(acts.shape[2:])
        maps.append(values if values.mean() > 0 else -values)
    return torch.stack(maps)


@pytest.mark.parametrize("layer", ["conv1", "relu1", "pool1", "conv2", "relu2", "squash"])
@pytest.mark.parametrize("oracle", [by_svd, by_power_iteration])
def test_it_is_the_first_right_singular_vectors_projection(layer: str, oracle) -> None:
    """More positions than channels (conv1), and fewer (squash: 4 and 8)."""
    net, x = nets.plain(), nets.images(3)
    acts = oracles.forward_by_hand(net, x)[[n for n, _ in net.named_children()].index(layer) + 1]
    found = eigen_cam(net, x, layer=layer)
    assert torch.allclose(found, oracle(acts), rtol=0, atol=1e-9)
    assert (found.mean((1, 2)) > 0).all()
    assert torch.equal(found, eigen_cam_map(acts))


@pytest.mark.parametrize(("c", "h", "w"), [(30, 3, 4), (4, 9, 7), (12, 4, 3), (1, 5, 5), (7, 1, 1)])
def test_whichever_side_is_smaller(c: int, h: int, w: int) -> None:
    for acts in (nets.images(2, c, h, w) + 0.3, nets.images(2, c, h, w).relu()):
        assert torch.allclose(eigen_cam_map(acts), by_svd(acts), rtol=0, atol=1e-9)


def test_it_is_not_centred() -> None:
    """Closed form: equal channels are one map times sqrt(c), its constant part included."""
    one = nets.images(1, 1, 4, 5).abs() + 10
    assert torch.allclose(eigen_cam_map(one.expand(1, 9, 4, 5)), 3 * one[:, 0], **EXACT)


def test_rectified_activations_give_no_negative_value_and_a_negated_layer_the_same_map() -> None:
    acts = nets.images(8, 12, 6, 6).relu()
    acts[:, :6, :3], acts[:, 6:, 3:] = 0, 0  # two groups of channels that never meet
    found = eigen_cam_map(acts)
    assert (found >= 0).all()
    assert torch.allclose(found.abs(), by_svd(acts).abs(), rtol=0, atol=1e-9)
    assert torch.allclose(eigen_cam_map(-acts), found, rtol=0, atol=1e-9)


def test_rounding_leaves_no_negative_value_where_two_groups_of_channels_are_equally_strong() -> None:
    """Closed form: by Perron and Frobenius a first vector of rectified activations has one sign, to the last bit."""
    for seed in range(20):
        part, acts = nets.images(1, 6, 3, 6, seed=seed).relu(), torch.zeros(1, 12, 6, 6, dtype=torch.float64)
        acts[:, :6, :3] = acts[:, 6:, 3:] = part
        order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
        assert (eigen_cam_map(acts[:, order]) >= 0).all()


def test_permuting_the_channels_changes_nothing() -> None:
    for acts in (nets.images(2, 6, 3, 5), nets.images(2, 20, 3, 2).relu()):
        order = torch.randperm(acts.shape[1], generator=torch.Generator().manual_seed(1))
        assert torch.allclose(eigen_cam_map(acts[:, order]), eigen_cam_map(acts), rtol=0, atol=1e-9)


def test_it_scales_with_the_activations() -> None:
    """Closed form: A -> s A; squares of very small and very large values neither vanish nor overflow."""
    acts = nets.images(2, 6, 3, 5)
    for s in (1e-200, 1e200):
        assert torch.allclose(eigen_cam_map(s * acts) / s, eigen_cam_map(acts), rtol=0, atol=1e-9)
    single = eigen_cam_map(1e30 * acts.float())
    assert single.dtype == torch.float32
    assert torch.allclose(single.double() / 1e30, eigen_cam_map(acts), rtol=0, atol=1e-5)


def test_equal_singular_values_give_one_of_the_maps_and_the_same_again() -> None:
    """Closed form: two channels that never meet, of one length: any mixture is a first vector; its length is 1."""
    acts = torch.zeros(1, 2, 2, 2, dtype=torch.float64)
    acts[0, 0, 0, 0] = acts[0, 1, 1, 1] = 2.0
    found = eigen_cam_map(acts)
    assert torch.equal(found, eigen_cam_map(acts))
    assert torch.allclose(found.square().sum(), torch.tensor(4.0, dtype=torch.float64), **EXACT)
    assert (found >= 0).all()


def test_zero_flat_and_not_finite_maps() -> None:
    acts = nets.images(3, 6, 3, 5)
    whole = eigen_cam_map(acts)
    acts[1] = 0
    acts[2, 1, 0, 0] = torch.nan
    found = eigen_cam_map(acts)
    assert torch.equal(found[0], whole[0])
    assert not found[1].any()
    assert found[2].isnan().all()
    flat = torch.full((1, 4, 3, 3), -2.0, dtype=torch.float64)
    assert torch.allclose(eigen_cam_map(flat), torch.full((1, 3, 3), 4.0, dtype=torch.float64), **EXACT)


def test_the_map_does_not_depend_on_the_target_which_is_checked_all_the_same() -> None:
    net, x = nets.plain(), nets.images()
    for target in (0, 3, [1, 4], "conv2:3", lambda out: out.sum(1)):
        assert torch.equal(eigen_cam(net, x, target=target), eigen_cam(net, x))
    with pytest.raises(ConvscopeError, match=r"class 5 .* 5 classes"):
        eigen_cam(net, x, target=5)


def test_a_network_without_a_head_will_do() -> None:
    """Oracle: numpy's SVD of what the network returns."""
    net, x = backbone(), nets.images()
    assert torch.allclose(eigen_cam(net, x), by_svd(net(x).detach()), rtol=0, atol=1e-9)
