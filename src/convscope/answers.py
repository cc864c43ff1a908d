"""A network's answer to a photo: what it is shown, its logits, the most probable classes.

``Seen`` is a photo as one network sees it. Several explanations of one photo share it, so that the photo is prepared
and the answer computed once.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.layers import run_model
from convscope.network.loading import Network
from convscope.network.pictures import read_image
from convscope.network.preprocessing import Preprocess
from convscope.network.targets import class_logits
from convscope.results import Prediction
from convscope.stamps import Stamp, stamp

Photo = Any  # a path, a PIL image or a uint8 array: whatever read_image takes


class InputRefusedError(ConvscopeError):
    """The network does not take this input; it may take others."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A photo as ``net`` sees it; each part is made when it is first asked for, and once."""

    net: Network
    image: Image.Image

    @cached_property
    def x(self) -> Tensor:
        """``(1, c, H, W)`` network input."""
        return self.net.input_of(self.image)

    @cached_property
    def view(self) -> Image.Image:
        """The part of the photo that the network sees, as a picture to draw on."""
        if isinstance(self.net.preprocess, Preprocess):
            return self.net.preprocess.view(self.image)
        return _drawn(self.x[0].float().cpu())

    @cached_property
    def stamp(self) -> Stamp:
        """Of a result of this network on this photo; hashing both is work, and done once."""
        return stamp(self.net, self.image)

    @cached_property
    def logits(self) -> Tensor:
        """``(classes,)`` float32 on the CPU."""
        return input_logits(self.net, self.x)[0]

    @cached_property
    def answer(self) -> Prediction:
        """The five most probable classes."""
        return prediction_of(self, self.logits)


def seen_by(net: Network, photo: "Photo | Seen") -> Seen:
    """A photo as ``net`` sees it; what was seen by it before stays as it is."""
    if isinstance(photo, Seen):
        return photo if photo.net is net else Seen(net, photo.image)
    return Seen(net, read_image(photo))


def predict(net: Network, photo: Photo, k: int = 5) -> Prediction:
    """The ``k`` most probable classes of a photo, best first: ``[(class name, probability), ...]``.

    Raises:
        ConvscopeError: a photo that cannot be read, or a network that does not take it.
    """
    seen = seen_by(net, photo)
    return prediction_of(seen, seen.logits, k)


def logits_of_many(
    net: Network,
    photos: Iterable[tuple[str, Image.Image]],
    *,
    batch: int = 32,
    refused: Callable[[str, ConvscopeError], None] | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """(name, photo) pairs -> (name, logits), in order, at most ``batch`` photos of one input size at a time.

    ``refused`` is told of each photo that the network does not take, which is then left out; without it that is raised.
    """
    waiting: list[tuple[str, Tensor]] = []
    for name, photo in photos:
        try:
            x = net.input_of(photo)
        except ConvscopeError as error:
            _tell(refused, [name], error)
            continue
        if waiting and (len(waiting) == batch or waiting[0][1].shape != x.shape):
            yield from _flush(net, waiting, refused)
            waiting = []
        waiting.append((name, x))
    if waiting:
        yield from _flush(net, waiting, refused)


def _flush(net: Network, waiting: list[tuple[str, Tensor]], refused: Any) -> Iterator[tuple[str, Tensor]]:
    names = [name for name, _ in waiting]
    try:
        logits = input_logits(net, torch.cat([x for _, x in waiting]))
    except ConvscopeError as error:
        _tell(refused, names, error)
        return
    yield from zip(names, logits, strict=True)


def _tell(refused: Callable[[str, ConvscopeError], None] | None, names: Sequence[str], error: ConvscopeError) -> None:
    if refused is None:
        raise error
    for name in names:
        refused(name, error)


def prediction_of(seen: Seen, logits: Tensor, k: int = 5) -> Prediction:
    """A result from logits ``(classes,)`` that are known already."""
    top, indices = ranked(seen.net, logits, k)
    return Prediction(top, logits, indices, seen.view, seen.stamp)


def ranked(net: Network, logits: Tensor, k: int) -> tuple[tuple[tuple[str, float], ...], tuple[int, ...]]:
    """The ``k`` most probable classes, best first: (name, probability) each, and their numbers.

    Raises:
        ConvscopeError: k below 1, or logits that are NaN or infinite above.
    """
    if k < 1:
        raise ConvscopeError(f"k={k}: ask for at least one class")
    probabilities = logits.softmax(0)
    if probabilities.isnan().any():
        raise ConvscopeError(f"{net.name} answers with NaN or infinity: no class is the most probable")
    indices = logits.argsort(descending=True, stable=True)[:k].tolist()  # probabilities round to 0 and 1
    return tuple((net.class_name(i), float(probabilities[i])) for i in indices), tuple(indices)


def input_logits(net: Network, x: Tensor) -> Tensor:
    """``(b, classes)`` float32 CPU logits of network input ``(b, c, h, w)``.

    Raises:
        ConvscopeError: the network refuses the input, or has another number of outputs than there are names.
    """
    with refusing_input(net, x), evaluation(net.module), torch.no_grad():
        logits = class_logits(run_model(net.module, x)).float().cpu()
    if net.classes and len(net.classes) != logits.shape[1]:
        raise ConvscopeError(f"{len(net.classes)} class names for a network with {logits.shape[1]} outputs")
    return logits


@contextmanager
def refusing_input(net: Network, x: Tensor) -> Generator[None]:
    """Within the block, what the network raises on ``x`` is refused: the input does not fit it."""
    try:
        yield
    except ConvscopeError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:
        size = " x ".join(map(str, x.shape[1:]))
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputRefusedError(f"{net.name} cannot take an input of {size}: {why}") from error


def _drawn(x: Float[Tensor, "c h w"]) -> Image.Image:
    """Network input whose making is not known, as a picture: from its smallest to its largest value."""
    span = float(x.max() - x.min()) or 1.0
    pixels = ((x - x.min()) / span * 255).round().clamp(0, 255).byte().numpy()
    grey_or_rgb = pixels[:3] if len(pixels) >= 3 else np.repeat(pixels[:1], 3, 0)
    return Image.fromarray(np.ascontiguousarray(grey_or_rgb.transpose(1, 2, 0)))
