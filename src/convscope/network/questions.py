"""One score for many versions of one image: what methods ask that change the image, or a layer, and look again.

A batch is taken apart into its images, each with its own target, and the versions of one image are a batch of
their own. Whatever else the network is given (a question beside the picture) repeats with them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.passes import Inputs, Pass, explained_input, forward, gradient_of, raw
from convscope.network.targets import Target, aim, class_logits


@dataclass(frozen=True, eq=False)
class Question:
    """What is read off the network for each version of one image.

    ``inputs`` are the network's for that image, ``(1, ...)`` each; the versions take the place of ``wrt``, and the
    others repeat with them.
    """

    model: nn.Module
    target: Target
    score: str
    inputs: Inputs
    wrt: int | str = 0

    @property
    def image(self) -> Float[Tensor, "1 c H W"]:
        """The image itself."""
        return explained_input(self.inputs, self.wrt).detach()

    def about(self, images: Float[Tensor, "n c H W"]) -> Inputs:
        """The network's inputs for these versions of the image."""
        return with_image(self.inputs, self.wrt, images, lambda other: other.expand(len(images), *other.shape[1:]))

    def __call__(self, images: Float[Tensor, "n c H W"]) -> Tensor:
        """``(n,)`` scores, without a graph."""
        with torch.no_grad():
            return self._run(images).scores.detach()

    def gradient(self, images: Float[Tensor, "n c H W"]) -> Float[Tensor, "n c H W"]:
        """Each version's own dS/dx, raw; inside ``evaluation(model)``.

        Raises:
            ConvscopeError: a score that does not depend on the image.
        """
        run = self._run(images)
        return raw(gradient_of(run.scores, [run.image], ["the input"])[0])

    def _run(self, images: Tensor) -> Pass:
        return forward(self.model, self.about(images), target=self.target, score=self.score, wrt=self.wrt)


def explained_images(x: Inputs, wrt: int | str = 0) -> Float[Tensor, "b c H W"]:
    """The explained input, detached, which is a batch of at least one image.

    Raises:
        ConvscopeError: anything else.
    """
    images = explained_input(x, wrt).detach()
    if images.ndim != 4:
        raise ConvscopeError(f"the explained input has shape {tuple(images.shape)}; it must be (b, c, H, W)")
    if not len(images):
        raise ConvscopeError("a batch of no images has nothing to explain")
    return images


def questions(
    model: nn.Module, x: Inputs, *, target: Target = None, score: str = "logit", wrt: int | str = 0
) -> list[Question]:
    """One question for each image of a batch; without a target about the top class of the whole, unchanged image.

    Raises:
        ConvscopeError: no images, or a count of targets or of another input's rows that is not that of the images.
    """
    images = explained_images(x, wrt)
    count = len(images)
    aimed = aim(target).target
    wanted: list[Target] = aimed if isinstance(aimed, list) else [aimed] * count
    if len(wanted) != count:
        raise ConvscopeError(f"{len(wanted)} targets for {count} images: give one for all, or one an image")
    own = [with_image(x, wrt, images[i : i + 1], lambda other, i=i: _row(other, i, count)) for i in range(count)]
    asked = [Question(model, one, score, inputs, wrt) for one, inputs in zip(wanted, own, strict=True)]
    return [replace(ask, target=_top_class(ask)) if ask.target is None else ask for ask in asked]


def top_class(output: Any) -> Tensor:
    """``(b,)``: the class that the network names, as a target function."""
    return class_logits(output).argmax(1)


def _top_class(ask: Question) -> int:
    with evaluation(ask.model):
        return int(replace(ask, target=top_class)(ask.image))


def check_batch(batch: int) -> None:
    """Refuse a pass of no images."""
    if batch < 1:
        raise ConvscopeError(f"batch={batch}: at least one image goes through the network at a time")


def with_image(x: Inputs, wrt: int | str, image: Tensor, of_other: Callable[[Tensor], Tensor]) -> Inputs:
    """The inputs with ``image`` in the place of ``wrt``, and ``of_other`` of all others."""
    if isinstance(x, Tensor):
        return image
    if isinstance(x, Mapping):
        key = next(iter(x)) if wrt == 0 else wrt
        return {name: image if name == key else of_other(other) for name, other in x.items()}
    return tuple(image if i == wrt else of_other(other) for i, other in enumerate(x))


def _row(other: Any, image: int, count: int) -> Tensor:
    """What another input says of one image."""
    if not isinstance(other, Tensor):
        raise ConvscopeError(
            f"an input beside the images is a {type(other).__name__}; give tensors with a row an image"
        )
    if other.ndim == 0 or len(other) != count:
        raise ConvscopeError(
            f"an input of shape {tuple(other.shape)} beside {count} images: each other input has a row an image"
        )
    return other[image : image + 1]
