"""A block after which the random generators that somebody holds are as they were.

Global generators are known; a user's own are not. They are looked for from what is given, a network or a data set, by
what it holds: attributes, its own and its class's, containers, closures, and the globals that its own functions name,
since a script's ``rng = numpy.random.default_rng(0)`` at the top is what its data set draws from.

Nothing of a user's runs meanwhile: types are asked by ``type``, attributes and items by Python's own means, since a
proxy or a lazy container would load what it stands for.

Pitfalls: of a container only the first 64 items are looked at (of a network all parts), of all things 65,536, the
nearest. A generator behind another module's name (``settings.rng``), behind a proxy, in a ``__slots__`` object or at
the top of an installed library is not found.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from random import Random, SystemRandom
from sysconfig import get_path
from types import BuiltinMethodType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

_MOST_HELD, _OF_A_LIST = 1 << 16, 64
_NO_HOLDERS = (Tensor, np.ndarray, str, bytes, int, float, type, ModuleType, type(None), SystemRandom)  # has no state
_ROWS = (tuple, list, set, frozenset, deque)
_WRAPPED = {staticmethod: "__func__", classmethod: "__func__", property: "fget"}
_LIBRARIES = tuple({get_path(name) for name in ("stdlib", "purelib", "platlib")})  # whose globals are not gone through

Held = torch.Generator | np.random.Generator | np.random.RandomState | Random
_HELD = get_args(Held)


@contextmanager
def kept_generators(*holders: Any) -> Generator[None]:
    """After the block every generator that they hold is as it was before."""
    before = [(held, _state(held)) for held in held_generators(*holders)]
    try:
        yield
    finally:
        for held, state in before:
            _put_back(held, state)


def held_generators(*holders: Any) -> list[Held]:
    """Those that are found, the nearest first."""
    todo, seen, kinds, found = deque[Any](holders), set[int](), set[type](), list[Held]()
    while todo and len(seen) < _MOST_HELD:
        thing = todo.popleft()
        kind = type(thing)
        if issubclass(kind, _NO_HOLDERS) or id(thing) in seen:
            continue
        seen.add(id(thing))
        if issubclass(kind, _HELD):
            found.append(thing)
            continue
        todo.extend(_inside(thing, kind))
        if kind not in kinds:
            kinds.add(kind)
            todo.extend(_of_class(kind))
    return found


def _inside(thing: Any, kind: type) -> Iterable[Any]:
    if issubclass(kind, FunctionType):
        return _reached_by(thing)
    if issubclass(kind, (MethodType, BuiltinMethodType)):
        return (getattr(thing, "__func__", None), thing.__self__)
    if issubclass(kind, partial):
        return (thing.func, thing.args, thing.keywords)
    return (*_items(thing, kind), *_attributes(thing, kind))


def _items(thing: Any, kind: type) -> Iterable[Any]:
    """Of dicts and rows; of no other mapping: the values of one may lie in a file."""
    if issubclass(kind, dict):
        return islice(dict.values(thing), _OF_A_LIST)
    row = next((row for row in _ROWS if issubclass(kind, row)), None)
    return () if row is None else islice(row.__iter__(thing), _OF_A_LIST)


def _attributes(thing: Any, kind: type) -> Iterable[Any]:
    try:
        held = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return ()
    parts = held.get("_modules") if issubclass(kind, nn.Module) else None
    return (*held.values(), *(parts.values() if isinstance(parts, dict) else ()))


def _of_class(kind: type) -> Iterator[Any]:
    """Its functions, and the generators that its instances share."""
    for each in kind.__mro__:
        for value in vars(each).values():
            function = getattr(value, _WRAPPED[type(value)]) if type(value) in _WRAPPED else value
            if issubclass(type(function), (FunctionType, *_HELD)):
                yield function


def _reached_by(function: FunctionType) -> Iterator[Any]:
    """What its closure holds; of a user's function also its defaults, and the globals that its code names."""
    # a library's decorator closes over the function that it is around
    yield from (cell.cell_contents for cell in function.__closure__ or () if cell != CellType())  # of no value yet
    if function.__code__.co_filename.startswith(_LIBRARIES):
        return
    yield from (function.__defaults__, function.__kwdefaults__)
    names = dict.fromkeys(_names(function.__code__))
    yield from (function.__globals__[name] for name in names if name in function.__globals__)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _state(held: Held) -> Any:
    if isinstance(held, torch.Generator):
        return held.get_state()
    if isinstance(held, np.random.Generator):
        return held.bit_generator.state
    return held.get_state() if isinstance(held, np.random.RandomState) else held.getstate()


def _put_back(held: Held, state: Any) -> None:
    if isinstance(held, np.random.Generator):
        held.bit_generator.state = state
    elif isinstance(held, Random):
        held.setstate(state)
    else:
        held.set_state(state)
