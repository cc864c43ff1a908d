"""Data classes that a call names: in any case of letters, ``_`` or blank alike; never silently another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convscope.errors import ConvscopeError, nearest

if TYPE_CHECKING:
    from convscope.store.atlas import Atlas


def classes_asked(asked: Sequence[str] | None, names: Sequence[str], atlas: "Atlas") -> tuple[str, ...] | None:
    """The classes as the atlas has them, each once; None where none were asked for.

    Raises:
        ConvscopeError: an atlas without labels, or a name that is none of its classes.
    """
    if not names:
        raise ConvscopeError(
            f"{atlas.path.name} has no classes: its photos had no labels. Survey with --labels folders, names or groups"
        )
    return tuple(dict.fromkeys(class_named(name, names) for name in asked)) if asked else None


def class_named(name: str, names: Sequence[str]) -> str:
    """The data class that is meant."""
    if name in names:
        return name
    alike = [each for each in names if _fold(each) == _fold(name)]
    if len(alike) == 1:
        return alike[0]
    raise ConvscopeError(f"no class {name!r} in the atlas{nearest(name, names)} (it has {_listed(names)})")


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _fold(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())
