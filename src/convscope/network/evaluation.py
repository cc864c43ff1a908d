"""Run a network in evaluation mode, with gradients possible, and give it back as it was.

A batch norm in training mode mixes the images of a batch and changes its statistics; a dropout draws random
numbers. Every method therefore runs inside ``evaluation(model)``. Several threads may explain one model, or models
that share a part, at once: each module's flag is saved when the first block enters and restored when the last one
that holds it leaves.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class _Held:
    """A module in evaluation mode: by how many blocks, and the flag that it gets back."""

    blocks: int
    training: bool


_held: dict[nn.Module, _Held] = {}  # only modules inside a block: nothing outlives it
_lock = threading.RLock()  # reentrant: a Ctrl-C handler may itself explain something


@contextmanager
def evaluation(model: nn.Module) -> Generator[None]:
    """Within the block: evaluation mode, gradients enabled, inference mode off. All restored at its end.

    A surrounding ``torch.no_grad()`` or ``torch.inference_mode()`` does not stop what runs inside.
    """
    entered: list[nn.Module] = []
    try:
        _enter(model, entered)
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        _leave(entered)


def _enter(model: nn.Module, entered: list[nn.Module]) -> None:
    """Hold every module; ``entered`` grows with them, so that an interrupt half way is undone too."""
    with _lock:
        for module in model.modules():
            if not hasattr(module, "training"):  # a frozen TorchScript module is in evaluation mode for good
                continue
            held = _held.setdefault(module, _Held(0, module.training))
            held.blocks += 1
            entered.append(module)
            # flag by flag: a model may override .train() or .eval(), and a frozen batch norm stays as it was
            _set(module, False)


def _leave(entered: list[nn.Module]) -> None:
    with _lock:
        for module in entered:
            held = _held[module]
            held.blocks -= 1
            if held.blocks == 0:
                _set(module, held.training)
                del _held[module]


def _set(module: nn.Module, training: bool) -> None:
    if module.training != training:  # assigning to a module is slow, and most are in evaluation mode already
        module.training = training
