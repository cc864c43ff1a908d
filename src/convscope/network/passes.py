"""One forward pass with what a method needs of it: the explained input as a leaf, scores, layers' outputs.

Every driver in ``attribution/`` is ``with evaluation(model): forward(...)`` and a few lines of maths. The input
is cloned, so that the caller's tensor takes no gradient and an in-place first layer does not write into it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.layers import run_model
from convscope.network.taps import tap
from convscope.network.targets import Target, aim, class_logits, scores

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
    def network_end(self) -> Tensor:
        """Where a backward rule begins: the network's logits, since a score's own softmax is no part of it."""
        logits = getattr(self.output, "logits", self.output)
        return logits if isinstance(logits, Tensor) else self.scores


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
    output = None
    with tap(model, *wanted, graph_from=list(graph_from) or None, stop=not aimed.needs_output) as activations:
        output = run_model(model, inputs)
        # read within the block: after it the mode is that of the caller, and a score above a no-graph tap needs one
        return Pass(image, scores(aimed, output, activations, score=score), dict(activations), output)
    # only a tap that stopped comes here: everything asked for is recorded
    return Pass(image, scores(aimed, None, activations, score=score), dict(activations), None)


def top_class(model: nn.Module, x: Inputs) -> Tensor:
    """``(b,)`` each image's class of largest logit."""
    with evaluation(model), torch.no_grad():
        return class_logits(run_model(model, image_leaf(x)[1])).argmax(1)


def read_scores(model: nn.Module, x: Tensor, target: Target, *, score: str = "logit") -> Tensor:
    """``(b,)`` scores without a graph, for methods that only look at the output; inside ``evaluation(model)``."""
    with torch.no_grad():
        return forward(model, x, target=target, score=score).scores.detach()


def gradient_of(scores: Tensor, wanted: Sequence[Tensor], names: Sequence[str]) -> list[Tensor]:
    """d(sum of scores)/d(each of ``wanted``); the images of a batch do not mix in evaluation mode.

    Raises:
        ConvscopeError: a score that does not depend on one of them, or was computed without a graph.
    """
    if not scores.requires_grad:
        raise ConvscopeError(
            f"the score does not depend on {names[0]}, or the network's forward pass turns gradients off"
        )
    grads = torch.autograd.grad(scores.sum(), list(wanted), allow_unused=True)
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
    if isinstance(x, Tensor):
        found: Any = x
    elif isinstance(x, Mapping):
        key = next(iter(x)) if wrt == 0 else wrt
        if key not in x:
            raise ConvscopeError(f"no input {wrt!r}; the network is given {', '.join(map(repr, x))}")
        found = x[str(key)]
    else:
        if not isinstance(wrt, int) or not 0 <= wrt < len(x):
            raise ConvscopeError(f"no input {wrt!r}; the network is given {len(x)} inputs (0 to {len(x) - 1})")
        found = x[wrt]
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
    if isinstance(x, Mapping):
        key = next(iter(x)) if wrt == 0 else wrt
        return image, {k: handed if k == key else v.clone() for k, v in x.items()}
    return image, tuple(handed if i == wrt else v.clone() for i, v in enumerate(x))
