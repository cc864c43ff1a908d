"""Where a network's maps end and its head begins: the default layer of the CAM family, and CAM's own weights.

The default layer is the last spatial output before the head and its pooling. It is read off a pass, not off
names: going back from the end, pooling, dropout and maps of the classes themselves (SqueezeNet's 1x1
convolution) are passed over; what remains last is the layer. Where several modules hand on that same tensor,
the outermost is taken (``layer4``, not ``layer4.2``), except for an unnamed sequence of different things
(``features`` of VGG or SqueezeNet), which is a trunk rather than a layer. Where tokens follow that map, or there is
none, the network is a transformer and the layer is found by ``token_layers``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, ref

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.layers import LayerOutput, copied, named_layers, numbered, run_model, trace_layers
from convscope.network.taps import tap
from convscope.network.targets import class_logits
from convscope.network.token_grids import as_maps
from convscope.network.token_layers import image_size, last_token_layer

_POOLING = (
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.LPPool2d, nn.FractionalMaxPool2d,
)  # fmt: skip
_PASS_THROUGH = (nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.Identity, nn.Flatten)

# what the default layer was read off: the modules (weakly: an id may be given again) and the inputs' shapes
_Seen = tuple[tuple[ReferenceType[nn.Module], ...], object]
_known: "WeakKeyDictionary[nn.Module, tuple[_Seen, str]]" = WeakKeyDictionary()


@dataclass(frozen=True)
class _Step:
    """A layer's call in a pass, without its output, which would be much to hold for a whole network."""

    name: str
    module: nn.Module
    shape: tuple[int, ...]
    same: bool  # handed on the very tensor of the step before it, as a composite does with its last part's


def default_layer(model: nn.Module, x: Any) -> str:
    """The last spatial output before the head and its pooling (resnet50 ``layer4``, vgg16 ``features.29``).

    Costs one pass, the first time for each model and size of input, and again when the model's layers change.

    Raises:
        ConvscopeError: a network whose layers give no maps.
    """
    x = x[:1] if isinstance(x, Tensor) else x
    seen = tuple(ref(m) for m in model.modules()), _shapes(x)
    known = _known.get(model)
    if known is None or known[0] != seen:
        known = seen, _last_spatial(model, x)
        _known[model] = known
    return known[1]


def _shapes(x: Any) -> object:
    if isinstance(x, Tensor):
        return tuple(x.shape)
    values = x.values() if isinstance(x, Mapping) else x if isinstance(x, tuple) else ()
    return tuple(_shapes(v) for v in values)


def _last_spatial(model: nn.Module, x: Any) -> str:
    found, output = _steps(model, x)
    head = _head_begins(found, output)
    at = len(found) - 1
    while at >= 0:
        at = _inner(found, at)
        if _is_map(found[at]) and not (at >= head and found[at].shape[1] == found[head].shape[1]):
            if any(len(step.shape) == 3 for step in found[at + 1 :]):
                return last_token_layer(model, x)
            _refuse_one_cell(model, found[:head], at)
            return found[at].name
        at -= 1
    if any(len(step.shape) == 3 for step in found):
        return last_token_layer(model, x)
    raise ConvscopeError(f"{type(model).__name__} has no layer that gives maps (b, c, h, w) larger than 1 x 1")


def _steps(model: nn.Module, x: Any) -> tuple[list[_Step], Any]:
    """Every call with a tensor output, in the order in which they ended, and the network's output."""
    found: list[_Step] = []
    last: list[Tensor] = []

    def visit(item: LayerOutput) -> None:
        same = bool(last) and last[0] is item.output
        found.append(_Step(item.name, item.module, tuple(item.output.shape), same))
        last[:] = [item.output]

    output = trace_layers(model, x, visit)
    names = numbered([step.name for step in found])
    return [replace(step, name=name) for step, name in zip(found, names, strict=True)], output


def _refuse_one_cell(model: nn.Module, found: Sequence[_Step], at: int) -> None:
    """A small input may shrink the true last map to 1 x 1: then an inner layer must not take its place unsaid.

    That is so where the last convolution that looks around gives 1 x 1, or where the map became 1 x 1 otherwise than
    by pooling (a 1x1 convolution on it then stands above a pooling that was called as a function).
    """
    wide = [s for s in found if isinstance(s.module, nn.Conv2d) and max(s.module.kernel_size) > 1]
    after = [s for s in found[at + 1 :] if not isinstance(s.module, _PASS_THROUGH)]
    first = next((s for s in after if len(s.shape) == 4 and s.shape[2:] == (1, 1)), None)
    pooled = first is None or isinstance(first.module, (*_POOLING, nn.Conv2d))
    if (wide and wide[-1].shape[2:] == (1, 1)) or not pooled:
        raise ConvscopeError(
            f"{type(model).__name__}'s last map is a single cell at this input size; give a larger input (--size), or "
            f"name a layer inside, such as {found[at].name!r}"
        )


def _is_map(step: _Step) -> bool:
    if len(step.shape) != 4 or isinstance(step.module, _POOLING + _PASS_THROUGH):
        return False
    return step.shape[2] * step.shape[3] > 1


def _head_begins(found: Sequence[_Step], output: Any) -> int:
    """Where the maps of the classes begin, which SqueezeNet pools into its logits; the end where there are none.

    They are the last convolution's, where it has a channel for each logit and no linear layer follows.
    """
    logits = getattr(output, "logits", output)
    weighted = [i for i, step in enumerate(found) if isinstance(step.module, nn.Linear | nn.Conv2d)]
    if not weighted or not isinstance(logits, Tensor) or logits.ndim != 2:
        return len(found)
    last = found[weighted[-1]]
    makes_classes = isinstance(last.module, nn.Conv2d) and last.shape[1] == logits.shape[1]
    return weighted[-1] if makes_classes else len(found)


def _inner(found: Sequence[_Step], at: int) -> int:
    """In a trunk the layer that made its output; anything else as it is."""
    while found[at].same and type(found[at].module) is nn.Sequential and _is_trunk(found[at].module):
        at -= 1
    return at


def _is_trunk(module: nn.Module) -> bool:
    """True for an unnamed sequence of different things."""
    numbers = all(name.isdecimal() for name, _ in module.named_children())
    return numbers and len({type(m) for m in module.children()}) > 1


@dataclass(frozen=True, eq=False)
class Head:
    """A head whose class scores are a mean over the map of a linear function of it.

    ``weights (classes, c)`` and ``bias (classes,)`` turn the layer's map, rectified first where the network
    does so (``rectified_input``), into one map a class; ``rectified`` says that these are rectified before the
    mean (SqueezeNet).
    """

    weights: Float[Tensor, "classes c"]
    bias: Float[Tensor, " classes"]
    rectified: bool
    rectified_input: bool


def linear_head(model: nn.Module, x: Any, layer: str) -> tuple[Head, Tensor, Tensor]:
    """The head above ``layer``, the layer's map on ``x`` and the logits, proved by the logits of this very input.

    Raises:
        ConvscopeError: the logits are no mean of a linear function of the map.
    """
    with evaluation(model), torch.no_grad(), tap(model, layer) as seen:
        logits = class_logits(run_model(model, copied(x)))
        activation = as_maps(seen[layer], image_size(x), layer, batch=len(logits))
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


def class_maps(
    activation: Float[Tensor, "b c h w"],
    weights: Float[Tensor, "classes c"],
    bias: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, "b classes h w"]:
    """sum_k w_ck A_k (+ b_c): one map a class."""
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
