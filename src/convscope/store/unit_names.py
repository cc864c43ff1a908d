"""Units and layers of an atlas by name: ``layer4.1.conv2:447``; of what is not there, the nearest names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convscope.errors import ConvscopeError, nearest
from convscope.store.database import Row

_UNIT = re.compile(r"(?P<layer>.+):(?P<unit>\d+)", re.DOTALL)


@dataclass(frozen=True)
class StoredLayer:
    """A layer of an atlas. ``shape`` (h, w) of its maps; ``field_*`` None where a unit sees the whole input."""

    number: int
    name: str
    type: str
    units: int
    shape: tuple[int, int]
    field_size: tuple[int, int] | None
    field_stride: tuple[float, float] | None
    field_offset: tuple[float, float] | None


def stored_layer(row: Row) -> StoredLayer:
    """A row of the table ``layers``."""

    def pair(first: str, second: str) -> Any:
        return None if row[first] is None else (row[first], row[second])

    return StoredLayer(
        row["number"],
        row["name"],
        row["type"],
        row["units"],
        (row["height"], row["width"]),
        pair("field_height", "field_width"),
        pair("stride_y", "stride_x"),
        pair("offset_y", "offset_x"),
    )


def find_layer(layers: Mapping[str, StoredLayer], name: str, atlas: str) -> StoredLayer:
    """The layer of that name.

    Raises:
        ConvscopeError: the atlas has none; the nearest names, or all of few.
    """
    if name in layers:
        return layers[name]
    listed = f"; it has {', '.join(layers)}" if len(layers) <= 12 else f"; it has {len(layers)} others"
    raise ConvscopeError(f"no layer {name!r} in {atlas}{nearest(name, layers) or listed}")


def find_unit(layers: Mapping[str, StoredLayer], name: str, atlas: str) -> tuple[StoredLayer, int]:
    """The layer and number of ``LAYER:NUMBER``.

    Raises:
        ConvscopeError: no unit's name, no such layer, or a number that the layer does not have.
    """
    match = _UNIT.fullmatch(name)
    if match is None:
        example = next((f"{layer}:0" for layer in layers), "conv1:0")
        raise ConvscopeError(f"{name!r} is no unit's name; a unit is LAYER:NUMBER, such as {example}")
    layer, number = find_layer(layers, match["layer"], atlas), int(match["unit"])
    if number >= layer.units:
        raise ConvscopeError(f"no unit {name!r}: {layer.name} has {layer.units} units, 0 to {layer.units - 1}")
    return layer, number
