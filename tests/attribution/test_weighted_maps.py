"""XGrad-CAM, LayerCAM and HiResCAM against slow paper replicas in loops, their axioms, and closed forms."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import cam, grad_cam, hires_cam, layer_cam, xgrad_cam
from convscope.attribution.activation_maps import grad_cam_map
from convscope.attribution.plus_plus_map import grad_cam_pp_map
from convscope.attribution.weighted_maps import hires_cam_map, layer_cam_map, xgrad_cam_map
from tests import nets, oracles
from tests.untouched import Untouched

EXACT = {"rtol": 0, "atol": 1e-12}
LAYERS = ["conv1", "relu1", "pool1", "conv2", "relu2"]


# ---- the papers in loops ----


def slow_xgrad_cam(acts: Tensor, grads: Tensor) -> Tensor:
    """Fu et al. 2020: w_k = sum over the map of (A / sum of A) g; a map of sum 0 takes no part."""
    b, c, h, w = acts.shape
    heat = torch.zeros(b, h, w, dtype=acts.dtype)
    for n in range(b):
        for k in range(c):
            total, weight = acts[n, k].sum().item(), 0.0
            for i in range(h if total else 0):
                for j in range(w):
                    weight += acts[n, k, i, j].item() / total * grads[n, k, i, j].item()
            heat[n] += weight * acts[n, k]
    return heat


def slow_layer_cam(acts: Tensor, grads: Tensor) -> Tensor:
    """Jiang et al. 2021: every cell weighs itself, by its gradient where that is positive."""
    return _cell_by_cell(acts, grads, lambda g: max(g, 0.0))


def slow_hires_cam(acts: Tensor, grads: Tensor) -> Tensor:
    """Draelos & Carin 2020: every cell weighs itself, by its gradient."""
    return _cell_by_cell(acts, grads, lambda g: g)


def _cell_by_cell(acts: Tensor, grads: Tensor, weigh: Callable[[float], float]) -> Tensor:
    b, c, h, w = acts.shape
    heat = torch.zeros(b, h, w, dtype=acts.dtype)
    for n in range(b):
        for i in range(h):
            for j in range(w):
                heat[n, i, j] = sum(acts[n, k, i, j].item() * weigh(grads[n, k, i, j].item()) for k in range(c))
    return heat


METHODS = [
    (xgrad_cam, xgrad_cam_map, slow_xgrad_cam),
    (layer_cam, layer_cam_map, slow_layer_cam),
    (hires_cam, hires_cam_map, slow_hires_cam),
]
METHOD = pytest.mark.parametrize(("method", "formula", "slow"), METHODS, ids=lambda m: getattr(m, "__name__", None))
MAP = pytest.mark.parametrize("formula", [grad_cam_map, xgrad_cam_map, layer_cam_map, hires_cam_map, grad_cam_pp_map])


@METHOD
@pytest.mark.parametrize("factory", [nets.plain, nets.inplace_relu, nets.overlapping_pool])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_method_is_the_paper_replica(method, formula, slow, factory: Callable[..., nn.Sequential], layer) -> None:
    """On activations and gradients by hand; layers before a ReLU too."""
    net, x = factory(), nets.images()
    for target in (0, 3):
        acts, grads = oracles.gradient_at(net, x, target, layer)
        expected = slow(acts, grads)
        tolerance = {"rtol": 1e-10, "atol": 1e-12}  # a sum of A near 0 makes XGrad-CAM's values large
        assert torch.allclose(method(net, x, target=target, layer=layer, relu=False), expected, **tolerance)
        assert torch.allclose(method(net, x, target=target, layer=layer), expected.clamp(min=0), **tolerance)


@METHOD
def test_a_formula_is_its_slow_loop_on_any_tensors(method, formula, slow) -> None:
    acts, grads = nets.images(2, 4, 3, 5, seed=1), nets.images(2, 4, 3, 5, seed=2)
    acts[0, 1], acts[1, 2] = 0.0, 3.0  # a dead channel, a flat one
    acts[1, 3] = torch.arange(15).reshape(3, 5) - 7.0  # of sum 0, and not zero
    assert torch.allclose(formula(acts, grads), slow(acts, grads), rtol=1e-10, atol=1e-12)


@METHOD
def test_layers_of_any_size_on_images_of_any_size(method, formula, slow) -> None:
    net, x = nets.grey(), nets.images(2, 1, 13, 22)
    found = method(net, x, target=1, layer="relu1", relu=False)
    assert found.shape == (2, 13, 22)
    assert torch.allclose(found, slow(*oracles.gradient_at(net, x, 1, "relu1")), **EXACT)


@MAP
def test_permuting_the_channels_changes_nothing(formula: Callable[[Tensor, Tensor], Tensor]) -> None:
    acts, grads = nets.images(2, 6, 3, 5, seed=1).relu(), nets.images(2, 6, 3, 5, seed=2)
    order = [3, 0, 5, 1, 4, 2]
    assert torch.allclose(formula(acts[:, order], grads[:, order]), formula(acts, grads), **EXACT)


# ---- what each is known for ----


@pytest.mark.parametrize("method", [xgrad_cam, hires_cam])
@pytest.mark.parametrize("layer", LAYERS)
def test_without_biases_the_map_sums_to_the_score(method: Callable[..., Tensor], layer: str) -> None:
    """Closed form (conservation, Fu et al. 2020): a bias-free ReLU net is homogeneous, so sum g A = S."""
    net, x = nets.gap_linear(bias=False), nets.images(3)
    for target in range(nets.CLASSES):
        signed = method(net, x, target=target, layer=layer, relu=False)
        assert torch.allclose(signed.sum((1, 2)), net(x)[:, target].detach(), rtol=1e-9, atol=1e-12)
    others = grad_cam(net, x, target=1, layer="relu1", relu=False).sum((1, 2))
    assert not torch.allclose(others, net(x)[:, 1].detach())  # not so Grad-CAM


def test_below_a_mean_hires_cam_xgrad_cam_and_grad_cam_are_one_map_and_sum_to_the_logit() -> None:
    """Closed form: g is constant over the map, so each is CAM / (h w); with the bias their sum is the logit."""
    net, x = nets.gap_linear(), nets.images(3, h=17, w=10)
    for target in range(nets.CLASSES):
        expected = cam(net, x, target=target) / (8 * 5)
        for method in (hires_cam, xgrad_cam, grad_cam):
            found = method(net, x, target=target, relu=False)
            assert torch.allclose(found, expected, **EXACT)
            logit = found.sum((1, 2)) + net.linear.bias.detach()[target]
            assert torch.allclose(logit, net(x)[:, target].detach(), **EXACT)


def test_a_spatially_constant_gradient_makes_three_methods_one() -> None:
    """Invariant, on tensors: also for activations of both signs."""
    acts = nets.images(2, 6, 3, 5, seed=1)
    grads = nets.images(2, 6, 1, 1, seed=2).expand(2, 6, 3, 5)
    expected = grad_cam_map(acts, grads)
    for formula in (hires_cam_map, xgrad_cam_map):
        assert torch.allclose(formula(acts, grads), expected, rtol=1e-10, atol=1e-10)
    assert torch.allclose(layer_cam_map(acts, grads.abs()), grad_cam_map(acts, grads.abs()), **EXACT)


def test_layer_cam_leaves_the_evidence_against_out() -> None:
    """Closed form: it is HiResCAM of the gradient's positive part, and on rectified maps never below HiResCAM."""
    net, x = nets.plain(), nets.images()
    for layer in ("relu1", "pool1", "relu2"):
        found = layer_cam(net, x, target=2, layer=layer)
        assert (found >= hires_cam(net, x, target=2, layer=layer) - 1e-12).all()
        assert torch.equal(found, layer_cam(net, x, target=2, layer=layer, relu=False))
    acts, grads = nets.images(2, 4, 3, 5, seed=1), nets.images(2, 4, 3, 5, seed=2)
    assert torch.allclose(layer_cam_map(acts, grads), hires_cam_map(acts, grads.relu()), **EXACT)


def test_a_dead_channel_takes_no_part_in_xgrad_cam(untouched: Untouched) -> None:
    """Invariant: as if the channel were not there; nothing is divided by its sum of 0."""
    net, x = nets.gap_linear(), nets.images()
    with torch.no_grad():
        net.conv1.bias[2] = -100.0
    untouched.watch(net)
    acts, grads = oracles.gradient_at(net, x, 1, "relu1")
    assert not acts[:, 2].any()
    keep = [0, 1, 3, 4, 5]
    found = xgrad_cam(net, x, target=1, layer="relu1", relu=False)
    assert torch.allclose(found, slow_xgrad_cam(acts[:, keep], grads[:, keep]), **EXACT)


def test_before_a_relu_xgrad_cam_keeps_its_definition_and_grows_with_the_cancellation() -> None:
    """Closed form: one channel (1, -1 + e), g = (1, 0): w = 1 / e; no epsilon caps it, and the sum stays g A = 1."""
    for e in (1e-3, 1e-9):
        acts = torch.tensor([1.0, -1.0 + e], dtype=torch.float64).reshape(1, 1, 1, 2)
        grads = torch.tensor([1.0, 0.0], dtype=torch.float64).reshape(1, 1, 1, 2)
        found = xgrad_cam_map(acts, grads)
        assert torch.allclose(found[0, 0, 0], torch.tensor(1 / e, dtype=torch.float64), rtol=1e-6, atol=0)
        assert abs(found.sum().item() - 1) < 1e-6
