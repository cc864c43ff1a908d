"""Ascent: the one loop that makes every picture, step after step.

    x* = argmax_x S(x) - sum_i lambda_i R_i(x),    x = canvas(p),    p <- Adam(dS/dp - sum_i lambda_i dR_i/dp)

S is the objective (``objectives.py``), p the canvas's parameters (``canvases.py``), lambda R penalties with their
weights (``regularisers.py``). With a transform T (``transforms.py``) S is read at T(x), T drawn anew each step and
shared by the batch; the penalties are of x itself. Adam: ``adam.py``.

A canvas with opacity a is laid over a backdrop B, drawn anew each step, S is read at T(a x + (1 - a) B), and

    opacity * |S| mean(a)

is taken off, |S| as a number that does not climb itself: what hardly counts becomes transparent, in networks of any
scale (Mordvintsev et al. 2018, "Differentiable Image Parameterizations", doi:10.23915/distill.00012).

The images of a batch do not meet: scores are summed, Adam works number by number. A batch of n is n single runs, as
long as the objective keeps them apart (``diversity`` does not).

A rectifier that is shut all over sends no gradient: SqueezeNet ends in one, and a class with a negative map has exactly
none. For the first ``let_through`` steps such a rectifier passes on what would raise it (``graph.let_through``).

A run can be broken off at any step and gone on with: ``Step.state()`` has all that the rest depends on, the random
numbers too, and ``ascend(..., state=)`` begins with that step and ends at the same bits as the run without a break.

Pitfalls: the scores of a step are of what the network saw in it, moved and turned; only the last ones are of the
picture as it is. Penalties are not in the scores. A penalty alone moves the picture too, at a start without gradient.
Long after a smooth maximum was reached to the last digits, Adam's mean of squares has decayed to nothing and it leaves
again, by at most its rate a step: no transform and thousands of steps want a smaller rate.
"""

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.graph import unshut
from convscope.network.passes import Inputs, gradient_of, raw
from convscope.synthesis.adam import Position, position_of
from convscope.synthesis.canvases import Canvas
from convscope.synthesis.objectives import Objective, evaluate
from convscope.synthesis.regularisers import Regulariser
from convscope.synthesis.transforms import Transform

Backdrop = Callable[[Tensor, torch.Generator], Tensor]
Rate = int | float | Callable[[int], float]
"""Adam's step: one for all updates, or a function of how many were made."""


@dataclass(frozen=True, eq=False)
class Step:
    """The pictures after ``step`` updates, the objective's scores of them, and how opaque they are.

    It holds its state too: where many steps are kept, keep their pictures.
    """

    step: int
    image: Float[Tensor, "b c h w"]
    scores: Float[Tensor, " b"]
    alpha: Float[Tensor, "b 1 h w"] | None = None
    kept: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor], repr=False)

    def state(self) -> dict[str, Tensor]:
        """What ``ascend(state=)`` goes on from: flat, of tensors alone; taken before this step's random draws."""
        return dict(self.kept)


class AscentError(ConvscopeError):
    """The objective or its gradient was not finite at ``step``; ``last`` is the last good picture, if there was one."""

    def __init__(self, what: str, step: int, last: Step | None) -> None:
        kept = (
            "no picture before it was good; are the network's weights finite?"
            if last is None
            else f"the picture of step {last.step} is the last good one; a smaller rate may help"
        )
        super().__init__(f"{what} at step {step}: {kept}")
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
    opacity: int | float

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

    def step(self, position: Position, *, let_through: bool) -> tuple[Step, list[Tensor]]:
        """The pictures of one step, and the gradient of what is to rise, for each parameter."""
        kept = position.state(self.generator)
        with evaluation(self.model):
            image, alpha = self.canvas.image(), self.canvas.alpha()
            scores = self.score(image, alpha, moved=True)
            total = scores
            for weight, penalty in self.penalties:
                total = total - weight * penalty(image)
            if alpha is not None and self.opacity:
                total = total - self.opacity * scores.detach().abs() * alpha.mean((1, 2, 3))
            names = ["the picture"] * len(self.canvas.parameters)
            with unshut(scores, to=image) if let_through else nullcontext():
                gradients = gradient_of(total, self.canvas.parameters, names)
        return _step(position.step, image, scores, alpha, kept), gradients

    def end(self, position: Position) -> Step:
        """The pictures after the last update, scored as they are."""
        kept = position.state(self.generator)
        with evaluation(self.model), torch.no_grad():
            image, alpha = self.canvas.image(), self.canvas.alpha()
            return _step(position.step, image, self.score(image, alpha, moved=False), alpha, kept)

    def place(self, position: Position) -> None:
        """The canvas at ``position``, which nothing is written into."""
        for parameter, value in zip(self.canvas.parameters, position.parameters, strict=True):
            parameter.data = value


def _step(number: int, image: Tensor, scores: Tensor, alpha: Tensor | None, kept: Mapping[str, Tensor]) -> Step:
    opaque = None if alpha is None else alpha.detach().clone()
    return Step(number, image.detach().clone(), raw(scores).clone(), opaque, kept)


def ascend(
    model: nn.Module,
    objective: Objective,
    canvas: Canvas,
    *,
    steps: int,
    to_input: Callable[[Tensor], Inputs],
    transform: Transform | None = None,
    penalties: Sequence[tuple[int | float, Regulariser]] = (),
    rate: Rate = 0.05,
    generator: torch.Generator | None = None,
    let_through: int = 16,
    backdrop: Backdrop | None = None,
    opacity: int | float = 0,
    between: Callable[[Canvas, int], None] | None = None,
    state: Mapping[str, Tensor] | None = None,
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
        rate: Adam's step, or how long it is after so many updates.
        generator: of the transforms' and the backdrop's draws.
        let_through: so many steps in which shut rectifiers pass a gradient.
        backdrop: for a canvas with alpha, (pictures, generator) -> what shows through them, drawn once a step.
        opacity: of a canvas with alpha, what its mean costs: so many times the score's size.
        between: called with the canvas and the number of updates after each update; may change the parameters' values.
        state: a ``Step.state()`` of a run with the same arguments and a generator of the same kind: goes on from there.
            Its own step is the first that is yielded, as it was.

    Raises:
        ConvscopeError: before the first step, arguments that do not go together; then as ``evaluate``, and where the
            network refuses pictures of this size.
        AscentError: scores or gradients that are not finite; it has the step and the last good picture.
    """
    if steps < 0 or let_through < 0 or not (callable(rate) or _is_rate(rate)):
        raise ConvscopeError(
            f"steps {steps}, let_through {let_through}, rate {rate}: counts from 0 on, and a rate above 0"
        )
    if generator is None and not (transform is None and backdrop is None):
        raise ConvscopeError("a transform or a backdrop draws random numbers: give a generator")
    if (canvas.alpha() is None) != (backdrop is None):
        raise ConvscopeError(
            "a canvas with alpha goes with a backdrop that shows through it, and one without with none"
        )
    run = _Ascent(model, objective, canvas, to_input, transform, tuple(penalties), backdrop, generator, opacity)
    return _loop(run, steps, rate, let_through, between, _begin(run, steps, state))


def _is_rate(rate: float) -> bool:
    return math.isfinite(rate) and rate > 0


def _begin(run: _Ascent, steps: int, state: Mapping[str, Tensor] | None) -> Position:
    """Where the run starts, or goes on: the canvas and the generator are brought there."""
    with torch.inference_mode(False), torch.no_grad():
        if state is None:
            return Position.start(run.canvas.parameters)
        position = position_of(state, run.canvas.parameters)
        if not 0 <= position.step <= steps:
            raise ConvscopeError(f"the kept state is of step {position.step}, and the run has {steps} steps")
        if ("generator" in state) != (run.generator is not None):
            raise ConvscopeError("the kept state and the run differ: one draws random numbers, the other has none")
        if run.generator is not None:
            _set_state(run.generator, state["generator"])
        run.place(position)
        return position


def _set_state(generator: torch.Generator, state: Tensor) -> None:
    try:
        generator.set_state(state.cpu())
    except (RuntimeError, TypeError) as error:
        raise ConvscopeError(f"the kept random numbers are of another device than {generator.device}") from error


def _loop(
    run: _Ascent,
    steps: int,
    rate: Rate,
    let_through: int,
    between: Callable[[Canvas, int], None] | None,
    position: Position,
) -> Generator[Step]:
    last = None
    for number in range(position.step, steps):
        with nullcontext() if last else _refusing_pictures(run.canvas):
            step, gradients = run.step(position, let_through=number < let_through)
        _check_finite(step, last)
        last = step
        yield step
        if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
            raise AscentError("the gradient is not finite", number, last)
        position = _risen(run, position, gradients, rate, between)
    with nullcontext() if last else _refusing_pictures(run.canvas):
        step = run.end(position)
    _check_finite(step, last)
    yield step


def _risen(
    run: _Ascent,
    position: Position,
    gradients: Sequence[Tensor],
    rate: Rate,
    between: Callable[[Canvas, int], None] | None,
) -> Position:
    """One step up, and what is done between steps."""
    length = rate(position.step) if callable(rate) else rate
    if not _is_rate(length):
        raise ConvscopeError(f"the rate after {position.step} updates is {length}: a rate is above 0")
    with torch.inference_mode(False), torch.no_grad():
        position = position.risen(gradients, length)
        run.place(position)
        if between is None:
            return position
        run.place(replace(position, parameters=tuple(p.clone() for p in position.parameters)))
        between(run.canvas, position.step)
        return replace(position, parameters=tuple(p.detach() for p in run.canvas.parameters))


@contextmanager
def _refusing_pictures(canvas: Canvas) -> Generator[None]:
    """Within the block, what the network raises is refused: it does not take pictures of this size."""
    try:
        yield
    except (ConvscopeError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, ValueError, AssertionError) as error:
        with torch.no_grad():
            channels, h, w = canvas.image().shape[1:]
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConvscopeError(f"the network cannot take a picture of {channels} x {h} x {w}: {why}") from error


def _check_finite(step: Step, last: Step | None) -> None:
    bad = [i for i, score in enumerate(step.scores.tolist()) if not math.isfinite(score)]
    if bad:
        raise AscentError(f"the objective is {step.scores[bad[0]].item()} for picture {bad[0]}", step.step, last)
    if not bool(torch.isfinite(step.image).all()):
        raise AscentError("the picture has values that are not finite", step.step, last)
