"""Objectives as values: sums, differences and multiples of them, and one for each image of a batch.

With S_a, S_b: (b,) what two objectives score,

    (0.2 * a + 0.8 * b)     scores  0.2 S_a + 0.8 S_b,     and is called "0.2 · a + 0.8 · b"
    each([a, b])            scores  (S_a of the first image, S_b of the second)

The objectives themselves are in ``objectives.py``, which is where both are imported from.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from convscope.errors import ConvscopeError

Score = Callable[[Mapping[str, Tensor], Any], Tensor]


@dataclass(frozen=True, eq=False)
class Objective:
    """``score(activations, output) -> (b,)``, and what must be known for it; sums, differences, multiples of such."""

    layers: tuple[str, ...]
    needs_output: bool
    score: Score
    label: str = "own objective"

    def named(self, label: str) -> "Objective":
        """The same, called otherwise: a class by its name."""
        return replace(self, label=label)

    def __add__(self, other: object) -> "Objective":
        if not isinstance(other, Objective):
            return NotImplemented
        label = f"{self.label} - {other.label[1:]}" if other.label.startswith("-") else f"{self.label} + {other.label}"
        return _both(self, other, label, lambda a, o: self.score(a, o) + other.score(a, o))

    def __radd__(self, other: object) -> "Objective":
        return self if other == 0 else NotImplemented  # where sum() begins

    def __mul__(self, weight: object) -> "Objective":
        if not isinstance(weight, int | float):
            return NotImplemented
        if not math.isfinite(weight):
            raise ConvscopeError(f"{weight} times {self.label}: a weight is a finite number")
        label = f"{weight:g} · {_in_brackets(self)}"
        return Objective(self.layers, self.needs_output, lambda a, o: weight * self.score(a, o), label)

    def __rmul__(self, weight: object) -> "Objective":
        return self * weight

    def __neg__(self) -> "Objective":
        return Objective(self.layers, self.needs_output, lambda a, o: -self.score(a, o), f"-{_in_brackets(self)}")

    def __sub__(self, other: object) -> "Objective":
        if not isinstance(other, Objective):
            return NotImplemented
        label = f"{self.label} - {_in_brackets(other)}"
        return _both(self, other, label, lambda a, o: self.score(a, o) - other.score(a, o))


def _both(one: Objective, other: Objective, label: str, score: Score) -> Objective:
    layers = tuple(dict.fromkeys([*one.layers, *other.layers]))
    return Objective(layers, one.needs_output or other.needs_output, score, label)


def _in_brackets(objective: Objective) -> str:
    label = objective.label
    return f"({label})" if label.startswith("-") or " + " in label or " - " in label else label


def each(objectives: Sequence[Objective]) -> Objective:
    """An objective for each image of the batch, in its order and of any kind: units, classes, sums of them.

    Each scores its image alone, as if it were the only one; what compares images (``diversity``) is added to all:
    ``each([...]) + diversity("layer3")``.

    Raises:
        ConvscopeError: none at all, or what is no objective; when scored, a count other than that of the images, or an
            output that is neither a tensor with the images first, nor has such ``.logits``, nor is a tuple, list or
            dict of tensors.
    """
    wrong = next((type(one).__name__ for one in objectives if not isinstance(one, Objective)), None)  # pyright: ignore
    if wrong is not None or not objectives:
        raise ConvscopeError(f"each of {wrong or 'nothing'}: give a list with one objective an image")
    wanted = tuple(objectives)

    def score(activations: Mapping[str, Tensor], output: Any) -> Tensor:
        rows = {name: _rows(values, len(wanted)) for name, values in activations.items()}
        outputs = _rows(output, len(wanted)) if any(one.needs_output for one in wanted) else [None] * len(wanted)
        alone = [one.score({name: row[i] for name, row in rows.items()}, outputs[i]) for i, one in enumerate(wanted)]
        return torch.cat(alone)

    layers = tuple(dict.fromkeys(name for one in wanted for name in one.layers))
    return Objective(layers, any(one.needs_output for one in wanted), score, ", ".join(one.label for one in wanted))


def _rows(values: Any, count: int) -> list[Any]:
    """What is there for each image, still with a batch axis; one split each, so that its gradient is written once."""
    values = getattr(values, "logits", values)
    if isinstance(values, Tensor) and values.ndim:
        if len(values) != count:
            raise ConvscopeError(f"{count} objectives for {len(values)} images: give one an image, or one for all")
        return list(values.split(1))
    if isinstance(values, Mapping):
        parts = {name: _rows(part, count) for name, part in cast("Mapping[Any, Any]", values).items()}
        return [{name: part[i] for name, part in parts.items()} for i in range(count)]
    if isinstance(values, tuple | list):
        return [list(row) for row in zip(*(_rows(part, count) for part in cast("list[Any]", values)), strict=True)]
    raise ConvscopeError(
        f"the network returns a {type(values).__name__}: which part of it is which image's is not known"
    )
