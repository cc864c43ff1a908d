"""Making a plan: what the user asked for, made definite by the network and the data.

One photo, the first that can be read, goes through the network, to know which layers run; the ids of all images are
walked through, once for the labels and once to be written down. Nothing else is read.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
from torch import Tensor

from convscope.dataset.chosen_layers import RunLayer, choose_layers, run_layers
from convscope.dataset.data_labels import DataLabels, data_labels
from convscope.dataset.image_sources import ImageSource, notes_of
from convscope.dataset.mean_patterns import CELLS
from convscope.dataset.plan import IMAGES, OFFSETS, PLAN, Plan
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.stamps import versions
from convscope.writing import file_aside

SHARD, FEATURES, TOP = 256, 4096, 9
NUMBERS = 8 * 3 * 224 * 224  # of network input in one batch: larger ones leave the cache, smaller ones are all calls
FEWEST, MOST = 8, 64
PATTERN_BYTES = 64 << 20  # mean patterns beyond that are kept only where asked for: one float64 a class, unit and cell


class Asked(TypedDict, total=False):
    """What a plan is asked for, see :func:`make_plan`."""

    layers: Sequence[str] | str | None
    top: int
    per_image: int
    batch: int | None
    shard: int
    features: int
    patterns: Sequence[str] | str | None
    labels: str


def make_plan(net: Network, source: ImageSource, folder: Path, **asked: Unpack[Asked]) -> tuple[Plan, tuple[str, ...]]:
    """Write the plan of a survey into ``folder``; the plan, and notes that the user should see.

    Args:
        net: whose layers.
        source: of which images.
        folder: the atlas's, made where it is not there.
        layers: names (``#k`` for the k-th call), patterns (``features.*``) or ``all``; None: all convolutions that run.
        top: exemplars a unit; 9 unless given.
        per_image: at most so many of one image; 1.
        batch: images a pass; unless given 8 of 224 x 224 pixels, more of smaller ones, 64 at most.
        shard: images a part; 256.
        features: at most so many images have their pooled activations kept; 4,096.
        patterns: layers, likewise, of those above, whose mean maps a class are kept; None: the last one that has maps,
            where labels exist and it is not too large; () none.
        labels: see ``data_labels``; auto.

    Raises:
        ConvscopeError: no such layer, no image that can be read, labels that fit in part, a number below 1.
        UnwritableError: the folder cannot be written into.
    """
    settings, found = _settings(net, source, **asked)
    (folder / PLAN).unlink(missing_ok=True)  # never an old plan beside a new list
    count, digest = _write_images(folder, source, found, settings.shard_size)
    plan = replace(settings, images=count, images_digest=digest).write(folder)
    return plan, (*notes_of(source), *((found.note,) if found.note else ()))


def planned_settings(net: Network, source: ImageSource, **asked: Unpack[Asked]) -> Plan:
    """The plan that ``make_plan`` would make of the same, but for the list of images; nothing is written."""
    return _settings(net, source, **asked)[0]


def _settings(
    net: Network,
    source: ImageSource,
    *,
    layers: Sequence[str] | str | None = None,
    top: int = TOP,
    per_image: int = 1,
    batch: int | None = None,
    shard: int = SHARD,
    features: int = FEATURES,
    patterns: Sequence[str] | str | None = None,
    labels: str = "auto",
) -> tuple[Plan, DataLabels]:
    _refuse_small(
        top=top, per_image=per_image, batch=FEWEST if batch is None else batch, shard=shard, features=features
    )
    x = first_input(net, source)
    batch = min(MOST, max(FEWEST, NUMBERS // x.numel())) if batch is None else batch
    chosen = choose_layers(net.module, run_layers(net.module, x), layers)
    found = data_labels(source, net.classes, labels)
    plan = Plan(
        layers=tuple(layer.name for layer in chosen),
        top=top,
        per_image=per_image,
        batch=batch,
        shard_size=shard,
        images=0,
        images_digest="",
        classes=found.classes,
        right=found.right,
        labels=found.kind,
        features=features,
        pattern_layers=_pattern_layers(net, chosen, patterns, found),
        model=net.fingerprint,
        model_name=net.name,
        network_classes=net.classes,
        preprocess=preprocess_text(net),
        data=source.name,
        versions=versions(),
    )
    return plan, found


def preprocess_text(net: Network) -> str:
    """The preprocessing in words; addresses of objects say nothing."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(net.preprocess))


def _refuse_small(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ConvscopeError(f"{name}={number}: at least 1")


def first_input(net: Network, source: ImageSource) -> Tensor:
    """The network's input of the first image that can be used. Raises ConvscopeError where none can."""
    first, count = "", 0
    for name in source.names():
        try:
            return net.input_of(source.read(name).image)
        except ConvscopeError as error:
            first, count = first or str(error), count + 1
    raise ConvscopeError(f"none of the {count:,} images of {source.name} can be used; the first: {first}")


def _pattern_layers(
    net: Network, chosen: Sequence[RunLayer], asked: Sequence[str] | str | None, labels: DataLabels
) -> tuple[str, ...]:
    if asked is not None:
        wanted = choose_layers(net.module, chosen, asked) if asked else []
        return tuple(layer.name for layer in wanted)
    with_maps = [layer for layer in chosen if layer.shape != (1, 1)]
    if not labels.classes or not with_maps:
        return ()
    last = with_maps[-1]
    cells = min(last.shape[0], CELLS) * min(last.shape[1], CELLS)
    return (last.name,) if 8 * len(labels.classes) * last.units * cells <= PATTERN_BYTES else ()


def _write_images(folder: Path, source: ImageSource, labels: DataLabels, shard: int) -> tuple[int, str]:
    """Write the list of images; how many, and the digest of their ids and labels."""
    digest, offsets, at, count = hashlib.sha256(), [0], 0, 0
    with file_aside(folder / IMAGES, synced=True) as file:
        for name in source.names():
            label = labels.number(name)
            line = json.dumps([name, label, *source.facts(name)]).encode() + b"\n"
            digest.update(json.dumps([name, label]).encode())
            file.write(line)
            at, count = at + len(line), count + 1
            if count % shard == 0:
                offsets.append(at)
    if count % shard:
        offsets.append(at)
    with file_aside(folder / OFFSETS, synced=True) as file:
        file.write(np.array(offsets, "<u8").tobytes())
    return count, digest.hexdigest()[:16]
