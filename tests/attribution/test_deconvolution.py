"""The deconvnet against the walk by hand, the adjoint test, and an explicit unpool-rectify-transpose loop."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.attribution import deconvnet, gradient, guided_backprop
from convscope.attribution.deconvolution import kept, strongest, strongest_units
from convscope.errors import ConvscopeError
from convscope.network.picture_folders import find_images
from convscope.network.pictures import read_image
from convscope.network.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from convscope.network.targets import Unit
from tests import nets, oracles
from tests.attribution.rule_replica import signal_at_input

EXACT = {"rtol": 0, "atol": 1e-12}
SEQUENTIAL = (nets.plain, nets.inplace_relu, nets.overlapping_pool, nets.strided, nets.gap_linear, nets.conv_relu_gap)


def _maps(net: nn.Module) -> list[str]:
    """The layers of a sequential net below its pooling to one pixel and its head."""
    return [name for name, _ in net.named_children() if name.startswith(("conv", "relu", "pool1", "pool2"))][:6]


# ---- the walk by hand ----


@pytest.mark.parametrize("factory", [*SEQUENTIAL, nets.pool_conv, nets.norm_dropout, nets.mlp])
@pytest.mark.parametrize("target", [0, 3])
def test_a_class_starts_with_1_on_its_logit(factory: Callable[..., nn.Sequential], target: int) -> None:
    net, x = factory(), nets.images()
    assert torch.allclose(deconvnet(net, x, target=target), oracles.deconvnet(net, x, target=target), **EXACT)


@pytest.mark.parametrize("factory", SEQUENTIAL)
def test_every_layer_starts_with_what_is_kept_of_it(factory: Callable[..., nn.Sequential]) -> None:
    """The whole map, one unit, one position of it, from the first layer to the last: relu(A) there, 0 elsewhere."""
    net, x = factory(), nets.images()
    for layer in _maps(net):
        whole = oracles.deconvnet(net, x, layer=layer)
        unit = oracles.deconvnet(net, x, layer=layer, unit=4)
        neuron = oracles.deconvnet(net, x, layer=layer, unit=4, position=(1, 1))
        assert torch.allclose(deconvnet(net, x, layer=layer, target="map"), whole, **EXACT)
        assert torch.allclose(deconvnet(net, x, layer=layer, target=4), unit, **EXACT)
        assert torch.allclose(deconvnet(net, x, target=f"{layer}:4"), unit, **EXACT)
        assert torch.allclose(deconvnet(net, x, layer=layer, target=f"{layer}:4"), unit, **EXACT)
        assert torch.allclose(deconvnet(net, x, target=f"{layer}:4@1,1"), neuron, **EXACT)


@pytest.mark.parametrize("factory", SEQUENTIAL)
def test_without_a_target_the_strongest_position_of_each_image_is_shown(factory: Callable[..., nn.Sequential]) -> None:
    """Oracle: a slow search through each image's map, then the walk by hand from there."""
    net, x = factory(), nets.images(3)
    for layer in _maps(net):
        acts = oracles.forward_by_hand(net, x)[[n for n, _ in net.named_children()].index(layer) + 1]
        for image in range(3):
            value, unit, y, x0 = max(
                (acts[image, u, i, j].item(), -u, -i, -j)
                for u in range(acts.shape[1])
                for i in range(acts.shape[2])
                for j in range(acts.shape[3])
            )
            assert value > 0
            where = (-unit, (-y, -x0))
            expected = oracles.deconvnet(net, x[image : image + 1], layer=layer, unit=where[0], position=where[1])
            assert torch.allclose(deconvnet(net, x, layer=layer)[image : image + 1], expected, **EXACT)
            assert strongest(acts)[image] == (where[0], *where[1])
            assert strongest_units(net, x, layer)[image] == Unit(layer, *where)


def test_of_equal_activations_the_first_is_the_strongest() -> None:
    flat = torch.zeros(1, 2, 2, 3)
    assert strongest(flat) == [(0, 0, 0)]
    flat[0, 1, 0, 2] = flat[0, 1, 1, 0] = 1
    assert strongest(flat) == [(1, 0, 2)]


@pytest.mark.parametrize(
    "one_each",
    [["conv2:1", "conv2:5@0,3"], ("conv2:1", "conv2:5@0,3")],
)
def test_one_unit_each_starts_as_it_would_alone(one_each: Any) -> None:
    """Oracle: each image alone. The trap: a mean over the unit's map, as other methods explain it, for a seed."""
    net, x = nets.plain(), nets.images(2)
    single = torch.cat([deconvnet(net, x[i : i + 1], target=one_each[i]) for i in range(2)])
    assert torch.allclose(deconvnet(net, x, target=one_each), single, **EXACT)
    assert torch.allclose(deconvnet(net, x, target=one_each, layer="conv2"), single, **EXACT)


@pytest.mark.parametrize("one_each", [[1, 5], torch.tensor([1, 5]), ["1", "conv2:5"]])
def test_one_unit_number_each(one_each: Any) -> None:
    net, x = nets.plain(), nets.images(2)
    single = torch.cat([deconvnet(net, x[i : i + 1], target=f"conv2:{(1, 5)[i]}") for i in range(2)])
    assert torch.allclose(deconvnet(net, x, layer="conv2", target=one_each), single, **EXACT)


@pytest.mark.parametrize("one_each", [[1, 4], torch.tensor([1, 4])])
def test_one_class_each(one_each: Any) -> None:
    net, x = nets.plain(), nets.images(2)
    single = torch.cat([oracles.deconvnet(net, x[i : i + 1], target=(1, 4)[i]) for i in range(2)])
    assert torch.allclose(deconvnet(net, x, target=one_each), single, **EXACT)


def test_no_target_and_no_layer_is_the_top_class() -> None:
    net, x = nets.plain(), nets.images(3)
    assert torch.equal(deconvnet(net, x), deconvnet(net, x, target=net(x).argmax(1)))


def test_a_unit_of_a_linear_layer() -> None:
    net, x = nets.plain(), nets.images()
    unit = int(oracles.forward_by_hand(net, x)[9].sum(0).argmax())
    seed = torch.zeros(2, 16, dtype=x.dtype)
    seed[:, unit] = oracles.forward_by_hand(net, x)[9][:, unit].clamp(min=0)
    expected = oracles.backward_by_hand(net, x, seed, rule="deconv", layer="linear1")
    assert torch.allclose(deconvnet(net, x, layer="linear1", target=unit), expected, **EXACT)
    assert expected.any()


def test_a_class_in_probability_is_a_callable_target() -> None:
    """Paper replica with the softmax's slopes for a seed: the score's own softmax is no layer of the network."""
    net, x = nets.plain(), nets.images()
    p = net(x).detach().softmax(1)
    expected = oracles.backward_by_hand(net, x, p[:, 2:3] * (oracles.one_hot(p, 2) - p), rule="deconv")
    assert torch.allclose(deconvnet(net, x, target=lambda out: out.softmax(1)[:, 2]), expected, **EXACT)


def test_kept_is_a_slow_loop() -> None:
    acts = nets.images(2, 4, 3, 5)
    assert torch.equal(kept(acts.relu(), None), oracles.kept_activations(acts, None, None))
    assert torch.equal(kept(acts.relu(), [Unit("l", 2)] * 2), oracles.kept_activations(acts, 2, None))
    assert torch.equal(kept(acts.relu(), [Unit("l", 2, (1, 4))] * 2), oracles.kept_activations(acts, 2, (1, 4)))


# ---- adjoint ----


@nets.hard_net
def linear_with_overlapping_windows() -> nn.Module:
    """Linear once the switches are fixed: no bias, no rectifier; windows overlap, and some end at the edge."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 6, 3, padding=1, bias=False),
            pool1=nn.MaxPool2d(3, 2, padding=1),
            conv2=nn.Conv2d(6, 8, 3, stride=2, bias=False),
            pool2=nn.MaxPool2d(3, 1),
            pool3=nn.AvgPool2d(3, 1, padding=1),
            conv3=nn.Conv2d(8, 4, (1, 2), dilation=(1, 2), bias=False),
            flatten=nn.Flatten(),
        )
    )


@pytest.mark.parametrize("side", [(19, 22), (24, 24), (21, 30)])
def test_the_deconvnet_is_the_adjoint(side: tuple[int, int]) -> None:
    """<A x, v> = <x, A' v> for any v, to 1e-12: filters, padding, strides, and pooling whose windows overlap."""
    net, x = linear_with_overlapping_windows(), nets.images(2, 3, *side)
    out = net(x).detach()
    for seed in range(5):
        v = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed), dtype=out.dtype)
        back = deconvnet(net, x, target=lambda out, v=v: (out * v).sum(1))
        forth, received = (out * v).sum(), (x * back).sum()
        assert abs(forth - received) <= 1e-12 * (out.norm() * v.norm())


@pytest.mark.parametrize("layer", ["conv1", "pool1", "conv2", "pool2", "pool3", "conv3"])
def test_the_deconvnet_of_a_layer_is_the_adjoint(layer: str) -> None:
    """<A x, v> = <x, A' v> with v what is kept of the layer: a map, a unit, a position, the strongest one."""
    net, x = linear_with_overlapping_windows(), nets.images(1, 3, 24, 24)
    acts = oracles.forward_by_hand(net, x)[[n for n, _ in net.named_children()].index(layer) + 1]
    unit, y, x0 = strongest(acts)[0]
    for target, v in (
        ("map", acts.relu()),
        (unit, oracles.kept_activations(acts, unit, None)),
        (f"{layer}:{unit}@{y},{x0}", oracles.kept_activations(acts, unit, (y, x0))),
        (None, oracles.kept_activations(acts, unit, (y, x0))),
    ):
        back = deconvnet(net, x, layer=layer, target=target)
        assert abs((acts * v).sum() - (x * back).sum()) <= 1e-12 * (acts.norm() * v.norm())
        assert back.any()


# ---- VGG16, layer by layer ----


def _vgg16(channels: int) -> nn.Module:
    """torchvision's VGG16 trunk with ``channels`` instead of 64 in its first block, 512 in its last."""
    from torchvision.models.vgg import cfgs, make_layers

    thin = [c if c == "M" else c * channels // 64 for c in cfgs["D"]]
    return nn.Sequential(OrderedDict(features=make_layers(thin)))  # type: ignore[arg-type]


thin_vgg16 = nets.hard_net(lambda: _vgg16(8))
full_vgg16 = nets.hard_net(lambda: _vgg16(64))


def _unpool_rectify_transpose(layers: list[nn.Module], kept_maps: list[Tensor], signal: Tensor) -> Tensor:
    """Zeiler & Fergus 2014, section 2.1: down from the top of ``layers``, with torch's own unpooling."""
    for layer, below in zip(reversed(layers), reversed(kept_maps), strict=True):
        match layer:
            case nn.ReLU():
                signal = signal.clamp(min=0)
            case nn.MaxPool2d():  # 2x2/2: the windows do not overlap, so overwriting is adding
                _, switches = F.max_pool2d(below, 2, 2, return_indices=True)
                signal = F.max_unpool2d(signal, switches.expand_as(signal), 2, 2, output_size=below.shape[2:])
            case nn.Conv2d():
                signal = F.conv_transpose2d(signal, layer.weight.detach(), padding=1)
            case _:
                raise NotImplementedError(type(layer).__name__)
    return signal


def _compare_vgg(net: nn.Module, x: Tensor, number: int) -> None:
    layers = list(net.get_submodule("features"))[: number + 1]
    maps = oracles.forward_by_hand(nn.Sequential(*layers), x)
    acts, name = maps[-1].relu(), f"features.{number}"
    unit, y, x0 = strongest(acts)[0]
    other = (unit + 1) % acts.shape[1]
    targets = {
        other: oracles.kept_activations(acts, other, None),
        f"{name}:{unit}@{y},{x0}": oracles.kept_activations(acts, unit, (y, x0)),
        "map": acts,
        None: oracles.kept_activations(acts, unit, (y, x0)),
    }
    expected = _unpool_rectify_transpose(layers, maps[:-1], torch.cat(list(targets.values())))
    for target, picture in zip(targets, expected, strict=True):
        found = deconvnet(net, x, layer=name, target=target)[0]
        assert (found - picture).abs().max() <= 1e-12 * picture.abs().max()
        assert target == other or picture.any()


@pytest.mark.parametrize("number", range(31))
def test_vgg16_is_the_explicit_loop_at_every_layer(number: int) -> None:
    """Unit, position, map and strongest; from layer 0, where a widespread implementation fails, to the last pool."""
    _compare_vgg(thin_vgg16(), nets.images(1, h=64, w=64), number)


@pytest.mark.parametrize("number", [0, 16, 30])
def test_vgg16_at_its_full_width(number: int) -> None:
    _compare_vgg(full_vgg16(), nets.images(1, h=32, w=32), number)


# ---- any way to write a ReLU ----


@pytest.mark.parametrize("factory", nets.SAME_WEIGHTS)
def test_every_way_to_write_a_relu_gives_the_same_picture(factory: Callable[..., nn.Module]) -> None:
    """Invariant, to the last bit: a class, a unit, a position, a map, the strongest position."""
    net, plain, x = factory(), nets.plain(), nets.images()
    assert torch.equal(deconvnet(net, x, target=1), deconvnet(plain, x, target=1))
    for target in ("conv2:3", "conv2:3@2,2", "conv1:0", "linear1:2"):
        assert torch.equal(deconvnet(net, x, target=target), deconvnet(plain, x, target=target))
    for target in ("map", None):
        assert torch.equal(
            deconvnet(net, x, layer="pool2", target=target), deconvnet(plain, x, layer="pool2", target=target)
        )
    assert not torch.allclose(deconvnet(net, x, target=1), gradient(net, x, target=1))
    assert not torch.allclose(deconvnet(net, x, target=1), guided_backprop(net, x, target=1))


@pytest.mark.parametrize("factory", [nets.skip, nets.residual, nets.shared_conv])
def test_branches_around_a_rectifier_are_left_alone(factory: Callable[..., nn.Module]) -> None:
    """Oracle: hand-written backward passes in the places of the rectifiers."""
    net, x = factory(), nets.images()
    expected, count = signal_at_input(net, x, lambda out: out[:, 1], "deconv")
    assert count >= 2
    assert torch.allclose(deconvnet(net, x, target=1), expected, **EXACT)


@pytest.mark.parametrize("name", nets.RECTIFIERS)
def test_every_rectifier_rectifies_the_signal_whatever_its_forward_gate(name: str) -> None:
    net, x = nets.rectified_by(name), 3 * nets.images()
    expected, count = signal_at_input(net, x, lambda out: out[:, 1], "deconv")
    assert count == 3
    assert torch.allclose(deconvnet(net, x, target=1), expected, **EXACT)


def test_the_deconvnet_of_a_users_own_resnet(resnet20: nn.Module) -> None:
    """ResNet-20 has functional ReLUs only. Oracle: hand-written backward passes; and it is not the gradient."""
    x = nets.images(2, h=32, w=32, dtype=torch.float32)
    found = deconvnet(resnet20, x, target=3)
    expected, _ = signal_at_input(resnet20, x, lambda out: out[:, 3], "deconv")
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()
    plain = gradient(resnet20, x, target=3)
    assert (found - plain).abs().max() > 0.1 * plain.abs().max()


def test_on_squeezenet_a_class_dies_and_the_strongest_position_does_not(squeezenet: nn.Module, shared: Path) -> None:
    """Known: its head is convolution, ReLU, pooling; the linear combination of a class is negative further down."""
    prepare = Preprocess(size=256, crop=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, interpolation="bilinear")
    photos = find_images(shared / "data" / "imagenet_photos")[::25]
    assert len(photos) == 8
    x = torch.cat([prepare(read_image(photo)) for photo in photos])
    classes = deconvnet(squeezenet, x)
    reference, _ = signal_at_input(squeezenet, x, lambda out: out.amax(1), "deconv")
    assert torch.equal(classes.flatten(1).any(1), reference.flatten(1).any(1))
    zero = int((~classes.flatten(1).any(1)).sum())
    assert zero >= 5, f"only {zero} of 8 class pictures are zero"
    assert deconvnet(squeezenet, x, layer="features.12").flatten(1).any(1).all()


# ---- batches, inputs, refusals ----


@pytest.mark.parametrize("factory", [nets.plain, nets.residual, nets.norm_dropout])
@pytest.mark.parametrize("options", [{}, {"target": 2}, {"layer": "conv1"}, {"target": "conv1:3"}])
def test_a_batch_is_its_images_one_by_one(factory: Callable[..., nn.Module], options: dict[str, Any]) -> None:
    net, x = factory(), nets.images(4)
    single = torch.cat([deconvnet(net, x[i : i + 1], **options) for i in range(4)])
    assert torch.allclose(deconvnet(net, x, **options), single, **EXACT)


def test_train_mode_neither_mixes_the_batch_nor_drops_units() -> None:
    x = nets.images(3)
    for options in ({}, {"layer": "norm1"}):
        assert torch.equal(
            deconvnet(nets.norm_dropout(train=True), x, **options), deconvnet(nets.norm_dropout(), x, **options)
        )


@pytest.mark.parametrize(("dtype", "share"), [(torch.float16, 5e-3), (torch.bfloat16, 5e-2)])
def test_half_precision_is_near_single_and_comes_back_as_single(dtype: torch.dtype, share: float) -> None:
    x = nets.images(dtype=torch.float32)
    for options in ({"target": 1}, {"layer": "conv2", "target": "map"}):
        exact = deconvnet(nets.plain(dtype=torch.float32), x, **options)
        found = [deconvnet(nets.plain(dtype=dtype), x.to(dtype), **options)]
        with torch.autocast("cpu", dtype=dtype):
            found.append(deconvnet(nets.plain(dtype=torch.float32), x, **options))
        for picture in found:
            assert picture.dtype == exact.dtype == torch.float32
            assert (picture - exact).abs().max() <= share * exact.abs().max()


def test_channels_are_reduced_on_request() -> None:
    net, x = nets.plain(), nets.images()
    for options in ({"target": 1}, {"layer": "conv2"}):
        whole = deconvnet(net, x, **options)
        assert torch.equal(deconvnet(net, x, reduce="max-abs", **options), whole.abs().amax(1))


@pytest.mark.parametrize("surroundings", [torch.no_grad, torch.inference_mode])
def test_modes_around_do_not_stop_it(surroundings: Callable[[], Any]) -> None:
    net, frozen = nets.plain(), nets.frozen()
    for options in ({"target": 1}, {"layer": "conv2"}, {"target": "conv2:1"}):
        expected = deconvnet(net, nets.images(), **options)
        assert torch.equal(deconvnet(frozen, nets.images(), **options), expected)
        with surroundings():
            assert torch.equal(deconvnet(net, nets.images(), **options), expected)


def test_one_of_two_inputs_is_explained() -> None:
    """Oracle: the same net with the other input held fixed inside."""
    net, image, words = nets.two_inputs(), nets.images(), nets.images(2, 1, 1, 4).reshape(2, 4)

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = net

        def forward(self, x: Tensor) -> Tensor:
            return self.inside(x, words)

    given = {"words": words, "image": image}
    expected = deconvnet(Fixed(), image, target=1)
    assert torch.equal(deconvnet(net, (image, words), target=1), expected)
    assert torch.equal(deconvnet(net, given, target=1, wrt="image"), expected)
    expected = deconvnet(Fixed(), image, target="inside.conv2:1")
    assert torch.equal(deconvnet(net, given, target="conv2:1", wrt="image"), expected)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layer": "convv2"}, "no layer 'convv2' .*did you mean 'conv2'"),
        ({"target": "convv2:1"}, "no layer 'convv2'"),
        ({"layer": "conv2", "target": 8}, "unit 8 .* 8 units"),
        ({"layer": "conv2", "target": -1}, "target -1 does not select"),
        ({"target": "conv2:8"}, "unit 8 .* 8 units"),
        ({"target": "conv2:1@6,0"}, "position 6,0 .* 6 x 6"),
        ({"layer": "conv2", "target": "conv1:1"}, "unit of 'conv1'.*'conv2'"),
        ({"target": ["conv1:1", "conv2:1"]}, "unit of 'conv2'.*'conv1'"),
        ({"target": ["conv2:1", "conv2:1", "conv2:1"]}, "3 targets for 2 images"),
        ({"layer": "conv2", "target": [1]}, "1 targets for 2 images"),
        ({"layer": "conv2", "target": lambda out: out[:, 0]}, "does not select anything in layer 'conv2'"),
        ({"layer": "conv2", "target": "tabby"}, "neither a number nor a unit"),
        ({"target": "map"}, "neither a number nor a unit"),
        ({"target": 5}, "class 5 .* 5 classes"),
        ({"layer": "linear1"}, "has no positions; name a unit"),
        ({"layer": "linear1", "target": "linear1:2@0,0"}, "no map"),
    ],
)
def test_what_cannot_be_projected_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConvscopeError, match=says):
        deconvnet(nets.plain(), nets.images(), **options)


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        (nets.view_write, "CopySlices"),
        (nets.custom_function, "_OwnReLU"),
        (nets.checkpointed, "CheckpointFunction"),
        (nets.gelu_only, "no rectifier .* 2 x Gelu"),
        (nets.hardswish_mix, "1 rectifiers, but also 1 x Hardswish"),
        (nets.no_grad, "turns gradients off|runs without gradients"),
    ],
)
def test_what_the_rule_would_miss_is_named(factory: Callable[..., nn.Module], says: str) -> None:
    with pytest.raises(ConvscopeError, match=says):
        deconvnet(factory(), nets.images())


def test_below_what_is_hidden_a_layer_can_still_be_projected() -> None:
    """Oracle: closed form; the first convolution is below the write into a view."""
    net, x = nets.view_write(), nets.images()
    expected = F.conv_transpose2d(net.conv1(x).detach().relu(), net.conv1.weight.detach(), padding=1)
    assert torch.allclose(deconvnet(net, x, layer="conv1", target="map"), expected, **EXACT)


def test_the_strongest_unit_of_a_layer_without_positions_is_refused() -> None:
    """The friendly call asks for it before the deconvnet runs."""
    with pytest.raises(ConvscopeError, match=r"\(2, 5\) has no positions; name a unit of it"):
        strongest_units(nets.gap_linear(), nets.images(), "linear")
