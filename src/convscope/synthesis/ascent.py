"""Ascent: the one loop that makes every picture, step after step.

    x* = argmax_x S(x) - sum_i lambda_i R_i(x),    x = canvas(p),    p <- Adam(dS/dp - sum_i lambda_i dR_i/dp)

S is the objective (``objectives.py``), p the canvas's parameters (``canvases.py``), lambda R penalties with their
weights (``regularisers.py``). With a transform T (``transforms.py``) S is read at T(x), T drawn anew each step and
shared by the batch; the penalties are of x itself. Adam: Kingma & Ba 2015, arXiv:1412.6980.

The images of a batch do not meet: scores are summed, Adam works number by number. A batch of n is n single runs, as
long as the objective keeps them apart (``diversity`` does not).

A rectifier that is shut all over sends no gradient: SqueezeNet ends in one, and a class with a negative map has exactly
none. For the first ``let_through`` steps such a rectifier passes on what would raise it (``graph.let_through``).

Pitfalls: the scores of a step are of what the network saw in it, moved and turned; only the last ones are of the
picture as it is. Penalties are not in the scores. A penalty alone moves the picture too, at a start without gradient.
Long after a smooth maximum was reached to the last digits, Adam's mean of squares has decayed to nothing and it leaves
again, by at most its rate a step: no transform and thousands of steps want a smaller rate.
"""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.graph import unshut
from convscope.network.passes import Inputs, gradient_of, raw
from convscope.synthesis.canvases import Canvas
from convscope.synthesis.objectives import Objective, evaluate
from convscope.synthesis.regularisers import Regulariser
from convscope.synthesis.transforms import Transform

Backdrop = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True, eq=False)
class Step:
    """The pictures after ``step`` updates, the objective's scores of them, and how opaque they are."""

    step: int
    image: Float[Tensor, "b c h w"]
    scores: Float[Tensor, " b"]
    alpha: Float[Tensor, "b 1 h w"] | None = None


class AscentError(ConvscopeError):
    """The objective or its gradient was not finite at ``step``; ``last`` is the last good picture, if there was one."""

    def __init__(self, what: str, step: int, last: Step | None) -> None:
        kept = (
            "no picture before it was good" if last is None else f"the picture of step {last.step} is the last good one"
        )
        super().__init__(f"{what} at step {step}: {kept}; a smaller rate may help")
        self.step, self.last = step, last


@dataclass(frozen=True, eq=False)
class _Ascent:
    """What does not change from step to step."""

    model: nn.Module
    objective: Objective
    canvas: Canvas
    to_input: Callable[[Tensor], Inputs]
    transform: Transform | None
    penalties: Sequence[tuple[int | float, Regulariser]]
    backdrop: Backdrop | None
    generator: torch.Generator | None

    def score(self, image: Tensor, alpha: Tensor | None, *, moved: bool) -> Tensor:
        """``(b,)`` scores of the pictures, as they are or moved by this step's transform."""
        seen = image
        if alpha is not None and self.backdrop is not None and self.generator is not None:
            seen = alpha * seen + (1 - alpha) * self.backdrop(seen, self.generator)
        if moved and self.transform is not None and self.generator is not None:
            seen = self.transform(seen, self.generator)
        scores = evaluate(self.model, self.objective, self.to_input(seen))
        if len(scores) != len(image):
            raise ConvscopeError(f"the objective gives {len(scores)} scores for {len(image)} images")
        return scores

    def step(self, number: int, *, let_through: bool) -> tuple[Step, list[Tensor]]:
        """The pictures of one step, and the gradient of what is to rise, for each parameter."""
        with evaluation(self.model):
            image, alpha = self.canvas.image(), self.canvas.alpha()
            scores = self.score(image, alpha, moved=True)
            total = scores
            for weight, penalty in self.penalties:
                total = total - weight * penalty(image)
            names = ["the picture"] * len(self.canvas.parameters)
            with unshut(scores, to=image) if let_through else nullcontext():
                gradients = gradient_of(total, self.canvas.parameters, names)
        return _step(number, image, scores, alpha), gradients

    def end(self, number: int) -> Step:
        """The pictures after the last update, scored as they are."""
        with evaluation(self.model), torch.no_grad():
            image, alpha = self.canvas.image(), self.canvas.alpha()
            return _step(number, image, self.score(image, alpha, moved=False), alpha)


def _step(number: int, image: Tensor, scores: Tensor, alpha: Tensor | None) -> Step:
    return Step(number, image.detach().clone(), raw(scores).clone(), None if alpha is None else alpha.detach().clone())


def ascend(
    model: nn.Module,
    objective: Objective,
    canvas: Canvas,
    *,
    steps: int,
    to_input: Callable[[Tensor], Inputs],
    transform: Transform | None = None,
    penalties: Sequence[tuple[int | float, Regulariser]] = (),
    rate: int | float = 0.05,
    generator: torch.Generator | None = None,
    let_through: int = 16,
    backdrop: Backdrop | None = None,
) -> Iterator[Step]:
    """Pictures that raise the objective: the start as step 0, then one after every update, ``steps + 1`` in all.

    Args:
        model: any module; evaluated in evaluation mode and, between two steps too, as it was.
        objective: what is to rise, for each picture of the batch.
        canvas: the pictures; its parameters are changed.
        steps: updates; 0 yields the start alone.
        to_input: pictures in [0, 1] -> what the network is given (normalised; a tuple or dict of inputs too).
        transform: (pictures, generator) -> pictures, drawn once a step.
        penalties: (weight, pictures -> ``(b,)``) pairs, taken off what is to rise.
        rate: Adam's step.
        generator: of the transforms' and the backdrop's draws.
        let_through: so many steps in which shut rectifiers pass a gradient.
        backdrop: for a canvas with alpha, (pictures, generator) -> what shows through them, drawn once a step.

    Raises:
        ConvscopeError: before the first step, arguments that do not go together; then as ``evaluate``.
        AscentError: scores or gradients that are not finite; it has the step and the last good picture.
    """
    if steps < 0 or let_through < 0 or not (math.isfinite(rate) and rate > 0):
        raise ConvscopeError(
            f"steps {steps}, let_through {let_through}, rate {rate}: counts from 0 on, and a rate above 0"
        )
    if generator is None and not (transform is None and backdrop is None):
        raise ConvscopeError("a transform or a backdrop draws random numbers: give a generator")
    if (canvas.alpha() is None) != (backdrop is None):
        raise ConvscopeError(
            "a canvas with alpha goes with a backdrop that shows through it, and one without with none"
        )
    run = _Ascent(model, objective, canvas, to_input, transform, tuple(penalties), backdrop, generator)
    return _loop(run, steps, rate, let_through)


def _loop(run: _Ascent, steps: int, rate: int | float, let_through: int) -> Generator[Step]:
    parameters = run.canvas.parameters
    optimiser = torch.optim.Adam(parameters, lr=rate)
    last = None
    for number in range(steps):
        step, gradients = run.step(number, let_through=number < let_through)
        _check_finite(step, last)
        last = step
        yield step
        if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
            raise AscentError("the gradient is not finite", number, last)
        _update(optimiser, parameters, gradients)
    step = run.end(steps)
    _check_finite(step, last)
    yield step


def _update(optimiser: torch.optim.Optimizer, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    """One step up; no gradient is left on the parameters, which the caller may use elsewhere."""
    with torch.inference_mode(False):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = -gradient
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def _check_finite(step: Step, last: Step | None) -> None:
    bad = [i for i, score in enumerate(step.scores.tolist()) if not math.isfinite(score)]
    if bad:
        raise AscentError(f"the objective is {step.scores[bad[0]].item()} for picture {bad[0]}", step.step, last)
    if not bool(torch.isfinite(step.image).all()):
        raise AscentError("the picture has values that are not finite", step.step, last)
