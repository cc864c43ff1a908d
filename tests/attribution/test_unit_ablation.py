"""Unit ablation against the network cut in two and changed by hand, and closed forms where the head is linear."""

import inspect
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.attribution import (
    ablated,
    effect_of_each,
    most_important_units,
    normalised_after,
    unit_ablation,
    unit_activations,
    unit_importance,
    unit_means,
)
from convscope.attribution.unit_values import named_units
from convscope.errors import ConvscopeError
from convscope.network.targets import Unit
from tests import nets
from tests.attribution.test_layer_maps import _Windows

EXACT = {"rtol": 0, "atol": 1e-12}
CALLS = {  # plain's layers, in its own order, by their names in the nets that are written otherwise
    nets.plain: ("relu1", "relu2"),
    nets.inplace_relu: ("relu1", "relu2"),
    nets.reused_relu: ("rectify#1", "rectify#2"),
    nets.reused_inplace_relu: ("rectify#1", "rectify#2"),
}


def cut(net: nn.Sequential, x: Tensor, edits: dict[str, Callable[[Tensor], Tensor]]) -> Tensor:
    """``plain``, layer by layer, the outputs named in ``edits`` changed on the way."""
    for name, layer in net.named_children():
        x = layer(x)
        x = edits[name](x.clone()) if name in edits else x
    return x.detach()


def set_to(unit: int, value: Any) -> Callable[[Tensor], Tensor]:
    def edit(a: Tensor) -> Tensor:
        a[:, unit] = value
        return a

    return edit


# ---- ablated ----


@pytest.mark.parametrize("layer", ["conv1", "relu1", "pool1", "conv2", "relu2", "linear1", "relu3", "linear2"])
def test_a_unit_off_is_the_network_cut_in_two(layer: str) -> None:
    """Of maps and of fully connected layers."""
    x = nets.images()
    expected = cut(nets.plain(), x, {layer: set_to(3, 0.0)})
    assert torch.allclose(ablated(nets.plain(), x, [f"{layer}:3"]), expected, **EXACT)
    assert not torch.allclose(expected, nets.plain()(x), **EXACT)


@pytest.mark.parametrize("factory", nets.SAME_WEIGHTS)
def test_the_convolution_is_what_is_switched_off_however_the_relu_after_it_is_written(
    factory: Callable[..., nn.Module],
) -> None:
    """An in-place ReLU comes after the edit, and must not write into the network's own record of it."""
    net, x = factory(), nets.images()
    expected = cut(nets.plain(), x, {"conv1": set_to(3, -0.5), "conv2": set_to(1, 0.75)})
    units = [Unit("conv1", 3), Unit("conv2", 1)]
    found = ablated(net, x, units, values={units[0]: torch.tensor(-0.5), units[1]: torch.tensor(0.75)})
    assert torch.allclose(found, expected, **EXACT)


@pytest.mark.parametrize("factory", CALLS)
def test_relus_are_switched_off_by_their_calls(factory: Callable[..., nn.Module]) -> None:
    first, second = CALLS[factory]
    x = nets.images()
    expected = cut(nets.plain(), x, {"relu1": set_to(0, 0.0), "relu2": set_to(5, 0.0)})
    assert torch.allclose(ablated(factory(), x, [f"{second}:5", f"{first}:0"]), expected, **EXACT)


def test_a_reused_layer_needs_its_call() -> None:
    with pytest.raises(ConvscopeError, match="runs more than once in a pass"):
        ablated(nets.reused_relu(), nets.images(), ["rectify:0"])


def test_what_a_reused_layer_says_needs_its_call_too() -> None:
    """Else the first call's mean would be what the second's units are replaced by."""
    net, x = nets.reused_relu(), nets.images()
    for run in (lambda: unit_activations(net, x, ["rectify:0"]), lambda: unit_means(net, [x], ["rectify"])):
        with pytest.raises(ConvscopeError, match="runs more than once in a pass"):
            run()
    second = unit_means(net, [x], ["rectify#2"])["rectify#2"]
    assert torch.allclose(second, unit_means(nets.plain(), [x], ["relu2"])["relu2"], **EXACT)


def test_a_neuron_is_one_position_only() -> None:
    x = nets.images()

    def edit(a: Tensor) -> Tensor:
        a[:, 4, 3, 5] = 0.0
        return a

    expected = cut(nets.plain(), x, {"conv1": edit})
    assert torch.allclose(ablated(nets.plain(), x, ["conv1:4@3,5"]), expected, **EXACT)


def test_all_units_off_is_the_bias_path() -> None:
    """METHODS.md: what the network answers to a zero map there, whatever the image."""
    net, x = nets.plain(), nets.images(3)
    names = [name for name, _ in net.named_children()]
    found = ablated(net, x, [f"relu2:{k}" for k in range(8)])
    rest = net[names.index("relu2") + 1 :]
    assert torch.allclose(found, rest(torch.zeros(1, 8, 6, 6, dtype=torch.float64)).detach().expand(3, -1), **EXACT)
    assert torch.allclose(
        ablated(nets.gap_linear(), x, [f"relu2:{k}" for k in range(8)]),
        nets.gap_linear().get_submodule("linear").bias.detach().expand(3, -1),
        **EXACT,
    )


def test_a_skip_path_goes_on_with_the_edit_on_both_sides() -> None:
    """h + relu(h): conv1's unit off takes it out of both. Oracle: by hand."""
    net, x = nets.skip(), nets.images()
    h = net.conv1(x).detach()
    h[:, 2] = 0.25
    h = net.conv2(h + F.relu(h))
    expected = net.head(h + F.relu(h)).detach()
    unit = Unit("conv1", 2)
    assert torch.allclose(ablated(net, x, [unit], values={unit: torch.tensor(0.25)}), expected, **EXACT)


def test_gap_and_linear_drop_by_weight_times_mean_activation() -> None:
    """METHODS.md, to the last digit of float64, for every unit and class at once."""
    net, x = nets.gap_linear(), nets.images(3)
    weights = net.get_submodule("linear").weight.detach()
    means = torch.stack([unit_activations(net, x, [f"relu2:{k}"])[Unit("relu2", k)].mean((1, 2)) for k in range(8)], 1)
    drops = net(x).detach()[:, None] - effect_of_each(net, x, "relu2")
    assert torch.allclose(drops, means[:, :, None] * weights.T, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_precisions_frozen_weights_and_inference_mode(dtype: torch.dtype) -> None:
    """Oracle: the same network in float64, within the precision's rounding."""
    x = nets.images()
    expected = ablated(nets.frozen(), x, ["conv2:1"])
    with torch.inference_mode():
        found = ablated(nets.frozen(dtype=dtype), x.to(dtype), ["conv2:1"])
    assert torch.allclose(found.double(), expected, rtol=0, atol=1e-5 if dtype == torch.float32 else 0.05)


def test_several_inputs() -> None:
    net, image, words = nets.two_inputs(), nets.images(), nets.images(2, 1, 1, 4)[:, 0, 0]
    h = net.conv2(net.conv1(image).relu()).relu().detach()
    h[:, 1] = 0.0
    expected = net.head(h * net.words(words).sigmoid()[:, :, None, None]).detach()
    silent = [Unit("conv2", 1)]
    assert torch.allclose(ablated(net, (image, words), silent), expected, **EXACT)
    assert torch.allclose(ablated(net, {"image": image, "words": words}, silent, wrt="image"), expected, **EXACT)
    each = effect_of_each(net, (image, words), "conv2", units=[1, 0])
    assert torch.allclose(each[:, 0], expected, **EXACT)


class _Tokens(nn.Module):
    """Patches of 4 x 4 pixels as tokens, each classified, the mean taken; ``tokens`` are (b, n, c)."""

    def __init__(self) -> None:
        super().__init__()
        plain = nets.gap_linear()
        self.patches, self.tokens, self.linear = plain.conv1, nn.Identity(), plain.linear

    def forward(self, x: Tensor) -> Tensor:
        h = F.avg_pool2d(self.patches(x), 4).relu().repeat(1, 2, 1, 1)[:, :8]
        return self.linear(self.tokens(h.flatten(2).transpose(1, 2)).mean(1))


def test_the_units_of_tokens_are_their_channels() -> None:
    """Closed form: the linear layer after a mean over the tokens loses w_k times that mean."""
    net, x = _Tokens(), nets.images(2, h=16, w=16)
    (said,) = unit_activations(net, x, ["tokens:3"]).values()
    assert said.shape == (2, 16)
    drops = said.mean(1)[:, None] * net.linear.weight[:, 3].detach()
    assert torch.allclose(net(x).detach() - ablated(net, x, ["tokens:3"]), drops, **EXACT)
    assert torch.allclose(net(x).detach() - effect_of_each(net, x, "tokens", units=[3])[:, 0], drops, **EXACT)
    assert torch.allclose(unit_importance(net, x, target=1, layer="tokens")[:, 3], drops[:, 1], **EXACT)
    assert torch.allclose(unit_means(net, [x], ["tokens"])["tokens"][3], said.mean(), **EXACT)
    with pytest.raises(ConvscopeError, match="keeps its positions as tokens; name the whole unit"):
        ablated(net, x, ["tokens:3@1,1"])
    with pytest.raises(ConvscopeError, match="unit 8 was asked for, but layer 'tokens' has 8 units"):
        ablated(net, x, ["tokens:8"])
    for run in (ablated, unit_activations):
        with pytest.raises(ConvscopeError, match="unit -1 was asked for, but layer 'tokens' has 8 units"):
            run(net, x, [Unit("tokens", -1)])


@pytest.mark.parametrize(
    ("units", "message"),
    [
        (["conv1:6"], r"unit 6 was asked for, but layer 'conv1' has 6 units"),
        (["conv1:0@12,0"], r"position 12,0 was asked for, but layer 'conv1' has a map of 12 x 12"),
        (["linear1:0@0,0"], r"layer 'linear1' has no map"),
        (["conv9:0"], r"no layer 'conv9' in Sequential; did you mean"),
        (["conv1"], r"'conv1' names no unit; give LAYER:NUMBER"),
        ([], r"no unit to ablate"),
        ([Unit("conv1", -1)], r"unit -1 was asked for, but layer 'conv1' has 6 units"),
        ([Unit("linear1", -1)], r"unit -1 was asked for, but layer 'linear1' has 16 units"),
        ([Unit("conv1", 0, (-1, 0))], r"position -1,0 was asked for"),
    ],
)
def test_units_that_do_not_exist_are_refused(units: list[str | Unit], message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        ablated(nets.plain(), nets.images(), units)


@pytest.mark.parametrize("given", [3, None, ("conv1", 3)])
def test_what_is_no_name_is_refused(given: Any) -> None:
    unchecked = inspect.unwrap(named_units)  # the type check of the tests would refuse it first
    with pytest.raises(ConvscopeError, match="names no unit; give LAYER:NUMBER"):
        unchecked(["conv1:3", given])


@pytest.mark.parametrize("given", [["1"], [1, 2.5], 3, "conv2:1", [True]])
def test_what_is_no_list_of_numbers_is_refused(given: Any) -> None:
    unchecked = inspect.unwrap(unit_ablation._numbers)
    with pytest.raises(ConvscopeError, match=r"of layer 'conv2': give a list of their numbers, 0 to 7, or None"):
        unchecked(given, 8, "conv2")
    assert unchecked([np.int64(3), 1], 8, "conv2").tolist() == [3, 1]


def test_windows_that_stand_in_the_batch_axis_are_not_taken_for_images() -> None:
    """As inside timm's Swin: one row of a batch is then one window of an image."""
    parts = dict(nets.plain().named_children())
    parts["relu1"] = nn.Sequential(parts["relu1"], _Windows(False), _Windows(True))
    net, x = nn.Sequential(OrderedDict(parts)), nets.images(2)
    for asked in (unit_importance, most_important_units):
        with pytest.raises(ConvscopeError, match=r"for 2 image\(s\): its first axis is not one of images"):
            asked(net, x, target=1, layer="relu1.1")
    with pytest.raises(ConvscopeError, match=r"for 1 image\(s\): its first axis is not one of images"):
        effect_of_each(net, x, "relu1.1")
    assert torch.equal(effect_of_each(net, x, "relu1"), effect_of_each(nets.plain(), x, "relu1"))


def test_a_value_may_be_a_number() -> None:
    net, x, unit = nets.plain(), nets.images(), Unit("conv1", 1)
    assert torch.equal(
        ablated(net, x, [unit], values={unit: 0.5}), ablated(net, x, [unit], values={unit: torch.tensor(0.5)})
    )


def test_inference_mode_around_gives_tensors_that_autograd_takes() -> None:
    net, x = nets.plain(), nets.images()
    with torch.inference_mode():
        unit = Unit("conv1", 1)
        found = [unit_importance(net, x, layer="conv1"), *most_important_units(net, x, layer="conv1")]
        found += [effect_of_each(net, x, "conv1"), unit_activations(net, x, [unit])[unit]]
    assert not any(values.is_inference() for values in found)


def test_values_of_another_size_or_none_are_refused() -> None:
    net, x, unit = nets.plain(), nets.images(), Unit("conv1", 0)
    with pytest.raises(ConvscopeError, match=r"must come from an input of the same size"):
        ablated(net, x, [unit], values=unit_activations(net, nets.images(2, h=16), [unit]))
    with pytest.raises(ConvscopeError, match=r"must come from an input of the same size"):
        ablated(net, x, [unit], values=unit_activations(net, nets.images(3), [unit]))
    with pytest.raises(ConvscopeError, match="no value for conv1:0"):
        ablated(net, x, [unit], values={})


# ---- mean and resample ----


def test_a_unit_at_what_another_image_says() -> None:
    """Oracle: that image's own activation, put in by hand; one image for all, and one an image."""
    net, x, units = nets.plain(), nets.images(), [Unit("conv1", 1), Unit("linear1", 3)]
    for other in (nets.images(1, seed=4), nets.images(2, seed=5)):
        lent = cut(net[:1], other, {})
        said = cut(net[:9], other, {"conv1": lambda a: a})
        expected = cut(net, x, {"conv1": set_to(1, lent[:, 1]), "linear1": set_to(3, said[:, 3])})
        found = ablated(net, x, units, values=unit_activations(net, other, units))
        assert torch.allclose(found, expected, **EXACT)
    assert torch.allclose(ablated(net, x, units, values=unit_activations(net, x, units)), net(x), **EXACT)


@pytest.mark.parametrize("sizes", [[7], [3, 3, 1], [1] * 7])
def test_the_mean_is_that_of_two_passes_in_float64(sizes: list[int]) -> None:
    """Over images and positions, whatever the batches; the network comes to no other result in float32."""
    net, x = nets.plain(), nets.images(7)
    found = unit_means(net, x.split(sizes), ["conv1", "relu2", "linear1"])
    assert torch.allclose(found["conv1"], net[:1](x).mean((0, 2, 3)).detach(), **EXACT)
    assert torch.allclose(found["relu2"], net[:5](x).mean((0, 2, 3)).detach(), **EXACT)
    assert torch.allclose(found["linear1"], net[:9](x).mean(0).detach(), **EXACT)
    half = unit_means(nets.plain(dtype=torch.float32), x.float().split(sizes), ["relu2"])["relu2"]
    assert half.dtype == torch.float64
    assert torch.allclose(half, found["relu2"], rtol=0, atol=1e-6)


def test_images_of_two_sizes_have_one_mean() -> None:
    """Every position counts alike."""
    net, small, large = nets.plain(), nets.images(1), nets.images(1, h=16, w=20, seed=1)
    said = torch.cat([net[:1](x).movedim(1, 0).flatten(1) for x in (small, large)], 1)
    assert torch.allclose(unit_means(net, [small, large], ["conv1"])["conv1"], said.mean(1).detach(), **EXACT)


def test_the_mean_over_nothing_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="mean over no image"):
        unit_means(nets.plain(), [], ["conv1"])
    with pytest.raises(ConvscopeError, match="a batch of no images"):
        unit_means(nets.plain(), [nets.images(2)[:0]], ["conv1"])


# ---- importance ----


@pytest.mark.parametrize("target", [None, 3, [0, 4, 2]])
def test_importance_on_gap_and_linear_is_weight_times_mean_activation(target: Any) -> None:
    """Closed form, and hence the true drop: "largest weight x mean activation"."""
    net, x = nets.gap_linear(), nets.images(3)
    classes = net(x).argmax(1) if target is None else torch.as_tensor(target).expand(3)
    means = net[:5](x).mean((2, 3)).detach()
    expected = net.get_submodule("linear").weight.detach()[classes] * means
    importance = unit_importance(net, x, target=target, layer="relu2")
    assert torch.allclose(importance, expected, rtol=0, atol=1e-13)
    each = effect_of_each(net, x, "relu2")
    drops = net(x).detach().gather(1, classes[:, None]) - each[torch.arange(3), :, classes]
    units, values = most_important_units(net, x, target=target, count=8)  # relu2 is the last map
    assert torch.equal(units, drops.argsort(1, descending=True))
    assert torch.allclose(values, drops.sort(1, descending=True).values, rtol=0, atol=1e-13)


@pytest.mark.parametrize("layer", ["conv1", "relu1", "pool1", "conv2", "relu2", "linear1"])
def test_importance_is_the_slope_of_the_score_as_the_unit_is_turned_down(layer: str) -> None:
    """d S / d t at t = 1 with A_k replaced by t A_k: central differences in float64."""
    net, x, step = nets.plain(), nets.images(), 1e-6
    importance = unit_importance(net, x, target=2, layer=layer)
    for unit in (0, 3):

        def turned(t: float, unit: int = unit) -> Tensor:
            def edit(a: Tensor) -> Tensor:
                a[:, unit] *= t
                return a

            return cut(net, x, {layer: edit})[:, 2]

        slope = (turned(1 + step) - turned(1 - step)) / (2 * step)
        assert torch.allclose(importance[:, unit], slope, rtol=0, atol=1e-8)


def test_the_most_important_come_first_and_of_equals_the_first_unit() -> None:
    net, x = nets.plain(), nets.images()
    importance = unit_importance(net, x, target=1, layer="conv2")
    units, values = most_important_units(net, x, target=1, layer="conv2", count=3)
    for i in range(2):
        by_hand = sorted(range(8), key=lambda k: (-importance[i, k].item(), k))[:3]
        assert units[i].tolist() == by_hand
        assert values[i].tolist() == importance[i, by_hand].tolist()
    zero = nn.Sequential(OrderedDict(conv2=nn.Identity(), pool=nn.AdaptiveAvgPool2d(1), out=nn.Flatten()))
    alike, _ = most_important_units(zero, torch.ones(1, 5, 2, 2, dtype=torch.float64), target=3, layer="conv2", count=4)
    assert alike.tolist() == [[3, 0, 1, 2]]  # class 3 is unit 3; all others have importance 0


def test_probabilities_are_refused_for_units_and_counts_for_layers_that_have_fewer() -> None:
    net, x = nets.plain(), nets.images()
    for count in (0, 9):
        with pytest.raises(ConvscopeError, match=f"{count} units were asked for, but layer 'conv2' has 8"):
            most_important_units(net, x, layer="conv2", count=count)
    with pytest.raises(ConvscopeError, match="goes with classes"):
        unit_importance(net, x, target="linear1:0", layer="conv2", score="probability")
    with pytest.raises(ConvscopeError, match="turns gradients off"):
        unit_importance(nets.no_grad(), x, layer="conv1")


# ---- batch norm ----


class _Functional(nn.Module):
    """The batch norm of ``norm_dropout`` called as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nets.norm_dropout()

    def forward(self, x: Tensor) -> Tensor:
        norm = self.inside.norm1
        h = F.batch_norm(self.inside.conv1(x), norm.running_mean, norm.running_var, norm.weight, norm.bias)
        return self.inside[2:](h)


def test_a_batch_norm_right_after_a_layer_is_found_and_no_other() -> None:
    x = nets.images()
    net = nets.norm_dropout()
    assert normalised_after(net, x, ["conv1", "norm1", "relu1", "pool", "linear"]) == ("conv1",)
    assert normalised_after(nets.residual(), x, ["stem", "conv1", "conv2", "down"]) == ("conv1",)
    assert normalised_after(_Functional(), x, ["inside.conv1", "inside.relu1"]) == ("inside.conv1",)
    parts = {**dict(net.named_children()), "relu1": nn.ReLU(inplace=True)}
    order = OrderedDict((name, parts.pop(name)) for name in ("conv1", "relu1", "norm1", *list(parts)[3:]))
    assert normalised_after(nn.Sequential(order), x, ["conv1", "relu1", "norm1"]) == ("relu1",)
    assert normalised_after(nets.plain(), x, ["conv1", "conv2"]) == ()
    assert normalised_after(nets.no_grad(), x, ["conv1"]) == ()


def test_zero_before_a_batch_norm_is_its_bias_less_its_scaled_mean() -> None:
    """Closed form of what the note speaks of."""
    net, x = nets.norm_dropout(), nets.images()
    norm = net.get_submodule("norm1")
    shift = (norm.bias - norm.running_mean * norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
    unit = Unit("norm1", 2)
    expected = ablated(net, x, [unit], values={unit: shift[2]})
    assert torch.allclose(ablated(net, x, ["conv1:2"]), expected, **EXACT)
    assert not torch.allclose(ablated(net, x, ["norm1:2"]), expected, **EXACT)


# ---- each unit alone ----


class _Counting(nn.Module):
    """Remembers how many images went through at a time."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside, self.sizes = inside, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return self.inside(x)


@pytest.mark.parametrize("layer", ["conv1", "conv2", "linear1"])
@pytest.mark.parametrize("batch", [1, 3, 32])
def test_each_unit_alone_is_a_slow_loop(layer: str, batch: int) -> None:
    net, x = nets.inplace_relu(), nets.images(2)
    units = [4, 0, 5]
    steps: list[tuple[int, int]] = []
    found = effect_of_each(net, x, layer, units=units, batch=batch, on_step=lambda *at: steps.append(at))
    for place, unit in enumerate(units):
        assert torch.allclose(found[:, place], cut(nets.plain(), x, {layer: set_to(unit, 0.0)}), **EXACT)
    assert steps[-1] == (6, 6)
    assert len(steps) == 2 * -(-3 // batch)
    every = effect_of_each(net, x, layer, batch=batch)
    assert torch.allclose(every[:, units], found, **EXACT)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layer", ["relu2", "conv2"])
@pytest.mark.parametrize("factory", [nets.gap_linear, nets.pool_conv, nets.conv_relu_gap, nets.functional_relu])
def test_what_is_read_off_the_head_is_a_slow_loop(factory: Callable[..., nn.Module], layer: str, dtype: Any) -> None:
    """Every head that CAM knows, on the rectified map and on the one before; the last is none of them."""
    layer = "conv2" if factory is nets.functional_relu else layer
    net, x = factory(dtype=dtype), nets.images(2).to(dtype)
    loop = torch.stack([ablated(net, x, [f"{layer}:{unit}"]) for unit in range(8)], 1)
    counted = _Counting(net)
    found = effect_of_each(counted, x, f"inside.{layer}", batch=1)
    rounding = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 0.0}[dtype]
    assert torch.allclose(found, loop.to(found.dtype), rtol=0, atol=rounding)
    read_off = factory is not nets.functional_relu and dtype is not torch.bfloat16
    assert (len(counted.sizes) < 8) == read_off


class _Guarded(nn.Module):
    """GAP and linear, as long as something is there."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nets.gap_linear()

    def forward(self, x: Tensor) -> Tensor:
        a = self.inside[:5](x)
        return self.inside[5:](a) + 10.0 * (a.sum((1, 2, 3)) == 0)[:, None]


def test_a_head_that_is_linear_on_this_image_only_is_not_read_off() -> None:
    """All units off are looked at too. Oracle: a slow loop."""
    net, x = _Guarded(), nets.images(2)
    counted = _Counting(net)
    found = effect_of_each(counted, x, "inside.inside.relu2", batch=1)
    loop = torch.stack([ablated(net, x, [f"inside.relu2:{unit}"]) for unit in range(8)], 1)
    assert torch.allclose(found, loop, **EXACT)
    assert len(counted.sizes) > 16


def test_what_each_unit_needs_is_asked_for_in_its_layer() -> None:
    net, x = nets.plain(), nets.images()
    for units, message in (([8], "unit 8 was asked for, but layer 'conv2' has 8 units"), ([], "asks for no unit")):
        with pytest.raises(ConvscopeError, match=message):
            effect_of_each(net, x, "conv2", units=units)
    with pytest.raises(ConvscopeError, match="batch=0"):
        effect_of_each(net, x, "conv2", batch=0)
    with pytest.raises(ConvscopeError, match="not \\(b, classes\\) logits"):
        effect_of_each(nets.dict_output(), x, "conv2")


def test_no_batch_is_larger_than_asked_for() -> None:
    net = _Counting(nets.plain())
    effect_of_each(net, nets.images(2), "inside.conv2", batch=3)
    assert max(net.sizes) == 3


# ---- nothing is left behind ----


RUNS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "ablated": lambda net, x: ablated(net, x, ["conv1:0", "conv2:1"]),
    "each": lambda net, x: effect_of_each(net, x, "conv2", batch=3),
    "importance": lambda net, x: most_important_units(net, x, layer="conv1", target=1),
    "means": lambda net, x: unit_means(net, [x, x], ["conv2"]),
    "activations": lambda net, x: unit_activations(net, x, ["conv2:0"]),
    "normalised": lambda net, x: normalised_after(net, x, ["conv1"]),
}


@pytest.mark.parametrize("run", RUNS)
def test_nothing_stays_after_an_exception_in_any_pass(run: str, untouched: Any) -> None:
    """The fixture ``untouched`` is the oracle; the network works as before."""
    for n in range(1, 20):
        net = untouched.watch(nets.raises_on_call(n).train())
        try:
            RUNS[run](net, nets.images())
        except nets.OutOfOrder:
            untouched.check()
        else:
            break
    assert n > 1
    untouched.check()
    assert net.training


@pytest.mark.parametrize("run", RUNS)
def test_a_network_in_train_mode_answers_as_in_evaluation(run: str, untouched: Any) -> None:
    def answer(train: bool) -> Any:
        inside = nets.norm_dropout(train=train)
        net = nn.Sequential(OrderedDict(conv1=inside[:2], conv2=inside[2:4], rest=inside[4:]))
        return RUNS[run](untouched.watch(net), nets.images())

    found, expected = answer(train=True), answer(train=False)
    if isinstance(found, dict):
        found, expected = list(found.values()), list(expected.values())
    for a, b in zip(found, expected, strict=True):
        assert a == b if isinstance(a, str) else torch.equal(a, b)
