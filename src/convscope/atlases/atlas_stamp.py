"""The stamp of what is drawn from an atlas: the one that the survey left."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from convscope.stamps import Stamp, command_line, versions

if TYPE_CHECKING:
    from convscope.store.atlas import Atlas


def stamp_of(atlas: "Atlas") -> Stamp:
    """Model and data as the survey knew them, with the command that draws; what an atlas lacks is empty."""
    kept: dict[str, Any] = dict(atlas.about.get("stamp") or {})
    network = dict(atlas.about.get("network") or {})
    known = {"model": network.get("name", ""), "model_hash": network.get("fingerprint", ""), "data_hash": ""}
    known |= {"versions": versions(), "seed": None, "command": ""}
    kept = {**known, **kept, "command": command_line()}
    return Stamp(**{each.name: kept[each.name] for each in fields(Stamp)})
