"""24 torchvision architectures with random weights: what runs, what is refused and why, stated for each beforehand.

They load by name and list their layers; Grad-CAM, CAM, guided backprop and receptive fields run or refuse with the
reason in the table. Oracles: guided backprop equals hand-written backward passes in the places of the rectifiers'
calls (``rule_replica.py``); the mean of CAM and a bias is the logit; receptive fields as published where they are.
"""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import cam, grad_cam, guided_backprop
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.layers import recorded_outputs, run_model
from convscope.network.loading import load
from convscope.network.passes import image_leaf
from convscope.network.receptive_fields import ReceptiveField, receptive_field
from convscope.network.taps import tap
from tests.attribution.rule_replica import signal_at_input

OTHER_HEAD = "CAM needs a head that takes the mean"


@dataclass(frozen=True)
class Expected:
    """``guided``: the count of rectifiers, or why it refuses; ``cam``: True, or why it refuses.

    ``layer`` is the default one; ``field`` its receptive field and stride, None
    where that is the whole input.
    """

    layer: str
    calls: int
    guided: int | str
    cam: bool | str
    field: tuple[int, int] | None
    side: int = 64
    partial: int = 0  # rectifiers beside other nonlinearities


GELU = "no rectifier between the score and the input, but {} x Gelu"
EXPECTED = {
    "alexnet": Expected("features.11", 23, 7, OTHER_HEAD, (163, 16)),
    "vgg11": Expected("features.19", 31, 10, OTHER_HEAD, (134, 16)),
    "vgg16_bn": Expected("features.42", 54, 15, OTHER_HEAD, (196, 16)),
    "resnet18": Expected("layer4", 75, 17, True, (435, 32)),
    "resnet50": Expected("layer4", 182, 49, True, (427, 32)),
    "resnext50_32x4d": Expected("layer4", 182, 49, True, (427, 32)),
    "wide_resnet50_2": Expected("layer4", 182, 49, True, (427, 32)),
    "squeezenet1_0": Expected("features.12", 67, 26, True, (155, 16)),
    "squeezenet1_1": Expected("features.12", 67, 26, True, (207, 16)),
    "densenet121": Expected("features", 432, 121, True, (2071, 32)),
    "inception_v3": Expected("Mixed_7c", 298, 94, True, (1311, 32), side=107),
    "googlenet": Expected("inception5b", 223, 57, True, (379, 32)),
    "shufflenet_v2_x0_5": Expected("conv5.2", 191, 37, True, (527, 32)),
    "mobilenet_v2": Expected("features.18", 212, 35, True, (491, 32)),
    "mobilenet_v3_small": Expected(
        "features.12", 208, "14 rectifiers, but also 9 x Hardsigmoid, 19 x Hardswish", OTHER_HEAD, None, partial=14
    ),
    "mobilenet_v3_large": Expected(
        "features.16", 254, "19 rectifiers, but also 8 x Hardsigmoid, 21 x Hardswish", OTHER_HEAD, None, partial=19
    ),
    "mnasnet0_5": Expected("layers.16", 181, 35, True, (843, 32)),
    "regnet_y_400mf": Expected("trunk_output", 343, "65 rectifiers, but also 16 x Sigmoid", True, None, partial=65),
    "regnet_x_400mf": Expected("trunk_output", 331, 67, True, (975, 32)),
    "efficientnet_b0": Expected(
        "features.8", 329, "no rectifier between the score and the input, but 16 x Sigmoid, 49 x Silu", True, None
    ),
    "convnext_tiny": Expected("features.7", 202, GELU.format(18), OTHER_HEAD, (1688, 32)),
    # the last attention's input: the patches' outputs after it do not reach the class token. Its untrained head is all
    # zeros, so that the logits are the mean of any map
    "vit_b_16": Expected("encoder.layers.encoder_layer_11.ln_1", 127, GELU.format(12), True, None, side=224),
    "swin_t": Expected("permute", 167, GELU.format(12) + ", 12 x Softmax", True, None),
    "maxvit_t": Expected("blocks.3", 686, GELU.format(45) + ", 11 x Sigmoid, 11 x Silu", OTHER_HEAD, None, side=224),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_it_loads_lists_and_runs_or_says_why_not(name: str) -> None:
    """One test a network, since building it takes longer than all else."""
    expected = EXPECTED[name]
    with torch.random.fork_rng(devices=[]):  # random weights come from the global state
        torch.manual_seed(0)
        net = load(f"torchvision:{name}", weights="random", device="cpu")
    x = torch.randn(1, 3, expected.side, expected.side, generator=torch.Generator().manual_seed(0))
    assert len(net.classes) == 1000
    assert not net.module.training
    assert _input_side(net.preprocess) >= 224
    assert len(recorded_outputs(net.module, x)) == expected.calls
    _check_grad_cam(net.module, x, expected)
    _check_cam(net.module, x, expected)
    _check_guided(net.module, x, expected)
    _check_receptive_field(net.module, x, expected)
    for part in net.module.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
        assert not part.training
    assert all(weight.requires_grad and weight.grad is None for weight in net.module.parameters())


def _input_side(preprocess: object) -> int:
    crop = preprocess.crop  # type: ignore[attr-defined]
    return crop if isinstance(crop, int) else min(crop)


def _check_grad_cam(net: nn.Module, x: Tensor, expected: Expected) -> None:
    """At the default layer as by its name; its values against torch's own gradient there."""
    found = grad_cam(net, x, target=3, layer=expected.layer, relu=False)
    with evaluation(net), tap(net, expected.layer) as seen:
        logits = run_model(net, x.clone())
        acts = seen[expected.layer]
    (g,) = torch.autograd.grad(logits[0, 3], acts)
    if acts.ndim == 3:  # a class token before 14 x 14 patches
        g, acts = (t[:, 1:].reshape(1, 14, 14, -1).permute(0, 3, 1, 2) for t in (g, acts))
    reference = torch.einsum("bc,bchw->bhw", g.mean((2, 3)), acts.detach())
    assert (found - reference).abs().max() <= 1e-5 * reference.abs().max()
    assert found.shape[1] * found.shape[2] > 1
    assert found.any() != expected.layer.startswith("encoder")  # ViT's head starts at zero
    assert torch.equal(grad_cam(net, x, target=3), found.relu())


def _check_cam(net: nn.Module, x: Tensor, expected: Expected) -> None:
    if isinstance(expected.cam, str):
        with pytest.raises(ConvscopeError, match=expected.cam):
            cam(net, x)
        return
    with torch.no_grad():
        logits = net(x)
    head = [part for part in net.modules() if isinstance(part, nn.Linear | nn.Conv2d)][-1]
    values = cam(net, x, target=3) + head.bias[3].detach()
    values = values.relu() if isinstance(head, nn.Conv2d) else values  # SqueezeNet rectifies before the mean
    assert abs(values.mean() - logits[0, 3]) <= 1e-4 * logits.abs().max()


def _check_guided(net: nn.Module, x: Tensor, expected: Expected) -> None:
    if isinstance(expected.guided, str):
        with pytest.raises(ConvscopeError, match=expected.guided):
            guided_backprop(net, x, target=3)
        if not expected.partial:
            return
    found = guided_backprop(net, x, target=3, partial=bool(expected.partial))
    reference, count = signal_at_input(net, x, lambda out: out[:, 3], "guided")
    assert count == (expected.partial or expected.guided)
    assert reference.any()
    assert (found - reference).abs().max() <= 1e-6 * reference.abs().max()


def _check_receptive_field(net: nn.Module, x: Tensor, expected: Expected) -> None:
    with evaluation(net):
        image, inputs = image_leaf(x)
        with tap(net, expected.layer, stop=True) as seen:
            run_model(net, inputs)
        if seen[expected.layer].ndim != 4:  # tokens: no window of pixels is read off them
            assert expected.field is None
            return
        field = receptive_field(seen[expected.layer], image)
    if expected.field is None:
        assert field is None
        return
    assert isinstance(field, ReceptiveField)
    size, stride = expected.field
    assert (field.size, field.stride) == ((size, size), (stride, stride))


def test_the_table_has_24() -> None:
    assert len(EXPECTED) == 24
