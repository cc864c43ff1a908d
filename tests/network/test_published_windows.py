"""Receptive fields of published networks: sizes from the papers, boxes by the NaN probe, nothing raised.

Random weights, small images: a field does not depend on either.
"""

import time
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from convscope.network.receptive_fields import receptive_boxes, receptive_fields
from tests import nets
from tests.network.nan_probe import activations, sees_exactly


def sizes(model: nn.Module, side: int) -> dict[str, tuple[int, int | float] | None]:
    """(size, stride) of every layer; square."""
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1)).requires_grad_()
    found = receptive_fields(activations(model, image), image)
    assert all(one is None or one.size[0] == one.size[1] for one in found.values())
    return {name: one and (one.size[0], one.stride[0]) for name, one in found.items()}


@nets.hard_net
def torchvision_net(name: str, **options) -> nn.Module:
    from torchvision.models import get_model

    return get_model(name, weights=None, **options)


def test_golden_squeezenet():
    found = sizes(torchvision_net("squeezenet1_0", dtype=torch.float32), 96)
    golden = {0: (7, 2), 2: (11, 4), 3: (19, 4), 4: (27, 4), 5: (35, 4), 6: (43, 8)}  # METHODS.md: fire2-4, pool4
    golden |= {7: (59, 8), 8: (75, 8), 9: (91, 8), 10: (107, 8), 11: (123, 16), 12: (155, 16)}  # fire5-8, pool8, fire9
    assert {number: found[f"features.{number}"] for number in golden} == golden
    assert found["classifier.2"] == (155, 16)
    assert found["classifier.3"] is None  # the mean over the map
    assert found[""] is None


def test_golden_cifar_resnet_with_its_strided_slices(resnet20):
    found = sizes(resnet20, 32)
    assert [found[f"layer{n}"] for n in (1, 2, 3)] == [(15, 1), (37, 2), (81, 4)]
    assert found["linear"] is None


def test_golden_vgg16():
    from torchvision.models.vgg import cfgs, make_layers

    # torchvision's own layers, without the 100 million weights of the head that the field does not depend on
    net = nets.hard_net(lambda: nn.Sequential(make_layers(cfgs["D"])))(dtype=torch.float32)
    assert sizes(net, 32)["0.29"] == (196, 16)


def test_golden_resnet50():
    """483 in the original, which strides in the first 1x1 (Araujo et al. 2019); 427 in torchvision's, in the 3x3."""
    found = sizes(torchvision_net("resnet50", dtype=torch.float32), 64)
    assert [found[name] for name in ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4")] == [
        (7, 2),
        (11, 4),
        (35, 4),
        (91, 8),
        (267, 16),
        (427, 32),
    ]
    original = torchvision_net("resnet50", dtype=torch.float32)
    for block in original.modules():
        if hasattr(block, "conv3") and block.conv2.stride == (2, 2):
            block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    assert sizes(original, 64)["layer4"] == (483, 32)


def test_all_layers_of_resnet50_take_less_than_half_a_second():
    """Measured: 0.015 s, of which each layer by itself would take 148 times."""
    model = torchvision_net("resnet50", dtype=torch.float32)
    image = torch.ones(1, 3, 64, 64, requires_grad=True)
    outputs = activations(model, image)
    start = time.process_time()
    assert len([one for one in receptive_fields(outputs, image).values() if one]) == 148
    assert time.process_time() - start < 0.5


@nets.hard_net
def convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=5)


@nets.hard_net
def vision_transformer() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(64, 16, 2, 2, 16, 32, num_classes=5)


@nets.hard_net
def swin(version: int) -> nn.Module:
    from torchvision.models.swin_transformer import (
        PatchMerging,
        PatchMergingV2,
        SwinTransformer,
        SwinTransformerBlock,
        SwinTransformerBlockV2,
    )

    block, merge = (SwinTransformerBlock, PatchMerging) if version == 1 else (SwinTransformerBlockV2, PatchMergingV2)
    return SwinTransformer([4, 4], 8, [2, 2], [2, 2], [4, 4], num_classes=5, block=block, downsample_layer=merge)


@nets.hard_net
def maxvit() -> nn.Module:
    from torchvision.models import MaxVit

    return MaxVit((64, 64), 8, 2, [8, 8], [1, 1], 4, 0.0, num_classes=5)


googlenet = {"init_weights": False, "aux_logits": False, "transform_input": True}
ZOO = {  # the net, and layers with the units at which the NaN probe looks
    "squeezenet1_1": (partial(torchvision_net, "squeezenet1_1"), {"features.6": [(0, 2), (4, 6)]}),
    "resnet18": (partial(torchvision_net, "resnet18"), {"layer2.0": [(0, 0), (4, 7)], "layer4": [(1, 0)]}),
    "mobilenet_v2": (partial(torchvision_net, "mobilenet_v2"), {"features.4": [(0, 4), (7, 3)], "features": [(0, 1)]}),
    "densenet121": (partial(torchvision_net, "densenet121"), {"features.transition1": [(3, 4), (7, 0)]}),
    "googlenet": (partial(torchvision_net, "googlenet", **googlenet), {"inception3a": [(0, 4), (7, 7)]}),
    "shufflenet_v2_x0_5": (partial(torchvision_net, "shufflenet_v2_x0_5"), {"stage2.1": [(0, 4), (7, 7)]}),
    "mnasnet0_5": (partial(torchvision_net, "mnasnet0_5"), {"layers.8": [(6, 8), (0, 15)]}),
    "regnet_x_400mf": (partial(torchvision_net, "regnet_x_400mf"), {"trunk_output.block2": [(0, 4)]}),
    "efficientnet_b0": (partial(torchvision_net, "efficientnet_b0"), {"features.1.0.block.0": [(0, 9), (31, 30)]}),
    "mobilenet_v3_small": (partial(torchvision_net, "mobilenet_v3_small"), {"features.1.block.0": [(0, 9), (15, 3)]}),
    "convnext": (convnext, {"features.1": [(0, 9), (8, 15)], "features.3.0.block.3": [(0, 4), (7, 7)]}),
    "vision transformer": (vision_transformer, {"conv_proj": [(0, 3)]}),
    "swin": (partial(swin, 1), {"features.0": [(0, 9)]}),
    "swin v2": (partial(swin, 2), {"features.0": [(0, 9)]}),
    "maxvit": (maxvit, {"stem": [(0, 9)]}),
}


@pytest.mark.parametrize("name", ZOO)
def test_boxes_of_published_networks_equal_the_nan_probe(name):
    """And every layer has a field or none; nothing raises."""
    factory, layers = ZOO[name]
    model = factory()
    image = nets.images(1, 3, 64, 64).requires_grad_()
    outputs = activations(model, image)
    receptive_fields(outputs, image)

    def maps(images: Tensor, layer: str) -> Tensor:
        found = activations(model, images)[layer]
        return found if found.shape[-1] == found.shape[-2] else found.movedim(-1, 1)  # channels last

    for layer, units in layers.items():
        boxes = receptive_boxes(outputs[layer], image)
        for y, x in units:
            assert sees_exactly(partial(maps, layer=layer), (3, 64, 64), tuple(boxes[y, x]), y, x)


def test_a_squeeze_and_excitation_gate_sees_everything():
    """Oracle: the papers. The first gate of MobileNetV3 small is in features.1, of EfficientNet in features.1.0."""
    small = sizes(torchvision_net("mobilenet_v3_small", dtype=torch.float32), 64)
    assert small["features.1.block.0.2"] == (7, 4)
    assert all(
        small[name] is None for name in ("features.1.block.1", "features.1.block.2", "features.2", "features.12")
    )
    efficient = sizes(torchvision_net("efficientnet_b0", dtype=torch.float32), 64)
    assert efficient["features.1.0.block.0"] == (7, 2)
    assert efficient["features.1"] is None


def test_attention_sees_everything():
    """Oracle: the papers; a patch is 16 x 16 in this transformer, 4 x 4 in Swin, and attention is over positions."""
    found = sizes(vision_transformer(dtype=torch.float32), 64)
    assert (found["conv_proj"], found["encoder.layers.encoder_layer_0"]) == ((16, 16), None)
    found = sizes(swin(1, dtype=torch.float32), 64)
    assert (found["features.0"], found["features.1"], found["features.3"]) == ((4, 4), None, None)
