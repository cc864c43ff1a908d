"""A user's own model: ``package.module:factory`` or ``path/file.py:factory``, called to make a module.

The factory is a function or class that needs no argument. Where the file beside it says how its input is
prepared, that is used: the constants ``MEAN`` and ``STD`` (one number a channel), ``SIZE`` (pixels) and
``CLASSES`` (names). This runs the user's code, as importing it would. Two files may each have a neighbour of one
name (``blocks.py``): each gets its own.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from torch import nn

from convscope.errors import ConvscopeError, nearest

CONSTANTS = ("MEAN", "STD", "SIZE", "CLASSES")

_neighbours: dict[str, Path] = {}  # module that a user's file imported -> the folder that both are in


def build_from_factory(spec: str) -> tuple[nn.Module, Mapping[str, Any]]:
    """The module that ``spec``'s factory makes, and those of ``CONSTANTS`` that its file defines.

    Raises:
        ConvscopeError: no such file, module or factory; a factory that raises, or returns no module.
    """
    where, _, name = spec.rpartition(":")
    if not where or not name:
        raise ConvscopeError(f"{spec!r} is no package.module:factory and no path/file.py:factory")
    file = Path(where) if where.endswith(".py") else None
    with _importable(Path.cwd() if file is None else file.resolve().parent):
        source = _import_module(where, spec) if file is None else _import_file(file)
        module = _called(_factory(source, name, where), spec)
    return module, MappingProxyType({n: getattr(source, n) for n in CONSTANTS if hasattr(source, n)})


def _factory(source: ModuleType, name: str, where: str) -> Callable[[], Any]:
    factory = getattr(source, name, None)
    if isinstance(factory, nn.Module):
        raise ConvscopeError(f"{name!r} in {where} is a module already; name a function or class that makes it")
    if callable(factory):
        return factory
    possible = [n for n, v in vars(source).items() if callable(v) and not n.startswith("_")]
    raise ConvscopeError(f"no factory {name!r} in {where}{nearest(name, possible)}")


def _called(factory: Callable[[], Any], spec: str) -> nn.Module:
    try:
        module = factory()
    except (Exception, SystemExit) as error:
        raise ConvscopeError(f"{spec} raised {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ConvscopeError(f"{spec} returned a {type(module).__name__}, not a torch.nn.Module")
    return module


def _import_module(name: str, spec: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        hint = nearest(name, ("torchvision", "bundled"))
        raise ConvscopeError(
            f"no model {spec!r}: there is no module {error.name!r}{hint} (a model is torchvision:NAME, "
            "package.module:factory, path/file.py:factory or bundled:tiny50)"
        ) from error
    except (Exception, SystemExit) as error:
        raise ConvscopeError(f"importing {name} raised {type(error).__name__}: {error}") from error


def _import_file(file: Path) -> ModuleType:
    if not file.is_file():
        siblings = [p.name for p in file.parent.glob("*.py")] if file.parent.is_dir() else []
        raise ConvscopeError(f"no file {file}{nearest(file.name, siblings)}")
    name = f"_convscope_user_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None  # a .py file always has a loader
    assert spec.loader is not None
    source = importlib.util.module_from_spec(spec)
    sys.modules[name] = source  # dataclasses and pickles in the file look themselves up
    try:
        spec.loader.exec_module(source)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConvscopeError(f"running {file} raised {type(error).__name__}: {error}") from error
    return source


@contextmanager
def _importable(folder: Path) -> Generator[None]:
    """Modules in the folder can be imported within the block, and not those of another user's file instead."""
    for name in [n for n, home in _neighbours.items() if home != folder and _has(folder, n.partition(".")[0])]:
        sys.modules.pop(name, None)
        del _neighbours[name]
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()  # the file may have been written a moment ago
    try:
        yield
    finally:
        with suppress(ValueError):  # the user's code may have taken it off itself
            sys.path.remove(str(folder))
        _neighbours.update({n: folder for n in set(sys.modules) - before if _is_in(sys.modules[n], folder)})


def _has(folder: Path, name: str) -> bool:
    return (folder / f"{name}.py").is_file() or (folder / name).is_dir()


def _is_in(module: ModuleType, folder: Path) -> bool:
    """True for a file in the folder, or in a package there: not for an environment that happens to lie in it."""
    home = folder.joinpath(*module.__name__.split("."))
    file = getattr(module, "__file__", None)
    return file is not None and Path(file) in (home.with_suffix(".py"), home / "__init__.py")
