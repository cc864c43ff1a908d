"""``{api-reference} MODULE [NAME ...]``: those names of a module, or all of its ``__all__``, from their docstrings."""

import importlib
import inspect
from collections.abc import Sequence
from types import ModuleType

import written
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata


def reference(name: str, *names: str) -> str:
    """Autodoc's directives, a name each."""
    module = importlib.import_module(name)
    entries = [line for each in documented(module, names) for line in entry(module, each)]
    return "\n".join(["```{eval-rst}", f".. py:currentmodule:: {name}", "", *entries, "```"])


def documented(module: ModuleType, names: Sequence[str] = ()) -> list[str]:
    """The public names, or those asked for, that have documentation of their own: functions, then classes."""
    every = [name for name in names or module.__all__ if callable(getattr(module, name))]
    return sorted(every, key=lambda name: (inspect.isclass(getattr(module, name)), name.lower()))


def entry(module: ModuleType, name: str) -> list[str]:
    """One directive."""
    thing = getattr(module, name)
    if not inspect.isclass(thing):
        return [f".. autofunction:: {module.__name__}.{name}", ""]
    if issubclass(thing, Exception):
        return [f".. autoexception:: {module.__name__}.{name}", ""]
    return [
        f".. autoclass:: {module.__name__}.{name}",
        "   :members:",
        "   :inherited-members: object, Sequence, Callback",
        "",
    ]


def setup(app: Sphinx) -> ExtensionMetadata:
    """The directive."""
    written.add(app, "api-reference", reference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
