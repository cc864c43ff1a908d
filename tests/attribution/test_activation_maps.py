"""CAM, Grad-CAM and guided Grad-CAM against closed forms, the chopped network and slow paper replicas."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from convscope.attribution import cam, grad_cam, guided_backprop, guided_grad_cam
from convscope.attribution.activation_maps import grad_cam_map, upsample, weighted_map
from convscope.errors import ConvscopeError
from convscope.network.picture_folders import find_images
from convscope.network.pictures import read_image
from convscope.network.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from tests import nets, oracles
from tests.attribution.test_gradients import words_then_image
from tests.untouched import Untouched

EXACT = {"rtol": 0, "atol": 1e-12}


def _acts(net: nn.Sequential, x: Tensor, layer: str) -> Tensor:
    return oracles.forward_by_hand(net, x)[[n for n, _ in net.named_children()].index(layer) + 1]


def _weights(net: nn.Module) -> tuple[Tensor, Tensor]:
    head = net.get_submodule("linear" if hasattr(net, "linear") else "classifier")
    return head.weight.detach().flatten(1), head.bias.detach()


# ---- CAM ----

HEADS = [(nets.gap_linear, "relu2", False), (nets.pool_conv, "relu2", False), (nets.conv_relu_gap, "relu2", True)]


@pytest.mark.parametrize(("factory", "layer", "rectified"), HEADS)
@pytest.mark.parametrize("target", range(nets.CLASSES))
def test_cam_is_the_weighted_sum_of_maps(
    factory: Callable[..., nn.Sequential], layer: str, rectified: bool, target: int
) -> None:
    """Paper replica, eq. 2 of Zhou et al. 2016, in a loop over channels."""
    net, x = factory(), nets.images()
    expected = oracles.cam(_acts(net, x, layer), _weights(net)[0][target])
    assert torch.allclose(cam(net, x, target=target), expected, **EXACT)
    assert torch.allclose(cam(net, x, target=target, layer=layer), expected, **EXACT)


@pytest.mark.parametrize(("factory", "layer", "rectified"), HEADS)
def test_the_mean_of_cam_is_the_logit(factory: Callable[..., nn.Sequential], layer: str, rectified: bool) -> None:
    """Closed form: mean(CAM) + b = logit, or mean(relu(CAM + b)) = logit where the head rectifies."""
    net, x = factory(), nets.images(3, h=17, w=10)
    for target in range(nets.CLASSES):
        values = cam(net, x, target=target) + _weights(net)[1][target]
        means = (values.relu() if rectified else values).mean((1, 2))
        assert torch.allclose(means, net(x)[:, target].detach(), **EXACT)


@pytest.mark.parametrize(("factory", "layer", "rectified"), HEADS)
def test_cam_is_the_head_at_every_position(factory: Callable[..., nn.Sequential], layer: str, rectified: bool) -> None:
    """The chopped network: its head, on each single cell of the map, gives CAM + b."""
    net, x = factory(), nets.images()
    names = [name for name, _ in net.named_children()]
    head, acts = net[names.index(layer) + 1 :], _acts(net, x, layer)
    for target in range(nets.CLASSES):
        values = cam(net, x, target=target) + _weights(net)[1][target]
        values = values.relu() if rectified else values
        for i in range(acts.shape[2]):
            for j in range(acts.shape[3]):
                cell = head(acts[:, :, i : i + 1, j : j + 1].clone())[:, target]
                assert torch.allclose(values[:, i, j], cell.detach(), **EXACT)


class _Relu(nn.Module):
    """DenseNet's end: the rectifier between the last layer and the mean is called in the forward."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 3)
        self.classifier = nn.Linear(6, nets.CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.relu(self.features(x), inplace=True).mean((2, 3)))


@nets.hard_net
def rectified_in_the_forward() -> nn.Module:
    return _Relu()


def test_cam_goes_through_a_rectifier_between_layer_and_mean() -> None:
    """Closed form: mean(CAM) + b = logit, with the maps as the mean sees them."""
    net, x = rectified_in_the_forward(), nets.images()
    assert (net.features(x) < 0).any()
    expected = oracles.cam(net.features(x).detach().relu(), net.classifier.weight.detach()[2])
    assert torch.allclose(cam(net, x, target=2), expected, **EXACT)
    logits = cam(net, x, target=2).mean((1, 2)) + net.classifier.bias.detach()[2]
    assert torch.allclose(logits, net(x).detach()[:, 2], **EXACT)
    assert torch.allclose(cam(nets.gap_linear(), x, layer="conv2"), cam(nets.gap_linear(), x), **EXACT)


def test_cam_of_no_target_is_that_of_the_top_class_and_of_one_each_each_ones() -> None:
    net, x = nets.gap_linear(), nets.images(3)
    top = net(x).argmax(1).tolist()
    assert torch.equal(cam(net, x), cam(net, x, target=top))
    single = torch.cat([cam(net, x[i : i + 1], target=t) for i, t in enumerate((4, 0, 2))])
    assert torch.allclose(cam(net, x, target=[4, 0, 2]), single, **EXACT)
    assert torch.equal(cam(net, x, target=torch.tensor([4, 0, 2])), cam(net, x, target=["4", 0, 2]))


@pytest.mark.parametrize(
    ("factory", "layer"),
    [
        (nets.plain, "pool2"),
        (nets.plain, None),
        (nets.gap_linear, "pool1"),
        (nets.gap_linear, "conv1"),
        (nets.overlapping_pool, "relu2"),
        (nets.residual, "conv1"),
    ],
)
def test_cam_without_its_head_is_refused_and_names_grad_cam(
    factory: Callable[..., nn.Module], layer: str | None
) -> None:
    """VGG's kind of head, a layer too early, a layer before a max-pooling."""
    with pytest.raises(ConvscopeError, match=r"CAM needs a head that .*Grad-CAM explains any head"):
        cam(factory(), nets.images(), layer=layer)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"target": 5}, "class 5 .* 5 classes"),
        ({"target": [1]}, "1 targets for 2 images"),
        ({"target": "conv2:1"}, "explains classes, not the unit conv2:1"),
        ({"target": lambda out: out[:, 0]}, "explains classes, not a callable"),
        ({"layer": "relu3"}, "no layer 'relu3' .*did you mean 'relu2'"),
        ({"layer": "flatten"}, r"gives \(2, 8\), not maps"),
    ],
)
def test_what_cam_does_not_explain_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConvscopeError, match=says):
        cam(nets.gap_linear(), nets.images(), **options)


def test_cam_on_squeezenet_gives_its_logits(squeezenet: nn.Module, shared: Path) -> None:
    """Closed form on real weights and photos: mean(relu(CAM + b)) = logit, for the top class and for another."""
    x = _photos(shared, 4)
    bias = squeezenet.classifier[1].bias.detach()
    logits = squeezenet(x).detach()
    for target in (logits.argmax(1), torch.tensor([207] * 4)):
        values = cam(squeezenet, x, target=target)
        assert values.shape == (4, 13, 13)
        means = (values + bias[target][:, None, None]).relu().mean((1, 2))
        expected = logits.gather(1, target[:, None])[:, 0]
        assert torch.allclose(means, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(cam(squeezenet, x), cam(squeezenet, x, layer="features.12"))


def _photos(shared: Path, count: int) -> Tensor:
    prepare = Preprocess(size=256, crop=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, interpolation="bilinear")
    photos = find_images(shared / "data" / "imagenet_photos")
    return torch.cat([prepare(read_image(photo)) for photo in photos[:: len(photos) // count][:count]])


# ---- Grad-CAM ----

LAYERS = ["conv1", "relu1", "pool1", "conv2", "relu2"]


@pytest.mark.parametrize("factory", [nets.plain, nets.inplace_relu, nets.overlapping_pool, nets.gap_linear])
@pytest.mark.parametrize("layer", LAYERS)
def test_grad_cam_is_the_paper_replica(factory: Callable[..., nn.Sequential], layer: str) -> None:
    """Selvaraju et al. 2017, eqs. 1 and 2, in loops, on activations and gradients by hand."""
    net, x = factory(), nets.images()
    for target in (0, 3):
        acts, grads = oracles.gradient_at(net, x, target, layer)
        signed = grad_cam(net, x, target=target, layer=layer, relu=False)
        assert torch.allclose(signed, oracles.grad_cam(acts, grads, relu=False), **EXACT)
        assert torch.allclose(grad_cam(net, x, target=target, layer=layer), oracles.grad_cam(acts, grads), **EXACT)
        assert torch.equal(grad_cam(net, x, target=target, layer=layer), signed.relu())


def test_on_a_mean_and_a_linear_layer_grad_cam_is_cam() -> None:
    """Closed form: h w Grad-CAM before its ReLU = CAM."""
    net = nets.gap_linear()
    for h, w in ((12, 12), (17, 10)):
        x = nets.images(3, h=h, w=w)
        for target in range(nets.CLASSES):
            expected = cam(net, x, target=target)
            signed = grad_cam(net, x, target=target, relu=False)
            assert torch.allclose(expected[0].numel() * signed, expected, **EXACT)
            assert (signed < 0).any() or target


def test_the_default_layer_is_the_last_map() -> None:
    for factory, layer in ((nets.plain, "relu2"), (nets.gap_linear, "relu2"), (nets.functional_relu, "conv2")):
        net, x = factory(), nets.images()
        assert torch.equal(grad_cam(net, x), grad_cam(net, x, layer=layer))
        assert torch.equal(guided_grad_cam(net, x), guided_grad_cam(net, x, layer=layer))


def test_several_layers_give_a_dict_equal_to_single_calls() -> None:
    """Invariant, whatever the order in which they are asked for; composites and reused modules too."""
    for net, layers in (
        (nets.plain(), ["conv2", "conv1", "relu2", "relu1", "pool1"]),
        (nets.inplace_relu(), ("relu1", "conv1", "conv2", "relu2")),
        (nets.reused_inplace_relu(), ["rectify#2", "conv1", "rectify#1"]),
    ):
        x = nets.images()
        for relu in (True, False):
            found = grad_cam(net, x, target=1, layer=layers, relu=relu)
            assert list(found) == list(layers)
            for layer in layers:
                assert torch.equal(found[layer], grad_cam(net, x, target=1, layer=layer, relu=relu))


class _Parallel(nn.Module):
    """Two branches that do not see each other, and a third that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.other = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1)
        self.conv2, self.nowhere = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.linear = nn.Linear(8, nets.CLASSES)

    def head(self, h: Tensor) -> Tensor:
        return self.linear(h.mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.conv1(x).relu(), self.other(x).relu()
        self.nowhere(left)
        return self.head(left + self.conv2(right))


@nets.hard_net
def parallel(frozen: bool = False) -> nn.Module:
    return _Parallel().requires_grad_(not frozen)


@pytest.mark.parametrize("frozen", [False, True])
def test_layers_in_branches_beside_each_other(frozen: bool) -> None:
    """Oracle: torch's gradient at both, also where no parameter needs one and the graph starts at the first."""
    net, x = parallel(frozen), nets.images()
    left, right = net.conv1(x).detach().requires_grad_(), net.other(x).detach().requires_grad_()
    score = net.head(left.relu() + net.conv2(right.relu()))[:, 1].sum()
    grads = torch.autograd.grad(score, [left, right])
    found = grad_cam(net, x, target=1, layer=["other", "conv1"], relu=False)
    for name, acts, g in zip(("conv1", "other"), (left, right), grads, strict=True):
        assert torch.allclose(found[name], oracles.grad_cam(acts.detach(), g, relu=False), **EXACT)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layer": "nowhere"}, "does not depend on layer 'nowhere'"),
        ({"layer": ["conv1", "nowhere"]}, "does not depend on layer 'nowhere'"),
        ({"layer": "conv2", "target": "other:1"}, "does not depend on layer 'conv2'"),
        ({"layer": "conv1", "target": "other:1"}, "does not depend on layer 'conv1'"),
    ],
)
def test_a_layer_that_the_score_does_not_depend_on_is_refused(frozen: bool, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConvscopeError, match=says):
        grad_cam(parallel(frozen), nets.images(), **options)


@pytest.mark.parametrize("layer", ["conv1", "relu1", "conv2"])
def test_the_score_may_be_a_unit_above_the_layer_or_of_it(layer: str) -> None:
    """Oracle: torch's gradient of the chopped net."""
    net, x = nets.plain(), nets.images()
    names = [name for name, _ in net.named_children()]
    for target, of in (("conv2:3", lambda a: a[:, 3].mean((1, 2))), ("conv2:3@1,2", lambda a: a[:, 3, 1, 2])):
        acts = _acts(net, x, layer).requires_grad_()
        (g,) = torch.autograd.grad(of(net[names.index(layer) + 1 : names.index("conv2") + 1](acts)).sum(), acts)
        expected = oracles.grad_cam(acts.detach(), g)
        assert torch.allclose(grad_cam(net, x, target=target, layer=layer), expected, **EXACT)


def test_a_probability_weighs_the_maps_with_the_slopes_of_the_softmax() -> None:
    """Closed form: dp_k/dA = p_k (dz_k/dA - sum_j p_j dz_j/dA), and Grad-CAM before its ReLU is linear in g."""
    net, x = nets.plain(), nets.images()
    p = net(x).detach().softmax(1)[:, :, None, None]
    each = torch.stack([grad_cam(net, x, target=k, relu=False) for k in range(nets.CLASSES)], 1)
    expected = p[:, 2] * (each[:, 2] - (p * each).sum(1))
    assert torch.allclose(grad_cam(net, x, target=2, score="probability", relu=False), expected, **EXACT)
    guided = guided_backprop(net, x, target=2, score="probability")
    product = guided * upsample(expected.relu(), (12, 12))[:, None]
    assert torch.allclose(guided_grad_cam(net, x, target=2, score="probability"), product, **EXACT)


def test_a_map_of_one_pixel() -> None:
    """Closed form: after the mean, Grad-CAM is the ReLU of the class's share of the logit, w . mean(A)."""
    net, x = nets.gap_linear(), nets.images(3)
    expected = (net(x)[:, 1] - net.linear.bias[1]).detach()[:, None, None]
    found = grad_cam(net, x, target=1, layer="pool", relu=False)
    assert found.shape == (3, 1, 1)
    assert torch.allclose(found, expected, **EXACT)
    heat = upsample(found, (12, 12))
    assert torch.allclose(heat, expected.expand(3, 12, 12), **EXACT)


@pytest.mark.parametrize("method", [grad_cam, guided_grad_cam, cam])
def test_a_batch_is_its_images_one_by_one_each_with_its_own_target(method: Callable[..., Tensor]) -> None:
    net, x = nets.gap_linear(), nets.images(4)
    for targets in (None, [4, 0, 2, 2], torch.tensor([1, 1, 0, 3])):
        own = [None] * 4 if targets is None else [int(t) for t in targets]
        single = torch.cat([method(net, x[i : i + 1], target=own[i]) for i in range(4)])
        assert torch.allclose(method(net, x, target=targets), single, **EXACT)


@pytest.mark.parametrize("factory", nets.SAME_WEIGHTS)
def test_every_way_to_write_a_relu_gives_the_same_map(factory: Callable[..., nn.Module]) -> None:
    """Invariant, to the last bit: an in-place ReLU after the layer must not spoil what was recorded of it."""
    net, plain, x = factory(), nets.plain(), nets.images()
    for layer in ("conv1", "conv2"):
        for relu in (True, False):
            expected = grad_cam(plain, x, target=2, layer=layer, relu=relu)
            assert torch.equal(grad_cam(net, x, target=2, layer=layer, relu=relu), expected)
        expected = guided_grad_cam(plain, x, target=2, layer=layer)
        assert torch.equal(guided_grad_cam(net, x, target=2, layer=layer), expected)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layer": "convv2"}, "no layer 'convv2' .*did you mean 'conv2'"),
        ({"layer": ["conv1", "convv2"]}, "no layer 'convv2'"),
        ({"layer": "linear1"}, r"layer 'linear1' gives \(2, 16\), not maps"),
        ({"layer": []}, "asks for no layer"),
        ({"target": 5}, "class 5 .* 5 classes"),
        ({"target": [1, 2, 3]}, "3 targets for 2 images"),
        ({"score": "softmax"}, "neither 'logit' nor 'probability'"),
    ],
)
def test_what_grad_cam_does_not_explain_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConvscopeError, match=says):
        grad_cam(nets.plain(), nets.images(), **options)


def test_layers_that_did_not_run_ran_twice_or_give_no_maps_are_refused() -> None:
    with pytest.raises(ConvscopeError, match="'auxiliary' never ran"):
        grad_cam(nets.unused_layer(), nets.images(), layer="auxiliary")
    with pytest.raises(ConvscopeError, match="'conv2#1', 'conv2#2'"):
        grad_cam(nets.shared_conv(), nets.images(), layer="conv2")
    with pytest.raises(ConvscopeError, match="no layer that gives maps"):
        grad_cam(nets.mlp(), nets.images())
    with pytest.raises(ConvscopeError, match="turns gradients off"):
        grad_cam(nets.no_grad(), nets.images(), layer="conv2")


@pytest.mark.parametrize("method", [grad_cam, cam, guided_grad_cam])
@pytest.mark.parametrize("surroundings", [torch.no_grad, torch.inference_mode])
def test_frozen_parameters_and_modes_around_do_not_stop_it(
    method: Callable[..., Tensor], surroundings: Callable[[], Any], untouched: Untouched
) -> None:
    net, frozen = nets.gap_linear(), untouched.watch(nets.gap_linear().requires_grad_(False))
    expected = method(net, nets.images())
    with surroundings():
        assert torch.equal(method(net, nets.images()), expected)
    assert torch.equal(method(frozen, nets.images()), expected)


@pytest.mark.parametrize("method", [grad_cam, cam, guided_grad_cam])
def test_train_mode_neither_mixes_the_batch_nor_drops_units(method: Callable[..., Tensor]) -> None:
    x = nets.images(3)
    found = method(nets.norm_dropout(train=True), x)
    assert torch.equal(found, method(nets.norm_dropout(), x))
    others = torch.cat([x[:1], 100 * x[1:]])
    assert torch.allclose(method(nets.norm_dropout(train=True), others)[0], found[0], **EXACT)


@pytest.mark.parametrize("method", [grad_cam, cam, guided_grad_cam])
@pytest.mark.parametrize(("dtype", "share"), [(torch.float16, 5e-3), (torch.bfloat16, 5e-2)])
def test_half_precision_is_near_single_and_comes_back_as_single(
    method: Callable[..., Tensor], dtype: torch.dtype, share: float
) -> None:
    net, x = nets.gap_linear(dtype=torch.float32), nets.images(dtype=torch.float32)
    exact = method(net, x, target=1)
    found = [method(nets.gap_linear(dtype=dtype), x.to(dtype), target=1)]
    with torch.autocast("cpu", dtype=dtype):
        found.append(method(net, x, target=1))
    for values in found:
        assert values.dtype == exact.dtype == torch.float32
        assert (values - exact).abs().max() <= share * exact.abs().max()


def test_the_image_may_come_second_and_the_first_input_be_integers() -> None:
    """Oracle: torch's gradient at the convolution."""
    net, image, words = words_then_image(), nets.images(), torch.tensor([[1, 2, 3], [0, 6, 6]])
    acts = net.conv(image).detach().requires_grad_()
    gates = net.words(words).mean(1)[:, :, None, None]
    (g,) = torch.autograd.grad(net.linear((acts.relu() * gates).mean((2, 3)))[:, 1].sum(), acts)
    expected = oracles.grad_cam(acts.detach(), g)
    given = {"words": words, "image": image}
    for layer in ("conv", None):
        assert torch.allclose(grad_cam(net, (words, image), wrt=1, target=1, layer=layer), expected, **EXACT)
        assert torch.allclose(grad_cam(net, given, wrt="image", target=1, layer=layer), expected, **EXACT)
    for target in (1, None):
        heat = grad_cam(net, given, wrt="image", target=target)
        detail = guided_backprop(net, given, wrt="image", target=target)
        found = guided_grad_cam(net, given, wrt="image", target=target)
        assert torch.allclose(found, detail * upsample(heat, (12, 12))[:, None], **EXACT)
    with pytest.raises(ConvscopeError, match="Grad-CAM explains any head"):
        cam(net, given, wrt="image")


def test_layers_of_any_size_on_images_of_any_size() -> None:
    for factory, c in ((nets.grey, 1), (nets.four_channel, 4)):
        net, x = factory(), nets.images(2, c, 13, 22)
        acts, grads = oracles.gradient_at(net, x, 1, "relu1")
        found = grad_cam(net, x, target=1, layer="relu1")
        assert found.shape == (2, 13, 22)
        assert torch.allclose(found, oracles.grad_cam(acts, grads), **EXACT)
        assert guided_grad_cam(net, x, target=1).shape == x.shape


# ---- the maths on tensors alone ----


def test_grad_cam_map_is_the_slow_loop() -> None:
    acts, grads = nets.images(2, 4, 3, 5, seed=1), nets.images(2, 4, 3, 5, seed=2)
    assert torch.allclose(grad_cam_map(acts, grads).relu(), oracles.grad_cam(acts, grads), **EXACT)
    assert torch.allclose(grad_cam_map(acts, grads), oracles.grad_cam(acts, grads, relu=False), **EXACT)
    weights = nets.images(2, 4, 1, 1)[:, :, 0, 0]
    expected = torch.cat([oracles.cam(acts[i : i + 1], weights[i]) for i in range(2)])
    assert torch.allclose(weighted_map(acts, weights), expected, **EXACT)


# ---- guided Grad-CAM ----


def test_guided_grad_cam_is_the_product_of_the_two() -> None:
    """Selvaraju et al. 2017, section 3.3, from both replicas, with the heat enlarged cell by cell."""
    net, x = nets.plain(), nets.images(2, h=20, w=13)
    for layer in ("pool1", "relu2", "conv1"):
        heat = oracles.grad_cam(*oracles.gradient_at(net, x, 2, layer))
        expected = oracles.guided_backprop(net, x, 2) * _bilinear(heat, 20, 13)[:, None]
        assert torch.allclose(guided_grad_cam(net, x, target=2, layer=layer), expected, **EXACT)
        reduced = guided_grad_cam(net, x, target=2, layer=layer, reduce="max-abs")
        assert torch.allclose(reduced, expected.abs().amax(1), **EXACT)


def test_both_factors_of_guided_grad_cam_explain_one_class() -> None:
    net, x = nets.plain(), nets.images(3)
    assert torch.equal(guided_grad_cam(net, x), guided_grad_cam(net, x, target=net(x).argmax(1)))


def test_guided_grad_cam_refuses_what_guided_backprop_refuses() -> None:
    with pytest.raises(ConvscopeError, match="1 x Hardswish"):
        guided_grad_cam(nets.hardswish_mix(), nets.images())
    assert guided_grad_cam(nets.hardswish_mix(), nets.images(), partial=True).shape == (2, 3, 12, 12)


def _bilinear(values: Tensor, height: int, width: int) -> Tensor:
    """Cell centres at (i + 0.5) / scale - 0.5, edges repeated: PIL's, OpenCV's and ``align_corners=False``."""
    b, h, w = values.shape
    large = torch.zeros(b, height, width, dtype=values.dtype)
    for y in range(height):
        for x in range(width):
            v, u = max((y + 0.5) * h / height - 0.5, 0), max((x + 0.5) * w / width - 0.5, 0)
            i, j = min(int(v), h - 1), min(int(u), w - 1)
            k, m = min(i + 1, h - 1), min(j + 1, w - 1)
            top = values[:, i, j] * (1 - u + j) + values[:, i, m] * (u - j)
            bottom = values[:, k, j] * (1 - u + j) + values[:, k, m] * (u - j)
            large[:, y, x] = top * (1 - v + i) + bottom * (v - i)
    return large


def test_upsampling_is_bilinear_and_keeps_peaks_in_place() -> None:
    """Oracle: the slow loop in float64, and Pillow in float32."""
    heat = nets.images(2, 1, 7, 5)[:, 0]
    assert torch.allclose(upsample(heat, (20, 31)), _bilinear(heat, 20, 31), **EXACT)
    picture = Image.fromarray(heat[0].float().numpy()).resize((31, 20), Image.Resampling.BILINEAR)
    assert np.abs(np.asarray(picture) - upsample(heat, (20, 31))[0].float().numpy()).max() < 1e-5
    peak = torch.zeros(1, 7, 7, dtype=torch.float64)
    peak[0, 1, 5] = 1
    y, x = divmod(int(upsample(peak, (224, 224)).argmax()), 224)
    assert abs(y - 1.5 * 32) <= 1  # a peak's cell is 32 px wide; its centre stays its centre
    assert abs(x - 5.5 * 32) <= 1


def test_an_empty_map_stays_empty(untouched: Untouched) -> None:
    """Nothing is stretched: where all evidence is against the class, the map is zero, and its signed form is not."""
    net, x = nets.gap_linear(), nets.images()
    nn.init.constant_(net.linear.weight, -1.0)
    untouched.watch(net)
    assert not grad_cam(net, x, target=1).any()
    assert not guided_grad_cam(net, x, target=1).any()
    signed = grad_cam(net, x, target=1, relu=False)
    assert torch.allclose(signed, -_acts(net, x, "relu2").sum(1) / 36, **EXACT)
    assert (signed < 0).any()
