"""Run a network in evaluation mode, with gradients possible, and give it back as it was.

A batch norm in training mode mixes the images of a batch and changes its statistics; a dropout draws random
numbers. Every method therefore runs inside ``evaluation(model)``. Several threads may explain one model at
once: the flags are saved when the first enters and restored when the last one leaves.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import nn


class _Flags:
    """The training flags of one model, and how many blocks have it in evaluation mode now."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.training: list[nn.Module] = []


_flags: "WeakKeyDictionary[nn.Module, _Flags]" = WeakKeyDictionary()
_registry_lock = threading.Lock()


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Within the block: evaluation mode, gradients enabled, inference mode off. All restored at its end.

    A surrounding ``torch.no_grad()`` or ``torch.inference_mode()`` does not stop what runs inside.
    """
    with _registry_lock:
        flags = _flags.setdefault(model, _Flags())
    _enter(model, flags)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        _leave(flags)


def _enter(model: nn.Module, flags: _Flags) -> None:
    with flags.lock:
        if flags.inside == 0:
            # set one by one: a model may override .train() or .eval(), and a frozen batch norm stays as it was
            flags.training = [m for m in model.modules() if m.training]
            for module in flags.training:
                module.training = False
        flags.inside += 1


def _leave(flags: _Flags) -> None:
    with flags.lock:
        flags.inside -= 1
        if flags.inside == 0:
            for module in flags.training:
                module.training = True
            flags.training = []
