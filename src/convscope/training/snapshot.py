"""A snapshot: what a network was after an epoch, and how it lies on disk.

    tensors   filters (n, c, kh, kw)   confusion/SPLIT (k, k)   embedding/points, labels, features
              maps/LAYER:UNIT (images, h, w)   maps/images (images, c, h, w)   pictures/LAYER:UNIT (c, h, w)
              histogram/LAYER/edges, histogram/LAYER/counts   weights/LAYER/edges, weights/LAYER/counts
    facts     {"epoch", "splits": {SPLIT: {"loss", "accuracy", "images"}}, "classes": [...],
               "layers": [{"name", "weight_norm", ...}], "filters": {"layer"},
               "embedding": {"layer", "shares", "method", "facts", "learns"}, "units", "left_out": {what: why}}

What a snapshot does not have is left out of the tensors, and null among the facts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class SplitState:
    """Of one split: mean cross-entropy, share answered rightly, how many images, images by (true, answered) class."""

    loss: float
    accuracy: float
    images: int
    confusion: Int[np.ndarray, "k k"]


def _no_edges() -> np.ndarray:
    return np.zeros(1)


def _no_counts() -> np.ndarray:
    return np.zeros(0, np.int64)


def _nothing() -> dict[str, str]:
    return {}


@dataclass(frozen=True, eq=False)
class LayerState:
    """Of one layer.

    Attributes:
        name: of the layer.
        weight_norm: |w|, w all its parameters as one vector; None where it has none.
        relative_change: |w - v| / |v|, v its parameters at the snapshot before; None at the first.
        mean: of all values of all units on the watched images.
        sd: their standard deviation.
        dead_share: of the units that are not above zero anywhere where they reach a rectifier; None where none follows.
        edges: of the histogram of the layer's values, logarithmic bins.
        counts: how many of the sampled values are in each.
        weight_edges: of the histogram of w, as ``edges``; empty where it has none.
        weight_counts: how many weights are in each.
    """

    name: str
    weight_norm: float | None
    relative_change: float | None
    mean: float
    sd: float
    dead_share: float | None
    edges: Float[np.ndarray, " bins_and_1"]
    counts: Int[np.ndarray, " bins"]
    weight_edges: Float[np.ndarray, " weight_bins_and_1"] = field(default_factory=_no_edges)
    weight_counts: Int[np.ndarray, " weight_bins"] = field(default_factory=_no_counts)


@dataclass(frozen=True, eq=False)
class Embedded:
    """The watched images as points: a map of a layer's pooled activations, laid onto the snapshot before.

    Attributes:
        layer: whose activations.
        points: one an image.
        labels: their classes.
        shares: of the variance, by the two components of PCA; NaN of t-SNE, which has none.
        features: the activations.
        method: ``"t-sne"`` or ``"pca"``.
        facts: how it was made: the program, perplexity, seed.
        learns: whether a parameter that is trained comes before the layer; else what moves is the map alone, or the
            averages of a batch norm.
    """

    layer: str
    points: Float[np.ndarray, "n 2"]
    labels: Int[np.ndarray, " n"]
    shares: tuple[float, float]
    features: Float[np.ndarray, "n u"]
    method: str = "pca"
    facts: Mapping[str, str] = field(default_factory=_nothing)
    learns: bool = True


def _no_arrays() -> dict[str, np.ndarray]:
    return {}


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a probe saw after an epoch; 0 is before training.

    ``maps`` and ``pictures`` are of the chosen units, by name; ``images (n, c, h, w)`` in [0, 1] those that the maps
    are of. ``left_out`` says what could not be had, and why.
    """

    epoch: int
    splits: Mapping[str, SplitState]
    classes: tuple[str, ...] = ()
    layers: tuple[LayerState, ...] = ()
    filters_layer: str | None = None
    filters: Float[np.ndarray, "units inputs kh kw"] | None = None
    embedding: Embedded | None = None
    maps: Mapping[str, Float[np.ndarray, "images _ _"]] = field(default_factory=_no_arrays)
    images: Float[np.ndarray, "images c h w"] | None = None
    pictures: Mapping[str, Float[np.ndarray, "c _ _"]] = field(default_factory=_no_arrays)
    left_out: Mapping[str, str] = field(default_factory=_nothing)

    def scalars(self) -> dict[str, float]:
        """Every single number by a name such as ``held out/loss`` or ``layers/conv1/dead_share``: what loggers want."""
        found = {f"{name}/{key}": getattr(split, key) for name, split in self.splits.items() for key in _SPLIT}
        for layer in self.layers:
            found |= {f"layers/{layer.name}/{key}": getattr(layer, key) for key in _LAYER}
        return {name: value for name, value in found.items() if value is not None}


_SPLIT = ("loss", "accuracy")
_LAYER = ("weight_norm", "relative_change", "mean", "sd", "dead_share")


def stored(snapshot: Snapshot) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(tensors, facts) as ``store.snapshots`` writes them."""
    s, embedding = snapshot, snapshot.embedding
    facts = {
        "epoch": s.epoch,
        "splits": {n: {"loss": x.loss, "accuracy": x.accuracy, "images": x.images} for n, x in s.splits.items()},
        "classes": list(s.classes),
        "layers": [{"name": layer.name, **{key: getattr(layer, key) for key in _LAYER}} for layer in s.layers],
        "filters": None if s.filters is None else {"layer": s.filters_layer},
        "embedding": None if embedding is None else _said(embedding),
        "units": list(dict.fromkeys([*s.maps, *s.pictures])),
        "left_out": dict(s.left_out),
    }
    return _tensors(snapshot), facts


def _said(e: Embedded) -> dict[str, Any]:
    return {"layer": e.layer, "shares": list(e.shares), "method": e.method, "facts": dict(e.facts), "learns": e.learns}


def _tensors(s: Snapshot) -> dict[str, np.ndarray]:
    found = {f"confusion/{name}": split.confusion for name, split in s.splits.items()}
    for layer in s.layers:
        found |= {f"histogram/{layer.name}/edges": layer.edges, f"histogram/{layer.name}/counts": layer.counts}
        if len(layer.weight_counts):
            found[f"weights/{layer.name}/edges"] = layer.weight_edges
            found[f"weights/{layer.name}/counts"] = layer.weight_counts
    if s.filters is not None:
        found["filters"] = s.filters
    if s.embedding is not None:
        found |= {f"embedding/{key}": getattr(s.embedding, key) for key in ("points", "labels", "features")}
    found |= {f"maps/{name}": values for name, values in s.maps.items()}
    found |= {f"pictures/{name}": values for name, values in s.pictures.items()}
    return found if s.images is None else {**found, "maps/images": s.images}


def restored(tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> Snapshot:
    """The snapshot again."""
    splits = {n: SplitState(**said, confusion=tensors[f"confusion/{n}"]) for n, said in facts["splits"].items()}
    embedding = None if facts["embedding"] is None else _embedded(facts["embedding"], tensors)
    return Snapshot(
        facts["epoch"],
        splits,
        tuple(facts["classes"]),
        tuple(_layer(said, tensors) for said in facts["layers"]),
        facts["filters"] and facts["filters"]["layer"],
        tensors.get("filters"),
        embedding,
        _of_units("maps", facts["units"], tensors),
        tensors.get("maps/images"),
        _of_units("pictures", facts["units"], tensors),
        facts["left_out"],
    )


def _embedded(said: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Embedded:
    """Of an older probe it is a PCA, without saying so."""
    about: dict[str, Any] = {**said, "shares": tuple(said["shares"])}
    about |= {key: tensors[f"embedding/{key}"] for key in ("points", "labels", "features")}
    return Embedded(**about)


def _layer(said: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> LayerState:
    found: dict[str, Any] = {key: tensors[f"histogram/{said['name']}/{key}"] for key in ("edges", "counts")}
    for key in ("edges", "counts"):
        if (name := f"weights/{said['name']}/{key}") in tensors:  # not of an older probe
            found[f"weight_{key}"] = tensors[name]
    return LayerState(**said, **found)


def _of_units(what: str, units: list[str], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {unit: tensors[f"{what}/{unit}"] for unit in units if f"{what}/{unit}" in tensors}
