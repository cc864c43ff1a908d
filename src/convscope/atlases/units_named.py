"""Units of an atlas by the names that all commands take: ``LAYER:7``, ``LAYER:3,7-9``, ``LAYER:all``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convscope.errors import ConvscopeError
from convscope.views.unit_names import layer_of, units_named

if TYPE_CHECKING:
    from convscope.network.targets import Unit
    from convscope.store.atlas import Atlas


def units_of(atlas: "Atlas", names: Sequence[str]) -> "list[Unit]":
    """The units that ``names`` stand for, each once.

    Raises:
        ConvscopeError: a layer or unit that the atlas has not, or one neuron: an atlas has whole units.
    """
    for name in names:
        if "@" in name:
            raise ConvscopeError(f"{name}: an atlas knows whole units; name {name.split('@')[0]}")
    return list(units_named(names, {layer_of(name): atlas.layer(layer_of(name)).units for name in names}))


def is_layer(atlas: "Atlas", name: str) -> bool:
    """Whether a name is that of a layer, or of nothing, and not of units."""
    return ":" not in name or any(name == row.name for row in atlas.layers)
