"""A batch of photos through the network once: what every layer gives is read while it is there, nothing is kept.

    photos -> decoded -> groups of one input size -> passes of as many images as there is room for

A photo that cannot be read, and one that the network does not take, is left out with its reason; the others' batch has
one image less. A network that is always shown the same size, and does not take it, takes no photo at all: that is an
error. Channels last where that is faster (``memory_layout``), without a graph, in evaluation mode.

Not ``inference_mode``: a network that keeps a tensor for the next pass (an encoding of positions) would keep one that
never takes part in a gradient again.
"""

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.answers import InputRefusedError, refusing_input
from convscope.dataset.image_rows import Answers, ImageRow, answers_of, no_answers
from convscope.dataset.image_sources import ImageSource
from convscope.dataset.mean_patterns import pattern_of
from convscope.dataset.photo_inputs import photo_input
from convscope.dataset.plan import Plan, PlannedImage
from convscope.dataset.readings import Readings, read_units
from convscope.dataset.room import NoRoomError, Room
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.loading import Network
from convscope.network.memory_layout import run_on_copy
from convscope.network.targets import class_logits
from convscope.network.watching import watch


@dataclass(frozen=True, eq=False)
class Shown:
    """A photo as the network is shown it, ``(1, c, H, W)``, with what is known of it."""

    row: ImageRow
    x: Tensor


@dataclass(frozen=True, eq=False)
class Pass:
    """What one pass gave: of b images their rows, of every layer its readings, of some their patterns."""

    rows: tuple[ImageRow, ...]
    readings: Mapping[str, Readings]
    patterns: Mapping[str, NDArray[np.float32]]

    @property
    def numbers(self) -> NDArray[np.int64]:
        """``(b,)`` numbers of the images."""
        return np.array([row.number for row in self.rows], np.int64)

    @property
    def labels(self) -> NDArray[np.int64]:
        """``(b,)`` data classes, -1 where there is none."""
        return np.array([row.label for row in self.rows], np.int64)


@dataclass(frozen=True, eq=False)
class Batch:
    """What became of a batch: its passes, and the rows of the images that were left out."""

    passes: tuple[Pass, ...]
    refused: tuple[ImageRow, ...]

    def __len__(self) -> int:
        return len(self.refused) + sum(len(each.rows) for each in self.passes)


@dataclass
class _Reading(threading.local):
    """What this thread's pass has given so far; no batch means that the pass is somebody else's."""

    batch: int = 0
    image_size: tuple[int, int] = (0, 0)
    readings: dict[str, Readings] = field(default_factory=dict[str, Readings])
    patterns: dict[str, NDArray[np.float32]] = field(default_factory=dict[str, NDArray[np.float32]])


class NetworkPasses:
    """Runs batches of a plan, from several threads at once, within ``watching()``."""

    def __init__(self, net: Network, source: ImageSource, plan: Plan, threads: int) -> None:
        self.net, self.source, self.plan = net, source, plan
        at_once = threads if net.device.type == "cpu" else 1  # a GPU is full of one batch; the threads decode for it
        self._room = Room(self._pass, plan.batch, at_once)
        self._now = _Reading()

    @contextmanager
    def watching(self) -> Generator[None]:
        """Evaluation mode, and every layer of the plan under watch."""
        with evaluation(self.net.module), watch(self.net.module, self.plan.layers, self._visit):
            yield

    def run(self, images: Sequence[PlannedImage]) -> Batch:
        """Read the photos and show them to the network.

        Raises:
            ConvscopeError: a layer that cannot be read, one image for which memory is too small, a network that does
                not take the size that all its photos have.
        """
        shown = [self._shown(image) for image in images]
        passes: list[Pass] = []
        refused = [each for each in shown if isinstance(each, ImageRow)]
        by_size: dict[Any, list[Shown]] = {}
        for each in shown:
            if isinstance(each, Shown):
                by_size.setdefault(each.x.shape, []).append(each)
        for group in by_size.values():
            done = self._one_size(group)
            passes.extend(each for each in done if isinstance(each, Pass))
            refused.extend(each for each in done if isinstance(each, ImageRow))
        return Batch(tuple(passes), tuple(refused))

    def _shown(self, image: PlannedImage) -> Shown | ImageRow:
        row = ImageRow(image.number, image.label)
        try:
            found = self.source.read(image.name)
            row = replace(row, digest=found.digest)
            x = photo_input(self.net, found.image)
        except ConvscopeError as error:
            return replace(row, refused=str(error))
        except NoRoomError as error:
            raise ConvscopeError(f"not enough memory to read {image.name}; use fewer threads") from error
        return Shown(replace(row, input_size=(x.shape[2], x.shape[3])), x)

    def _one_size(self, group: Sequence[Shown]) -> Sequence[Pass | ImageRow]:
        """The passes of images of one size; where the network refuses them, each is asked for by itself."""
        try:
            return self._room.run(group)
        except NoRoomError as error:
            raise self._no_room(group[0].x) from error
        except InputRefusedError as error:
            if self.net.always_one_size:
                raise
            if len(group) == 1:
                return [replace(group[0].row, input_size=(0, 0), refused=str(error))]
        return [done for each in group for done in self._one_size([each])]

    def _no_room(self, x: Tensor) -> ConvscopeError:
        seen = self._now.readings
        ahead = [layer for layer in self.plan.layers if layer not in seen]
        where = f"on the way to layer {ahead[0]!r}" if ahead else f"after layer {self.plan.layers[-1]!r}"
        size = " x ".join(map(str, x.shape[1:]))
        return ConvscopeError(
            f"not enough memory for {self.net.name} on one image of {size}: it ran out {where}; give a smaller input "
            "(--size) or fewer layers (--layers)"
        )

    def _pass(self, group: Sequence[Shown]) -> Pass:
        now = self._now
        now.readings, now.patterns = {}, {}
        now.image_size, now.batch = group[0].row.input_size, len(group)
        try:
            with torch.no_grad():
                x = torch.cat([each.x for each in group]).to(self.net.precision)
                with refusing_input(self.net, x):
                    output = run_on_copy(self.net.module, x)
                answers = self._answers(output, [each.row.label for each in group])
        finally:
            now.batch = 0
        rows = tuple(_answered(each.row, answers, i) for i, each in enumerate(group))
        return Pass(rows, now.readings, now.patterns)

    def _visit(self, layer: str, output: Tensor) -> None:
        now = self._now
        if not now.batch:
            return
        if len(output) != now.batch:
            raise ConvscopeError(
                f"layer {layer!r} gives {tuple(output.shape)} for {now.batch} image(s): its first axis is not one of "
                "images (attention in windows has a window there); name the layer around it"
            )
        now.readings[layer] = read_units(output, now.image_size, layer, per_image=self.plan.per_image)
        if layer in self.plan.pattern_layers:
            now.patterns[layer] = pattern_of(output, now.image_size, layer)

    def _answers(self, output: Any, labels: Sequence[int]) -> Answers:
        """No answers of a network without logits, unless it was to be judged by them."""
        try:
            logits = class_logits(output)
        except ConvscopeError:
            if any(self.plan.right):
                raise
            return no_answers(len(labels))
        return answers_of(logits, labels, self.plan.right)


def _answered(row: ImageRow, answers: Answers, at: int) -> ImageRow:
    return replace(
        row,
        predicted=int(answers.predicted[at]),
        probability=float(answers.probability[at]),
        loss=float(answers.loss[at]),
        right_logit=float(answers.right_logit[at]),
    )
