"""The default layer and CAM's weights. Oracles: names by hand, goldens, and the logits themselves."""

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.head import class_maps, default_layer, linear_head
from convscope.network.layers import trace_layers
from convscope.network.taps import tap
from tests import nets
from tests.nets import heads
from tests.network.test_graph_names import empty
from tests.untouched import watch

# ---- the default layer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factory", "layer"),
    [
        (nets.gap_linear, "relu2"),
        (nets.pool_conv, "relu2"),
        (nets.conv_relu_gap, "relu2"),
        (nets.plain, "relu2"),
        (nets.reused_relu, "rectify#2"),
        (nets.overlapping_pool, "relu2"),
        (nets.norm_dropout, "relu1"),
        (nets.residual, "down"),
        (heads.trunk_of_parts, "features.3"),
        (lambda: heads.trunk_of_parts(pooled=False), "features.3"),
        (heads.stages, "stage2"),
        (heads.as_many_channels_as_classes, "stage2"),
        (heads.attention_below_a_convolutional_head, "relu#1"),
        (heads.backbone, "stage2"),
        (heads.rectified_before_the_mean, "features"),
        (heads.tokens, "patches"),
    ],
)
def test_the_last_map_before_the_head(factory: Callable[..., nn.Module], layer: str) -> None:
    """Oracle: by hand; and the name can be tapped as it is."""
    net, x = factory(), nets.images()
    assert default_layer(net, x) == layer
    with evaluation(net), tap(net, layer) as seen:
        net(x)
    assert seen[layer].ndim == 4


@pytest.mark.parametrize("architecture", ["resnet18", "squeezenet1_1", "swin_t"])
def test_no_inner_layer_takes_the_place_of_a_last_map_of_one_cell(architecture: str) -> None:
    """Oracle: by hand. At 32 px these shrink to 1 x 1: by a strided convolution, a pooling, a merging of patches."""
    net = empty(architecture)
    with pytest.raises(ConvscopeError, match="last map is a single cell at this input size"):
        default_layer(net, nets.images(1, 3, 32, 32).float())


@pytest.mark.parametrize(
    ("architecture", "layer"),
    [
        ("resnet50", "layer4"),
        ("vgg16", "features.29"),
        ("squeezenet1_0", "features.12"),
        ("densenet121", "features"),
        ("googlenet", "inception5b"),
        ("mobilenet_v2", "features.18"),
        ("efficientnet_b0", "features.8"),
        ("convnext_tiny", "features.7"),
        ("shufflenet_v2_x0_5", "conv5.2"),
        ("swin_t", "permute"),
    ],
)
def test_golden_layers_of_torchvision(architecture: str, layer: str) -> None:
    assert default_layer(empty(architecture), torch.zeros(1, 3, 64, 64)) == layer


def test_golden_layers_of_real_networks(squeezenet: nn.Module, resnet20: nn.Module) -> None:
    assert default_layer(squeezenet, torch.zeros(1, 3, 224, 224)) == "features.12"
    assert default_layer(resnet20, torch.zeros(1, 3, 32, 32)) == "layer3"


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (nets.mlp, r"Sequential has no layer that gives maps \(b, c, h, w\) larger than 1 x 1"),
    ],
)
def test_networks_without_a_last_map_are_refused(factory: Callable[..., nn.Module], message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        default_layer(factory(), nets.images())


def test_several_inputs_and_inputs_that_are_written_into() -> None:
    x, words = nets.images(), torch.ones(2, 4, dtype=torch.float64)
    assert default_layer(nets.two_inputs(), (x, words)) == "conv2"
    assert default_layer(nets.two_inputs(), {"words": words, "image": x}) == "conv2"
    assert default_layer(nets.writes_input(), x) == "conv2"
    assert torch.equal(x, nets.images())


# ---- what is remembered --------------------------------------------------------------------------------------


def test_the_layer_is_found_once_and_again_when_layers_or_sizes_change() -> None:
    """Oracle: the number of passes. What was found must not depend on what was asked before."""
    net, passes = heads.shrinking(), []
    handle = net.register_forward_hook(lambda *_: passes.append(1))
    for side, count in ((16, 1), (16, 1), (24, 2), (16, 3)):
        assert default_layer(net, nets.images(2, h=side, w=side)) == "stage3"
        assert len(passes) == count
    with pytest.raises(ConvscopeError, match=r"last map is a single cell at this input size; .* such as 'stage2'"):
        default_layer(net, nets.images(2, h=8, w=8))
    net.stage3 = nn.MaxPool2d(2)
    assert default_layer(net, nets.images(2, h=16, w=16)) == "stage2"
    handle.remove()
    watch(net)


def test_a_layer_at_the_address_of_an_old_one_is_no_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python gives an id again once its owner is gone; here all ids are one."""
    net, x = heads.shrinking(), nets.images(h=24, w=24)
    monkeypatch.setattr("builtins.id", lambda _: 7)
    assert default_layer(net, x) == "stage3"
    net.stage3 = nn.MaxPool2d(2)
    assert default_layer(net, x) == "stage2"
    monkeypatch.undo()
    watch(net)


def test_nothing_is_held_of_a_model_that_is_gone() -> None:
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    default_layer(net, torch.zeros(1, 3, 8, 8))
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_one_image_of_a_batch_is_run_and_its_outputs_are_not_held() -> None:
    """A batch of large images would fill the memory. Oracle: what is alive when a layer begins."""
    net, alive, sizes = nets.plain(), [], []
    records: list[weakref.ref[Tensor]] = []

    def begin(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        alive.append(sum(ref() is not None for ref in records))
        sizes.append(len(args[0]))

    handles = [part.register_forward_pre_hook(begin) for part in net]
    handles += [part.register_forward_hook(lambda *io: records.append(weakref.ref(io[-1]))) for part in net]
    default_layer(net, nets.images(7))
    for handle in handles:
        handle.remove()
    assert set(sizes) == {1}
    assert max(alive) <= 2


# ---- CAM's weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factory", "layer", "rectified", "rectified_input"),
    [
        (nets.gap_linear, "relu2", False, False),
        (lambda: nets.gap_linear(bias=False), "relu2", False, False),
        (nets.pool_conv, "relu2", False, False),
        (nets.conv_relu_gap, "relu2", True, False),
        (heads.rectified_before_the_mean, "features", False, True),
        (nets.gap_linear, "conv2", False, True),
    ],
)
def test_the_mean_of_the_class_maps_is_the_logit(
    factory: Callable[..., nn.Module], layer: str, rectified: bool, rectified_input: bool
) -> None:
    """Oracle: the network's own logits, put together from the head, unit by unit."""
    net, x = factory(), nets.images(3)
    head, activation, logits = linear_head(net, x, layer)
    assert (head.rectified, head.rectified_input) == (rectified, rectified_input)
    assert torch.equal(logits, net(x))
    given = activation.relu() if rectified_input else activation
    maps = torch.einsum("kc,bchw->bkhw", head.weights, given) + head.bias[:, None, None]
    mean = (maps.relu() if rectified else maps).mean((2, 3))
    assert torch.allclose(mean, logits, rtol=0, atol=1e-14)
    assert torch.allclose(class_maps(given, head.weights, head.bias), maps, rtol=0, atol=1e-14)
    assert not head.weights.requires_grad


def test_a_real_squeezenet_has_such_a_head_and_the_cifar_resnet_too(squeezenet: nn.Module, resnet20: nn.Module) -> None:
    """Oracle: the logits of a random picture, in float32."""
    for net, side, layer in ((squeezenet, 96, "features.12"), (resnet20, 32, "layer3")):
        x = nets.images(2, h=side, w=side, dtype=torch.float32)
        head, activation, logits = linear_head(net, x, layer)
        maps = class_maps(activation, head.weights, head.bias)
        mean = (maps.relu() if head.rectified else maps).mean((2, 3))
        assert torch.allclose(mean, logits, rtol=1e-4, atol=1e-4)
        assert head.rectified == (net is squeezenet)


@pytest.mark.parametrize(
    ("factory", "layer", "message"),
    [
        (nets.plain, "relu2", r"CAM needs a head .* the map of 'relu2' .* Grad-CAM explains any head"),
        (nets.gap_linear, "relu1", "CAM needs a head"),
        (nets.gap_linear, "flatten", r"layer 'flatten' gives \(2, 8\), not maps"),
        (nets.skip, "conv2", "CAM needs a head"),
        (nets.dict_output, "conv2", r"returns a dict, not \(b, classes\) logits"),
        (nets.gap_linear, "relu9", "did you mean 'relu[12]'"),
    ],
)
def test_another_head_is_refused(factory: Callable[..., nn.Module], layer: str, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        linear_head(factory(), nets.images(), layer)


def test_vgg_is_refused_though_its_last_layer_is_linear() -> None:
    with pytest.raises(ConvscopeError, match="VGG's logits are not that; Grad-CAM"):
        linear_head(empty("vgg11"), torch.zeros(1, 3, 64, 64), "features.19")


def test_a_head_is_proved_by_the_logits_of_the_very_input_not_by_its_shape() -> None:
    """A linear layer of the right shape that is not what makes the logits, defined last."""
    net = nets.gap_linear()
    with torch.random.fork_rng(devices=[]):
        net.decoy = nn.Linear(8, nets.CLASSES).double()
    net.forward = lambda x: nn.Sequential.forward(net[:-1], x)  # type: ignore[method-assign]
    watch(net)
    head, _, _ = linear_head(net, nets.images(), "relu2")
    assert torch.equal(head.weights, net.get_submodule("linear").weight)
    net.forward = lambda x: nn.Sequential.forward(net[:-1], x) * 2.0  # type: ignore[method-assign]
    watch(net)
    with pytest.raises(ConvscopeError, match="CAM needs a head"):
        linear_head(net, nets.images(), "relu2")


def test_the_head_of_a_network_that_writes_into_its_input_leaves_the_callers_alone() -> None:
    x = nets.images()
    with pytest.raises(ConvscopeError, match="CAM needs a head"):
        linear_head(nets.writes_input(), x, "conv1")
    linear_head(nets.writes_input(), x, "conv2")
    assert torch.equal(x, nets.images())


def test_a_pass_that_looks_for_the_last_map_can_be_interrupted() -> None:
    """The fixture sees that no hook stays."""
    with pytest.raises(nets.OutOfOrder):
        default_layer(nets.raises_on_call(1), nets.images())
    with pytest.raises(KeyboardInterrupt):
        trace_layers(nets.plain(), nets.images(), lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
