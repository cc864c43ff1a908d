"""Which layers a survey is of: by name, by pattern, all of them, or all convolutions; those that run, in that order.

One photo goes through the network to learn what runs, how often, and what comes out. A layer can be surveyed if its
output holds units: maps (b, c, h, w), channels last, tokens with a grid, or (b, c). Names follow the ``#k`` grammar of
``network.layers``: a layer that runs twice is ``relu#1`` and ``relu#2``, and its plain name is refused.
"""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from convscope.errors import ConvscopeError, nearest
from convscope.network.layers import LayerOutput, find_calls, numbered, trace_layers
from convscope.network.token_grids import as_maps

_MOST_NAMED = 8


@dataclass(frozen=True)
class RunLayer:
    """A layer's call. ``units`` and (h, w) of its maps; ``why_not``: why it cannot be surveyed, "" where it can."""

    name: str
    is_convolution: bool
    units: int = 0
    shape: tuple[int, int] = (1, 1)
    why_not: str = ""


def run_layers(model: nn.Module, x: Tensor) -> list[RunLayer]:
    """Every layer that runs on ``x (1, c, H, W)`` and gives a tensor, in the order in which the calls end."""
    found: list[RunLayer] = []
    trace_layers(model, x, lambda item: found.append(_run_layer(item, x)))
    names = numbered([layer.name for layer in found])
    return [RunLayer(name, f.is_convolution, f.units, f.shape, f.why_not) for name, f in zip(names, found, strict=True)]


def _run_layer(item: LayerOutput, x: Tensor) -> RunLayer:
    is_convolution, output = isinstance(item.module, nn.Conv2d), item.output
    if output.ndim == 2:
        return RunLayer(item.name, is_convolution, output.shape[1])
    try:
        maps = as_maps(output, (x.shape[2], x.shape[3]), item.name, batch=len(x))
    except ConvscopeError as error:
        return RunLayer(item.name, is_convolution, why_not=str(error))
    return RunLayer(item.name, is_convolution, maps.shape[1], (maps.shape[2], maps.shape[3]))


def choose_layers(model: nn.Module, ran: Sequence[RunLayer], asked: Sequence[str] | str | None) -> list[RunLayer]:
    """The layers asked for, in the order in which they run, each once.

    Args:
        model: for the names of layers that did not run.
        ran: from ``run_layers``.
        asked: names, patterns with ``*``, ``?`` or ``[...]``, or ``all``; None: all convolutions.

    Raises:
        ConvscopeError: no such layer (with the nearest names), one that did not run, ran twice, or has no units, a
            pattern that fits none, or a network without convolutions where nothing was asked for.
    """
    if asked is None:
        return _convolutions(model, ran)
    wanted = [asked] if isinstance(asked, str) else list(asked)
    if not wanted:
        raise ConvscopeError("layers=[] asks for no layer; give at least one, or None for all convolutions")
    names = {name for each in wanted for name in _meant(model, ran, each)}
    return [layer for layer in ran if layer.name in names]


def _convolutions(model: nn.Module, ran: Sequence[RunLayer]) -> list[RunLayer]:
    found = [layer for layer in ran if layer.is_convolution and not layer.why_not]
    if not found:
        raise ConvscopeError(f"{type(model).__name__} runs no convolution; name layers (--layers, `convscope layers`)")
    return found


def _meant(model: nn.Module, ran: Sequence[RunLayer], asked: str) -> list[str]:
    """The names that one word stands for."""
    usable = [layer.name for layer in ran if not layer.why_not]
    if asked == "all" and not any(layer.name == "all" for layer in ran):
        return usable
    if any(mark in asked for mark in "*?["):
        fitting = fnmatch.filter(usable, asked)
        if not fitting:
            raise ConvscopeError(f"no layer fits {asked!r}{nearest(asked.rstrip('.*'), usable)}")
        return fitting
    find_calls(model, [asked])  # an unknown name, with the nearest ones
    by_name = {layer.name: layer for layer in ran}
    if asked not in by_name:
        raise ConvscopeError(_not_run(asked, list(by_name)))
    if by_name[asked].why_not:
        raise ConvscopeError(by_name[asked].why_not)
    return [asked]


def _not_run(asked: str, ran: Sequence[str]) -> str:
    calls = [name for name in ran if name.split("#")[0] == asked.split("#")[0]]
    if calls:
        return f"layer {asked!r} ran {len(calls)} time(s): name the call, {', '.join(calls[:_MOST_NAMED])}"
    return f"layer {asked!r} did not run on the first photo, or gives no tensor{nearest(asked, ran)}"
