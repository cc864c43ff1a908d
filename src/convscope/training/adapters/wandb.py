"""A probe's snapshots in a run of Weights & Biases, on their servers or offline.

    run = wandb.init(project="digits", mode="offline")
    probe = Probe(net, None, data, on_snapshot=[log_to_wandb(run)])

All names begin with ``probe/``, and ``probe/epoch`` is their own axis, so that they fit beside whatever the training
logs itself, a row a batch or a row an epoch. W&B keeps one counter of rows for all and drops what is logged to an
earlier row. So a snapshot goes into the row that is open, and never counts on, except where nothing was logged since
the snapshot before: that one it would overwrite.

What leaves the machine is what the run sends: with ``mode="offline"`` nothing, until somebody calls ``wandb sync``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from convscope.errors import ConvscopeError
from convscope.training.adapters.snapshot_pictures import pictures_of
from convscope.training.snapshot import Snapshot

_MOST_BINS = 512  # of a histogram, W&B's own limit


def log_to_wandb(run: Any, *, prefix: str = "probe") -> Callable[[Snapshot], None]:
    """What to give to a probe as ``on_snapshot=[...]``.

    Args:
        run: what ``wandb.init(...)`` gives (of Lightning: ``WandbLogger(...).experiment``).
        prefix: what all names begin with.

    Raises:
        ConvscopeError: W&B is not installed; what is given is no run.
    """
    wandb = _package()
    if not (hasattr(run, "log") and hasattr(run, "define_metric") and hasattr(run, "step")):
        raise ConvscopeError(f"log_to_wandb takes the run that wandb.init(...) gives, not a {type(run).__name__}")
    run.define_metric(f"{prefix}/epoch")
    run.define_metric(f"{prefix}/*", step_metric=f"{prefix}/epoch")
    rows: list[int] = []  # that of the snapshot before

    def log(snapshot: Snapshot) -> None:
        row = int(run.step)
        row += row in rows  # nothing was logged in between
        run.log({f"{prefix}/{name}": value for name, value in _entries(wandb, snapshot).items()}, step=row)
        rows[:] = [row]

    return log


def _package() -> Any:
    try:
        import wandb
    except ImportError as error:
        raise ConvscopeError(f"Weights & Biases needs the extra: pip install 'convscope[wandb]' ({error})") from error
    return wandb


def _entries(wandb: Any, snapshot: Snapshot) -> dict[str, Any]:
    entries: dict[str, Any] = {"epoch": snapshot.epoch, **snapshot.scalars()}
    for layer in snapshot.layers:
        binned = {"values": (layer.counts, layer.edges), "weights": (layer.weight_counts, layer.weight_edges)}
        for what, (counts, edges) in binned.items():
            if 0 < len(counts) <= _MOST_BINS and np.isfinite(edges).all():
                entries[f"{what}/{layer.name}"] = wandb.Histogram(np_histogram=(counts, edges))
    return entries | {name: wandb.Image(picture) for name, picture in pictures_of(snapshot).items()}
