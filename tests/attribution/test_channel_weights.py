"""What Ablation-CAM and Score-CAM have in common: batches, targets, layers, inputs, surroundings, refusals.

Each on its own is held against its paper in test_ablation_map.py and test_score_map.py.
"""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import ablation_cam, grad_cam, score_cam
from convscope.errors import ConvscopeError
from tests import nets
from tests.attribution.test_gradients import words_then_image
from tests.nets.building import hard_net

EXACT = {"rtol": 0, "atol": 1e-11}
BOTH = pytest.mark.parametrize("method", [ablation_cam, score_cam], ids=["ablation-cam", "score-cam"])


class _Counting(nn.Module):
    """Remembers how many images went through at a time."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside, self.sizes = inside, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return self.inside(x)


# ---- batches ----


@BOTH
@pytest.mark.parametrize("layer", ["relu1", "relu2"])
def test_the_size_of_a_batch_changes_nothing(method: Any, layer: str) -> None:
    net, x = nets.plain(), nets.images(2)
    one = method(net, x, layer=layer, relu=False, batch=1)
    assert one.any()
    for batch in (2, 3, 64, 1000):
        assert torch.allclose(method(net, x, layer=layer, relu=False, batch=batch), one, **EXACT)


@BOTH
def test_no_more_images_than_a_batch_go_through_at_a_time(method: Any) -> None:
    """All channels are tried once for each image, in passes of ``batch``; whatever the images, targets and layers."""
    net = _Counting(nets.gap_linear())
    channels = {layer: net.inside.get_submodule(f"conv{layer[-1]}").out_channels for layer in ("relu1", "relu2")}
    for batch in (1, 3, 4):
        for target in (None, 1):
            net.sizes.clear()
            method(net, nets.images(5), target=target, layer=["inside.relu1", "inside.relu2"], batch=batch)
            assert max(net.sizes) <= batch
            once = 2 if target is None else 1  # the image itself, and its top class where none is named
            disturbed = len(channels)  # and once with each layer disturbed
            assert sum(net.sizes) == 5 * (sum(channels.values()) + disturbed + once)


@BOTH
def test_each_step_is_told_and_the_last_is_all(method: Any) -> None:
    told: list[tuple[int, int]] = []
    method(nets.plain(), nets.images(2), target=0, layer="conv1", batch=3, on_step=lambda *step: told.append(step))
    count = nets.plain().get_submodule("conv1").out_channels
    steps = [min(done, count) for done in range(3, count + 3, 3)]
    assert told == [(done, 2 * count) for done in [*steps, *(count + done for done in steps)]]


@BOTH
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_is_passed_on_and_leaves_nothing(method: Any, error: type[BaseException]) -> None:
    """The autouse fixture is the oracle; a second call gives the same map as an undisturbed one."""
    net, x = nets.norm_dropout(train=True), nets.images(2)

    def interrupt(done: int, every: int) -> None:
        if done > every / 3:
            raise error

    with pytest.raises(error):
        method(net, x, layer="relu1", batch=2, on_step=interrupt)
    assert torch.equal(method(net, x, layer="relu1"), method(nets.norm_dropout(), x, layer="relu1"))


# ---- targets, layers, inputs ----


@BOTH
@pytest.mark.parametrize("targets", [[4, 0, 2], torch.tensor([4, 0, 2]), ("4", "relu2:1", 2), None, torch.tensor(1)])
def test_a_batch_is_its_images_one_by_one_each_with_its_own_target(method: Any, targets: Any) -> None:
    net, x = nets.plain(), nets.images(3)
    own = targets.tolist() if isinstance(targets, Tensor) else targets
    own = own if isinstance(own, list | tuple) else [own] * 3
    single = [method(net, x[i : i + 1], target=own[i], layer="relu1", relu=False) for i in range(3)]
    found = method(net, x, target=targets, layer="relu1", relu=False)
    assert torch.allclose(found, torch.cat(single), **EXACT)


@BOTH
def test_without_a_target_it_is_the_top_class_of_the_image_as_it_is(method: Any) -> None:
    """The trap: each changed image's own top class."""
    net, x = nets.plain(seed=3), 5 * nets.images(6)
    top = net(x).argmax(1).tolist()
    assert len(set(top)) > 1
    assert torch.equal(method(net, x, relu=False), method(net, x, target=top, relu=False))


@BOTH
def test_several_layers_give_a_dict_of_the_single_maps(method: Any) -> None:
    net, x, layers = nets.plain(), nets.images(2), ["relu2", "conv1", "relu1"]
    found = method(net, x, target=1, layer=layers)
    assert list(found) == layers
    for layer in layers:
        assert torch.allclose(found[layer], method(net, x, target=1, layer=layer), **EXACT)


@BOTH
def test_the_map_is_rectified_unless_asked_not_to_be(method: Any) -> None:
    net, x = nets.plain(), nets.images(3)
    signed = method(net, x, target=1, layer="conv1", relu=False)
    assert (signed < 0).any()
    assert torch.equal(method(net, x, target=1, layer="conv1"), signed.relu())


@BOTH
def test_functions_probabilities_and_outputs_of_any_kind_are_explained(method: Any) -> None:
    """Oracle: the same score written in another way."""
    net, x = nets.plain(), nets.images(2)
    asked: Any = {"layer": "relu1", "relu": False}
    by_function = method(net, x, target=lambda out: out.softmax(1)[:, 2], **asked)
    assert torch.allclose(method(net, x, target=2, score="probability", **asked), by_function, **EXACT)
    assert not torch.allclose(by_function, method(net, x, target=2, **asked))
    own, head = nets.dict_output(), {"layer": "conv2", "relu": False}
    of_class = method(_Logits(own), x, target=3, layer="inside.conv2", relu=False)
    assert torch.allclose(method(own, x, target=lambda out: out["logits"][:, 3], **head), of_class, **EXACT)


class _Logits(nn.Module):
    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(x)["logits"]


@BOTH
def test_the_other_inputs_repeat_with_the_copies(method: Any) -> None:
    """Oracle: a network with one image's words built in; the image may come second, the words be integers."""
    net, image, words = words_then_image(), nets.images(3), torch.tensor([[1, 2, 3], [0, 6, 6], [5, 5, 4]])
    layer = next(name for name, part in net.named_modules() if isinstance(part, nn.Conv2d))
    asked: Any = {"target": 0, "relu": False, "batch": 4}
    by_place = method(net, (words, image), wrt=1, layer=layer, **asked)
    by_name = method(net, {"words": words, "image": image}, wrt="image", layer=layer, **asked)
    assert torch.equal(by_name, by_place)
    for i in range(3):
        alone = method(_Saying(net, words[i : i + 1]), image[i : i + 1], layer=f"inside.{layer}", **asked)
        assert torch.allclose(by_place[i : i + 1], alone, **EXACT)
    with pytest.raises(ConvscopeError, match=r"an input of shape \(1, 3\) beside 3 images"):
        method(net, (words[:1], image), wrt=1, layer=layer, **asked)


class _Saying(nn.Module):
    def __init__(self, inside: nn.Module, words: Tensor) -> None:
        super().__init__()
        self.inside, self.words = inside, words

    def forward(self, image: Tensor) -> Tensor:
        return self.inside(self.words.expand(len(image), -1), image)


# ---- hard networks and surroundings ----


@BOTH
@pytest.mark.parametrize("factory", nets.SAME_WEIGHTS)
def test_a_relu_may_be_written_in_any_way(method: Any, factory: Callable[..., nn.Module]) -> None:
    """Oracle: the same weights with module ReLUs; conv1 is followed by a ReLU that may write into its output."""
    x = nets.images(2)
    expected = method(nets.plain(), x, target=1, layer="conv1", relu=False)
    assert torch.allclose(method(factory(), x, target=1, layer="conv1", relu=False), expected, **EXACT)


@BOTH
def test_no_gradient_is_needed(method: Any) -> None:
    """Graphs that cannot be seen into, and none at all, do not matter; oracle: the same layers written plainly."""
    x = nets.images(2)
    plainly = method(nets.raises_for(lambda x: False), x, target=1, layer="conv1", relu=False)
    for factory in (nets.no_grad, nets.checkpointed, nets.custom_function):
        found = method(factory(), x, target=1, layer="conv1", relu=False)
        assert torch.allclose(found, plainly, **EXACT), factory.__name__


@BOTH
@pytest.mark.parametrize("surroundings", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_frozen_parameters_and_modes_around_do_not_stop_it(method: Any, surroundings: Callable[[], Any]) -> None:
    x = nets.images()
    expected = method(nets.plain(), x, layer="relu1", relu=False)
    with surroundings():
        found = method(nets.plain(), nets.images(), layer="relu1", relu=False)
        assert not found.requires_grad
        assert not found.is_inference()
        assert torch.equal(found, expected)
    assert torch.equal(method(nets.frozen(), x, layer="relu1", relu=False), expected)


@BOTH
def test_train_mode_neither_mixes_the_batch_nor_drops_units(method: Any) -> None:
    x = nets.images(3)
    assert torch.equal(method(nets.norm_dropout(train=True), x), method(nets.norm_dropout(), x))


@BOTH
@pytest.mark.parametrize(("dtype", "share"), [(torch.float16, 5e-2), (torch.bfloat16, 3e-1)])
def test_half_precision_is_near_single_and_comes_back_as_single(method: Any, dtype: torch.dtype, share: float) -> None:
    asked: Any = {"target": 1, "layer": "relu1", "relu": False}
    single = method(nets.plain(dtype=torch.float32), nets.images(dtype=torch.float32), **asked)
    found = method(nets.plain(dtype=dtype), nets.images(dtype=dtype), **asked)
    assert found.dtype == single.dtype == torch.float32
    assert (found - single).abs().max() <= share * single.abs().max()


@BOTH
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_image_has_a_map(method: Any, value: float) -> None:
    found = method(nets.plain(), torch.full((1, 3, 12, 12), value, dtype=torch.float64), relu=False)
    assert found.isfinite().all()
    assert found.any()


# ---- refusals ----


class _Aside(nn.Module):
    """A second convolution beside the one that the logits come from."""

    def __init__(self, inside: nn.Module, used: bool = False) -> None:
        super().__init__()
        self.inside, self.aside, self.used = inside, nn.Conv2d(3, 4, 3), used

    def forward(self, x: Tensor) -> Any:
        logits, aside = self.inside(x), self.aside(x)
        return (logits, aside) if self.used else logits


@hard_net
def _aside(used: bool, frozen: bool) -> nn.Module:
    return _Aside(inspect.unwrap(nets.gap_linear)(), used).requires_grad_(not frozen)


@BOTH
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    ("target", "layer"),
    [
        (1, "aside"),  # its output goes nowhere
        ("aside:2", "inside.relu1"),  # a unit of a parallel branch
        ("inside.conv1:2", "inside.relu2"),  # below the layer
        (lambda out: out[1].mean((1, 2, 3)), "inside.relu1"),  # another of the network's outputs
        (1, ["inside.relu1", "aside"]),
        ([1, "aside:2"], "aside"),  # of the first image only
    ],
)
def test_a_layer_that_the_score_does_not_come_from_is_refused(
    method: Any, target: Any, layer: Any, frozen: bool
) -> None:
    """As Grad-CAM does; a map of equal trials would look like a finding."""
    net, x = _aside(callable(target), frozen), nets.images(2)
    name = layer if isinstance(layer, str) else layer[-1]
    for one in (method, grad_cam) if not isinstance(target, list) else (method,):
        with pytest.raises(ConvscopeError, match=f"the score does not depend on .*{name}"):
            one(net, x, target=target, layer=layer)


class _Hidden(nn.Module):
    """Logits that the graph does not trace back to the layer, with parameters on the way; or saturated ones."""

    def __init__(self, inside: nn.Module, how: str) -> None:
        super().__init__()
        self.inside, self.how = inside, how
        self.last = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.inside(x)
        if self.how == "saturated":
            return 0 * logits + 1
        return self.last(logits.detach())


@hard_net
def _hidden(how: str) -> nn.Module:
    return _Hidden(inspect.unwrap(nets.gap_linear)(), how)


@BOTH
@pytest.mark.parametrize("how", ["detached", "saturated"])
def test_a_score_that_comes_from_the_layer_is_not_refused_for_its_graph_or_its_value(method: Any, how: str) -> None:
    """Neither the graph alone nor the disturbance alone would tell."""
    found = method(_hidden(how), nets.images(2), target=1, layer="inside.relu1", relu=False)
    assert found.isfinite().all()
    assert found.any() != (how == "saturated" and method is ablation_cam)


@BOTH
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch": 0}, "batch=0: at least one image"),
        ({"layer": "relu3"}, "no layer 'relu3'"),
        ({"layer": "linear"}, r"layer 'linear' gives \(1, 5\)"),
        ({"layer": []}, r"layer=\[\] asks for no layer"),
        ({"target": 99}, "class 99 was asked for, but the network has 5 classes"),
        ({"target": [1, 2, 3]}, "3 targets for 2 images"),
        ({"target": "relu2:99"}, "unit 99 was asked for"),
        ({"score": "loss"}, "score 'loss' is neither"),
        ({"target": "relu2:1", "score": "probability"}, "goes with classes"),
        ({"wrt": 1, "x": (nets.images(2),)}, "no input 1"),
        ({"x": nets.images(2)[0]}, r"has shape \(3, 12, 12\); it must be \(b, c, H, W\)"),
        ({"x": nets.images(2)[:0]}, "a batch of no images"),
        ({"x": torch.zeros(2, 3, 12, 12, dtype=torch.uint8)}, "must be a floating-point tensor"),
    ],
)
def test_what_makes_no_sense_is_refused(method: Any, options: dict[str, Any], says: str) -> None:
    given = {"x": nets.images(2), **options}
    with pytest.raises(ConvscopeError, match=says):
        method(nets.gap_linear(), **given)
