"""The layer that DeepDream looks through where none is named: the last before the maps become coarsest.

A network's last maps are few cells that speak of whole objects, its first speak of edges. Eyes, fur and wheels are in
between: at the last layer whose maps are still finer than the last maps of all (GoogLeNet's ``inception4e``, near the
``inception_4c`` of DeepDream's notebook; resnet50 ``layer3``, squeezenet1_0 ``features.10``, vgg16 ``features.22``).
"""

from torch import Tensor, nn

from convscope.network.head import default_layer
from convscope.network.layers import LayerOutput, numbered, trace_layers

_POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.LPPool2d)


def last_finer_layer(model: nn.Module, x: Tensor) -> str:
    """The last layer with larger maps than those of ``default_layer``, which it is itself where all are of one size.

    Layers inside a block that makes maps of the last size (``layer4.0.conv1``) are left to it. Costs one pass.

    Raises:
        ConvscopeError: as ``default_layer``.
    """
    last = default_layer(model, x)
    found: list[tuple[str, tuple[int, ...], bool]] = []

    def visit(item: LayerOutput) -> None:
        found.append((item.name, tuple(item.output.shape), isinstance(item.module, _POOLING)))

    trace_layers(model, x, visit)
    names = numbered([name for name, _, _ in found])
    maps = [
        (name, shape[2] * shape[3])
        for name, (_, shape, is_pooling) in zip(names, found, strict=True)
        if len(shape) == 4 and not is_pooling
    ]
    cells = dict(maps).get(last)
    if cells is None:  # tokens
        return last
    finer = [name for name, count in maps if count > cells]
    inside = [[f for f in finer if f.startswith(f"{name}.")] for name, count in maps if count <= cells]
    left_to_blocks = {name for names in inside if len(names) < len(finer) for name in names}  # all: it is a trunk
    return next((name for name in reversed(finer) if name not in left_to_blocks), last)
