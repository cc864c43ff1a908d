"""Record, edit or stop at named layers of a live network, for the length of a ``with`` block.

``tap`` is the first of the two primitives that everything rests on (the other is ``graph.backward_rule``). It
is a handful of forward hooks in one ``ExitStack``, with four promises that ad-hoc hooks break:

* **The record is not spoilt.** A layer's output is kept, and the network goes on with a clone of it, so that a
  later in-place ReLU writes into the clone. The clone is part of the graph: ``autograd.grad(score, record)``
  is the gradient at the layer, also where the network ignores what an in-place layer returns.
* **It acts in its own thread only**, and is undone whatever happens in the block, Ctrl-C included.
* **A name means one call.** A layer that never ran is an error, and so is one that ran twice: ``relu#2`` is
  the second call of ``relu`` in a pass.
* **The graph can begin at a layer** (``graph_from``): below it the pass runs without recording, so a Grad-CAM
  pays one forward pass and the tail.

Taps nest: an outer tap's edits act in the passes that an inner one records. An edit may itself run the network:
those passes are not the tap's. Pitfall: the clone is fresh memory. A network that relies on a layer's output sharing
it with something else, other than with the argument of a layer that works in place, computes otherwise while tapped:
``b = identity(a); b += 1`` no longer changes ``a``.
"""

import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.layers import Call, find_calls, refuse_opaque

Edit = Callable[[Tensor], Tensor]


class _Stop(BaseException):
    """Leaves the network once everything asked for has been seen."""

    def __init__(self, owner: object) -> None:
        self.owner = owner


class _Tap:
    """The state of one open tap: what is wanted, what has run in this pass, what was recorded."""

    def __init__(self, wanted: Mapping[str, Call], edit: Mapping[str, Any], stop: bool, graph_from: Sequence[str]):
        self.thread = threading.get_ident()
        self.wanted, self.edit, self.stop, self.graph_from = wanted, edit, stop, graph_from
        self.calls: Counter[nn.Module] = Counter()
        self.seen: dict[str, Tensor] = {}
        self.ever_seen: set[str] = set()
        self.refusal = ""  # kept: a model's `except Exception` may swallow the error
        self.began = self.running = self.editing = self.graph_began = False

    def hook(self, model: nn.Module, undo: ExitStack) -> None:
        """Put the hooks on, each undone with ``undo``."""
        undo.callback(model.register_forward_pre_hook(self.begin).remove)
        for module in {call.module for call in self.wanted.values()}:
            undo.callback(module.register_forward_hook(self.after, with_kwargs=True).remove)
        undo.callback(model.register_forward_hook(self.finish).remove)

    def begin(self, _module: nn.Module, _args: object) -> None:
        """A new pass of the whole network starts: counts and records are its own."""
        if self._is_mine():
            self.began = self.running = True
            self.calls.clear()
            self.seen.clear()
            self.refusal = ""
            if self.graph_began:  # a second pass in one block: below the layer again without a graph
                torch.set_grad_enabled(False)
                self.graph_began = False

    def after(self, module: nn.Module, args: tuple[Any, ...], *rest: Any) -> Tensor | None:
        """Hook of every wanted module. ``rest`` is its keyword arguments and its output.

        Only the output, where the hook was taken off while another thread's pass was about to call it.
        """
        if not self._is_mine() or not self.running:  # checkpointing runs layers again in the backward pass
            return None
        named, output = rest
        self.calls[module] += 1
        matching = [n for n, c in self.wanted.items() if c.module is module and c.number in (None, self.calls[module])]
        if not matching:
            return None
        given = [*args, *named.values()]
        record = self._record(matching, _owned(self._checked(matching, output), given))
        if self.stop and len(self.seen) == len(self.wanted):
            raise _Stop(self)
        if getattr(module, "inplace", False) and any(output is a for a in given):
            return _rejoined(output, record, any(n in self.edit for n in matching))
        return record.clone()  # a later in-place operation writes into the clone, never into the record

    def _is_mine(self) -> bool:
        return threading.get_ident() == self.thread and not self.editing

    def _checked(self, names: Sequence[str], output: object) -> Tensor:
        call = self.wanted[names[0]]
        if not isinstance(output, Tensor):
            self.refusal = f"layer {names[0]!r} returns a {type(output).__name__}, not a tensor; tap a layer inside it"
        elif self.calls[call.module] > 1 and any(self.wanted[n].number is None for n in names):
            path = call.path
            self.refusal = f"layer {path!r} runs more than once in a pass; name one call: '{path}#1', '{path}#2', ..."
        else:
            return output
        raise ConvscopeError(self.refusal)

    def _record(self, names: Sequence[str], output: Tensor) -> Tensor:
        if not self.graph_began and set(names) & set(self.graph_from):
            torch.set_grad_enabled(True)  # from here on the pass is recorded; the block's end restores the mode
            self.graph_began = True
        for name in names:
            if name in self.edit:
                output = self._edited(name, output)
        if self.graph_began and not output.requires_grad and (output.is_floating_point() or output.is_complex()):
            output = output.detach().requires_grad_()
        self.seen.update(dict.fromkeys(names, output))
        self.ever_seen.update(names)
        return output

    def _edited(self, name: str, before: Tensor) -> Tensor:
        self.editing = True
        try:
            after = self.edit[name](before.clone())  # clone: it may write in place, and autograd saved `before`
        finally:
            self.editing = False
        if isinstance(after, Tensor) and after.shape == before.shape:
            return after
        got = tuple(after.shape) if isinstance(after, Tensor) else type(after).__name__
        self.refusal = f"the edit of layer {name!r} turned {tuple(before.shape)} into {got}"
        raise ConvscopeError(self.refusal)

    def finish(self, _module: nn.Module, _args: object, _output: object) -> None:
        """The whole network has run: everything wanted must have been seen."""
        if self._is_mine():
            self.running = False
            self.check(self.wanted)

    def close(self) -> None:
        """The block ends. An inner tap may have stopped its last pass below a layer that is only edited."""
        if not self.began:
            raise ConvscopeError(f"{', '.join(self.wanted)}: nothing to tap, the model itself was not called")
        self.check([n for n in self.wanted if n not in self.ever_seen or n not in self.edit])

    def check(self, names: Sequence[str] | Mapping[str, Call]) -> None:
        if self.refusal:
            raise ConvscopeError(self.refusal)
        for name in names:
            if name not in self.seen:
                call = self.wanted[name]
                ran = self.calls[call.module]
                times = f"ran {ran} time{'s' * (ran != 1)}" if ran else "never ran"
                raise ConvscopeError(f"layer {name!r} was asked for, but {call.path!r} {times} in this pass")


def _owned(output: Tensor, given: Sequence[Any]) -> Tensor:
    """The output, cloned where it shares memory with an argument (in-place layer, view, dropout in evaluation).

    The caller may hold that argument and write into it later; the record must not change then.
    """
    return output.clone() if any(isinstance(a, Tensor) and _share(a, output) for a in given) else output


def _share(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _rejoined(written: Tensor, record: Tensor, edited: bool) -> Tensor:
    """The argument that an in-place layer wrote into and returned, as a copy of the record and after it in the graph.

    The network may go on with the argument as well as with what the layer returned: both must hold the edit, and
    the gradient at the record must come through both.
    """
    if written.requires_grad and written.is_leaf:  # nothing wrote into a leaf: dropout in evaluation
        return record.clone()
    if not torch.is_grad_enabled():
        return written.copy_(record)
    if edited and written.requires_grad:  # the layer saved the memory for its backward pass: the edit goes elsewhere
        if written._is_view():
            raise ConvscopeError("cannot edit a layer that works in place on a view; edit the layer around it")
        written.data = record.detach().clone()
    with torch.autograd.grad_mode._unsafe_preserve_version_counter(written):  # pyright: ignore[reportPrivateUsage]
        return written.copy_(record)


@contextmanager
def tap(
    model: nn.Module,
    *layers: str,
    edit: Mapping[str, Edit] | None = None,
    stop: bool = False,
    graph_from: str | Sequence[str] | None = None,
) -> Generator[Mapping[str, Tensor]]:
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
    edits = dict(edit or {})
    starts = [graph_from] if isinstance(graph_from, str) else list(graph_from or ())
    names = dict.fromkeys([*layers, *edits, *starts])
    if not names:  # nothing to hook: any model will do, also one that cannot be seen into
        yield {}
        return
    refuse_opaque(model)
    state = _Tap(find_calls(model, names), edits, stop, starts)
    with ExitStack() as undo:
        if starts:
            undo.enter_context(torch.inference_mode(False))
            undo.enter_context(torch.set_grad_enabled(False))
        state.hook(model, undo)
        try:
            yield state.seen
        except _Stop as signal:
            if signal.owner is not state:  # an outer tap's: it leaves through this block too
                raise
        else:
            state.close()
