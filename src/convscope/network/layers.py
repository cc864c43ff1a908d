"""The layers of a network: their names, their calls in a pass, and what a misspelt name may have meant.

A layer is named by its dotted path, ``layer4.1.conv2``, as ``named_modules`` gives it, less the wrappers
``module.`` (data parallel) and ``_orig_mod.`` (``torch.compile``). One module may run several times in a pass
(a reused ReLU): ``layer1.0.relu#2`` is its second call.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError, nearest
from convscope.network.evaluation import evaluation

_WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}
_CALL = re.compile(r"(?P<path>.*?)(?:#(?P<number>[1-9]\d*))?", re.DOTALL)


@dataclass(frozen=True)
class Call:
    """A module, and which of its calls in a pass is meant (``None``: the only one)."""

    path: str
    module: nn.Module
    number: int | None


@dataclass(frozen=True)
class LayerOutput:
    """One call of one layer in a pass, in the order in which the calls ended."""

    name: str
    module: nn.Module
    output: Tensor


def named_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Every layer below ``model`` by its name, composites too, aliases left out; in order of definition."""
    return {name: module for _, name, module in _paths(model) if name}


def _paths(model: nn.Module, *, aliases: bool = False) -> Iterator[tuple[str, str, nn.Module]]:
    """Every module's path, its name (the path less wrappers), and itself."""
    wrapped: set[str] = set()
    for path, module in model.named_modules(remove_duplicate=not aliases):
        if inner := _WRAPPERS.get(type(module).__name__):
            wrapped.add(f"{path}.{inner}".lstrip("."))
        yield path, _unwrapped(path, wrapped) if wrapped else path, module


def _unwrapped(path: str, wrapped: set[str]) -> str:
    parts = path.split(".")
    return ".".join(p for i, p in enumerate(parts) if ".".join(parts[: i + 1]) not in wrapped)


def without_wrappers(model: nn.Module) -> nn.Module:
    """The network inside ``DataParallel``, its distributed kin and ``torch.compile(model)``, or the model itself.

    A pass of it talks to no other process and compiles nothing; the parameters are the same.
    """
    while inner := _WRAPPERS.get(type(model).__name__):
        model = getattr(model, inner)
    return model


def find_call(model: nn.Module, name: str) -> Call:
    """The module and call that ``name`` stands for. Raises ConvscopeError as ``find_calls``."""
    return find_calls(model, [name])[name]


def find_calls(model: nn.Module, names: Iterable[str]) -> dict[str, Call]:
    """The modules and calls that ``names`` stand for.

    Raises:
        ConvscopeError: no such layer; the message has the nearest names.
    """
    layers = named_layers(model)
    asked = {name: _path_and_number(name) for name in names}
    known = layers if all(path in layers for path, _ in asked.values()) else _aliases(model) | layers
    for name, (path, _) in asked.items():
        if path not in known:
            raise ConvscopeError(f"no layer {name!r} in {type(model).__name__}{_meant(path, layers)}")
    return {name: Call(path, known[path], number) for name, (path, number) in asked.items()}


def _path_and_number(name: str) -> tuple[str, int | None]:
    match = _CALL.fullmatch(name)
    assert match is not None  # the pattern matches every string
    return match["path"], int(match["number"]) if match["number"] else None


def _aliases(model: nn.Module) -> dict[str, nn.Module]:
    """Further names that a module answers to: of one that was assigned twice, and paths with their wrappers."""
    found = list(_paths(model, aliases=True))
    by_path = {path: module for path, _, module in found if path}
    return by_path | {name: module for _, name, module in found if name}


def _meant(path: str, layers: dict[str, nn.Module]) -> str:
    hint = nearest(path, layers)
    parent = path.rsplit(".", 1)[0]
    inside = [name for name in layers if name.startswith(f"{parent}.") and name.count(".") == parent.count(".") + 1]
    if not hint and inside:
        hint = f"; inside {parent!r} are {', '.join(inside[:8])}"
    return f"{hint} (`convscope layers` lists all {len(layers)})"


def refuse_opaque(model: nn.Module) -> None:
    """Hooks do not run inside scripted and compiled modules: say so instead of recording nothing."""
    for path, module in model.named_modules():
        where = f"{type(model).__name__}" + (f", at {path!r}" if path else "")
        if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            raise ConvscopeError(f"cannot see inside replicas on several devices ({where}); give its .module")
        if isinstance(module, torch.jit.ScriptModule):
            raise ConvscopeError(f"cannot see inside TorchScript ({where}); load the Python model instead")
        if type(module).__name__ == "OptimizedModule":
            raise ConvscopeError(f"cannot see inside a compiled model ({where}); give the model before torch.compile")
        if getattr(module, "_compiled_call_impl", None) is not None:
            raise ConvscopeError(f"cannot see inside a compiled model ({where}); give one without .compile()")


def run_model(model: nn.Module, x: Any) -> Any:
    """``model(x)``, ``model(*x)`` for a tuple, ``model(**x)`` for a dict or another mapping."""
    if isinstance(x, Mapping):
        return model(**x)
    return model(*x) if isinstance(x, tuple) else model(x)


def copied(x: Any) -> Any:
    """The inputs with every tensor cloned (in its graph): a network may write into what it is given."""
    if isinstance(x, Mapping):
        return {name: copied(value) for name, value in x.items()}
    if isinstance(x, tuple):
        return tuple(copied(value) for value in x)
    return x.clone() if isinstance(x, Tensor) else x


def trace_layers(model: nn.Module, x: Any, visit: Callable[[LayerOutput], None], *, graph: bool = False) -> Any:
    """Run ``model`` on a copy of ``x`` in evaluation mode and show ``visit`` each tensor output, parts first.

    Whether a module runs again is known only after the pass: its first call arrives with its plain name, later
    ones as ``name#k``; ``number_calls`` makes them alike.
    """
    refuse_opaque(model)
    thread = threading.get_ident()
    counts: Counter[str] = Counter()

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        def after(module: nn.Module, _args: object, output: object) -> None:
            if threading.get_ident() != thread:
                return
            counts[name] += 1
            if isinstance(output, Tensor):
                visit(LayerOutput(name if counts[name] == 1 else f"{name}#{counts[name]}", module, output))

        return after

    with ExitStack() as undo, evaluation(model), torch.set_grad_enabled(graph):
        for name, module in named_layers(model).items():
            undo.callback(module.register_forward_hook(hook(name)).remove)
        return run_model(model, copied(x))


def recorded_outputs(model: nn.Module, x: Any, *, graph: bool = False) -> list[LayerOutput]:
    """All calls of all layers with a tensor output, in the order in which they ended; ``#k`` where reused.

    The outputs are as they were handed on: an in-place layer after them may have written into them. All are held
    at once, which is much for a batch of large images.
    """
    found: list[LayerOutput] = []
    trace_layers(model, x, found.append, graph=graph)
    return number_calls(found)


def number_calls(found: list[LayerOutput]) -> list[LayerOutput]:
    """``relu``, ``relu#2`` -> ``relu#1``, ``relu#2``; a layer that ran once keeps its plain name."""
    names = numbered([item.name for item in found])
    return [LayerOutput(name, item.module, item.output) for name, item in zip(names, found, strict=True)]


def numbered(names: list[str]) -> list[str]:
    """The names of one pass with ``#1`` at the first call of each layer that ran again."""
    reused = {name.split("#")[0] for name in names if "#" in name}
    return [f"{name}#1" if name in reused else name for name in names]
