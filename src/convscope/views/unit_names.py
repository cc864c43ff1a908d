"""How several units are named at once.

layer4.1.conv2:447          one unit
layer4.1.conv2:447@3,4      one neuron: row 3, column 4 of the unit's map
layer4.1.conv2:3,7,11       three units
layer4.1.conv2:0-15         sixteen units, both ends included
layer4.1.conv2:0-3,7        five units
layer4.1.conv2:all          every unit of the layer
"""

import re
from collections.abc import Mapping, Sequence

from convscope.errors import ConvscopeError
from convscope.network.targets import Unit, parse_unit
from convscope.views.units_asked import checked_units, ranges_in

MOST_LETTERS, MOST_LAYERS = 60, 3  # in words

_SEVERAL = re.compile(r"(?P<layer>[^:@]+):(?P<numbers>all|\d+(-\d+)?(,\d+(-\d+)?)*)", re.ASCII)


def layer_of(name: object) -> str:
    """The layer of a unit's name, or of several units'.

    Raises:
        ConvscopeError: text that names no unit, or what is no text.
    """
    if isinstance(name, Unit):
        return name.layer
    text = name if isinstance(name, str) else ""  # of anything else, such as a bare number
    one, several = parse_unit(text), _SEVERAL.fullmatch(text)
    if one is None and several is None:
        raise ConvscopeError(
            f"{name!r} names no unit; give LAYER:3, several as LAYER:3,7,11 or LAYER:0-15 or LAYER:all, or one neuron "
            "as LAYER:3@Y,X"
        )
    return one.layer if one is not None else several["layer"] if several is not None else ""


def units_named(names: Sequence[str | Unit], counts: Mapping[str, int]) -> tuple[Unit, ...]:
    """The units that ``names`` stand for, each once, in their order.

    Args:
        names: see the module's docstring.
        counts: layer -> how many units it has.

    Raises:
        ConvscopeError: text that names no unit, a number that the layer has not, a range that runs backwards.
    """
    found: dict[Unit, None] = {}
    for name in names:
        found.update(dict.fromkeys(_units(name, counts[layer_of(name)])))
    return tuple(found)


def _units(name: str | Unit, count: int) -> list[Unit]:
    one = parse_unit(name) if isinstance(name, str) else name
    if one is not None:
        checked_units([one.unit], count, one.layer)
        return [one]
    layer, numbers = str(name).rsplit(":", 1)
    if numbers == "all":
        return [Unit(layer, unit) for unit in range(count)]
    parts = ranges_in(numbers, f"units of {layer}")
    for part in parts:
        checked_units([part[0], part[-1]], count, layer)  # before a long range is listed
    return [Unit(layer, unit) for part in parts for unit in part]


def in_words(units: Sequence[Unit]) -> str:
    """As they would be asked for, ``layer4:0-3,7 and layer3:2``; where that is long ``40 units of layer4``."""
    layers = list(dict.fromkeys(unit.layer for unit in units))
    names = [name for layer in layers for name in _names([u for u in units if u.layer == layer])]
    if sum(map(len, names)) <= MOST_LETTERS:
        return " and ".join(names)
    return f"{len(units)} units of {' and '.join(layers) if len(layers) <= MOST_LAYERS else f'{len(layers)} layers'}"


def _names(units: Sequence[Unit]) -> list[str]:
    """Of units of one layer: the whole ones in one name, each neuron in its own."""
    runs: list[list[int]] = []
    for number in (unit.unit for unit in units if unit.position is None):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs]
    whole = [f"{units[0].layer}:{','.join(parts)}"] if parts else []
    return whole + [str(unit) for unit in units if unit.position is not None]
