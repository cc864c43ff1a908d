"""Record, edit or stop at named layers of a live network, for the length of a ``with`` block.

``tap`` is the first of the two primitives that everything rests on (the other is ``graph.backward_rule``). It
is a handful of forward hooks in one ``ExitStack``, with four promises that ad-hoc hooks break:

* **The record is not spoilt.** A layer's output is kept, and the network goes on with a clone of it, so that a
  later in-place ReLU writes into the clone. The clone is part of the graph: ``autograd.grad(score, record)``
  is the gradient at the layer.
* **It acts in its own thread only**, and is undone whatever happens in the block, Ctrl-C included.
* **A name means one call.** A layer that never ran is an error, and so is one that ran twice: ``relu#2`` is
  the second call of ``relu`` in a pass.
* **The graph can begin at a layer** (``graph_from``): below it the pass runs without recording, so a Grad-CAM
  pays one forward pass and the tail.

Taps nest: an outer tap's edits act in the passes that an inner one records.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.layers import Call, find_call, refuse_opaque

Edit = Callable[[Tensor], Tensor]


class _Stop(BaseException):  # noqa: N818 - a signal, not an error: a model's `except Exception` must let it pass
    """Leaves the network once everything asked for has been seen."""

    def __init__(self, owner: object) -> None:
        self.owner = owner


class _Tap:
    """The state of one open tap: what is wanted, what has run in this pass, what was recorded."""

    def __init__(self, wanted: Mapping[str, Call], edit: Mapping[str, Edit], stop: bool, graph_from: Sequence[str]):
        self.thread = threading.get_ident()
        self.wanted, self.edit, self.stop, self.graph_from = wanted, edit, stop, graph_from
        self.calls: Counter[nn.Module] = Counter()
        self.seen: dict[str, Tensor] = {}
        self.graph_began = False

    def begin(self, _module: nn.Module, _args: object) -> None:
        """A new pass of the whole network starts: counts and records are its own."""
        if threading.get_ident() == self.thread:
            self.calls.clear()
            self.seen.clear()
            if self.graph_began:  # a second pass in one block: below the layer again without a graph
                torch.set_grad_enabled(False)
                self.graph_began = False

    def after(self, module: nn.Module, args: tuple[Any, ...], output: object) -> Tensor | None:
        """Hook of every wanted module."""
        if threading.get_ident() != self.thread:
            return None
        self.calls[module] += 1
        matching = [n for n, c in self.wanted.items() if c.module is module and c.number in (None, self.calls[module])]
        if not matching:
            return None
        if self.calls[module] > 1 and any(self.wanted[n].number is None for n in matching):
            raise ConvscopeError(self._ran_often(matching))
        record = self._record(matching, _owned(output, args))
        if self.stop and len(self.seen) == len(self.wanted):
            raise _Stop(self)
        return record.clone()  # a later in-place operation writes into the clone, never into the record

    def _record(self, names: Sequence[str], output: object) -> Tensor:
        if not isinstance(output, Tensor):
            raise ConvscopeError(
                f"layer {names[0]!r} returns a {type(output).__name__}, not a tensor; choose one of the layers inside it"
            )
        if self.graph_from and not self.graph_began and set(names) & set(self.graph_from):
            torch.set_grad_enabled(True)  # from here on the pass is recorded; the block's end restores the mode
            self.graph_began = True
        if self.graph_began and not output.requires_grad and output.is_floating_point():
            output = output.detach().requires_grad_()
        for name in names:
            if name in self.edit:
                # clone: an edit may write in place, and autograd may have saved the output
                output = _edited(name, output, self.edit[name](output.clone()))
        self.seen.update(dict.fromkeys(names, output))
        return output

    def finish(self, _module: nn.Module, _args: object, _output: object) -> None:
        """The whole network has run: everything wanted must have been seen."""
        if threading.get_ident() == self.thread:
            self.check()

    def check(self) -> None:
        for name, call in self.wanted.items():
            if name not in self.seen:
                ran = self.calls[call.module]
                times = f"ran {ran} time{'s' * (ran != 1)}" if ran else "never ran"
                raise ConvscopeError(f"layer {name!r} was asked for, but {call.path!r} {times} in this pass")

    def _ran_often(self, names: Sequence[str]) -> str:
        path = self.wanted[names[0]].path
        return f"layer {path!r} runs more than once in a pass; name one call: '{path}#1', '{path}#2', ..."


def _owned(output: object, args: tuple[Any, ...]) -> object:
    """The output, cloned where it shares memory with an argument (in-place layer, view, dropout in evaluation).

    The caller may hold that argument and write into it later; the record must not change then.
    """
    if not isinstance(output, Tensor) or not any(isinstance(a, Tensor) and _share(a, output) for a in args):
        return output
    return output.clone()


def _share(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _edited(name: str, before: Tensor, after: Tensor) -> Tensor:
    if after.shape != before.shape:
        raise ConvscopeError(f"the edit of layer {name!r} turned {tuple(before.shape)} into {tuple(after.shape)}")
    return after


@contextmanager
def tap(
    model: nn.Module,
    *layers: str,
    edit: Mapping[str, Edit] | None = None,
    stop: bool = False,
    graph_from: str | Sequence[str] | None = None,
) -> Iterator[Mapping[str, Tensor]]:
    """Within the block, record the outputs of ``layers`` (and edit those in ``edit``) in every pass of ``model``.

    Args:
        model: any module; comes back as it was, whatever happens in the block.
        layers: dotted names (``layer1.0.relu#2`` is the second call of a reused module).
        edit: layer name -> function of its output, of the same shape; the network goes on with the result, and
            the record holds it.
        stop: leave the network, and the block, as soon as all layers were seen. A plain name is then the
            first call of its module: what would have come later is not known.
        graph_from: run without a graph up to this layer (the first to run, if several), with one above it.

    Yields:
        name -> output of the last pass in this thread, in the autograd graph, never a clone of it.

    Raises:
        ConvscopeError: no such layer, a layer that never ran or ran twice, a compiled or scripted model.
    """
    refuse_opaque(model)
    edits = dict(edit or {})
    starts = [graph_from] if isinstance(graph_from, str) else list(graph_from or ())
    names = dict.fromkeys([*layers, *edits, *starts])
    state = _Tap({name: find_call(model, name) for name in names}, edits, stop, starts)
    with ExitStack() as undo:
        if starts:
            undo.enter_context(torch.set_grad_enabled(False))
        undo.callback(model.register_forward_pre_hook(state.begin).remove)
        for module in {call.module for call in state.wanted.values()}:
            undo.callback(module.register_forward_hook(state.after).remove)
        undo.callback(model.register_forward_hook(state.finish).remove)
        try:
            yield state.seen
        except _Stop as signal:
            if signal.owner is not state:  # an outer tap's: it leaves through this block too
                raise
        else:
            state.check()
