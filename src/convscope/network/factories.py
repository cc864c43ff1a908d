"""A user's own model: ``package.module:factory`` or ``path/file.py:factory``, called to make a module.

The factory is a function or class that needs no argument. Where the file beside it says how its input is
prepared, that is used: the constants ``MEAN`` and ``STD`` (one number a channel), ``SIZE`` (pixels) and
``CLASSES`` (names). This runs the user's code, as importing it would.
"""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from torch import nn

from convscope.errors import ConvscopeError, nearest

CONSTANTS = ("MEAN", "STD", "SIZE", "CLASSES")


def build_from_factory(spec: str) -> tuple[nn.Module, Mapping[str, Any]]:
    """The module that ``spec``'s factory makes, and those of ``CONSTANTS`` that its file defines.

    Raises:
        ConvscopeError: no such file, module or factory; a factory that raises, or returns no module.
    """
    where, _, name = spec.rpartition(":")
    source = _import_file(Path(where)) if where.endswith(".py") else _import_module(where, spec)
    factory = getattr(source, name, None)
    if not callable(factory):
        possible = [n for n, v in vars(source).items() if callable(v) and not n.startswith("_")]
        raise ConvscopeError(f"no factory {name!r} in {where}{nearest(name, possible)}")
    try:
        module = factory()
    except Exception as error:
        raise ConvscopeError(f"{spec} raised {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ConvscopeError(f"{spec} returned a {type(module).__name__}, not a torch.nn.Module")
    return module, MappingProxyType({n: getattr(source, n) for n in CONSTANTS if hasattr(source, n)})


def _import_module(name: str, spec: str) -> ModuleType:
    try:
        with _importable(Path.cwd()):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConvscopeError(
            f"no model {spec!r}: there is no module {error.name!r} (a model is torchvision:NAME, package.module:factory, "
            "path/file.py:factory or bundled:tiny50)"
        ) from error
    except Exception as error:
        raise ConvscopeError(f"importing {name} raised {type(error).__name__}: {error}") from error


def _import_file(file: Path) -> ModuleType:
    if not file.is_file():
        siblings = [p.name for p in file.parent.glob("*.py")] if file.parent.is_dir() else []
        raise ConvscopeError(f"no file {file}{nearest(file.name, siblings)}")
    name = f"_convscope_user_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # a .py file always has a loader
    source = importlib.util.module_from_spec(spec)
    sys.modules[name] = source  # dataclasses and pickles in the file look themselves up
    try:
        with _importable(file.resolve().parent):
            spec.loader.exec_module(source)
    except Exception as error:
        del sys.modules[name]
        raise ConvscopeError(f"running {file} raised {type(error).__name__}: {error}") from error
    return source


@contextmanager
def _importable(folder: Path):
    """Modules beside the file can be imported while it is."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
