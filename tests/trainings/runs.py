"""Trainings made up of numbers that a test knows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convscope.store.run_folder import Training, begin_training, finish_training
from convscope.store.snapshots import write_snapshot
from convscope.training.snapshot import Embedded, LayerState, Snapshot, SplitState, stored

CLASSES = ("cat", "dog", "hen")
STAMP = {"model": "a net", "model_hash": "0" * 16, "data_hash": "", "versions": "", "seed": 0, "command": ""}
TRAIN, HELD_OUT = (2.0, 1.0, 0.5, 0.1), (2.1, 1.2, 0.9, 1.6)  # learned by heart since epoch 2
IMAGES = 12


def confusion(epoch: int) -> np.ndarray:
    """Everything a cat at first, then all right but some dogs called hens from epoch 2 on."""
    if epoch == 0:
        return np.array([[4, 0, 0], [4, 0, 0], [4, 0, 0]])
    dogs = [0, 4, 0] if epoch == 1 else [0, 1, 3]
    return np.array([[4, 0, 0], dogs, [0, 0, 4]])


def split(loss: float, counts: np.ndarray) -> SplitState:
    return SplitState(loss, float(np.trace(counts) / counts.sum()), int(counts.sum()), counts)


def layer(name: str, epoch: int, *, dead: float | None = 0.0, change: float = 0.1) -> LayerState:
    edges, counts = np.array([-1.0, 0.0, 1.0 + epoch]), np.array([1, 3])
    weights = np.array([-0.5, 0.5]), np.array([10])
    return LayerState(name, 1.0 + epoch, None if epoch == 0 else change, 0.0, 1.0, dead, edges, counts, *weights)


def embedded(epoch: int) -> Embedded:
    """Three clouds that move apart; the features are the points."""
    labels = np.arange(IMAGES) % 3
    middles = np.array([[0.0, 3.0], [3.0, -2.0], [-3.0, -2.0]])[labels]
    points = epoch * middles + np.random.default_rng(epoch).normal(size=(IMAGES, 2))
    return Embedded("dense", points, labels, (0.7, 0.2), points.astype(np.float32))


def snapshot(epoch: int, **changed: Any) -> Snapshot:
    losses = {"train": TRAIN[min(epoch, 3)], "held out": HELD_OUT[min(epoch, 3)]}
    random = np.random.default_rng(epoch)
    said: dict[str, Any] = {
        "splits": {name: split(loss, confusion(epoch)) for name, loss in losses.items()},
        "classes": CLASSES,
        "layers": (layer("conv1", epoch), layer("relu1", epoch, dead=0.5), layer("frozen", epoch, change=1e-5)),
        "filters_layer": "conv1",
        "filters": (0.1 * epoch + 0.1 * random.normal(size=(4, 3, 5, 5))).astype(np.float32),
        "embedding": embedded(epoch),
        "maps": {"conv1:2": np.full((2, 3, 3), float(epoch), np.float32)},
        "images": np.zeros((2, 3, 6, 6), np.float32),
    }
    return Snapshot(epoch, **(said | changed))


def write_run(folder: Path, snapshots: Sequence[Snapshot], *, finished: bool = True, **said: Any) -> Path:
    """A run's folder with these snapshots."""
    training = Training(**({"classes": CLASSES, "stamp": STAMP, "epochs": 3, "settings": {"seed": 0}} | said))
    begin_training(folder, training)
    for one in snapshots:
        write_snapshot(folder, one.epoch, *stored(one))
    if finished:
        finish_training(folder)
    return folder


def usual(folder: Path, epochs: Sequence[int] = (0, 1, 2, 3)) -> Path:
    """Epochs 0 to 3."""
    return write_run(folder / "a.run", [snapshot(epoch) for epoch in epochs])
