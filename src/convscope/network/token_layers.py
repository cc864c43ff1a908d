"""The default layer of the CAM family in a transformer: the last one whose patches still speak for the classes.

In a network that answers from its class token, the patches' outputs of the last block reach nothing: gradients there
are exactly zero, and so is a Grad-CAM. What reaches the class token is what the last attention reads, so people take
``blocks.11.norm1``; with averaging over the patches it is the last norm of all. Which of them it is, is measured: NaN
is sent back from every output of the network, and a layer is one of these where it arrives at every cell of the
layer's grid. Zeros of a gradient that is never taken stay zeros, and weights that happen to be zero (an untrained
head) do not hide a path, since 0 NaN = NaN.

Not taken are linear layers, pass-through ones and outputs with another number of channels than the last tokens have:
queries, keys and values, or the inside of a multilayer perceptron, each a part of what the patches say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from convscope.errors import ConvscopeError
from convscope.network.layers import LayerOutput, numbered, trace_layers
from convscope.network.targets import class_logits
from convscope.network.token_grids import as_maps, channel_axis

_PASSED_OVER = (nn.Linear, nn.Dropout, nn.Identity, nn.Flatten)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A call whose output is a grid, by the edge of the graph that made it."""

    place: int  # among all calls
    channels: int
    like: Tensor  # an output of its shape, without memory
    edge: GradientEdge
    image_size: tuple[int, int]


def last_token_layer(model: nn.Module, x: Any) -> str:
    """The last layer of ``model`` on one image (``x``, or the image in it) whose every patch reaches the output.

    Raises:
        ConvscopeError: none does, or the network returns no logits.
    """
    given = _with_gradient(x)
    size = image_size(given)
    names: list[str] = []
    found: list[_Candidate] = []
    unread = [-1]  # the last tokens whose grid is not known

    def visit(item: LayerOutput) -> None:
        names.append(item.name)
        candidate = _candidate(item, len(names) - 1, size)
        if candidate is not None:
            found.append(candidate)
        elif item.output.ndim == 3 and not isinstance(item.module, _PASSED_OVER):
            unread[0] = len(names) - 1

    logits = class_logits(trace_layers(model, given, visit, graph=True))
    final = numbered(names)
    width = found[-1].channels if found else 0
    reaching = [c for c in _reaching(logits, found) if c.channels == width]
    # a map below tokens that cannot be read is the stem, far from what the classes are told by
    if not reaching or (reaching[-1].like.ndim == 4 and unread[0] > reaching[-1].place):
        raise ConvscopeError(
            f"{type(model).__name__} works on tokens, and no layer's grid of patches reaches its logits at every cell; "
            "name a layer that gives maps or tokens"
        )
    return final[reaching[-1].place]


def image_size(x: Any) -> tuple[int, int]:
    """(H, W) of the first input (b, c, H, W).

    Raises:
        ConvscopeError: there is none.
    """
    parts = [x] if isinstance(x, Tensor) else list(x.values() if isinstance(x, Mapping) else x)
    for part in parts:
        if isinstance(part, Tensor) and part.ndim == 4:
            return part.shape[2], part.shape[3]
    raise ConvscopeError("none of the network's inputs is an image (b, c, H, W)")


def _with_gradient(x: Any) -> Any:
    """The inputs, floating-point ones as leaves that the graph begins at: weights may be frozen."""
    if isinstance(x, Mapping):
        return {name: _with_gradient(value) for name, value in x.items()}
    if isinstance(x, tuple):
        return tuple(_with_gradient(value) for value in x)
    is_float = isinstance(x, Tensor) and x.is_floating_point()
    return x.detach().clone().requires_grad_() if is_float else x


def _candidate(item: LayerOutput, place: int, size: tuple[int, int]) -> _Candidate | None:
    output = item.output
    if isinstance(item.module, _PASSED_OVER) or not output.requires_grad or output.ndim not in (3, 4):
        return None
    try:
        channels = output.shape[channel_axis(output, size, item.name)]
        cells = as_maps(output, size, item.name, batch=1)[0, 0].numel()
    except ConvscopeError:
        return None
    # now: a later in-place addition would make the output that of the sum
    like = torch.empty(output.shape, device="meta")
    return _Candidate(place, channels, like, get_gradient_edge(output), size) if cells > 1 else None


def _reaching(logits: Tensor, found: list[_Candidate]) -> list[_Candidate]:
    """Those at every cell of which a NaN sent back from the logits arrives."""
    if not found or not logits.requires_grad:
        return []
    seeds = torch.full_like(logits, torch.nan)
    edges = [c.edge for c in found]
    with torch.autograd.set_detect_anomaly(False):  # it takes any NaN for a mistake
        grads = cast("Sequence[Tensor | None]", torch.autograd.grad(logits, edges, seeds, allow_unused=True))
    return [c for c, g in zip(found, grads, strict=True) if g is not None and _at_every_cell(g, c)]


def _at_every_cell(gradient: Tensor, candidate: _Candidate) -> bool:
    maps = as_maps(gradient, candidate.image_size, "")
    return bool(maps.isnan().any(1).all())
