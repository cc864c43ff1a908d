"""A probe's snapshots in TensorBoard: numbers as curves, layers' values as histograms, pictures with a slider.

    probe = Probe(net, None, data, on_snapshot=[log_to_tensorboard(writer)])

The step is the epoch. All tags begin with ``probe/``, so that no curve of the training's own is written into.

    probe/held_out/loss   probe/held_out/accuracy   probe/layers/conv1/weight_norm ...      scalars
    probe/values/conv1   probe/weights/conv1                                                histograms
    probe/filters   probe/confusion/held_out   probe/embedding   probe/maps/conv2:3         images

Tags have no spaces: TensorBoard's own would be exchanged for ``_`` with a note at each.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from convscope.errors import ConvscopeError
from convscope.training.adapters.snapshot_pictures import pictures_of
from convscope.training.snapshot import LayerState, Snapshot


def log_to_tensorboard(writer: Any, *, prefix: str = "probe") -> Callable[[Snapshot], None]:
    """What to give to a probe as ``on_snapshot=[...]``.

    Args:
        writer: a ``torch.utils.tensorboard.SummaryWriter`` (of Lightning: ``TensorBoardLogger(...).experiment``), or a
            folder to make one in.
        prefix: what all tags begin with.

    Raises:
        ConvscopeError: TensorBoard is not installed; what is given does not write.
    """
    open_writer = _writer_in(writer) if isinstance(writer, str | Path) else writer
    lacking = [name for name in ("add_scalar", "add_image", "add_histogram_raw") if not hasattr(open_writer, name)]
    if lacking:
        raise ConvscopeError(
            f"log_to_tensorboard takes a torch.utils.tensorboard.SummaryWriter or a folder, not a "
            f"{type(writer).__name__}, which has no {lacking[0]}"
        )

    def log(snapshot: Snapshot) -> None:
        write = _Tagged(open_writer, prefix, snapshot.epoch)
        for name, value in snapshot.scalars().items():
            write.scalar(name, value)
        for layer in snapshot.layers:
            of_values, mean, square = (layer.edges, layer.counts), layer.mean, layer.sd**2 + layer.mean**2
            write.histogram(f"values/{layer.name}", *of_values, mean, square)
            write.histogram(f"weights/{layer.name}", *_of_weights(layer))
        for name, picture in pictures_of(snapshot).items():
            write.image(name, np.asarray(picture.convert("RGB")))
        open_writer.flush()

    return log


def _writer_in(folder: str | Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConvscopeError(f"TensorBoard needs the extra: pip install 'convscope[tensorboard]' ({error})") from error
    return SummaryWriter(str(folder))


def _of_weights(layer: LayerState) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Edges, counts, and the means of w, by the bins' middles, and of its square."""
    edges, counts = layer.weight_edges, layer.weight_counts
    count = max(int(counts.sum()), 1)
    middle = float((counts * (edges[1:] + edges[:-1]) / 2).sum()) / count
    return edges, counts, middle, (layer.weight_norm or 0.0) ** 2 / count


class _Tagged:
    """A writer, for one epoch."""

    def __init__(self, writer: Any, prefix: str, epoch: int) -> None:
        self._writer, self._prefix, self._epoch = writer, prefix, epoch

    def scalar(self, name: str, value: float) -> None:
        self._writer.add_scalar(self._tag(name), value, self._epoch)

    def image(self, name: str, pixels: np.ndarray) -> None:
        self._writer.add_image(self._tag(name), pixels, self._epoch, dataformats="HWC")

    def histogram(self, name: str, edges: np.ndarray, counts: np.ndarray, mean: float, square: float) -> None:
        """TensorBoard's bins are told by their upper ends; ``square`` is the mean one."""
        filled = np.nonzero(counts)[0]
        if not len(filled) or not np.isfinite(edges).all():
            return
        count = int(counts.sum())
        self._writer.add_histogram_raw(
            self._tag(name),
            min=float(edges[filled[0]]),
            max=float(edges[filled[-1] + 1]),
            num=count,
            sum=mean * count,
            sum_squares=square * count,
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
            global_step=self._epoch,
        )

    def _tag(self, name: str) -> str:
        return re.sub(r"\s", "_", f"{self._prefix}/{name}")
