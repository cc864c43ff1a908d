"""What the network answers to each image: one row an image, from which accuracy, confusion and prototypes are made.

With logits z of an image and R the network's classes that are right for its label (two classes may share a name):

    probability = max_c softmax(z)_c                of the predicted class, argmax_c z_c
    loss        = -log sum_{r in R} softmax(z)_r  = lse(z) - lse(z_R),      lse(z) = log sum_c exp(z_c)
    right logit = max_{r in R} z_r

The loss is the cross-entropy where R is one class. An image without a right class (no label, or one that the network
does not know) has neither loss nor right logit: NaN. So has an image with NaN or infinite logits, which also has no
predicted class (-1); logits of -inf alone are classes ruled out, and do no harm.

Pitfall: in float32 the loss of a confident image is a multiple of 1e-7, mostly 0: on CIFAR-10 an eighth of the images
would share the least loss. The logits are float32, but their log-sums are taken in float64, which tells 1e-14 apart.

A refused image (its file cannot be read, or the network does not take its size) has a row too, with its reason.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import ConvscopeError

Rights = Sequence[Sequence[int]]
DIGEST_BYTES = 16
_TYPES = {
    "number": np.int64, "label": np.int32, "predicted": np.int32, "probability": np.float32, "loss": np.float32,
    "right_logit": np.float32, "digest": np.uint8, "input_size": np.int32,
}  # fmt: skip
_WIDE = {"digest": (DIGEST_BYTES,), "input_size": (2,)}


@dataclass(frozen=True)
class ImageRow:
    """One image: what is known of it before the network has seen it, and what the network said."""

    number: int
    label: int = -1
    digest: bytes = bytes(DIGEST_BYTES)
    input_size: tuple[int, int] = (0, 0)
    predicted: int = -1
    probability: float = float("nan")
    loss: float = float("nan")
    right_logit: float = float("nan")
    refused: str = ""


@dataclass(frozen=True, eq=False)
class ImageRows:
    """Many images, a column each: see ``sweep`` for the types. ``refused`` maps numbers to reasons."""

    number: NDArray[Any]
    label: NDArray[Any]
    predicted: NDArray[Any]
    probability: NDArray[Any]
    loss: NDArray[Any]
    right_logit: NDArray[Any]
    digest: NDArray[Any]
    input_size: NDArray[Any]
    refused: Mapping[int, str] = field(default_factory=dict[int, str])

    def __len__(self) -> int:
        return len(self.number)

    @classmethod
    def of(cls, rows: Iterable[ImageRow]) -> "ImageRows":
        """The rows, ordered by number."""
        ordered = sorted(rows, key=lambda row: row.number)
        columns = {name: _column(name, [getattr(row, name) for row in ordered]) for name in _TYPES}
        return cls(**columns, refused={row.number: row.refused for row in ordered if row.refused})

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What a part keeps of it."""
        reasons = json.dumps({str(number): reason for number, reason in self.refused.items()})
        columns = {name: getattr(self, name) for name in _TYPES}
        return {**columns, "refused": np.frombuffer(reasons.encode(), np.uint8).copy()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> "ImageRows":
        """As it was when ``tensors`` was called."""
        reasons = json.loads(tensors["refused"].tobytes())
        columns = {each.name: tensors[each.name] for each in fields(cls) if each.name != "refused"}
        return cls(**columns, refused={int(number): reason for number, reason in reasons.items()})


def _column(name: str, values: Sequence[Any]) -> NDArray[Any]:
    if name == "digest":
        values = [np.frombuffer(each, np.uint8) for each in values]
    return np.array(values, _TYPES[name]).reshape(len(values), *_WIDE.get(name, ()))


@dataclass(frozen=True, eq=False)
class Answers:
    """Of a batch: ``predicted``, ``probability``, ``loss`` and ``right_logit``, each ``(b,)``."""

    predicted: NDArray[Any]
    probability: NDArray[Any]
    loss: NDArray[Any]
    right_logit: NDArray[Any]


def no_answers(count: int) -> Answers:
    """Of a network that gives no logits."""
    nothing = np.full(count, np.nan)
    return Answers(np.full(count, -1), nothing, nothing, nothing)


def answers_of(logits: Float[Tensor, "b classes"], labels: Sequence[int], rights: Rights) -> Answers:
    """What the logits say of images with these labels; ``rights[label]`` are the network's classes for a label.

    Raises:
        ConvscopeError: a right class that the network does not have.
    """
    z = logits.detach().cpu().double()
    total = z.logsumexp(1)
    finite = total.isfinite()
    top, predicted = torch.where(finite[:, None], z, -torch.inf).max(1)
    right = torch.full_like(z, -torch.inf)
    for row, label in enumerate(labels):
        wanted = _right_classes(label, rights, z.shape[1])
        right[row, wanted] = z[row, wanted]
    judged = finite & torch.tensor([bool(_right_classes(label, rights, z.shape[1])) for label in labels])
    nan = torch.full_like(total, torch.nan)
    return Answers(
        torch.where(finite, predicted, -1).numpy(),
        torch.where(finite, (top - total).exp(), nan).numpy(),
        torch.where(judged, total - right.logsumexp(1), nan).numpy(),
        torch.where(judged, right.amax(1), nan).numpy(),
    )


def _right_classes(label: int, rights: Rights, classes: int) -> list[int]:
    found = list(rights[label]) if 0 <= label < len(rights) else []
    if found and not 0 <= min(found) <= max(found) < classes:
        raise ConvscopeError(
            f"the data's class {label} is class {max(found)} of the network, whose output has {classes} classes only; "
            "give the names in the order of its outputs (--classes FILE)"
        )
    return found
