"""What doctor says of the hard nets, each of which has one known property."""

import warnings

import pytest
import torch
from torch import nn

from convscope.attribution import cam, grad_cam, guided_backprop
from convscope.errors import ConvscopeError
from convscope.network.diagnosis import Finding, diagnose
from tests import nets
from tests.nets import hard_net
from tests.untouched import watch


def said(net: nn.Module, level: str | None = None) -> str:
    found = diagnose(net, nets.images(1, dtype=next(net.parameters()).dtype))
    return "\n".join(f.text for f in found if level in (None, f.level))


def test_a_plain_net_can_be_explained_by_every_method() -> None:
    net = nets.gap_linear(dtype=torch.float32)
    assert diagnose(net, nets.images(1, dtype=torch.float32)) == [
        Finding("good", "gradients reach the input: gradient, saliency, input x gradient and occlusion apply"),
        Finding("good", "2 rectifiers and no other activation: guided backprop and deconvnet apply"),
        Finding("good", "the last map before the head is 'relu2': Grad-CAM's default layer"),
        Finding("good", "the head is linear after a global average: CAM applies"),
    ]


@pytest.mark.parametrize("factory", nets.SAME_WEIGHTS)
def test_rectifiers_are_counted_however_they_are_written(factory) -> None:
    assert "3 rectifiers and no other activation" in said(factory(), "good")


@pytest.mark.parametrize(("factory", "missed"), [(nets.functional_relu, 3), (nets.reused_relu, 2), (nets.plain, 0)])
def test_rectifiers_that_hooks_on_modules_miss_are_named(factory, missed: int) -> None:
    text = said(factory(), "note")
    assert (f"{missed} rectifiers are functions or reused modules" in text) == bool(missed)


@pytest.mark.parametrize(
    "factory",
    [nets.plain, nets.gap_linear, nets.pool_conv, nets.conv_relu_gap, nets.residual, nets.skip, nets.mlp,
     nets.custom_function, nets.view_write, nets.gelu_only, nets.hardswish_mix, nets.linear_only, nets.clipped],
)  # fmt: skip
def test_what_is_said_is_what_the_methods_do(factory) -> None:
    """Oracle: the methods themselves, called on the same input."""
    net, x = factory(), nets.images(1)
    text = said(net)
    for words, method in [
        ("guided backprop and deconvnet apply", guided_backprop),
        ("average: CAM applies", cam),
        ("Grad-CAM's default layer", grad_cam),
    ]:
        try:
            method(net, x)
            applies = True
        except ConvscopeError:
            applies = False
        assert (words in text) == applies, method.__name__


def test_what_hides_is_named_and_bad() -> None:
    assert "1 x CopySlices: guided backprop and deconvnet are refused" in said(nets.view_write(), "bad")
    assert "_OwnReLU" in said(nets.custom_function(), "bad")
    assert "no graph was recorded" in said(nets.no_grad(), "bad")


def test_other_activations_are_named_with_what_helps() -> None:
    assert "1 x Hardswish, besides 1 rectifiers: guided backprop and deconvnet need --partial" in said(
        nets.hardswish_mix(), "bad"
    )
    assert "2 x Gelu, and no rectifier: guided backprop and deconvnet are refused" in said(nets.gelu_only(), "bad")


def test_a_network_without_maps_is_not_promised_a_grad_cam() -> None:
    text = said(nets.mlp())
    assert "no layer that gives maps" in text
    assert "Grad-CAM applies" not in text
    assert text.count("no layer that gives maps") == 1


def test_training_mode_frozen_weights_precision_and_in_place_are_notes() -> None:
    assert "modules are in training mode" in said(nets.norm_dropout(train=True), "note")
    assert "8 of 8 parameter tensors are frozen" in said(nets.frozen(), "note")
    assert "parameters are float64" in said(nets.plain(), "note")
    assert "float" not in said(nets.plain(dtype=torch.float32))
    assert "some ReLUs work in place" in said(nets.inplace_relu(), "note")


def test_layers_that_run_often_or_never_are_notes() -> None:
    assert "1 layers run several times a pass; name one call, such as 'conv2#2'" in said(nets.shared_conv(), "note")
    assert "1 layers did not run or return no tensor, such as 'auxiliary'" in said(nets.unused_layer(), "note")


def test_a_scripted_and_a_compiled_model_are_told_at_once() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and still met
        scripted = torch.jit.trace(nets.plain(), nets.images(1))
    compiled = nets.plain()
    compiled.compile()
    watch(compiled)
    for model, word in ((scripted, "TorchScript"), (compiled, "compiled")):
        (found,) = diagnose(model, nets.images(1))
        assert found.level == "bad"
        assert word in found.text


def test_a_network_that_raises_is_reported_and_nothing_is_left_on_it() -> None:
    net = nets.raises_for(lambda x: True)
    found = diagnose(net, nets.images(1))
    watch(net)  # it counts its own calls
    assert found[-1].level == "bad"
    assert "the network raises OutOfOrder on (1, 3, 12, 12)" in found[-1].text


@hard_net
def speechless() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())


def test_a_network_without_logits_is_told_what_to_give() -> None:
    assert "give a callable target" in said(speechless(), "bad")
    assert "give a callable target" in said(nets.dict_output(), "bad")
