"""Branching: what lies below a layer runs once, what lies above it many times with the layer edited each time.

To switch a layer's units off one after the other asks for one pass a unit, of which all below the layer is the same.
With c the last layer on the main path at or below the edited one (``main_path.last_cut``) the network is

    f(x) = g(c(x)),      f(x without unit k) = g_k(c(x)),

and c(x) is needed once: g runs on a batch of copies of it, each edited in its own way. Above a residual block's inner
convolution c is the output of the block before, and the block runs for each copy; with no such layer c is the image.

A forward pass is Python code, which cannot be entered in the middle. So the pass starts at the image, and a hook puts
the copies in the place of c's output. Below c it runs on ``stand_in`` images: on none at all, a batch (0, c, H, W),
where every layer has nothing to compute; where the network does not take that, on one image of zeros.

A path that the graph does not see (``detach``, an in-place layer whose argument goes on) would make this wrong. Hence
``find_branch`` proves it: copies that are edited differently give the answers that the whole network gives, where a
hidden path would bring no rows, or zeros. What is not proved runs whole.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.layers import Call, find_call, run_model
from convscope.network.main_path import last_cut
from convscope.network.memory_layout import run_on_copy
from convscope.network.taps import Edit, tap
from convscope.network.targets import class_logits

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}  # of the largest logit; batches of other sizes round otherwise
_ROUGH = 2e-2


@dataclass(frozen=True, eq=False)
class Branch:
    """Where ``model`` is branched so that ``layers`` can be edited: at ``cut``, or None: at the image.

    ``stand_in``: how many images run below the cut in the place of all.
    """

    model: nn.Module
    layers: tuple[str, ...]
    cut: str | None
    stand_in: int = 0

    def above(self, x: Float[Tensor, "b c H W"], rows: Tensor, edits: Mapping[str, Edit]) -> Any:
        """The network's output for ``rows`` in the place of what the cut gives; call it in ``evaluation(model)``.

        Args:
            x: network input, of which the shape is used only.
            rows: of the cut's output; of images where it is None. They are written into.
            edits: layer -> edit of its output, see ``tap``; it may write in place.
        """
        others = {layer: edit for layer, edit in edits.items() if layer != self.cut}
        if self.cut is not None and self.cut in edits:
            rows = edits[self.cut](rows)
        with tap(self.model, edit=others):
            return self._run(x, rows)

    def _run(self, x: Tensor, rows: Tensor) -> Any:
        if self.cut is None:
            return run_on_copy(self.model, rows)
        hook = _PutIn(find_call(self.model, self.cut), rows)
        handle = hook.call.module.register_forward_hook(hook)
        try:
            return run_model(self.model, torch.zeros_like(x[: self.stand_in]))
        finally:
            handle.remove()


class _PutIn:
    """A forward hook: the rows instead of what one call of a module gives, in this thread."""

    def __init__(self, call: Call, rows: Tensor) -> None:
        self.call, self.rows, self.thread, self.calls = call, rows, threading.get_ident(), 0

    def __call__(self, *_: object) -> Tensor | None:
        if threading.get_ident() != self.thread:
            return None
        self.calls += 1
        return self.rows if self.calls == (self.call.number or 1) else None


def find_branch(model: nn.Module, x: Float[Tensor, "b c H W"], layers: Sequence[str]) -> Branch:
    """The highest place at which the network can be branched to edit ``layers``, proved on ``x``; costs a few passes.

    Raises:
        ConvscopeError: no such layer, one that never ran, or one that ran twice (name a call).
    """
    whole = Branch(model, tuple(layers), None)
    edits = dict.fromkeys(layers, _shaded)
    with evaluation(model):
        x = x.detach()
        with torch.no_grad():
            expected = class_logits(whole.above(x, _twice(x), edits))
        try:
            cut = last_cut(model, x, layers)
        except ConvscopeError:  # without a graph there is no main path to be found
            return whole
        for stand_in in () if cut is None else (0, 1):
            branch = Branch(model, tuple(layers), cut, stand_in)
            if _is_proved(branch, x, expected):
                return branch
    return whole


def _is_proved(branch: Branch, x: Tensor, expected: Tensor) -> bool:
    with torch.no_grad():
        try:
            with tap(branch.model, str(branch.cut)) as seen:
                run_on_copy(branch.model, x)
            rows = _twice(seen[str(branch.cut)])
            found = class_logits(branch.above(x, rows, dict.fromkeys(branch.layers, _shaded)))
        except Exception:  # a network may fail in any way on other rows than it gave
            return False
    if found.shape != expected.shape or not found.isfinite().all():
        return False
    room = _TOLERANCE.get(found.dtype, _ROUGH) * expected.abs().max().clamp(min=1e-6)
    return bool((found - expected).abs().max() <= room)


def _twice(rows: Tensor) -> Tensor:
    return torch.cat([rows, rows])  # cat keeps the memory layout


def _shaded(activation: Tensor) -> Tensor:
    """Each row weakened by another factor: only rows that reach the output as themselves give the same answers."""
    factors = torch.linspace(1, 0.25, len(activation), dtype=activation.dtype, device=activation.device)
    return activation * factors.reshape(-1, *[1] * (activation.ndim - 1))
