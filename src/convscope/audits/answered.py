"""Every image's answer, and the errors ranked by loss: the first pass of an audit.

    loss L = -log sum_{r right} softmax(z)_r,      error: argmax z is none of the right classes,

as in ``dataset.image_rows``. The errors come in the order of their loss, largest first, equal ones in the data's order:
at the top are those that the network is surest of, which are its worst mistakes or wrong labels. An error's *expected*
class is the right one of the largest logit (two classes of ImageNet are called crane).

Of the errors the pooled activations at one layer are kept, to find what lies near them; of the other images a row of
numbers. Images whose label is no class of the network cannot be judged, and are counted only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from convscope.answers import refusing_input
from convscope.dataset.class_results import ClassResults, ClassTable
from convscope.dataset.data_labels import WAYS_OUT, DataLabels, data_labels
from convscope.dataset.image_rows import ImageRow, ImageRows, answers_of
from convscope.dataset.image_sources import ImageSource
from convscope.dataset.photo_batches import FirstTold, PhotoBatch, Told, photo_passes
from convscope.dataset.readings import read_units, unit_maps
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.layers import run_model
from convscope.network.loading import Network
from convscope.network.taps import tap
from convscope.network.targets import class_logits

LOGITS = "logits of the network"  # no layer has such a name
HOW = "its folder or its file's name says what an image is (--labels, see --help), --classes FILE names the outputs"


@dataclass(frozen=True)
class Judged:
    """One image. ``label`` is its data class, ``expected`` and ``predicted`` are classes of the network.

    ``expected_probability`` is that of all right classes together, exp(-loss).
    """

    number: int
    name: str
    label: int
    expected: int
    predicted: int
    is_right: bool
    probability: float
    expected_probability: float
    loss: float


@dataclass(frozen=True, eq=False)
class Answered:
    """All judged images in the data's order, the errors by loss, and ``features (errors, units)`` in that order.

    ``unjudged``: how many have a label that the network has no class for.
    """

    images: tuple[Judged, ...]
    errors: tuple[Judged, ...]
    features: Float[np.ndarray, "errors units"] = field(repr=False)
    labels: DataLabels
    table: ClassTable
    unjudged: int


def known_labels(source: ImageSource, net: Network, labels: str) -> DataLabels:
    """The labels of data that is to be audited.

    Raises:
        ConvscopeError: there are none, or the network knows none of them; says how labels are given.
    """
    found = data_labels(source, net.classes, labels)
    if not found.classes:
        why = f" ({found.note})" if found.note else ""
        raise ConvscopeError(f"{source.line()} without labels{why}: an audit needs to know what is right; {HOW}")
    if not any(found.right):
        first = ", ".join(map(repr, found.classes[:3]))
        classes = ", ".join(net.classes[:3]) or "without names"
        raise ConvscopeError(
            f"none of the {len(found.classes)} labels of {source.line()} ({first}, ...) is a class of {net.name} "
            f"({classes}, ...): there is no right answer; {HOW}"
        )
    return found


def answered(
    net: Network,
    source: ImageSource,
    labels: DataLabels,
    layer: str,
    *,
    skipped: Told,
    batch: int = 16,
    on_image: Callable[[], None] = lambda: None,
) -> Answered:
    """One pass over the data.

    Raises:
        ConvscopeError: no image that can be used, or none that can be judged; a network whose output is no logits.
    """
    images: list[Judged] = []
    kept: list[tuple[Judged, Float[np.ndarray, " units"]]] = []
    results, unjudged, told = ClassResults(labels.right, top=1, suspects=1), 0, FirstTold(skipped)
    for photos, found in photo_passes(
        net, source, [layer], batch=batch, skipped=told, on_image=on_image, read=logits_and_maps
    ):
        wanted = [labels.number(name) for name in photos.names]
        rows, judged = _judged(photos, found[LOGITS], wanted, labels.right, told)
        results.update(ImageRows.of(rows))
        unjudged += sum(not (label >= 0 and labels.right[label]) for label in wanted)
        pooled = read_units(found[layer], photos.input_size, layer).pooled
        images += judged.values()
        kept += [(one, pooled[place]) for place, one in judged.items() if not one.is_right]
    if not images:
        raise told.nothing_left(source) if told.first else ConvscopeError(f"no image can be judged: {WAYS_OUT}")
    kept.sort(key=lambda each: (-each[0].loss, each[0].number))
    errors, features = [one for one, _ in kept], [pooled for _, pooled in kept]
    table = np.stack(features) if features else np.zeros((0, 0), np.float32)
    return Answered(tuple(images), tuple(errors), table, labels, results.compute(), unjudged)


def logits_and_maps(net: Network, photos: PhotoBatch, layers: Sequence[str]) -> dict[str, Tensor]:
    """What ``photo_batches.layer_maps`` reads, and under ``LOGITS`` the network's answer, of one pass."""
    with refusing_input(net, photos.x), evaluation(net.module), torch.no_grad():
        with tap(net.module, *layers) as seen:
            logits = class_logits(run_model(net.module, photos.x.clone()))
        maps = {layer: unit_maps(seen[layer], photos.input_size, layer).float() for layer in layers}
        return {LOGITS: logits.float().cpu(), **maps}


def _judged(
    photos: PhotoBatch, logits: Tensor, labels: Sequence[int], rights: Sequence[Sequence[int]], told: Told
) -> tuple[list[ImageRow], dict[int, Judged]]:
    """The rows of a batch, and by place what was judged; images without a finite answer are told."""
    answers = answers_of(logits, labels, rights)
    rows: list[ImageRow] = []
    judged: dict[int, Judged] = {}
    for place, (number, name, label) in enumerate(zip(photos.numbers, photos.names, labels, strict=True)):
        predicted, loss = int(answers.predicted[place]), float(answers.loss[place])
        probability, right_logit = float(answers.probability[place]), float(answers.right_logit[place])
        if predicted < 0:
            told(name, "the network's logits for it are NaN or infinite")
            continue
        rows.append(ImageRow(number, label, b"\0" * 16, (1, 1), predicted, probability, loss, right_logit))
        right = list(rights[label]) if label >= 0 else []
        if not right:
            continue
        expected = max(right, key=lambda c, z=logits[place]: float(z[c]))
        judged[place] = Judged(
            number, name, label, expected, predicted, predicted in right, probability, float(np.exp(-loss)), loss
        )
    return rows, judged
