"""A snapshot by hand: the stand-in that adapters are tested with, every value known."""

import numpy as np

from convscope.training.snapshot import Embedded, LayerState, Snapshot, SplitState


def a_snapshot(epoch: int = 1, **changed) -> Snapshot:
    rng = np.random.default_rng(epoch)
    confusion = np.array([[8, 2, 0], [1, 9, 0], [0, 0, 10]])
    splits = {
        "train": SplitState(0.5 / (epoch + 1), 0.9, 30, confusion),
        "held out": SplitState(0.75 / (epoch + 1), 0.9, 30, confusion),
    }
    edges = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 4.0])
    layers = (
        LayerState(
            "conv1", 3.5, None if epoch == 0 else 0.25, 0.5, 1.5, 0.125, edges, np.array([0, 3, 5, 7, 0]),
            edges[:4], np.array([0, 6, 2]),
        ),
        LayerState("pool1", None, None, 0.25, 0.5, None, edges, np.array([0, 0, 0, 0, 0])),
    )  # fmt: skip
    points = rng.normal(size=(30, 2))
    embedding = Embedded("flatten", points, np.arange(30) % 3, (0.6, 0.2), rng.normal(size=(30, 5)))
    given = {
        "classes": ("cat", "dog", "owl"),
        "layers": layers,
        "filters_layer": "conv1",
        "filters": rng.normal(size=(9, 1, 5, 5)),
        "embedding": embedding,
        "maps": {"conv1:3": rng.uniform(size=(4, 7, 7))},
        "images": rng.uniform(size=(4, 1, 28, 28)),
        "pictures": {"conv1:3": rng.uniform(size=(1, 28, 28))},
    }
    return Snapshot(epoch, splits, **(given | changed))


SCALARS = {
    "train/loss", "train/accuracy", "held out/loss", "held out/accuracy", "layers/conv1/weight_norm",
    "layers/conv1/relative_change", "layers/conv1/mean", "layers/conv1/sd", "layers/conv1/dead_share",
    "layers/pool1/mean", "layers/pool1/sd",
}  # fmt: skip
PICTURES = {
    "filters", "confusion/train", "confusion/held out", "embedding", "maps/conv1:3", "pictures/conv1:3",
}  # fmt: skip
