"""DeepDream: a photo in which a layer is shown more of what it sees in it already.

Mordvintsev, Olah & Tyka 2015, "Inceptionism: Going Deeper into Neural Networks", Google Research Blog, and the notebook
``dream.ipynb`` of google/deepdream, whose loop this is. With x the picture, S the objective, r the rate, u a shift:

    x <- clip(x + r / 255 * g / mean|g|),    g = dS(roll(x, u)) / dx              one step, u drawn anew each time

    x_1 = p_1,    x_o <- n steps,    x_(o+1) = p_(o+1) + zoom(x_o - p_o)          octaves, from small to large

p_o is the photo at the size of octave o, each 1.4 times as large as the one before; x_o - p_o, the detail, is all that
is carried on, so that the photo itself stays sharp. A pattern that is as large as the layer's receptive field in the
smallest octave is 1.4^3 = 2.7 times as large in the end, and finer ones lie in it. Symbols: octaves, ``sizes``;
n ``steps`` = 10; r ``rate`` = 1.5 grey levels of 255; u within ``jitter`` = 32 px either way, rolled round the edges
and back to the bit. The mean is over one picture: the images of a batch do not meet.

S is the mean square of a layer (``objectives.layer(name, 2)``: of what it says already, the strongest part grows most),
or any other objective, such as a guide's (``guides.py``). Zooming is bilinear with the corners' centres on one another,
as ``scipy.ndimage.zoom(order=1)``; sizes are rounded as it does.

Pitfalls: the gradient's size is divided out, so that a step that cannot help is as long as one that can, and long runs
tremble round their maximum. Where nothing at all comes back (a unit behind a rectifier that is shut) rectifiers are let
through as in ``ascent``; if still nothing comes the picture stays as it is. Dreams at a layer are no statement on what
the network makes of the photo: every layer of every network dreams on noise too.
"""

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.graph import unshut
from convscope.network.passes import Inputs, gradient_of, raw
from convscope.synthesis.objectives import Objective, evaluate
from convscope.synthesis.transforms import draw_shift, rolled

# dream.ipynb of google/deepdream
OCTAVES, OCTAVE_SCALE, STEPS, RATE, JITTER_PX = 4, 1.4, 10, 1.5, 32
_ABOVE_UNDERFLOW = 1024.0  # half precision: a mean's gradient is small, and its size is divided out


@dataclass(frozen=True, eq=False)
class DreamStep:
    """The pictures of one octave after ``step`` updates, in [0, 1].

    ``scores`` of the pictures as they are at an octave's start and end; in between as the network saw them, shifted.
    """

    octave: int
    step: int
    image: Float[Tensor, "b c h w"]
    scores: Float[Tensor, " b"]
    drawn: Tensor  # the generator's state before this step's shift

    def state(self) -> dict[str, Tensor]:
        """All that ``dream_steps`` needs to go on from here."""
        numbers = {"octave": torch.tensor(self.octave), "step": torch.tensor(self.step)}
        return numbers | {"image": self.image.cpu(), "generator": self.drawn.clone()}


class DreamError(ConvscopeError):
    """The objective or its gradient was not finite; ``last`` is the last good picture, if there was one."""

    def __init__(self, what: str, octave: int, step: int, last: DreamStep | None) -> None:
        good = "none" if last is None else f"that of step {last.step} of octave {last.octave + 1}"
        super().__init__(f"{what} at step {step} of octave {octave + 1}; the last good picture: {good}")
        self.octave, self.step, self.last = octave, step, last


def octave_sizes(
    size: tuple[int, int], octaves: int = OCTAVES, scale: int | float = OCTAVE_SCALE
) -> list[tuple[int, int]]:
    """(h, w) of the octaves, from the smallest to ``size``; those that would have no pixel are left out.

    Raises:
        ConvscopeError: fewer than one octave, or a scale at which they do not grow.
    """
    if octaves < 1 or not (math.isfinite(scale) and scale > 1):
        raise ConvscopeError(
            f"octaves={octaves}, octave_scale={scale}: at least 1 octave, each more than 1 times larger"
        )
    sizes = [size]
    while len(sizes) < octaves and min(smaller := _shrunk(sizes[0], scale)) > 0 and smaller != sizes[0]:
        sizes.insert(0, smaller)
    return sizes


def _shrunk(size: tuple[int, int], scale: int | float) -> tuple[int, int]:
    return round(size[0] * (1.0 / scale)), round(size[1] * (1.0 / scale))  # as scipy's zoom: a product, to even


def zoomed(image: Float[Tensor, "b c h w"], size: tuple[int, int]) -> Float[Tensor, "b c h2 w2"]:
    """Bilinear, the centres of the corner pixels on one another; the picture itself where it has that size."""
    if image.shape[2:] == size:
        return image
    return F.interpolate(image, size, mode="bilinear", align_corners=True)


def octave_bases(photo: Float[Tensor, "b c h w"], sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """The photo at each size, every one made of the next larger; the last is the photo itself."""
    bases = [photo]
    for size in reversed(sizes[:-1]):
        bases.insert(0, zoomed(bases[0], size))
    return bases


def dreamt(
    image: Float[Tensor, "b c h w"], gradient: Float[Tensor, "b c h w"], rate: int | float
) -> Float[Tensor, "b c h w"]:
    """One step: ``rate`` of 255 grey levels on average up the gradient, clipped to valid pixels."""
    size = gradient.abs().mean((1, 2, 3), keepdim=True)
    step = torch.where(size > 0, gradient / size, 0.0)  # no gradient, no direction
    return (image + rate / 255 * step).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class _Dream:
    """What does not change from step to step."""

    model: nn.Module
    objective: Objective
    to_input: Callable[[Tensor], Inputs]
    steps: int
    rate: int | float
    jitter: int
    generator: torch.Generator

    def scores(self, image: Tensor) -> Tensor:
        """``(b,)`` scores of the pictures as they are."""
        with evaluation(self.model), torch.no_grad():
            return raw(evaluate(self.model, self.objective, self.to_input(image))).clone()

    def gradient(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of the pictures shifted, and the gradient for the pictures as they are."""
        shift = draw_shift(self.jitter, self.generator)
        scores, gradient = self._gradient(image, shift, let_through=False)
        dead = ~gradient.flatten(1).any(1)
        if dead.any():
            _, revived = self._gradient(image, shift, let_through=True)
            gradient = torch.where(dead[:, None, None, None], revived, gradient)
        return scores, gradient

    def _gradient(self, image: Tensor, shift: tuple[int, int], *, let_through: bool) -> tuple[Tensor, Tensor]:
        with evaluation(self.model):
            leaf = image.detach().clone().requires_grad_()
            scores = evaluate(self.model, self.objective, self.to_input(rolled(leaf, shift)))
            total = _ABOVE_UNDERFLOW * scores.to(torch.promote_types(scores.dtype, torch.float32))
            with unshut(scores, to=leaf) if let_through else nullcontext():
                (gradient,) = gradient_of(total, [leaf], ["the picture"])
        return raw(scores).clone(), gradient

    def octave(self, octave: int, image: Tensor, step: int, last: DreamStep | None) -> Generator[DreamStep]:
        """From ``image`` after ``step`` updates to that after the last; ``last`` is what was made before."""
        while True:
            drawn = self.generator.get_state()
            seen, gradient = self.gradient(image) if step < self.steps else (None, None)
            scores = self.scores(image) if seen is None or step == 0 else seen
            last = self._checked(DreamStep(octave, step, image, scores, drawn), last)
            yield last
            if gradient is None:
                return
            if not bool(torch.isfinite(gradient).all()):
                raise DreamError("the gradient is not finite", octave, step, last)
            with torch.inference_mode(False), torch.no_grad():
                image, step = dreamt(image, gradient, self.rate), step + 1

    def _checked(self, step: DreamStep, last: DreamStep | None) -> DreamStep:
        bad = [i for i, score in enumerate(step.scores.tolist()) if not math.isfinite(score)]
        if bad:
            what = f"the objective is {step.scores[bad[0]].item()} for picture {bad[0]}"
            raise DreamError(what, step.octave, step.step, last)
        if len(step.scores) != len(step.image):
            raise ConvscopeError(f"the objective gives {len(step.scores)} scores for {len(step.image)} images")
        return step


def dream_steps(
    model: nn.Module,
    objective: Objective,
    photo: Float[Tensor, "b c h w"],
    *,
    to_input: Callable[[Tensor], Inputs],
    sizes: Sequence[tuple[int, int]],
    steps: int = STEPS,
    rate: int | float = RATE,
    jitter: int = JITTER_PX,
    generator: torch.Generator,
    state: Mapping[str, Tensor] | None = None,
) -> Iterator[DreamStep]:
    """The pictures of every octave: its start as step 0, then one after every update; the last one is the dream.

    Args:
        model: any module; evaluated in evaluation mode and, between two steps too, as it was.
        objective: what is to rise, for each picture of the batch.
        photo: what it begins with, in [0, 1]; float32 or float64, on the network's device.
        to_input: pictures in [0, 1] -> what the network is given.
        sizes: (h, w) of the octaves, the last that of the photo; see ``octave_sizes``.
        steps: updates an octave; 0 gives the photo back, to the bit.
        rate: mean change of a pixel in a step, in grey levels of 255.
        jitter: the largest shift of a step, pixels either way.
        generator: of the shifts' draws.
        state: of a step of the same dream, ``DreamStep.state()``: goes on from there, as if there had been no break.

    Raises:
        ConvscopeError: arguments that do not go together; then as ``evaluate``.
        DreamError: scores or gradients that are not finite; it has the step and the last good picture.
    """
    if steps < 0 or jitter < 0 or not (math.isfinite(rate) and rate > 0):
        raise ConvscopeError(f"steps={steps}, jitter={jitter}, rate={rate}: counts from 0 on, and a rate above 0")
    if not sizes or tuple(sizes[-1]) != tuple(photo.shape[2:]):
        raise ConvscopeError(
            f"octaves of {list(sizes)} px for a photo of {tuple(photo.shape[2:])}: the last is its own"
        )
    run = _Dream(model, objective, to_input, steps, rate, jitter, generator)
    with torch.inference_mode(False), torch.no_grad():
        bases = octave_bases(photo.detach().clone(), sizes)
    return _loop(run, bases, _begun(state, bases, steps))


def _begun(state: Mapping[str, Tensor] | None, bases: Sequence[Tensor], steps: int) -> DreamStep | None:
    """A kept step, checked to be one of this dream."""
    if state is None:
        return None
    octave, step, image = int(state["octave"]), int(state["step"]), state["image"]
    if not (0 <= octave < len(bases) and 0 <= step <= steps and image.shape == bases[octave].shape):
        where = f"step {step} of octave {octave + 1} with {tuple(image.shape)}"
        raise ConvscopeError(f"{where} is of another dream: it cannot go on from there")
    return DreamStep(octave, step, image.to(bases[octave]), torch.zeros(len(image)), state["generator"])


def _loop(run: _Dream, bases: Sequence[Tensor], begun: DreamStep | None) -> Generator[DreamStep]:
    octave, step, image = (0, 0, bases[0]) if begun is None else (begun.octave, begun.step, begun.image)
    if begun is not None:
        run.generator.set_state(begun.drawn.cpu())
    last = None
    while True:
        for made in run.octave(octave, image, step, last):
            last = made
            yield made
        assert last is not None  # an octave yields its start at least
        if octave + 1 == len(bases):
            return
        with torch.inference_mode(False), torch.no_grad():
            base = bases[octave + 1]
            detail = zoomed(last.image - bases[octave], (base.shape[2], base.shape[3]))
            octave, step, image = octave + 1, 0, base + detail
