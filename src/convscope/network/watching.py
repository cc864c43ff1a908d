"""Show each named layer's output to a function at once, in whichever thread runs the network.

``tap`` keeps outputs: it clones them, so that what comes later in the pass cannot write into the record, and belongs
to the thread that opened it. A pass over a whole data set keeps nothing. It wants to look at an output while it still
lies in the cache, and runs one network in several threads. ``watch`` is for that: one hook a layer, put on once, no
clone; the function reads the layer's own memory before the next layer can write into it.

What a name means is as in ``tap``: a layer that never ran in a pass is an error, and so is one that ran twice, unless
one call is meant (``relu#2``). Every thread has a pass, and counts, of its own.

Pitfall: the output is the network's own. A visitor that keeps it, or a view of it, has what later layers leave there.
"""

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.layers import Call, find_calls, refuse_opaque

Visit = Callable[[str, Tensor], None]


class _Pass(threading.local):
    """What has run so far in this thread's pass."""

    def __init__(self) -> None:
        self.running = False
        self.calls: dict[nn.Module, int] = {}
        self.seen: set[str] = set()
        self.error: BaseException | None = None  # kept: a model's `except Exception` may swallow it


class _Watch:
    """An open ``watch``: which calls are wanted, and each thread's pass."""

    def __init__(self, wanted: dict[str, Call], visit: Visit) -> None:
        self.wanted, self.visit = wanted, visit
        self.by_module: dict[nn.Module, list[tuple[str, int | None]]] = {}
        for name, call in wanted.items():
            self.by_module.setdefault(call.module, []).append((name, call.number))
        self.now = _Pass()

    def hook(self, model: nn.Module, undo: ExitStack) -> None:
        undo.callback(model.register_forward_pre_hook(self.begin).remove)
        for module in self.by_module:
            undo.callback(module.register_forward_hook(self.after).remove)
        undo.callback(model.register_forward_hook(self.finish).remove)

    def begin(self, _module: nn.Module, _args: object) -> None:
        now = self.now
        now.running, now.error = True, None
        now.calls.clear()
        now.seen.clear()

    def after(self, module: nn.Module, _args: object, output: object) -> None:
        now = self.now
        if not now.running:  # a part of the network called by itself, or again by checkpointing
            return
        ran = now.calls[module] = now.calls.get(module, 0) + 1
        try:
            for name, number in self.by_module[module]:
                if number in (None, ran):
                    now.seen.add(name)
                    self.visit(name, self.checked(name, ran, output))
        except BaseException as error:
            now.error = now.error or error
            raise

    def checked(self, name: str, ran: int, output: object) -> Tensor:
        call = self.wanted[name]
        if not isinstance(output, Tensor):
            raise ConvscopeError(
                f"layer {name!r} returns a {type(output).__name__}, not a tensor; name a layer inside it"
            )
        if ran > 1 and call.number is None:
            path = call.path
            raise ConvscopeError(
                f"layer {path!r} runs more than once in a pass; name one call: '{path}#1', '{path}#2', ..."
            )
        return output

    def finish(self, _module: nn.Module, _args: object, _output: object) -> None:
        now = self.now
        now.running = False
        if now.error is not None:
            raise now.error
        if len(now.seen) < len(self.wanted):
            name, call = next((n, c) for n, c in self.wanted.items() if n not in now.seen)
            ran = now.calls.get(call.module, 0)
            times = f"ran {ran} time{'s' * (ran != 1)}" if ran else "never ran"
            raise ConvscopeError(f"layer {name!r} was asked for, but {call.path!r} {times} in this pass")


@contextmanager
def watch(model: nn.Module, layers: Sequence[str], visit: Visit) -> Generator[None]:
    """Within the block, every pass of ``model``, in any thread, calls ``visit(layer, output)`` for each of ``layers``.

    Args:
        model: any module that hooks can see into; comes back as it was, whatever happens in the block.
        layers: dotted names (``layer1.0.relu#2`` is the second call of a reused module).
        visit: is called within the layer's own call, in the thread that runs the network, with the output itself. It
            must have read what it wants when it returns. What it raises leaves through the network.

    Raises:
        ConvscopeError: no such layer, a layer that never ran or ran twice or returns no tensor, a compiled or
            scripted model.
    """
    refuse_opaque(model)
    state = _Watch(find_calls(model, dict.fromkeys(layers)), visit)
    with ExitStack() as undo:
        state.hook(model, undo)
        yield
