"""Where a network's maps end and its head begins: the default layer of the CAM family, and CAM's own weights.

The default layer is the last spatial output before the head and its pooling. It is read off a pass, not off
names: going back from the end, pooling, dropout and maps of the classes themselves (SqueezeNet's 1x1
convolution) are passed over; what remains last is the layer. Where several modules hand on that same tensor,
the outermost is taken (``layer4``, not ``layer4.2``), except for an unnamed sequence of different things
(``features`` of VGG or SqueezeNet), which is a trunk rather than a layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.layers import LayerOutput, named_layers, recorded_outputs, run_model
from convscope.network.targets import class_logits
from convscope.network.taps import tap

_POOLING = (
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.LPPool2d, nn.FractionalMaxPool2d,
)  # fmt: skip
_PASS_THROUGH = (nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.Identity, nn.Flatten)

_known: "WeakKeyDictionary[nn.Module, tuple[tuple[int, ...], str]]" = WeakKeyDictionary()


def default_layer(model: nn.Module, x: Any) -> str:
    """The last spatial output before the head and its pooling (resnet50 ``layer4``, vgg16 ``features.29``).

    Costs one pass for each model, the first time; it is found again when the model's layers change.

    Raises:
        ConvscopeError: a network whose layers give no maps.
    """
    shape = tuple(id(m) for m in model.modules())
    known = _known.get(model)
    if known is None or known[0] != shape:
        known = shape, _last_spatial(model, x)
        _known[model] = known
    return known[1]


def _last_spatial(model: nn.Module, x: Any) -> str:
    found = recorded_outputs(model, x)
    classes = _class_count(found)
    for at in range(len(found) - 1, -1, -1):
        item = _inner(found, at)
        if _is_map(item) and not _is_head(found, at, classes):
            _refuse_tokens(model, item.name, found[at + 1 :])
            return item.name
    raise ConvscopeError(f"{type(model).__name__} has no layer that gives maps (b, c, h, w) larger than 1 x 1")


def _refuse_tokens(model: nn.Module, layer: str, after: Sequence[LayerOutput]) -> None:
    if any(item.output.ndim == 3 for item in after):
        raise ConvscopeError(
            f"{type(model).__name__}'s maps end at {layer!r}; what follows works on tokens (b, n, c), so there is no "
            "last map to take by default; name a layer that gives maps"
        )


def _is_map(item: LayerOutput) -> bool:
    if item.output.ndim != 4 or isinstance(item.module, _POOLING + _PASS_THROUGH):
        return False
    return item.output.shape[2] * item.output.shape[3] > 1


def _class_count(found: Sequence[LayerOutput]) -> int | None:
    """Channels of the last output; None where a linear layer makes the classes, since no map is of them then."""
    if any(isinstance(i.module, nn.Linear) for i in found):
        return None
    return found[-1].output.shape[1] if found and found[-1].output.ndim >= 2 else None


def _is_head(found: Sequence[LayerOutput], at: int, classes: int | None) -> bool:
    """True for the maps of the classes, which SqueezeNet pools into its logits."""
    return classes is not None and found[at].output.shape[1] == classes


def _inner(found: Sequence[LayerOutput], at: int) -> LayerOutput:
    """The layer in a trunk that made its output; anything else as it is."""
    item = found[at]
    while type(item.module) is nn.Sequential and _is_trunk(item.module):
        last = f"{item.name}.{len(item.module) - 1}"
        inside = [i for i in found[:at] if i.name.split("#")[0] == last and i.output is item.output]
        if not inside:
            break
        item = inside[-1]
    return item


def _is_trunk(sequence: nn.Sequential) -> bool:
    numbered = all(name.isdecimal() for name, _ in sequence.named_children())
    return numbered and len({type(m) for m in sequence}) > 1


@dataclass(frozen=True, eq=False)
class Head:
    """A head whose class scores are a mean over the map of a linear function of it.

    ``weights (classes, c)`` and ``bias (classes,)`` turn the layer's map, rectified first where the network
    does so (``rectified_input``), into one map a class; ``rectified`` says that these are rectified before the
    mean (SqueezeNet).
    """

    weights: Tensor
    bias: Tensor
    rectified: bool
    rectified_input: bool


def linear_head(model: nn.Module, x: Any, layer: str) -> tuple[Head, Tensor, Tensor]:
    """The head above ``layer``, the layer's map on ``x`` and the logits, proved by the logits of this very input.

    Raises:
        ConvscopeError: the logits are no mean of a linear function of the map.
    """
    with evaluation(model), torch.no_grad(), tap(model, layer) as seen:
        logits = class_logits(run_model(model, x))
        activation = seen[layer]
    if activation.ndim != 4:
        raise ConvscopeError(f"layer {layer!r} gives {tuple(activation.shape)}, not maps (b, c, h, w)")
    for weights, bias in _candidates(model, activation.shape[1], logits.shape[1]):
        for rectified_input in (False, True):
            maps = class_maps(activation.relu() if rectified_input else activation, weights, bias)
            for rectified in (False, True):
                if _same((maps.relu() if rectified else maps).mean((2, 3)), logits):
                    return Head(weights, bias, rectified, rectified_input), activation, logits
    raise ConvscopeError(
        f"CAM needs a head that takes the mean over the map of {layer!r} and one linear layer, and "
        f"{type(model).__name__}'s logits are not that; Grad-CAM explains any head"
    )


def class_maps(activation: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
    """sum_k w_ck A_k (+ b_c): ``(b, c, h, w)``, ``(classes, c)`` -> ``(b, classes, h, w)``."""
    return nn.functional.conv2d(activation, weights[:, :, None, None], bias)


def _candidates(model: nn.Module, channels: int, classes: int) -> list[tuple[Tensor, Tensor]]:
    """Weights and bias of every linear layer or 1x1 convolution from these channels to the classes, last first."""
    found: list[tuple[Tensor, Tensor]] = []
    for module in reversed(list(named_layers(model).values())):
        if isinstance(module, nn.Linear) and module.weight.shape == (classes, channels):
            weights = module.weight.detach()
        elif isinstance(module, nn.Conv2d) and module.weight.shape == (classes, channels, 1, 1):
            weights = module.weight.detach()[:, :, 0, 0]
        else:
            continue
        bias = weights.new_zeros(classes) if module.bias is None else module.bias.detach()
        found.append((weights, bias))
    return found


def _same(a: Tensor, b: Tensor) -> bool:
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-4}.get(b.dtype, 2e-2)
    return bool((a - b).abs().max() <= tolerance * b.abs().max().clamp(min=1e-6))
