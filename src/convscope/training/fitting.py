r"""The loop of a training: the same numbers for the same seed, broken off and gone on with or not, watched or not.

    theta <- theta - eta_t optimiser( grad 1/b sum_i CE(net(x_i), y_i) ),     CE(z, y) = log sum_k exp(z_k) - z_y

over the images in a new order each epoch, in batches of b. After an epoch the network is judged on the held-out images
in evaluation mode, the probe looks at it, and the checkpoint is written. What is random in an epoch follows from the
seed and the epoch alone (``random_states``), so that going on after a kill at the last whole epoch ends at the same
weights to the last bit, and whatever the probe draws changes nothing.

Sums of floats depend on their order, and a convolution's gradient on how many threads share it: torch works with one
thread here unless the recipe says otherwise, and on CUDA by its repeatable algorithms. Other processors and versions of
torch may round otherwise.

A loss that is not finite ends the training, for no weight after it means anything; the network is then given its
weights after the last whole epoch, as after Ctrl-C.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.training.augmentation import augmented
from convscope.training.checkpoints import (
    arrays_of,
    checkpoint_facts,
    load_arrays,
    load_checkpoint,
    write_checkpoint,
)
from convscope.training.judging import Judgement, judged
from convscope.training.random_states import randomness_of
from convscope.training.recipe import FACTOR, Recipe
from convscope.training.run_data import RunData
from convscope.training.surroundings import training_surroundings
from convscope.writing import remove_asides

OnStep = Callable[[int, int], None]


class DivergedError(ConvscopeError):
    """A loss that is not finite, in ``epoch``, at ``batch``; the last good weights are those of the epoch before."""

    def __init__(self, message: str, epoch: int, batch: int) -> None:
        super().__init__(message)
        self.epoch, self.batch = epoch, batch


@runtime_checkable
class Watching(Protocol):
    """A probe: called after each epoch, and with 0 before the first."""

    def __call__(self, epoch: int, /) -> object:
        """Look at the network, and leave it as it is."""
        ...


@dataclass(frozen=True)
class EpochScore:
    """Mean cross-entropy and share of right answers; of the training images while they were trained on."""

    epoch: int
    train_loss: float
    train_accuracy: float
    loss: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class FitResult:
    """``score``: right answers among the held-out images; ``confusion``: rows are classes, columns answers."""

    history: tuple[EpochScore, ...]
    score: float
    confusion: Int[Tensor, "k k"]


def fit(
    net: nn.Module,
    data: RunData,
    folder: Path | None = None,
    recipe: Recipe | None = None,
    *,
    resume: bool = False,
    probe: Callable[[], Watching] | None = None,
    on_step: OnStep | None = None,
    on_epoch: Callable[[EpochScore], object] | None = None,
) -> FitResult:
    """Train ``net`` in place.

    Args:
        net: inputs ``(b, c, h, w)`` to logits ``(b, classes)``; its parameters that require gradients learn.
        data: see ``run_data``.
        folder: where checkpoint and weights are written after each epoch; None: nowhere.
        recipe: what fixes the numbers; None: its defaults.
        resume: go on from the folder's checkpoint, if there is one.
        probe: makes what looks on, once the weights are those that the training goes on from.
        on_step: called with (batches done, all).
        on_epoch: called after each epoch that was kept.

    Raises:
        DivergedError: the loss was not finite. The network has its weights of the last whole epoch, here and below.
        UnwritableError: a full disk; the checkpoint of the epoch before stays.
        KeyboardInterrupt: again.
        ConvscopeError: the network does not fit the data; a checkpoint of another training.
    """
    recipe = recipe or Recipe()
    with training_surroundings(net, recipe.threads):
        if not net.training:  # else as it is: a part that was put into evaluation mode was meant to stay there
            net.train()
        fitting = _Fitting(net, data, folder, recipe, on_step or _untold)
        return fitting.made(resume, probe, on_epoch or _unheard)


def _untold(_done: int, _every: int) -> None:
    pass


def _unheard(_score: EpochScore) -> None:
    pass


class _Fitting:
    """A training under way."""

    def __init__(self, net: nn.Module, data: RunData, folder: Path | None, recipe: Recipe, on_step: OnStep) -> None:
        self.net, self.data, self.folder, self.recipe, self.on_step = net, data, folder, recipe, on_step
        self.optimiser = recipe.optimiser_of(net.parameters())
        self.a_sample = next(each for each in net.parameters() if each.requires_grad)  # of device and type
        self.batches = len(batches_of(torch.arange(len(data.train)), recipe.batch))
        self.history: list[EpochScore] = []
        self.confusion = torch.zeros(0, 0, dtype=torch.int64)

    def made(
        self, resume: bool, probe: Callable[[], Watching] | None, on_epoch: Callable[[EpochScore], object]
    ) -> FitResult:
        with randomness_of(self.recipe.seed, 0, self.net):
            first = judged(self.net, self.data.held_out, self.data.classes)  # also: does the network fit the data?
        if self.folder is not None:
            remove_asides(self.folder)
        done = self._gone_on() if resume else None
        watching = None if probe is None or done == self.recipe.epochs else probe()
        if done is None:
            self._keep(0, first, watching)
        self.kept = arrays_of(self.net)
        try:
            for epoch in range((done or 0) + 1, self.recipe.epochs + 1):
                self._one_epoch(epoch, watching)
                on_epoch(self.history[-1])
        except BaseException:
            load_arrays(self.net, self.kept, "the last whole epoch")
            raise
        return FitResult(tuple(self.history), self.history[-1].accuracy, self.confusion)

    def _one_epoch(self, epoch: int, watching: Watching | None) -> None:
        with randomness_of(self.recipe.seed, epoch, self.net) as generator:
            loss, accuracy = self._trained(epoch, generator)
            judgement = judged(self.net, self.data.held_out, self.data.classes)  # some networks draw there too
        if not math.isfinite(judgement.loss):  # the last step has spoilt the weights
            raise self._diverged(judgement.loss, epoch, self.batches)
        self.history.append(EpochScore(epoch, loss, accuracy, judgement.loss, judgement.accuracy))
        try:
            self._keep(epoch, judgement, watching)
        except BaseException:
            del self.history[-1]
            raise
        self.kept = arrays_of(self.net)

    def _trained(self, epoch: int, generator: torch.Generator) -> tuple[float, float]:
        """One pass over the training images; mean loss and share of right answers, as they were before each step."""
        loss, right, images = 0.0, 0, len(self.data.train)
        order = torch.randperm(images, generator=generator)
        for number, indices in enumerate(batches_of(order, self.recipe.batch), start=1):
            x, labels = self.data.train.batch(indices)
            x = augmented(x, self.recipe.augment, generator)
            mean, count = self._step(epoch, number, x, labels)
            loss, right = loss + mean * len(indices), right + count
            self.on_step((epoch - 1) * self.batches + number, self.recipe.epochs * self.batches)
        return loss / images, right / images

    def _step(self, epoch: int, number: int, x: Tensor, labels: Tensor) -> tuple[float, int]:
        self._set_rate((epoch - 1) * self.batches + number - 1)
        labels = labels.to(self.a_sample.device)
        scores = self.net(x.to(self.a_sample))
        loss = F.cross_entropy(scores, labels)
        value = loss.item()
        if not math.isfinite(value):
            raise self._diverged(value, epoch, number, has_learned=(epoch, number) != (1, 1))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return value, int((scores.detach().argmax(1) == labels).sum())

    def _set_rate(self, step: int) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = group[FACTOR] * self.recipe.rate_at(step, self.recipe.epochs * self.batches)

    def _diverged(self, loss: float, epoch: int, number: int, *, has_learned: bool = True) -> DivergedError:
        kept = f"the weights of epoch {epoch - 1} are kept" + (f" in {self.folder}" if self.folder else "")
        advice = f"a learning rate below {self.recipe.learning_rate:g} may do"
        if not has_learned:
            advice = "nothing was learned before it, so the network itself gives that, or its input is out of range"
        said = f"the loss became {loss} in epoch {epoch}, batch {number} of {self.batches}: stopped, {kept}; {advice}"
        return DivergedError(said, epoch, number)

    def _keep(self, epoch: int, judgement: Judgement, watching: Watching | None) -> None:
        """The probe first: an epoch is done when its checkpoint is there."""
        if watching is not None:
            watching(epoch)
        self.confusion = judgement.confusion
        if self.folder is not None:
            facts = {
                "epoch": epoch, "history": [asdict(each) for each in self.history],
                "confusion": judgement.confusion.tolist(), **self._about(),
            }  # fmt: skip
            write_checkpoint(self.folder, self.net, self.optimiser, facts)

    def _about(self) -> dict[str, Any]:
        """What a training that goes on must have in common with the one that began."""
        return {"recipe": self.recipe.settings(), "data": self.data.fingerprint, "classes": list(self.data.classes)}

    def _gone_on(self) -> int | None:
        """Takes up the checkpoint; its epoch, None where there is none."""
        facts = None if self.folder is None else checkpoint_facts(self.folder)
        if self.folder is None or facts is None:
            return None
        _refuse_another(facts, self._about(), self.folder)
        load_checkpoint(self.folder, self.net, self.optimiser)
        self.history = [EpochScore(**each) for each in facts["history"]]
        self.confusion = torch.tensor(facts["confusion"])
        return int(facts["epoch"])


def _refuse_another(began: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    for name, value in now["recipe"].items():
        if (before := began["recipe"].get(name)) != value:
            option = name.replace("_", "-")
            raise ConvscopeError(
                f"{folder} was begun with {option} {before}, not with {value}: it goes on as it began, or --overwrite "
                "begins anew"
            )
    if began["classes"] != now["classes"] or began["data"] != now["data"]:
        raise ConvscopeError(
            f"{folder} was begun with other data: it goes on with the same images, or --overwrite begins anew"
        )


def batches_of(order: Int[Tensor, " n"], batch: int) -> list[Int[Tensor, " b"]]:
    """The numbers in batches; one that is left over joins the last: a batch norm cannot learn from one image."""
    parts = list(order.split(batch))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts
