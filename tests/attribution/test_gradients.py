"""Gradient, saliency, input x gradient, guided backprop and its saliency against closed forms and slow replicas."""

import inspect
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import (
    gradient,
    guided_backprop,
    guided_saliency,
    input_x_gradient,
    reduce_channels,
    saliency,
)
from convscope.errors import ConvscopeError
from tests import nets, oracles
from tests.attribution.rule_replica import signal_at_input
from tests.untouched import Untouched

EXACT = {"rtol": 0, "atol": 1e-12}
ALL = (gradient, saliency, input_x_gradient, guided_backprop, guided_saliency)
SEQUENTIAL = (nets.plain, nets.inplace_relu, nets.overlapping_pool, nets.strided, nets.gap_linear, nets.conv_relu_gap)


@nets.hard_net
def one_linear_layer() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, nets.CLASSES))


class _WordsThenImage(nn.Module):
    """A question in integer tokens first, the image second, as in visual question answering."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 8)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.linear = nn.Linear(8, nets.CLASSES)

    def forward(self, words: Tensor, image: Tensor) -> Tensor:
        gates = self.words(words).mean(1)[:, :, None, None]
        return self.linear((self.conv(image).relu() * gates).mean((2, 3)))


@nets.hard_net
def words_then_image() -> nn.Module:
    return _WordsThenImage()


def autograd(score: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Torch's own gradient of the sum of scores."""
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(score(x).sum(), x)[0]


# ---- the gradient ----


@pytest.mark.parametrize("target", range(nets.CLASSES))
def test_gradient_of_a_linear_net_is_its_weights(target: int) -> None:
    """Closed form: d(W x + b)_k / dx = W_k, whatever x is; the saliency is max_c |W_kc|."""
    net, x = one_linear_layer(), nets.images(2, h=6, w=6)
    weights = net[1].weight.detach()[target].reshape(3, 6, 6)
    for image in range(2):
        assert torch.equal(gradient(net, x, target=target)[image], weights)
        assert torch.equal(saliency(net, x, target=target)[image], weights.abs().max(0).values)
        assert torch.equal(input_x_gradient(net, x, target=target)[image], x[image] * weights)


def test_gradient_through_linear_pooling_is_the_response_to_unit_images() -> None:
    """Closed form: the k-th weight of a linear function is its value on the k-th unit image."""
    net = nets.linear_only()
    units = torch.eye(3 * 8 * 8, dtype=torch.float64).reshape(-1, 3, 8, 8)
    with torch.no_grad():
        weights = (net(units) - net(torch.zeros_like(units)))[:, 2].reshape(1, 3, 8, 8)
    assert torch.allclose(gradient(net, nets.images(1, h=8, w=8), target=2), weights, **EXACT)


@pytest.mark.parametrize(
    "factory", [nets.plain, nets.overlapping_pool, nets.strided, nets.residual, nets.skip, nets.hardswish_mix]
)
def test_gradient_is_the_slope_of_central_differences(factory: Callable[..., nn.Module]) -> None:
    net, x = factory(), nets.images(h=8, w=9)
    slopes = oracles.central_differences(lambda x: net(x)[:, 2], x)
    assert torch.allclose(gradient(net, x, target=2), slopes, rtol=0, atol=1e-8)


@pytest.mark.parametrize("factory", SEQUENTIAL)
def test_gradient_is_the_backward_pass_by_hand(factory: Callable[..., nn.Sequential]) -> None:
    net, x = factory(), nets.images(h=11, w=13)
    assert torch.allclose(gradient(net, x, target=3), oracles.gradient(net, x, 3), **EXACT)


def test_saliency_takes_the_largest_magnitude_and_not_the_largest_value() -> None:
    """Simonyan et al. 2013, section 3.1: M_ij = max_c |w_ijc|; the trap is the signed maximum."""
    net, x = nets.plain(), nets.images()
    slopes = oracles.gradient(net, x, 1)
    found = saliency(net, x, target=1)
    assert torch.allclose(found, slopes.abs().max(1).values, **EXACT)
    assert not torch.allclose(found, slopes.max(1).values)
    guided = oracles.guided_backprop(net, x, 1)
    assert torch.allclose(guided_saliency(net, x, target=1), guided.abs().max(1).values, **EXACT)


def test_input_x_gradient_sums_to_the_logit_of_a_net_without_biases() -> None:
    """Closed form (Euler): a ReLU net without biases is homogeneous, so sum(x * dS/dx) = S."""
    net, x = nets.gap_linear(bias=False), nets.images()
    assert torch.allclose(input_x_gradient(net, x, target=4).sum((1, 2, 3)), net(x)[:, 4].detach(), **EXACT)


# ---- what is explained ----


def test_the_asked_class_is_explained_and_not_the_predicted_one() -> None:
    net, x = nets.plain(), nets.images(4)
    predicted = net(x).argmax(1).tolist()
    for target in range(nets.CLASSES):
        assert torch.allclose(gradient(net, x, target=target), autograd(lambda x, t=target: net(x)[:, t], x), **EXACT)
    other = (predicted[0] + 1) % nets.CLASSES
    assert not torch.allclose(gradient(net, x[:1], target=other), gradient(net, x[:1]))
    top = torch.cat([gradient(net, x[i : i + 1], target=k) for i, k in enumerate(predicted)])
    assert torch.allclose(gradient(net, x), top, **EXACT)


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("one_each", [[1, 4], torch.tensor([1, 4]), ("1", 4), ["conv2:1", 4]])
def test_one_target_each_is_each_image_with_its_own(method: Callable[..., Tensor], one_each: Any) -> None:
    net, x = nets.plain(), nets.images(2)
    own = one_each.tolist() if isinstance(one_each, Tensor) else one_each
    single = torch.cat([method(net, x[i : i + 1], target=own[i]) for i in range(2)])
    assert torch.allclose(method(net, x, target=one_each), single, **EXACT)


@pytest.mark.parametrize("target", ["3", torch.tensor(3), [3, 3], torch.tensor([3, 3])])
def test_a_class_may_be_written_in_several_ways(target: Any) -> None:
    net, x = nets.plain(), nets.images(2)
    assert torch.equal(gradient(net, x, target=target), gradient(net, x, target=3))


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize(
    ("target", "says"),
    [
        (5, "class 5 .* 5 classes"),
        (-1, "class -1 .* 5 classes"),
        ([1, 2, 3], "3 targets for 2 images"),
        ([1], "1 targets for 2 images"),
        (torch.tensor([0, 7]), "class 7"),
        ("conv2:99", "unit 99 .* 8 units"),
        ("conv2:1@6,0", "position 6,0 .* 6 x 6"),
        ("convv2:1", "did you mean 'conv2'"),
        ("tabby", "neither a number nor a unit"),
        (lambda out: out, r"must turn the output into \(b,\) scores"),
    ],
)
def test_a_target_that_is_none_is_refused(method: Callable[..., Tensor], target: Any, says: str) -> None:
    with pytest.raises(ConvscopeError, match=says):
        method(nets.plain(), nets.images(2), target=target)


@pytest.mark.parametrize("score", ["probabilty", "softmax", ""])
def test_a_score_that_is_none_is_refused(score: str) -> None:
    with pytest.raises(ConvscopeError, match="neither 'logit' nor 'probability'"):
        gradient(nets.plain(), nets.images(), score=score)


def _before(net: nn.Module, name: str) -> nn.Sequential:
    """The layers of a sequential net up to ``name``."""
    names = [n for n, _ in net.named_children()]
    return nn.Sequential(*list(net)[: names.index(name) + 1])


@pytest.mark.parametrize("layer", ["conv1", "relu1", "pool1", "conv2", "relu2"])
def test_a_unit_is_the_mean_of_its_map_and_a_neuron_one_value(layer: str) -> None:
    """Oracle: torch's gradient of the chopped net."""
    net, x = nets.plain(), nets.images()
    part = _before(net, layer)
    of_unit = autograd(lambda x: part(x)[:, 3].mean((1, 2)), x)
    of_neuron = autograd(lambda x: part(x)[:, 3, 2, 4], x)
    assert torch.allclose(gradient(net, x, target=f"{layer}:3"), of_unit, **EXACT)
    assert torch.allclose(gradient(net, x, target=f"{layer}:3@2,4"), of_neuron, **EXACT)


def test_a_unit_of_a_linear_layer_is_its_value() -> None:
    net, x = nets.plain(), nets.images()
    part = _before(net, "linear1")
    assert torch.allclose(gradient(net, x, target="linear1:7"), autograd(lambda x: part(x)[:, 7], x), **EXACT)


def test_the_second_call_of_a_reused_layer_is_a_target_of_its_own() -> None:
    """Oracle: the same function with a module for each call."""
    net, x = nets.reused_inplace_relu(), nets.images()
    for number in (1, 2):
        expected = guided_backprop(nets.plain(), x, target=f"relu{number}:2")
        assert torch.equal(guided_backprop(net, x, target=f"rectify#{number}:2"), expected)
    with pytest.raises(ConvscopeError, match="did you mean 'rectify'"):
        guided_backprop(net, x, target="rectif:2")


def test_a_callable_target_is_a_function_of_the_output() -> None:
    """Linearity: the gradient of a contrast of classes is the difference of their gradients."""
    net, x = nets.plain(), nets.images()
    contrast = gradient(net, x, target=lambda out: out[:, 1] - out[:, 2])
    assert torch.allclose(contrast, gradient(net, x, target=1) - gradient(net, x, target=2), **EXACT)


def test_a_callable_target_reads_any_output() -> None:
    net, x = nets.dict_output(), nets.images()
    expected = autograd(lambda x: net(x)["logits"][:, 1], x)
    assert torch.allclose(gradient(net, x, target=lambda out: out["logits"][:, 1]), expected, **EXACT)
    reference, count = signal_at_input(net, x, lambda out: out["logits"][:, 1], "guided")
    assert count == 2
    assert torch.allclose(guided_backprop(net, x, target=lambda out: out["logits"][:, 1]), reference, **EXACT)
    with pytest.raises(ConvscopeError, match="give a callable target"):
        gradient(net, x, target=1)


def test_a_probability_has_the_gradient_of_a_softmax() -> None:
    """Closed form: dp_k/dx = p_k (dz_k/dx - sum_j p_j dz_j/dx)."""
    net, x = nets.plain(), nets.images()
    p = net(x).detach().softmax(1)[:, :, None, None, None]
    each = torch.stack([oracles.gradient(net, x, k) for k in range(nets.CLASSES)], 1)
    expected = p[:, 2] * (each[:, 2] - (p * each).sum(1))
    assert torch.allclose(gradient(net, x, target=2, score="probability"), expected, **EXACT)
    assert torch.allclose(saliency(net, x, target=2, score="probability"), expected.abs().amax(1), **EXACT)
    assert torch.allclose(input_x_gradient(net, x, target=2, score="probability"), x * expected, **EXACT)


def test_a_probability_seeds_guided_backprop_with_the_slopes_of_the_softmax() -> None:
    """Paper replica: the walk by hand starts with p_k (1[j = k] - p_j) on the logits."""
    net, x = nets.plain(), nets.images()
    p = net(x).detach().softmax(1)
    seed = p[:, 2:3] * (oracles.one_hot(p, 2) - p)
    expected = oracles.backward_by_hand(net, x, seed, rule="guided")
    assert torch.allclose(guided_backprop(net, x, target=2, score="probability"), expected, **EXACT)
    found = guided_saliency(net, x, target=2, score="probability")
    assert torch.allclose(found, expected.abs().amax(1), **EXACT)
    assert not torch.allclose(expected, oracles.guided_backprop(net, x, 2))


# ---- channels into one map ----


def _by_loop(values: Tensor, how: str) -> Tensor:
    def of(channels: list[float]) -> float:
        return {
            "max-abs": max(abs(v) for v in channels),
            "sum": sum(channels),
            "positive": sum(v for v in channels if v > 0),
            "negative": sum(-v for v in channels if v < 0),
        }[how]

    b, _, h, w = values.shape
    cells = [of(values[n, :, y, x].tolist()) for n in range(b) for y in range(h) for x in range(w)]
    return torch.tensor(cells, dtype=values.dtype).reshape(b, h, w)


@pytest.mark.parametrize("how", ["max-abs", "sum", "positive", "negative"])
def test_reductions_are_a_slow_loop(how: Any) -> None:
    net, x = nets.plain(), nets.images(h=8, w=9)
    slopes = oracles.gradient(net, x, 0)
    assert torch.allclose(reduce_channels(slopes, how), _by_loop(slopes, how), **EXACT)
    assert torch.allclose(gradient(net, x, target=0, reduce=how), _by_loop(slopes, how), **EXACT)
    assert torch.allclose(input_x_gradient(net, x, target=0, reduce=how), _by_loop(x * slopes, how), **EXACT)
    guided = oracles.guided_backprop(net, x, 0)
    assert torch.allclose(guided_backprop(net, x, target=0, reduce=how), _by_loop(guided, how), **EXACT)


def test_positive_less_negative_is_the_sum() -> None:
    values = nets.images()
    parts = reduce_channels(values, "positive") - reduce_channels(values, "negative")
    assert torch.allclose(parts, reduce_channels(values, "sum"), **EXACT)
    assert (reduce_channels(values, "negative") >= 0).all()


def test_a_reduction_that_is_none_is_refused() -> None:
    unchecked = inspect.unwrap(reduce_channels)  # the type check of the tests would refuse it first
    with pytest.raises(ConvscopeError, match="reduce='mean' is none of 'max-abs', 'sum', 'positive', 'negative'"):
        unchecked(nets.images(), "mean")


# ---- any input ----


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("factory", [nets.plain, nets.residual, nets.overlapping_pool, nets.norm_dropout])
def test_a_batch_is_its_images_one_by_one(method: Callable[..., Tensor], factory: Callable[..., nn.Module]) -> None:
    net, x = factory(), nets.images(5)
    single = torch.cat([method(net, x[i : i + 1]) for i in range(5)])
    assert torch.allclose(method(net, x), single, **EXACT)


@pytest.mark.parametrize("factory", [nets.grey, nets.four_channel])
@pytest.mark.parametrize(("h", "w"), [(8, 8), (13, 9), (9, 30)])
def test_any_count_of_channels_and_any_size(factory: Callable[..., nn.Sequential], h: int, w: int) -> None:
    """Oracle: the walk by hand."""
    net = factory()
    x = nets.images(2, net.conv1.in_channels, h, w)
    assert torch.allclose(gradient(net, x, target=1), oracles.gradient(net, x, 1), **EXACT)
    assert torch.allclose(guided_backprop(net, x, target=1), oracles.guided_backprop(net, x, 1), **EXACT)
    assert saliency(net, x).shape == guided_saliency(net, x).shape == (2, h, w)


@pytest.mark.parametrize("method", [gradient, input_x_gradient, guided_backprop])
def test_one_of_two_inputs_is_explained(method: Callable[..., Tensor]) -> None:
    """Oracle: the same net with the other input held fixed inside; the sigmoid is on the words' side only."""
    net, image = nets.two_inputs(), nets.images()
    words = nets.images(2, 1, 1, 4).reshape(2, 4)

    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return net(x, words)

    expected = method(Fixed(), image, target=1)
    assert torch.equal(method(net, (image, words), target=1), expected)
    assert torch.equal(method(net, {"words": words, "image": image}, target=1, wrt="image"), expected)


@pytest.mark.parametrize("method", ALL)
def test_the_explained_input_may_come_second_and_the_first_be_integers(method: Callable[..., Tensor]) -> None:
    """Oracle: torch's gradient; for the guided ones, one ReLU whose signal is positive where its slope is."""
    net, image, words = words_then_image(), nets.images(), torch.tensor([[1, 2, 3], [0, 6, 6]])
    by_place = method(net, (words, image), wrt=1)
    assert torch.equal(method(net, {"words": words, "image": image}, wrt="image"), by_place)
    if method is gradient:
        expected = autograd(lambda x: net(words, x).amax(1), image)
        assert torch.allclose(by_place, expected, **EXACT)
    with pytest.raises(ConvscopeError, match=r"torch\.int64"):
        method(net, (words, image))
    with pytest.raises(ConvscopeError, match="no input 'picture'; the network is given 'words', 'image'"):
        method(net, {"words": words, "image": image}, wrt="picture")
    with pytest.raises(ConvscopeError, match="no input 2; the network is given"):
        method(net, (words, image), wrt=2)


def test_pixels_in_whole_numbers_are_refused() -> None:
    with pytest.raises(ConvscopeError, match=r"torch\.uint8; it must be a floating-point"):
        gradient(nets.plain(), torch.zeros(1, 3, 12, 12, dtype=torch.uint8))


# ---- any surroundings ----


@pytest.mark.parametrize("method", ALL)
def test_frozen_parameters_and_modes_around_do_not_stop_it(method: Callable[..., Tensor]) -> None:
    """Oracle: the same call on the net as it is, outside: the same bits."""
    net, x = nets.plain(), nets.images()
    expected = method(net, x)
    assert torch.equal(method(nets.frozen(), x), expected)
    assert torch.equal(method(net, nets.images().requires_grad_()), expected)
    with torch.no_grad():
        assert torch.equal(method(net, x), expected)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():  # x is made inside: an inference tensor
        assert torch.equal(method(net, nets.images()), expected)
        assert torch.is_inference_mode_enabled()


@pytest.mark.parametrize("method", ALL)
def test_train_mode_neither_mixes_the_batch_nor_drops_units(method: Callable[..., Tensor]) -> None:
    """Oracle: the net in evaluation mode, bit for bit; and an image is explained as without its neighbours."""
    x = nets.images(3)
    found = method(nets.norm_dropout(train=True), x)
    assert torch.equal(found, method(nets.norm_dropout(), x))
    others = torch.cat([x[:1], 100 * x[1:]])
    assert torch.allclose(method(nets.norm_dropout(train=True), others)[0], found[0], **EXACT)


def test_a_frozen_batch_norm_in_a_net_that_trains_stays_as_it_was(untouched: Untouched) -> None:
    """Oracle: the autouse fixture: each module's own flag comes back, not one for all."""
    net = nets.norm_dropout(train=True)
    net.get_submodule("norm1").eval()
    untouched.watch(net)
    gradient(net, nets.images())
    untouched.check()
    assert net.training
    assert not net.get_submodule("norm1").training


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize(("dtype", "share"), [(torch.float16, 5e-3), (torch.bfloat16, 5e-2)])
def test_half_precision_is_near_single_and_comes_back_as_single(
    method: Callable[..., Tensor], dtype: torch.dtype, share: float
) -> None:
    x = nets.images(dtype=torch.float32)
    exact = method(nets.plain(dtype=torch.float32), x, target=1)
    assert exact.dtype == torch.float32
    for found in (method(nets.plain(dtype=dtype), x.to(dtype), target=1), _in_autocast(method, x, dtype)):
        assert found.dtype == torch.float32
        assert (found - exact).abs().max() <= share * exact.abs().max()
        assert found.any()


def _in_autocast(method: Callable[..., Tensor], x: Tensor, dtype: torch.dtype) -> Tensor:
    with torch.autocast("cpu", dtype=dtype):
        return method(nets.plain(dtype=torch.float32), x, target=1)


@pytest.mark.parametrize("method", ALL)
def test_a_net_without_a_graph_is_refused(method: Callable[..., Tensor]) -> None:
    with pytest.raises(ConvscopeError, match=r"turns gradients off|runs without gradients"):
        method(nets.no_grad(), nets.images())


@pytest.mark.parametrize("method", ALL)
def test_a_score_that_no_pixel_changes_is_refused(method: Callable[..., Tensor]) -> None:
    net = nets.plain()
    with pytest.raises(ConvscopeError, match=r"does not depend on the input|no graph was recorded"):
        method(net, nets.images(), target=lambda out: net.get_parameter("linear2.bias")[:2] * 1)


# ---- guided backprop ----


@pytest.mark.parametrize("factory", [*SEQUENTIAL, nets.pool_conv, nets.norm_dropout, nets.mlp])
@pytest.mark.parametrize("target", [0, 3])
def test_guided_backprop_is_the_rule_by_hand(factory: Callable[..., nn.Sequential], target: int) -> None:
    """Paper replica, Springenberg et al. 2014: R_in = R_out * 1[x > 0] * 1[R_out > 0]."""
    net, x = factory(), nets.images()
    assert torch.allclose(guided_backprop(net, x, target=target), oracles.guided_backprop(net, x, target), **EXACT)


@pytest.mark.parametrize("layer", ["conv1", "conv2", "relu2", "linear1"])
def test_guided_backprop_of_a_unit_starts_with_its_mean(layer: str) -> None:
    net, x = nets.plain(), nets.images()
    acts = _before(net, layer)(x).detach()
    seed = torch.zeros_like(acts)
    seed[:, 2] = 1 / acts[0, 0].numel()
    expected = oracles.backward_by_hand(net, x, seed, rule="guided", layer=layer)
    assert torch.allclose(guided_backprop(net, x, target=f"{layer}:2"), expected, **EXACT)


@pytest.mark.parametrize("factory", nets.SAME_WEIGHTS)
@pytest.mark.parametrize("method", ALL)
def test_every_way_to_write_a_relu_gives_the_same_map(
    method: Callable[..., Tensor], factory: Callable[..., nn.Module]
) -> None:
    """Invariant, to the last bit; and the guided maps are not the gradient, as a missed ReLU would make them."""
    x = nets.images()
    assert torch.equal(method(factory(), x, target=1), method(nets.plain(), x, target=1))
    assert not torch.allclose(guided_backprop(factory(), x, target=1), gradient(factory(), x, target=1))


@pytest.mark.parametrize("name", nets.RECTIFIERS)
def test_every_rectifier_is_guided(name: str) -> None:
    """Oracle: hand-written backward passes in the rectifiers' places; an upper bound blocks as well."""
    net, x = nets.rectified_by(name), 3 * nets.images()
    expected, count = signal_at_input(net, x, lambda out: out[:, 1], "guided")
    assert count == 3
    assert torch.allclose(guided_backprop(net, x, target=1), expected, **EXACT)


@pytest.mark.parametrize("factory", [nets.skip, nets.residual, nets.shared_conv])
def test_branches_around_a_rectifier_are_left_alone(factory: Callable[..., nn.Module]) -> None:
    """Oracle: hand-written backward passes; on ``h + relu(h)`` a module hook would gate the skip path, too."""
    net, x = factory(), nets.images()
    expected, count = signal_at_input(net, x, lambda out: out[:, 1], "guided")
    assert count >= 2
    assert torch.allclose(guided_backprop(net, x, target=1), expected, **EXACT)
    assert not torch.allclose(expected, gradient(net, x, target=1))


def test_activation_checkpoints_that_keep_the_graph_are_guided_through() -> None:
    net, x = nets.checkpointed(reentrant=False), nets.images()
    expected, _ = signal_at_input(net, x, lambda out: out[:, 1], "guided")
    assert torch.allclose(guided_backprop(net, x, target=1), expected, **EXACT)


@pytest.mark.parametrize("method", [guided_backprop, guided_saliency])
@pytest.mark.parametrize(
    ("factory", "says"),
    [
        (nets.view_write, "CopySlices"),
        (nets.custom_function, "_OwnReLU"),
        (nets.checkpointed, "CheckpointFunction"),
        (nets.gelu_only, "no rectifier .* 2 x Gelu"),
        (nets.hardswish_mix, "1 rectifiers, but also 1 x Hardswish"),
        (nets.clipped, "3 rectifiers, but also 1 x Hardtanh"),
    ],
)
def test_what_the_rule_would_miss_is_named(
    method: Callable[..., Tensor], factory: Callable[..., nn.Module], says: str
) -> None:
    with pytest.raises(ConvscopeError, match=says):
        method(factory(), nets.images())


@pytest.mark.parametrize("factory", [nets.hardswish_mix, nets.clipped])
def test_partial_leaves_other_nonlinearities_plain(factory: Callable[..., nn.Module]) -> None:
    """Oracle: hand-written backward passes in the places of the rectifiers alone."""
    net, x = factory(), nets.images()
    expected, _ = signal_at_input(net, x, lambda out: out[:, 0], "guided")
    assert torch.allclose(guided_backprop(net, x, target=0, partial=True), expected, **EXACT)


def test_a_linear_path_has_nothing_to_guide() -> None:
    """Invariant: without nonlinearities the guided gradient is the gradient."""
    net, x = nets.linear_only(), nets.images()
    assert torch.equal(guided_backprop(net, x, target=0), gradient(net, x, target=0))
    first = nn.Sequential(OrderedDict(conv1=nets.plain().conv1))
    assert torch.equal(guided_backprop(nets.plain(), x, target="conv1:2"), gradient(first, x, target="conv1:2"))


def test_guided_backprop_on_a_users_own_resnet(resnet20: nn.Module) -> None:
    """ResNet-20 has functional ReLUs only; the trap is the plain gradient. Oracle: hand-written backward passes."""
    x = nets.images(2, h=32, w=32, dtype=torch.float32)
    found = guided_backprop(resnet20, x, target=3)
    expected, count = signal_at_input(resnet20, x, lambda out: out[:, 3], "guided")
    assert count == 19
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()
    plain = gradient(resnet20, x, target=3)
    assert (found - plain).abs().max() > 0.1 * plain.abs().max()
