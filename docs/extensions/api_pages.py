"""``{api-reference} MODULE``: every public name of a module, in the order of its ``__all__``, from its docstring."""

import importlib
import inspect
from types import ModuleType

import written
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata


def reference(name: str) -> str:
    """Autodoc's directives, a name each."""
    module = importlib.import_module(name)
    entries = [line for each in documented(module) for line in entry(module, each)]
    return "\n".join(["```{eval-rst}", f".. py:currentmodule:: {name}", "", *entries, "```"])


def documented(module: ModuleType) -> list[str]:
    """The public names that have documentation of their own: functions and classes."""
    every = [name for name in module.__all__ if callable(getattr(module, name))]
    return sorted(every, key=lambda name: (inspect.isclass(getattr(module, name)), name.lower()))


def entry(module: ModuleType, name: str) -> list[str]:
    """One directive."""
    thing = getattr(module, name)
    if not inspect.isclass(thing):
        return [f".. autofunction:: {module.__name__}.{name}", ""]
    if issubclass(thing, Exception):
        return [f".. autoexception:: {module.__name__}.{name}", ""]
    return [f".. autoclass:: {module.__name__}.{name}", "   :members:", "   :inherited-members: object, Sequence", ""]


def setup(app: Sphinx) -> ExtensionMetadata:
    """The directive."""
    written.add(app, "api-reference", reference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
