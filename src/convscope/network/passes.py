"""One forward pass with what a method needs of it: the explained input as a leaf, scores, layers' outputs.

Every driver in ``attribution/`` is ``with evaluation(model): forward(...)`` and a few lines of maths. The input
is cloned, so that the caller's tensor takes no gradient and an in-place first layer does not write into it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.graph import nodes
from convscope.network.layers import copied, run_model
from convscope.network.taps import tap
from convscope.network.targets import Target, aim, scores

Inputs = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Pass:
    """What one pass left: everything is in the autograd graph that it recorded.

    ``image`` is the explained input as the network got it; ``output`` is None where the pass stopped early.
    """

    image: Tensor
    scores: Tensor
    activations: Mapping[str, Tensor]
    output: Any

    @property
    def network_end(self) -> tuple[Tensor, ...]:
        """Where a backward rule begins: what the score is made of, since its own softmax is no part of the network.

        Those outputs of the network, and recorded layers, that the score depends on; the score itself if none.
        """
        if self.scores.grad_fn is None:
            return (self.scores,)
        used = set(nodes(self.scores))
        ends = [t for t in (*_tensors(self.output), *self.activations.values()) if t.grad_fn in used]
        return tuple(ends) or (self.scores,)


def forward(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layers: Sequence[str] = (),
    graph_from: Sequence[str] = (),
    score: str = "logit",
    wrt: int | str = 0,
) -> Pass:
    """Run ``model`` once, inside ``evaluation(model)``.

    Args:
        model: any module whose modes the caller has set.
        x: ``(b, c, H, W)``, or a tuple or dict of tensors of which ``wrt`` is explained.
        target: see ``network.targets``; the layers of unit targets are tapped too.
        layers: recorded in ``activations``.
        graph_from: no graph below these layers; ``image`` is then not in it.
        score: ``"logit"`` or ``"probability"``, of class targets.
        wrt: which of several inputs is explained.

    Raises:
        ConvscopeError: see ``tap`` and ``targets.scores``.
    """
    aimed = aim(target)
    image, inputs = image_leaf(x, wrt, leaf=not graph_from)
    wanted = dict.fromkeys([*layers, *aimed.layers])
    count = len(image)
    with tap(model, *wanted, graph_from=list(graph_from) or None, stop=not aimed.needs_output) as activations:
        output = run_model(model, inputs)
        # read within the block: after it the mode is that of the caller, and a score above a no-graph tap needs one
        values = scores(aimed, output, activations, score=score, count=count)
        return Pass(image, values, dict(activations), output)
    # only a tap that stopped comes here: everything asked for is recorded
    return Pass(image, scores(aimed, None, activations, score=score), dict(activations), None)


def _tensors(output: Any) -> Iterator[Tensor]:
    """Every tensor in a network's output, whatever it is made of."""
    if isinstance(output, Tensor):
        yield output
        return
    if isinstance(output, Mapping):
        parts = list(cast("Mapping[Any, Any]", output).values())
    elif isinstance(output, list | tuple):
        parts = list(cast("Sequence[Any]", output))
    else:
        parts = list(getattr(output, "__dict__", {}).values())
    for part in parts:
        yield from _tensors(part)


def gradient_of(scores: Tensor, wanted: Sequence[Tensor], names: Sequence[str]) -> list[Tensor]:
    """d(sum of scores)/d(each of ``wanted``); the images of a batch do not mix in evaluation mode.

    Raises:
        ConvscopeError: a score that does not depend on one of them, or was computed without a graph.
    """
    for tensor, name in zip([scores, *wanted], [names[0], *names], strict=True):
        if not tensor.requires_grad:
            raise ConvscopeError(
                f"the score does not depend on {name}, or the network's forward pass turns gradients off"
            )
    grads = cast("Sequence[Tensor | None]", torch.autograd.grad(scores.sum(), list(wanted), allow_unused=True))
    for grad, name in zip(grads, names, strict=True):
        if grad is None:
            raise ConvscopeError(f"the score does not depend on {name}")
    return [grad for grad in grads if grad is not None]


def raw(values: Tensor) -> Tensor:
    """Detached, and float32 at least: half precision is raised, float64 stays."""
    values = values.detach()
    return values if values.dtype == torch.float64 else values.float()


def explained_input(x: Inputs, wrt: int | str = 0) -> Tensor:
    """The one of several inputs that is explained.

    Raises:
        ConvscopeError: no such input, or one that is no batch of floating-point images.
    """
    found = x if isinstance(x, Tensor) else dict(_parts(x))[_key(x, wrt)]
    if not isinstance(found, Tensor) or not found.is_floating_point():
        kind = found.dtype if isinstance(found, Tensor) else type(found).__name__
        raise ConvscopeError(f"the explained input is {kind}; it must be a floating-point tensor (b, c, H, W)")
    return found


def image_leaf(x: Inputs, wrt: int | str = 0, *, leaf: bool = True) -> tuple[Tensor, Any]:
    """The explained input as a leaf of the graph to come, and all inputs as they are handed to the network."""
    image = explained_input(x, wrt).detach().clone()
    if leaf and torch.is_grad_enabled():
        image.requires_grad_()
    # a clone again: a leaf must not be written into by an in-place first layer
    handed = image.clone()
    if isinstance(x, Tensor):
        return image, handed
    key = _key(x, wrt)
    every = {k: handed if k == key else copied(v) for k, v in _parts(x)}
    return image, every if isinstance(x, Mapping) else tuple(every.values())


def _parts(x: Any) -> list[tuple[int | str, Any]]:
    """The inputs by name or by place."""
    if isinstance(x, Mapping):
        return list(cast("Mapping[int | str, Any]", x).items())
    if isinstance(x, tuple):
        return list(enumerate(cast("tuple[Any, ...]", x)))
    raise ConvscopeError(f"the network's input is a {type(x).__name__}; give a tensor, a tuple or a dict of tensors")


def _key(x: Any, wrt: int | str) -> int | str:
    names = [name for name, _ in _parts(x)]
    if wrt in names:
        return wrt
    if wrt == 0 and names:  # the first of a dict
        return names[0]
    raise ConvscopeError(f"no input {wrt!r}; the network is given {', '.join(map(repr, names)) or 'none'}")


def outputs_of(model: nn.Module, x: Inputs, *layers: str) -> dict[str, Tensor]:
    """What ``layers`` give for network input, without gradients: one pass, which ends at the last of them.

    Raises:
        ConvscopeError: no such layer, or one that ran twice (name a call: ``relu#2``).
    """
    with evaluation(model), torch.no_grad():
        with tap(model, *layers, stop=True) as seen:
            run_model(model, copied(x))
        return dict(seen)
