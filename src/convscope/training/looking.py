"""One look at a network: everything that a snapshot holds, from passes over fixed samples.

    loss       = mean over images of -log softmax(logits)[class]          accuracy = share with argmax = class
    confusion  = images by (class, answered class)

on every split; layers, maps, embedding and pictures on the one that is watched. The network is run within
``undisturbed``; what it gives that no number can be read of is left out by name, so that one odd epoch (NaN weights, a
layer that died) does not end a training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from convscope.dataset.readings import unit_maps
from convscope.errors import ConvscopeError
from convscope.network.filters import filters_of
from convscope.network.layers import run_model
from convscope.network.taps import tap
from convscope.network.targets import Unit, class_logits
from convscope.seeds import seeded
from convscope.synthesis.maximisation import maximise
from convscope.synthesis.objectives import units as objective_of_units
from convscope.synthesis.recipes import STANDARD
from convscope.training.aligned_embedding import embed_after
from convscope.training.fixed_sample import Sample
from convscope.training.layer_states import LayerSums, Weights, layer_states
from convscope.training.snapshot import Embedded, Snapshot, SplitState

PICTURE_STEPS = 64


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is looked at, fixed when the probe is made.

    Attributes:
        samples: by split.
        watched: the split on which layers are looked at.
        layers: names.
        judged_by: layer -> the one whose sign says which units live.
        filters: the layer whose weights are kept, None for none.
        units: whose maps are kept.
        shown: the places in the watched sample of the images that the maps are of.
        bounds: (least, largest) input, ``(c, 1, 1)``: what is black and white; None for inputs that are no images.
        embed: the layer of the embedding, None for none.
        learns: whether anything that is trained comes before it.
        embedding: ``"t-sne"`` or ``"pca"``.
        pictures: whether the units' maximising pictures are made.
        batch: images a pass.
    """

    samples: Mapping[str, Sample]
    watched: str
    classes: tuple[str, ...]
    layers: tuple[str, ...]
    judged_by: Mapping[str, str]
    filters: str | None
    units: tuple[Unit, ...]
    shown: tuple[int, ...]
    bounds: tuple[Float[Tensor, "c 1 1"], Float[Tensor, "c 1 1"]] | None
    embed: str | None
    learns: bool
    embedding: str
    pictures: bool
    batch: int

    @property
    def tapped(self) -> tuple[str, ...]:
        """Every layer whose output is needed."""
        units = [unit.layer for unit in self.units]
        judges = [self.judged_by[name] for name in self.layers if name in self.judged_by]
        return tuple(dict.fromkeys([*self.layers, *judges, *units, *([self.embed] if self.embed else [])]))


@dataclass(eq=False)
class _Seen:
    """What the passes over the watched split gave."""

    sums: dict[str, LayerSums] = field(default_factory=dict[str, LayerSums])
    features: list[np.ndarray] = field(default_factory=list[np.ndarray])
    maps: dict[str, list[np.ndarray]] = field(default_factory=dict[str, list[np.ndarray]])


def look(
    model: nn.Module, wanted: Wanted, epoch: int, now: Weights, before: Weights, laid_out: Embedded | None
) -> Snapshot:
    """A snapshot of the network as it is.

    Args:
        model: in evaluation mode, within ``undisturbed``.
        wanted: what to look at.
        epoch: its number.
        now: the layers' weights.
        before: those at the snapshot before, empty for the first.
        laid_out: the embedding of the snapshot before, which this one is laid onto.
    """
    seen, left_out = _Seen(), dict[str, str]()
    splits = {
        name: _split(model, sample, wanted, seen if name == wanted.watched else None)
        for name, sample in wanted.samples.items()
    }
    watched = wanted.samples[wanted.watched]
    return Snapshot(
        epoch,
        splits,
        wanted.classes,
        layer_states(wanted.layers, seen.sums, wanted.judged_by, now, before),
        wanted.filters,
        filters_of(model, wanted.filters).weights.numpy() if wanted.filters else None,
        _embedding(wanted, seen.features, watched.labels, laid_out, left_out),
        {name: np.stack(maps) for name, maps in seen.maps.items()},
        shown_images(watched.images[list(wanted.shown)], wanted.bounds) if wanted.units and wanted.bounds else None,
        _pictures(model, wanted, wanted.bounds, left_out) if wanted.pictures and wanted.bounds else {},
        left_out,
    )


def answers(model: nn.Module, x: Tensor) -> Float[Tensor, "b classes"]:
    """The logits of a batch, on the network's device and in its precision; the network may write into its copy."""
    return class_logits(run_model(model, as_the_network_takes(model, x)))


def image_size(x: Tensor) -> tuple[int, int]:
    """(H, W) of a batch of images; inputs that are none have one place."""
    return (int(x.shape[2]), int(x.shape[3])) if x.ndim == 4 else (1, 1)


def as_the_network_takes(model: nn.Module, x: Tensor) -> Tensor:
    """A copy of the inputs on the network's device; real numbers in its precision."""
    first = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    return x.to(first.device, first.dtype if x.is_floating_point() else x.dtype, copy=True)


def _split(model: nn.Module, sample: Sample, wanted: Wanted, seen: _Seen | None) -> SplitState:
    logits: list[Tensor] = []
    done = 0
    for x, _ in sample.batches(wanted.batch):
        with torch.no_grad(), tap(model, *(wanted.tapped if seen is not None else ())) as outputs:
            logits.append(answers(model, x).cpu().double())
        if seen is not None:
            _read(outputs, wanted, x, done, seen)
        done += len(x)
    return split_state(torch.cat(logits), sample.labels)


def split_state(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> SplitState:
    """Loss, accuracy and confusion of these answers. Raises ConvscopeError for a class that the network lacks."""
    k = logits.shape[1]
    if int(labels.max()) >= k:
        raise ConvscopeError(f"the data has a class {int(labels.max())}, and the network answers 0 to {k - 1}")
    answered = logits.argmax(1)
    confusion = torch.bincount(labels * k + answered, minlength=k * k).reshape(k, k)
    loss = float(cross_entropy(logits, labels))
    return SplitState(loss, float((answered == labels).double().mean()), len(labels), confusion.numpy())


def _read(outputs: Mapping[str, Tensor], wanted: Wanted, x: Tensor, done: int, seen: _Seen) -> None:
    """Add a batch of the watched split, whose first image has the number ``done``."""
    size = image_size(x)
    for name, output in outputs.items():
        read = seen.sums.setdefault(name, LayerSums(name)).update(output, size)
        if name == wanted.embed:
            seen.features.append(read.pooled)
    for unit in wanted.units:
        for number in wanted.shown:
            if done <= number < done + len(x):
                map_ = unit_maps(outputs[unit.layer], size, unit.layer)[number - done, unit.unit]
                seen.maps.setdefault(str(unit), []).append(map_.detach().float().cpu().numpy())


def _embedding(
    wanted: Wanted,
    features: Sequence[np.ndarray],
    labels: Tensor,
    before: Embedded | None,
    left_out: dict[str, str],
) -> Embedded | None:
    if wanted.embed is None:
        return None
    rows = np.concatenate(features)
    if before is not None and before.method == wanted.embedding and np.array_equal(before.features, rows):
        return replace(before, layer=wanted.embed, learns=wanted.learns)  # t-SNE would let them drift
    try:
        made = embed_after(rows, None if before is None else before.points, wanted.embedding)
    except ConvscopeError as error:
        left_out["embedding"] = str(error)
        return None
    shares = made.shares or (float("nan"), float("nan"))
    return Embedded(
        wanted.embed, made.points, labels.numpy(), shares, rows, made.method, dict(made.facts), wanted.learns
    )  # fmt: skip


def shown_images(
    x: Float[Tensor, "n c h w"], bounds: tuple[Float[Tensor, "c 1 1"], Float[Tensor, "c 1 1"]]
) -> Float[np.ndarray, "n c h w"]:
    """Inputs as pictures in [0, 1]."""
    low, high = bounds
    return ((x.float() - low) / (high - low).clamp(min=1e-12)).clamp(0, 1).numpy()


def _pictures(
    model: nn.Module, wanted: Wanted, bounds: tuple[Tensor, Tensor], left_out: dict[str, str]
) -> dict[str, np.ndarray]:
    """The pictures that the units ask for, all from the same start in every epoch."""
    sample = wanted.samples[wanted.watched].images
    like = as_the_network_takes(model, sample[:1])
    low, high = (bound.to(like) for bound in bounds)
    names = [str(unit) for unit in wanted.units]

    def to_input(pictures: Tensor) -> Tensor:
        return (low.to(pictures) + pictures * (high - low).to(pictures)).to(like.dtype)

    last: Any = None
    try:
        for step in maximise(
            model, objective_of_units(names), b=len(names), c=like.shape[1], size=(like.shape[2], like.shape[3]),
            to_input=to_input, generator=seeded(0), recipe=STANDARD.changed(steps=PICTURE_STEPS), device=like.device,
        ):  # fmt: skip
            last = step
    except ConvscopeError as error:
        left_out["pictures"] = str(error)
        return {}
    return dict(zip(names, last.image.detach().float().cpu().numpy(), strict=True))
