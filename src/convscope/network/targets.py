"""What is explained: a class, a unit, one neuron, or any function of the network's output.

A class is a number or a name (upper or lower case, ``_`` or blank do not matter; a name that two classes share
is refused), or one of several names with commas between them: ``tench, Tinca tinca``. A unit is
``layer4.1.conv2:447``, its score the mean over its map; a neuron is ``layer4.1.conv2:447@3,4``, channel 447 at
row 3, column 4. A callable turns the network's raw output into ``(b,)`` scores: a sum of logits, the
log-probability of a word. ``None`` is each image's own top class. A sequence or an integer tensor ``(b,)`` gives one
target an image, and must have as many as there are images.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from convscope.errors import ConvscopeError, nearest

Scorer = Callable[[Any], Tensor]
Target = None | SupportsIndex | str | Sequence[SupportsIndex | str] | Tensor | Scorer

_UNIT = re.compile(r"(?P<layer>[^:@]+):(?P<unit>\d+)(?:@(?P<y>\d+),(?P<x>\d+))?", re.ASCII)


@dataclass(frozen=True)
class Unit:
    """One channel of a layer, or one neuron of it; ``str`` gives the name that it is known by everywhere."""

    layer: str
    unit: int
    position: tuple[int, int] | None = None  # y, x on the layer's map

    def __str__(self) -> str:
        where = "" if self.position is None else f"@{self.position[0]},{self.position[1]}"
        return f"{self.layer}:{self.unit}{where}"


def parse_unit(text: str) -> Unit | None:
    """``"layer4.1.conv2:447@3,4"`` -> Unit; None where the text is no unit's name."""
    match = _UNIT.fullmatch(text)
    if match is None:
        return None
    position = (int(match["y"]), int(match["x"])) if match["y"] else None
    return Unit(match["layer"], int(match["unit"]), position)


def class_index(name: str, classes: Sequence[str]) -> int:
    """The number of a class by its name; a number as text where no class is called that.

    Raises:
        ConvscopeError: unknown (with the nearest names) or ambiguous (with the numbers that share it).
    """
    found = [i for i, c in enumerate(classes) if c == name] or _folded_alike(name, classes)
    found = found or [i for i, c in enumerate(classes) if _fold(name) in map(_fold, c.split(","))]
    if len(found) > 1:
        numbers = ", ".join(str(i) for i in found)
        raise ConvscopeError(f"class name {name!r} is shared by classes {numbers}; give one of these numbers")
    if found:
        return found[0]
    if _is_number(name):
        return int(name)
    if not classes:
        raise ConvscopeError(f"class {name!r} was asked for by name, but this network has no class names")
    raise ConvscopeError(f"no class {name!r} among the network's {len(classes)}{nearest(name, classes)}")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _folded_alike(name: str, classes: Sequence[str]) -> list[int]:
    folded = _fold(name)
    return [i for i, c in enumerate(classes) if _fold(c) == folded]


def _fold(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def resolve_names(target: Any, classes: Sequence[str]) -> Target:
    """Class names replaced by their numbers; unit names, callables and None as they are.

    Raises:
        ConvscopeError: a name that no class or two classes have, or what can be no target.
    """
    if isinstance(target, str):
        is_unit = parse_unit(target) is not None and not _folded_alike(target, classes)
        return target if is_unit else class_index(target, classes)
    if isinstance(target, Sequence):
        # what is neither name nor number stays, to be refused with its place: dropping it would shift the others
        return [cast("int | str", resolve_names(t, classes)) for t in cast("Sequence[Any]", target)]
    return _plain(target)


@dataclass(frozen=True)
class Aim:
    """A target made ready for a pass: the units that must be tapped, and how the scores are read off it."""

    target: Any  # None, a number, a unit's name, a list of numbers and names, or a callable
    units: tuple[Unit, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers whose outputs the scores need, each once."""
        return tuple(dict.fromkeys(u.layer for u in self.units))

    @property
    def needs_output(self) -> bool:
        """False where all is read at inner layers, so that the pass may stop there."""
        count = len(cast("list[Any]", self.target)) if isinstance(self.target, list) else 1
        return len(self.units) < max(count, 1)


def aim(target: Any) -> Aim:
    """Parse a target; class names must have been resolved before.

    Raises:
        ConvscopeError: text that is neither a unit's name nor a number, a number that is not whole.
    """
    plain = _plain(target)
    listed = plain if isinstance(plain, list) else [plain]
    units = tuple(u for t in listed if isinstance(t, str) and (u := parse_unit(t)))
    return Aim(plain, units)


def _plain(target: Any) -> Any:
    """The target with tensors, arrays and their scalars as numbers and lists; text as a number or a unit's name."""
    if isinstance(target, str):
        return _number_or_unit(target)
    if isinstance(target, Sequence):
        return [_plain(t) for t in cast("Sequence[Any]", target)]
    if hasattr(target, "tolist"):  # a tensor, a numpy array, or one number of either
        return _plain(target.tolist())
    if target is None or callable(target):
        return target
    try:
        if isinstance(target, bool):
            raise TypeError
        return operator.index(target)
    except TypeError:
        raise ConvscopeError(f"target {target!r} is neither a class number nor a name, a unit or a callable") from None


def _number_or_unit(target: str) -> int | str:
    if parse_unit(target) is not None:
        return target
    if _is_number(target):
        return int(target)
    raise ConvscopeError(
        f"target {target!r} is neither a number nor a unit such as 'layer4:12'; class names need a network "
        "loaded with its classes: convscope.explain(net, ...)"
    )


def scores(
    aim: Aim, output: Any, activations: Mapping[str, Tensor], *, score: str = "logit", count: int | None = None
) -> Tensor:
    """``(b,)`` explained scores of one pass; ``count`` is b where a callable's scores are to be counted.

    Raises:
        ConvscopeError: a class or unit out of range, a count of targets that is not the count of images, or
            ``score="probability"`` of a unit, which has none.
    """
    _check_kind(score, aim.units)
    if callable(aim.target):
        return _checked(aim.target(output), count)
    if isinstance(aim.target, str):
        return unit_scores(aim.units[0], activations[aim.units[0].layer])
    if not isinstance(aim.target, list):
        return _class_scores(class_logits(output), aim.target, score)
    listed = cast("list[Any]", aim.target)
    batch = len(class_logits(output)) if aim.needs_output else len(activations[aim.layers[0]])
    if len(listed) != batch:
        raise ConvscopeError(f"{len(listed)} targets for {batch} images: give one for all, or one an image")
    return torch.stack([_one(t, i, aim, output, activations, score) for i, t in enumerate(listed)])


def _check_kind(score: str, units: Sequence[Unit]) -> None:
    if score not in ("logit", "probability"):
        raise ConvscopeError(f"score {score!r} is neither 'logit' nor 'probability'")
    if score == "probability" and units:
        raise ConvscopeError(f"score='probability' goes with classes; the unit {units[0]} has an activation only")


def _one(target: Any, image: int, aim: Aim, output: Any, activations: Mapping[str, Tensor], score: str) -> Tensor:
    if isinstance(target, str):
        unit = next(u for u in aim.units if u == parse_unit(target))
        return unit_scores(unit, activations[unit.layer][image : image + 1])[0]
    if not isinstance(target, int):
        raise ConvscopeError(f"target {target!r} of image {image} is neither a class number nor a unit")
    return _class_scores(class_logits(output)[image : image + 1], target, score)[0]


def _class_scores(logits: Tensor, target: int | None, score: str) -> Tensor:
    if score == "probability" and logits.shape[1] == 1:
        raise ConvscopeError("the probability of the only class is always 1; explain its logit")
    values = logits.softmax(1) if score == "probability" else logits
    if target is None:
        return values.gather(1, logits.argmax(1, keepdim=True))[:, 0]
    count = logits.shape[1]
    if not 0 <= target < count:
        raise ConvscopeError(f"class {target} was asked for, but the network has {count} classes (0 to {count - 1})")
    return values[:, target]


def class_logits(output: Any) -> Tensor:
    """The ``(b, classes)`` tensor in a network's output: itself, or its ``.logits``.

    Raises:
        ConvscopeError: anything else; a callable target can read any output.
    """
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        shape = f" of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else ""
        raise ConvscopeError(
            f"the network returns a {type(output).__name__}{shape}, not (b, classes) logits; give a callable target "
            "that turns the output into (b,) scores"
        )
    return logits


def unit_scores(unit: Unit, activation: Tensor) -> Float[Tensor, " b"]:
    """The mean over the unit's map ``(b, c, h, w)``, the neuron's value, or a linear layer's ``(b, c)``.

    Raises:
        ConvscopeError: unit or position out of range, or a layer whose output is no map.
    """
    check_unit(unit, activation)
    maps = activation[:, unit.unit]
    if unit.position is None:
        return maps.flatten(1).mean(1) if maps.ndim > 1 else maps
    return maps[:, unit.position[0], unit.position[1]]


def check_unit(unit: Unit, activation: Tensor) -> None:
    """Refuse a unit or a position that the layer's output ``(b, c, h, w)`` or ``(b, c)`` does not have."""
    if activation.ndim not in (2, 4):
        raise ConvscopeError(f"layer {unit.layer!r} gives {tuple(activation.shape)}: neither maps nor single units")
    count = activation.shape[1]
    if not 0 <= unit.unit < count:
        raise ConvscopeError(f"unit {unit.unit} was asked for, but layer {unit.layer!r} has {count} units")
    if unit.position is not None:
        y, x = unit.position
        h, w = activation.shape[2:] if activation.ndim == 4 else (0, 0)
        if not (0 <= y < h and 0 <= x < w):
            size = f"a map of {h} x {w}" if h else "no map"
            raise ConvscopeError(f"position {y},{x} was asked for, but layer {unit.layer!r} has {size}")


def class_targets(target: Target, logits: Float[Tensor, "b classes"]) -> Int[Tensor, " b"]:
    """Class numbers, for methods that explain classes only.

    Raises:
        ConvscopeError: a unit or a callable, a class out of range, a count that is not that of the images.
    """
    aimed = aim(target)
    if callable(aimed.target):
        raise ConvscopeError("this method explains classes, not a callable target")
    if aimed.units:
        raise ConvscopeError(f"this method explains classes, not the unit {aimed.units[0]}")
    if aimed.target is None:
        return logits.argmax(1)
    scores(aimed, logits, {})  # checks range and count
    wanted = torch.as_tensor(aimed.target, device=logits.device)
    return wanted.expand(len(logits))


def _checked(values: Any, count: int | None) -> Tensor:
    if not isinstance(values, Tensor) or values.ndim != 1:
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ConvscopeError(f"the target function returned {got}; it must turn the output into (b,) scores")
    if count is not None and len(values) != count:
        raise ConvscopeError(f"the target function returned {len(values)} scores for {count} images")
    return values
