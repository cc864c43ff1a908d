"""A canary: every node in the graphs of 24 of torchvision's architectures is known for what it is.

The oracle is a count by hand of each architecture's activation functions. A release of torch that renames a node, or
records an operation in another way, fails here with the name.
"""

from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from convscope.network.graph import inspect, nodes
from convscope.network.saved_fields import operation

# architecture -> rectifiers, other activations by name
EXPECTED: dict[str, tuple[int, dict[str, int]]] = {
    "alexnet": (7, {}),
    "vgg11": (10, {}),
    "vgg16_bn": (15, {}),
    "resnet18": (17, {}),
    "resnet50": (49, {}),
    "resnext50_32x4d": (49, {}),
    "wide_resnet50_2": (49, {}),
    "squeezenet1_0": (26, {}),
    "squeezenet1_1": (26, {}),
    "densenet121": (121, {}),
    "googlenet": (57, {}),
    "inception_v3": (94, {}),
    "mobilenet_v2": (35, {}),
    "mobilenet_v3_small": (14, {"Hardswish": 19, "Hardsigmoid": 9}),
    "mobilenet_v3_large": (19, {"Hardswish": 21, "Hardsigmoid": 8}),
    "shufflenet_v2_x0_5": (37, {}),
    "mnasnet0_5": (35, {}),
    "regnet_x_400mf": (67, {}),
    "regnet_y_400mf": (65, {"Sigmoid": 16}),
    "efficientnet_b0": (0, {"Silu": 49, "Sigmoid": 16}),
    "efficientnet_v2_s": (0, {"Silu": 102, "Sigmoid": 30}),
    "convnext_tiny": (0, {"Gelu": 18}),
    "swin_t": (0, {"Gelu": 12, "Softmax": 12}),
    "vit_b_16": (0, {"Gelu": 12, "attention": 12}),
}
SIDES = {"vit_b_16": 224, "inception_v3": 96}


def empty(name: str) -> nn.Module:
    """The architecture with zeros for weights: nothing is drawn, and the graph is the same."""
    from torchvision import models

    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    # RegNet computes its widths with tensors, which the meta device has not
    with torch.device("cpu" if name.startswith("regnet") else "meta"), torch.random.fork_rng(devices=[]):
        model = models.get_model(name, weights=None, **options)
    model = model.to_empty(device="cpu").eval()
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.zero_()
    return model


def output_of(name: str) -> tuple[Tensor, Tensor]:
    side = SIDES.get(name, 64)
    x = torch.zeros(1, 3, side, side, requires_grad=True)
    return empty(name)(x), x


@pytest.mark.parametrize("name", EXPECTED)
def test_every_activation_of_the_architecture_is_found_and_nothing_else_is_taken_for_one(name: str) -> None:
    output, x = output_of(name)
    rectifiers, plain, opaque = inspect(output, x)
    # which kernel computes the attention is up to the machine
    merged = Counter("attention" if kind.startswith("ScaledDotProduct") else kind for kind in plain.elements())
    assert (len(rectifiers), dict(merged)) == EXPECTED[name]
    assert not opaque


def test_the_nodes_of_a_known_graph_are_all_there_once() -> None:
    """Oracle: SqueezeNet 1.0 by hand: 26 convolutions, 26 ReLUs, 8 concatenations, 3 max-pools, a mean, a view."""
    output, x = output_of("squeezenet1_0")
    counted = Counter(operation(node) for node in nodes(output, x))
    assert counted == {"Convolution": 26, "Relu": 26, "Cat": 8, "MaxPool2DWithIndices": 3, "Mean": 1, "View": 1}
