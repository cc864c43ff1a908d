"""A block after which the random generators that somebody holds are as they were.

Global generators are known; a user's own are not. They are looked for from what is given, a network or a data set, by
what it holds: attributes, containers, closures, and the globals that its own functions name, since a script's
``rng = numpy.random.default_rng(0)`` at the top is what its data set draws from.

Pitfalls: of a long list only the first 64 are looked at. A generator behind another module's name (``settings.rng``),
in a ``__slots__`` object or at the top of an installed library is not found.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from random import Random
from sysconfig import get_path
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

_MOST_HELD, _OF_A_LIST = 1 << 16, 64
_NO_HOLDERS = (Tensor, np.ndarray, str, bytes, int, float, type, ModuleType, type(None))
_LIBRARIES = tuple({get_path(name) for name in ("stdlib", "purelib", "platlib")})  # whose globals are not gone through

Held = torch.Generator | np.random.Generator | np.random.RandomState | Random


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
    todo, seen, found = deque[Any](holders), set[int](), list[Held]()
    while todo and len(seen) < _MOST_HELD:
        thing = todo.popleft()
        if isinstance(thing, _NO_HOLDERS) or id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, Held):
            found.append(thing)
        else:
            todo.extend(_inside(thing))
    return found


def _inside(thing: Any) -> Iterable[Any]:
    if isinstance(thing, dict):  # no other mapping: the values of one may lie in a file
        return islice(cast(dict[Any, Any], thing).values(), _OF_A_LIST)
    if isinstance(thing, tuple | list | set | frozenset | deque):
        return islice(cast(Sequence[Any], thing), _OF_A_LIST)
    if isinstance(thing, FunctionType):
        return _reached_by(thing)
    if isinstance(thing, MethodType):
        return (thing.__func__, thing.__self__)
    if isinstance(thing, partial):
        return (thing.func, thing.args, thing.keywords)
    held = getattr(thing, "__dict__", None)  # a foreign library's wrapper makes up any name, this one too
    return (*held.values(), *_functions_of(type(thing))) if isinstance(held, dict) else ()


def _reached_by(function: FunctionType) -> Iterator[Any]:
    """What its closure holds, and the globals that its code names."""
    if function.__code__.co_filename.startswith(_LIBRARIES):
        return
    yield from (function.__defaults__, function.__kwdefaults__)
    yield from (cell.cell_contents for cell in function.__closure__ or () if cell != CellType())  # of no value yet
    names = dict.fromkeys(_names(function.__code__))
    yield from (function.__globals__[name] for name in names if name in function.__globals__)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _functions_of(kind: type) -> Iterator[Any]:
    for each in kind.__mro__:
        yield from (value for value in vars(each).values() if isinstance(value, FunctionType))


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
