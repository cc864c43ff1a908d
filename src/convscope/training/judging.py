r"""How well a network tells the images of one side: mean cross-entropy, right answers, confusion matrix.

    loss = 1/n sum_i (log sum_k exp(z_ik) - z_iy_i),    C[y, a] = images of class y that are answered a

In evaluation mode and without a graph; batches and sums have a fixed order, the sum is made in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.training.random_states import kept_random_states
from convscope.training.run_data import Split

AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Judgement:
    """``confusion``: rows are classes, columns answers."""

    loss: float
    confusion: Int[Tensor, "k k"]

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return int(self.confusion.diagonal().sum()) / int(self.confusion.sum())


def judged(net: nn.Module, split: Split, classes: Sequence[str]) -> Judgement:
    """What ``net`` makes of every image of ``split``.

    Raises:
        ConvscopeError: it cannot take the images, or has another number of outputs than there are classes.
    """
    count, total = len(classes), 0.0
    confusion = torch.zeros(count * count, dtype=torch.int64)
    like = next((each for each in net.parameters() if each.is_floating_point()), torch.zeros(()))
    with evaluation(net), torch.no_grad():
        for indices in torch.arange(len(split)).split(AT_ONCE):
            x, labels = split.batch(indices)
            scores = _scores(net, x.to(like), count).cpu()
            total += float(F.cross_entropy(scores.double(), labels, reduction="sum"))
            confusion += torch.bincount(count * labels + scores.argmax(1), minlength=count * count)
    return Judgement(total / len(split), confusion.reshape(count, count))


def refuse_unfit(net: nn.Module, split: Split, classes: Sequence[str]) -> None:
    """Raises ConvscopeError where the network cannot take the images, or has other outputs than classes."""
    some = torch.arange(min(2, len(split)))
    with kept_random_states():
        judged(net, Split(split.images[some], split.labels[some], split.ids[: len(some)]), classes)


def _scores(net: nn.Module, x: Tensor, classes: int) -> Tensor:
    shape = "x".join(map(str, x.shape[1:]))
    try:
        scores: object = net(x)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConvscopeError(f"{type(net).__name__} cannot take inputs of {shape}: {why}") from error
    if not isinstance(scores, Tensor) or scores.ndim != 2 or scores.shape[1] != classes:
        given = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ConvscopeError(
            f"{type(net).__name__} gives {given} for {len(x)} images; of {classes} classes it has to be "
            f"({len(x)}, {classes}), one number a class"
        )
    return scores
