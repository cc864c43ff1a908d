"""What every method that weighs a layer's maps does alike: layers, targets, batches, precision, spellings of a ReLU."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import eigen_cam, grad_cam, grad_cam_pp, hires_cam, layer_cam, xgrad_cam
from convscope.attribution.layer_maps import image_size
from convscope.errors import ConvscopeError
from tests import nets, oracles
from tests.attribution.test_gradients import words_then_image
from tests.untouched import Untouched

EXACT = {"rtol": 0, "atol": 1e-12}
BY_GRADIENT = [grad_cam, grad_cam_pp, xgrad_cam, layer_cam, hires_cam]
EVERY = pytest.mark.parametrize("method", [*BY_GRADIENT, eigen_cam])
GRADIENT = pytest.mark.parametrize("method", BY_GRADIENT)


@EVERY
def test_several_layers_give_a_dict_equal_to_single_calls(method: Callable[..., Any]) -> None:
    """Invariant, in the order in which they are asked for; composites and reused modules too."""
    for net, layers in (
        (nets.plain(), ["relu2", "pool1", "relu1"]),
        (nets.inplace_relu(), ("relu1", "pool2", "relu2")),
        (nets.reused_inplace_relu(), ["rectify#2", "pool1", "rectify#1"]),
    ):
        x = nets.images()
        found = method(net, x, target=1, layer=layers)
        assert list(found) == list(layers)
        assert all(torch.equal(found[layer], method(net, x, target=1, layer=layer)) for layer in layers)


class _Windows(nn.Module):
    """A map cut into four windows, which stand in the batch axis; and put together again."""

    def __init__(self, together: bool) -> None:
        super().__init__()
        self.together = together

    def forward(self, x: Tensor) -> Tensor:
        if self.together:
            return x.unflatten(0, (-1, 2, 2)).permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
        return x.unflatten(2, (2, -1)).unflatten(4, (2, -1)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


@EVERY
def test_windows_that_stand_in_the_batch_axis_are_not_taken_for_images(method: Callable[..., Tensor]) -> None:
    """As inside timm's Swin: four maps of one image would be returned."""
    parts = dict(nets.plain().named_children())
    parts["relu1"] = nn.Sequential(parts["relu1"], _Windows(False), _Windows(True))
    net, x = nn.Sequential(OrderedDict(parts)), nets.images(2)
    assert torch.equal(method(net, x, target=1, layer="relu1"), method(nets.plain(), x, target=1, layer="relu1"))
    with pytest.raises(ConvscopeError, match=r"for 2 image\(s\): its first axis is not one of images"):
        method(net, x, target=1, layer="relu1.1")


@EVERY
def test_the_default_layer_is_the_last_map(method: Callable[..., Tensor]) -> None:
    for factory in (nets.plain, nets.gap_linear):
        assert torch.equal(method(factory(), nets.images()), method(factory(), nets.images(), layer="relu2"))


@EVERY
def test_a_batch_is_its_images_one_by_one_each_with_its_own_target(method: Callable[..., Tensor]) -> None:
    net, x = nets.plain(), nets.images(4)
    for targets in (None, [4, 0, 2, 2], torch.tensor([1, 1, 0, 3]), ["conv2:1", 0, "linear2:2", 3]):
        own = [None] * 4 if targets is None else [t if isinstance(t, str) else int(t) for t in targets]
        single = torch.cat([method(net, x[i : i + 1], target=own[i], layer="relu1") for i in range(4)])
        assert torch.allclose(method(net, x, target=targets, layer="relu1"), single, **EXACT)


@EVERY
@pytest.mark.parametrize("factory", nets.SAME_WEIGHTS)
def test_every_way_to_write_a_relu_gives_the_same_map(
    method: Callable[..., Tensor], factory: Callable[..., nn.Module]
) -> None:
    """Invariant, to the last bit; at a layer before the ReLU too, which one in place must not spoil."""
    net, plain, x = factory(), nets.plain(), nets.images()
    for layer in ("pool1", "pool2", *(["conv1", "conv2"] if method is not grad_cam_pp else [])):
        assert torch.equal(method(net, x, target=2, layer=layer), method(plain, x, target=2, layer=layer))


@GRADIENT
def test_relu_false_keeps_the_sign_that_the_relu_takes_away(method: Callable[..., Tensor]) -> None:
    negative = False
    for seed in range(3):
        net, x = nets.gap_linear(seed=seed), nets.images()
        signed = method(net, x, target=1, relu=False)
        assert torch.equal(method(net, x, target=1), signed.relu())
        negative |= bool((signed < 0).any())
    assert negative == (method not in (grad_cam_pp, layer_cam))  # these two keep positive gradients only


@GRADIENT
def test_a_probability_is_explained_by_its_own_gradient(method: Callable[..., Tensor]) -> None:
    """Oracle: the same score as a callable of the output."""
    net, x = nets.plain(), nets.images()
    found = method(net, x, target=2, layer="relu1", score="probability")
    assert torch.equal(found, method(net, x, target=lambda out: out.softmax(1)[:, 2], layer="relu1"))
    assert not torch.allclose(found, method(net, x, target=2, layer="relu1"))


@EVERY
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layer": "reluu2"}, "no layer 'reluu2' .*did you mean 'relu2'"),
        ({"layer": ["relu1", "reluu2"]}, "no layer 'reluu2'"),
        ({"layer": "linear1"}, r"layer 'linear1' gives \(2, 16\), not maps"),
        ({"layer": []}, "asks for no layer"),
        ({"target": 5}, "class 5 .* 5 classes"),
        ({"target": "conv2:8"}, "unit 8 .* 8 units"),
        ({"target": "tabby"}, "neither a number nor a unit"),
        ({"target": [1, 2, 3]}, "3 targets for 2 images"),
        ({"wrt": 1}, "no input 1"),
    ],
)
def test_what_none_of_them_explains_is_refused(
    method: Callable[..., Tensor], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConvscopeError, match=says):
        method(nets.plain(), (nets.images(),), **options)


@EVERY
def test_a_layer_that_ran_twice_must_be_named_by_its_call(method: Callable[..., Tensor]) -> None:
    with pytest.raises(ConvscopeError, match="'rectify#1', 'rectify#2'"):
        method(nets.reused_relu(), nets.images(), layer="rectify")


@EVERY
@pytest.mark.parametrize("surroundings", [torch.no_grad, torch.inference_mode])
def test_frozen_parameters_and_modes_around_do_not_stop_it(
    method: Callable[..., Tensor], surroundings: Callable[[], Any], untouched: Untouched
) -> None:
    net, frozen = nets.gap_linear(), untouched.watch(nets.gap_linear().requires_grad_(False))
    expected = method(net, nets.images())
    with surroundings():
        assert torch.equal(method(net, nets.images()), expected)
        assert not method(net, nets.images()).is_inference()
    assert torch.equal(method(frozen, nets.images()), expected)


@EVERY
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


@EVERY
def test_a_silent_layer_gives_a_zero_map(method: Callable[..., Tensor], untouched: Untouched) -> None:
    net = nets.gap_linear()
    nn.init.constant_(net.conv2.weight, 0.0)
    nn.init.constant_(net.conv2.bias, -1.0)
    untouched.watch(net)
    found = method(net, nets.images(), target=1)
    assert found.shape == (2, 6, 6)
    assert not found.any()


@GRADIENT
def test_a_score_of_zero_that_nothing_changes_gives_a_zero_map(
    method: Callable[..., Tensor], untouched: Untouched
) -> None:
    net = nets.gap_linear()
    nn.init.zeros_(net.linear.weight)
    nn.init.zeros_(net.linear.bias)
    untouched.watch(net)
    assert not method(net, nets.images(), target=1).any()


@EVERY
def test_a_constant_image_and_a_map_of_one_cell(method: Callable[..., Tensor]) -> None:
    """Closed form after the mean: A is one number a channel, g the weight, so each formula is a sum over channels."""
    net, x = nets.gap_linear(), torch.full((1, 3, 12, 12), 0.7, dtype=torch.float64)
    assert method(net, x, target=1).isfinite().all()
    found = method(net, nets.images(), target=1, layer="pool")
    acts = oracles.forward_by_hand(net, nets.images())[6][:, :, 0, 0]
    w = net.linear.weight.detach()[1]
    expected = {
        "grad_cam": (w * acts).sum(1).relu(),
        "xgrad_cam": (w * acts).sum(1).relu(),
        "hires_cam": (w * acts).sum(1).relu(),
        "layer_cam": (w.relu() * acts).sum(1),
        "grad_cam_pp": (w.relu() / (2 + w.relu() * acts) * acts).sum(1),
        "eigen_cam": acts.norm(dim=1),
    }[method.__name__]
    assert torch.allclose(found, expected[:, None, None], **EXACT)


@EVERY
def test_the_image_may_come_second(method: Callable[..., Tensor]) -> None:
    """Oracle: the same input by its name."""
    net, image, words = words_then_image(), nets.images(), torch.tensor([[1, 2, 3], [0, 6, 6]])
    layer = "conv" if method is not grad_cam_pp else None
    if layer is None:
        with pytest.raises(ConvscopeError, match="'conv' has some"):
            method(net, (words, image), wrt=1, target=1)
        return
    found = method(net, (words, image), wrt=1, target=1, layer=layer)
    assert torch.equal(found, method(net, {"words": words, "image": image}, wrt="image", target=1))
    assert image_size((words, image), 1) == (12, 12)


@EVERY
@pytest.mark.parametrize("layer", [None, "relu1"])
def test_what_is_no_batch_of_images_is_refused(method: Callable[..., Tensor], layer: str | None) -> None:
    net, x = nets.plain(), nets.images()
    for given in (x[0], torch.zeros(2, 7), x[:, :, None]):
        with pytest.raises(ConvscopeError, match=r"has shape \(.*\); it must be \(b, c, H, W\)"):
            method(net, given, layer=layer)
    with pytest.raises(ConvscopeError, match="a batch of no images"):
        method(net, x[:0], layer=layer)
