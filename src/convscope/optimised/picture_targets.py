"""What pictures are made of: units, neurons, layers, classes and objectives, found and checked before the first step.

layer4.1.conv2:447          a unit, by the mean over its map
layer4.1.conv2:447@3,4      a neuron
layer4.1.conv2:0-15         several units, a picture each; ``:3,7,11`` and ``:all`` too
layer4.1.conv2              all that a layer says, by its mean
golden retriever, 207       a class, by its logit
an Objective                anything else

Text is a unit where it looks like one and no class is called so; else a class where one is, else a layer.

One pass of a grey picture of the size asked for finds what the layers and the network have, so that a unit out of
range or a size that does not fit is refused at once and not after an hour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, SupportsIndex, cast

import torch
from torch import Tensor

from convscope.answers import refusing_input
from convscope.errors import ConvscopeError, nearest
from convscope.network.evaluation import evaluation
from convscope.network.layers import copied, find_calls, named_layers, run_model
from convscope.network.loading import Network
from convscope.network.taps import tap
from convscope.network.targets import Unit, class_logits, resolve_names
from convscope.synthesis.objectives import Objective, layer, logit, neuron, unit
from convscope.views.unit_names import layer_of, units_named

Asked = str | SupportsIndex | Unit | Objective
Kind = Literal["unit", "neuron", "layer", "class", "objective"]


@dataclass(frozen=True, eq=False)
class Target:
    """What one picture is made for. ``unit`` of units and neurons, ``index`` of classes."""

    name: str
    kind: Kind
    objective: Objective
    unit: Unit | None = None
    index: int | None = None

    @property
    def reads(self) -> tuple[bool, tuple[str, ...]]:
        """Where it is read: targets that are alike in this are made together."""
        return self.objective.needs_output, tuple(sorted(self.objective.layers))


def targets_found(net: Network, asked: Asked | Sequence[Asked], grey: Tensor) -> tuple[Target, ...]:
    """The targets in the order asked for, each once.

    Args:
        net: from ``load``.
        asked: one or several, see the module's docstring.
        grey: a network input ``(1, c, h, w)`` of the size that the pictures are to have.

    Raises:
        ConvscopeError: one that there is not (with the nearest names), a unit, neuron or class out of range, an input
            of a size that the network refuses.
    """
    single = isinstance(asked, str | Unit | Objective) or hasattr(asked, "__index__")
    listed = cast("list[Asked]", [asked] if single else list(cast("Sequence[Asked]", asked)))
    if not listed:
        raise ConvscopeError("nothing to make pictures of: give a unit, a layer or a class")
    kinds = [_kind(net, one) for one in listed]
    layers = dict.fromkeys(name for one in kinds for name in one.layers)
    find_calls(net.module, layers)  # names that there are not: before any pass
    activations, output = _one_pass(net, list(layers), any(one.needs_output for one in kinds), grey)
    found: dict[str, Target] = {}
    for one in kinds:
        for target in one.targets(net, activations):
            found.setdefault(_free_name(target, found), target)
    for target in found.values():
        _check(net, target, activations, output)
    return tuple(_renamed(target, name) for name, target in found.items())


@dataclass(frozen=True, eq=False)
class _Parsed:
    """One thing asked for, before it is known what the network has."""

    units: str | Unit | None = None  # may be several
    index: int | None = None
    layer: str | None = None
    objective: Objective | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        if self.objective is not None:
            return self.objective.layers
        return (layer_of(self.units),) if self.units is not None else (self.layer,) if self.layer is not None else ()

    @property
    def needs_output(self) -> bool:
        return self.index is not None or (self.objective is not None and self.objective.needs_output)

    def targets(self, net: Network, activations: Mapping[str, Tensor]) -> list[Target]:
        if self.objective is not None:
            return [Target(self.objective.label, "objective", self.objective)]
        if self.index is not None:
            name = net.classes[self.index] if self.index < len(net.classes) else f"class {self.index}"
            return [Target(name, "class", logit(self.index), index=self.index)]
        if self.units is None:
            assert self.layer is not None
            return [Target(self.layer, "layer", layer(self.layer))]
        counts = {name: _count(name, output) for name, output in activations.items()}
        return [_of_unit(one) for one in units_named([self.units], counts)]


def _kind(net: Network, asked: Asked) -> _Parsed:
    if isinstance(asked, Objective):
        return _Parsed(objective=asked)
    if isinstance(asked, Unit):
        return _Parsed(units=asked)
    if not isinstance(asked, str):
        return _Parsed(index=_number(cast("Any", resolve_names(asked, net.classes)), asked))
    try:
        resolved = cast("Any", resolve_names(asked, net.classes))
    except ConvscopeError as refused:
        return _no_class(net, asked, refused)
    if isinstance(resolved, str):
        return _Parsed(units=asked)
    if asked in named_layers(net.module) and not asked.isdecimal():
        raise ConvscopeError(f"{asked!r} is a class and a layer; give the class's number, {resolved}, or a unit of it")
    return _Parsed(index=_number(resolved, asked))


def _no_class(net: Network, text: str, refused: ConvscopeError) -> _Parsed:
    """Several units, or a layer; else neither is there, and the message has what is nearest."""
    layers = named_layers(net.module)
    before, colon, after = text.rpartition(":")
    if colon and (before.split("#")[0] in layers or (after[:1].isdigit() or after == "all")):
        layer_of(text)  # refuses what is written wrongly
        return _Parsed(units=text)
    if text.split("#")[0] in layers:
        return _Parsed(layer=text)
    if "shared by" in str(refused):
        raise refused
    known = f"neither a layer nor one of the {len(net.classes)} classes" if net.classes else "no layer"
    meant = nearest(text, [*layers, *net.classes])
    raise ConvscopeError(
        f"{text!r} is {known} of {net.name}{meant}; units are LAYER:3 (`convscope layers` lists the layers)"
    ) from None


def _number(index: Any, asked: Any) -> int:
    if not isinstance(index, int):
        raise ConvscopeError(f"{asked!r} is no unit, layer, class or objective to make one picture of")
    return index


def _one_pass(net: Network, layers: Sequence[str], whole: bool, grey: Tensor) -> tuple[dict[str, Tensor], Any]:
    """What the layers and the network give for a grey picture."""
    with refusing_input(net, grey), evaluation(net.module), torch.no_grad():
        output = None
        with tap(net.module, *layers, stop=not whole) as seen:
            output = run_model(net.module, copied(grey))
        return dict(seen), output


def _count(name: str, output: Tensor) -> int:
    if output.ndim not in (2, 4):
        raise ConvscopeError(f"layer {name!r} gives {tuple(output.shape)}: neither maps nor single units")
    return output.shape[1]


def _of_unit(one: Unit) -> Target:
    kind, objective = ("unit", unit(str(one))) if one.position is None else ("neuron", neuron(str(one)))
    return Target(str(one), kind, objective, unit=one)


def _free_name(target: Target, taken: Mapping[str, Target]) -> str:
    """Its own; two objectives may have one label, and are two pictures all the same."""
    name, number = target.name, 2
    while target.kind == "objective" and name in taken:
        name, number = f"{target.name} ({number})", number + 1
    return name if name not in taken or taken[name].kind == target.kind else f"{name} ({target.kind})"


def _renamed(target: Target, name: str) -> Target:
    return target if name == target.name else Target(name, target.kind, target.objective, target.unit, target.index)


def _check(net: Network, target: Target, activations: Mapping[str, Tensor], output: Any) -> None:
    """Refused as it would be at the first step."""
    count = None if target.index is None else class_logits(output).shape[1]
    if target.index is not None and count is not None and not 0 <= target.index < count:
        raise ConvscopeError(
            f"class {target.index} was asked for, but {net.name} has {count} classes (0 to {count - 1})"
        )
    with evaluation(net.module), torch.no_grad():
        scores = target.objective.score(activations, output)
    if tuple(scores.shape) != (1,):
        raise ConvscopeError(f"the objective {target.name!r} gives {tuple(scores.shape)}: one score an image is needed")
